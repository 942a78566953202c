"""The plain plots hold the numbers they were given, and files that are always the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from sklearn import metrics

from clearhead.deliver.curves import (
    confusion_matrix,
    reliability_diagram,
    roc_curve,
    save_figure,
    score_chart,
    training_curves,
    triage_chart,
)
from clearhead.measure.baseline import score_to_beat
from clearhead.measure.calibration import reliability
from clearhead.measure.scores import (
    Calibration,
    Evaluation,
    Reliability,
    Score,
    Triage,
    score,
)
from clearhead.measure.triage import LEVELS, triage

TWO = ("Brain Tumor", "Healthy")
FIVE = ("glioma", "meningioma of a very long name $x_1$ that goes on and on", "none", "b", "c")


def history(epochs: int = 6) -> list[dict[str, float]]:
    """Validation loss is lowest in epoch 4."""
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 1 - 0.4 / epoch,
            "validation_loss": 0.3 + 0.02 * (epoch - 4) ** 2,
            "validation_accuracy": 0.9 - 0.3 / epoch,
            "learning_rate": 1e-3,
            "seconds": 10.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def case(classes: int = 2) -> tuple[Any, Any, Any]:
    """Labels, probabilities, groups."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 150)
    raw = rng.random((150, classes))
    raw[np.arange(150), labels] += 0.4
    return labels, raw / raw.sum(axis=1, keepdims=True), rng.integers(0, 50, 150)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Two classes, beside a score to beat."""
    labels, probabilities, groups = case()
    plain = score(labels, probabilities, groups, classes=TWO, resamples=100)
    facts = {"width": np.where(np.arange(150) % 3 == 0, 300, 200 + labels)}
    beat = score_to_beat(facts, labels, facts, labels, groups, classes=TWO, resamples=100)
    return dataclasses.replace(plain, baseline=beat)


def trust(classes: tuple[str, ...] = TWO) -> tuple[Reliability, Triage]:
    """How reliable the probabilities are, and what triage makes of them."""
    how: dict[str, Any] = {"classes": classes, "positive": classes[0], "resamples": 50}
    told, count = case(len(classes)), len(classes)
    made = Calibration(0.1, 1.2, (0.3,) * count, (30,) * count)
    return reliability(*told, **how), triage(*told, made, fitted_on=told, **how)


def line(axes: Axes, label: str) -> tuple[Any, Any]:
    """Data of the line with this label."""
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return found.get_data()


def texts(figure: Figure) -> Iterator[Text]:
    """Every visible piece of text."""
    for found in figure.findobj(Text):
        assert isinstance(found, Text)
        if found.get_text() and found.get_visible():
            yield found


@pytest.fixture(scope="module")
def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Every kind of figure, edge cases among them."""
    labels, probabilities, groups = case(5)
    five = score(labels, probabilities, groups, classes=FIVE, resamples=20)
    two = case()
    return {
        "curves": training_curves(history()),
        "curves of one epoch": training_curves(history(1)),
        "confusion": confusion_matrix(evaluation.per_group.confusion, TWO),
        "confusion of five": confusion_matrix(five.per_file.confusion, FIVE),
        "confusion of twelve": confusion_matrix(
            np.eye(12) * 1000, [f"kind {k}" for k in range(12)]
        ),
        "roc": roc_curve(two[0], two[1], TWO, "Brain Tumor", evaluation.per_file.roc_auc),
        "roc of five": roc_curve(labels, probabilities, FIVE, "glioma", five.per_file.roc_auc),
        "reliability": reliability_diagram(trust()[0]),
        "reliability of five": reliability_diagram(trust(FIVE)[0]),
        "triage": triage_chart(trust()[1]),
        "triage of five": triage_chart(trust(FIVE)[1]),
        "scores": score_chart(evaluation),
        "scores without baseline": score_chart(five),
    }


def test_curves_hold_the_history() -> None:
    rows = history()
    accuracy, loss = training_curves(rows).axes
    for panel, quantity in ((accuracy, "accuracy"), (loss, "loss")):
        for label, part in (("training", "train"), ("validation", "validation")):
            epochs, values = line(panel, label)
            np.testing.assert_array_equal(epochs, [row["epoch"] for row in rows])
            np.testing.assert_array_equal(values, [row[f"{part}_{quantity}"] for row in rows])


def test_best_epoch_is_that_of_the_lowest_validation_loss() -> None:
    for panel in training_curves(history()).axes:
        np.testing.assert_array_equal(line(panel, "best epoch (4)")[0], 4)


def test_curves_without_validation_have_a_gap_and_no_best_epoch() -> None:
    rows = [{"epoch": 1.0, "train_loss": 0.5, "train_accuracy": 0.6, "validation_loss": np.nan}]
    loss = training_curves(rows).axes[1]
    assert np.isnan(line(loss, "validation")[1]).all()
    assert not [drawn for drawn in loss.lines if "best" in str(drawn.get_label())]


def test_confusion_cells_tell_counts_and_shares_of_the_true_class() -> None:
    axes = confusion_matrix([[1200, 300], [0, 0]], TWO).axes[0]
    cells = {found.get_position(): found.get_text() for found in axes.texts}
    assert cells == {
        (0, 0): "1,200\n80.0\u00a0%",
        (1, 0): "300\n20.0\u00a0%",
        (0, 1): "0\n–",
        (1, 1): "0\n–",
    }
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), [[0.8, 0.2], [0, 0]])
    assert [name.get_text() for name in axes.get_yticklabels()] == list(TWO)


def test_confusion_of_groups_shows_fractions() -> None:
    axes = confusion_matrix(np.array([[2 / 3, 1 / 3], [1.0, 3.0]]), TWO).axes[0]
    assert axes.texts[0].get_text() == "0.7\n66.7\u00a0%"


def test_roc_line_encloses_the_area() -> None:
    labels, probabilities, _ = case()
    auc = metrics.roc_auc_score(labels == 1, probabilities[:, 1])
    figure = roc_curve(labels, probabilities, TWO, "Healthy", Score(auc, 0.7, 0.9))
    assert metrics.auc(*line(figure.axes[0], "Healthy")) == pytest.approx(auc)
    assert figure.axes[0].get_title("left") == f"ROC-AUC {auc:.3f} (0.700–0.900)"


def test_roc_of_more_classes_has_a_line_for_each_that_has_files() -> None:
    labels, probabilities, _ = case(5)
    labels = np.where(labels == 4, 0, labels)
    figure = roc_curve(labels, probabilities, ("a", "b", "c", "d", "e"), "a", Score(0.8))
    drawn = [found.get_label() for found in figure.axes[0].lines]
    assert drawn == ["chance", "a", "b", "c", "d"]


def test_roc_of_one_class_says_so() -> None:
    figure = roc_curve([0, 0], [[0.9, 0.1], [0.4, 0.6]], TWO, "Healthy", Score(None))
    words = [found.get_text() for found in texts(figure)]
    assert "undefined: all files are of one class" in words
    assert "ROC-AUC undefined" in words


def test_score_chart_shows_the_model_beside_the_score_to_beat(evaluation: Evaluation) -> None:
    beat = evaluation.baseline
    assert beat is not None
    panels = score_chart(evaluation).axes
    for axes, scores, facts, majority in (
        (panels[0], evaluation.per_file, beat.per_file, beat.majority_per_file),
        (panels[1], evaluation.per_group, beat.per_group, beat.majority_per_group),
    ):
        for label, shown in (("this model", scores), ("file facts alone", facts)):
            expected = [
                shown.accuracy, shown.balanced_accuracy, shown.f1_macro,
                shown.sensitivity["Brain Tumor"], shown.specificity["Brain Tumor"],
                shown.roc_auc, shown.pr_auc,
            ]  # fmt: skip
            np.testing.assert_array_equal(line(axes, label)[0], [one.value for one in expected])
            ends = [tuple(np.asarray(drawn.get_xdata())) for drawn in axes.lines]
            assert all((one.low, one.high) in ends for one in expected)
            words = [found.get_text() for found in axes.texts]
            assert all(f"{one.value:.3f}" in words for one in expected)
        assert set(line(axes, "majority class")[0]) == {majority.value}


def test_score_chart_leaves_undefined_scores_empty() -> None:
    alone = score([0, 0, 0], [[0.9, 0.1]] * 3, [1, 1, 1], classes=TWO)
    axes = score_chart(alone).axes[0]
    assert np.isnan(line(axes, "this model")[0]).tolist() == [
        False,
        True,
        False,
        False,
        *[True] * 3,
    ]
    assert [found.get_text() for found in axes.texts].count("–") == 4


def test_the_reliability_diagram_shows_each_bin_and_what_chance_would_show() -> None:
    told, _ = trust()
    axes = reliability_diagram(told).axes[0]
    x, y = line(axes, "this model")
    assert list(x) == [each.told for each in told.bins]
    assert list(y) == [each.true.value for each in told.bins]
    title = axes.get_title(loc="left").replace("\u00a0", " ")
    assert title.startswith(f"Calibration error {100 * told.error:.1f} %; by chance ")
    assert axes.get_xlabel() == "Probability told of Brain Tumor"
    assert reliability_diagram(trust(FIVE)[0]).axes[0].get_xlabel().endswith("the class called")


def test_the_triage_chart_shows_both_shares_and_the_promise() -> None:
    _, found = trust()
    axes = triage_chart(found).axes[0]
    for name, words in (("uncertain", "left uncertain"), ("wrong", "decided wrongly")):
        x, y = line(axes, words)
        assert tuple(x) == LEVELS
        assert list(y) == [getattr(each, name).value for each in found.curve]
    x, y = line(axes, "what is promised")
    assert list(x) == list(y)
    assert list(line(axes, "this run's promise")[0]) == [0.1, 0.1]


def test_no_text_is_small_or_cut_off(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        FigureCanvasAgg(figure).print_figure(BytesIO(), format="png")
        for found in texts(figure):
            assert float(found.get_fontsize()) >= 9, (name, found.get_text())
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, name  # noqa: PT018  one box


def test_files_are_pictures_900_pixels_wide(figures: dict[str, Figure], tmp_path: Path) -> None:
    for name, figure in figures.items():
        save_figure(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.width == 900
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert len(list(tmp_path.iterdir())) == len(figures)


def test_same_numbers_give_the_same_bytes(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_figure(score_chart(evaluation), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert b"matplotlib" not in (tmp_path / "one").read_bytes().lower()


def test_settings_of_the_user_neither_matter_nor_change(tmp_path: Path) -> None:
    save_figure(training_curves(history()), tmp_path / "plain.png")
    garish = {"font.size": 30, "axes.facecolor": "pink", "savefig.dpi": 40, "axes.grid": False}
    with mpl.rc_context(garish):  # type: ignore[arg-type]  # a literal type per setting
        save_figure(training_curves(history()), tmp_path / "garish.png")
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "garish.png").read_bytes()


def test_pyplot_is_never_loaded() -> None:
    code = (
        "import sys; from clearhead.deliver.curves import training_curves; "
        "training_curves([{'epoch': 1, 'train_loss': 1}]); "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
