"""The plain plots: training, confusion, ROC, reliability, triage, scores beside those to beat.

Every function returns a Matplotlib figure and shows nothing; `save_figure` writes it. Figures are
6 inches wide, 900 pixels at 150 dpi, with no text under 9 points. Colours are those of Okabe and
Ito (2008), told apart by readers with any colour vision, and never the only difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from clearhead.deliver.lettering import FONT, SMALL_PT, drawable, shortened
from clearhead.deliver.verdict import count
from clearhead.files import writing
from clearhead.measure.scores import Evaluation, Reliability, Score, Scores, Triage

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, INK, GREY = "#56B4E9", "#CC79A7", "#222222", "#6E6E6E"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
"""One colour per class; more classes repeat them with another line style."""
LINES = ("-", "--", ":", "-.")
WIDTH_IN = 6.0
NBSP = "\u00a0"
SIDE_IN, LABEL_IN = 3.1, 1.4
"""Largest side of a confusion matrix and widest name beside it."""
SMALLEST_CELL_IN = 0.55
"""Side of a cell of the confusion matrix below which the share is left to the colour."""
MOST_MARKED = 40
"""Epochs up to which each one gets its own mark on a curve."""

_RESET = ("axes", "figure", "font", "image", "legend", "lines", "patch", "savefig", "text")
STYLE: dict[Any, Any] = {
    **{
        name: rcParamsDefault[name]
        for name in rcParamsDefault
        if name.split(".")[0] in (*_RESET, "xtick", "ytick")
    },
    "font.family": FONT,
    "font.size": SMALL_PT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": SMALL_PT,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "text.color": INK,
    "text.parse_math": False,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}
"""Matplotlib's settings for every figure here, whatever the user's own configuration says."""

PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.6g}{NBSP}%")

P = ParamSpec("P")


def _styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make `plot` under `STYLE`, leaving Matplotlib's settings as they were."""

    @wraps(plot)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(STYLE):
            return plot(*args, **kwargs)

    return styled


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a figure as PNG, whole or not at all; the same figure always gives the same bytes."""
    with rc_context(STYLE), writing(path) as temporary:
        # Name and version of the program would make the bytes change with every release.
        FigureCanvasAgg(figure).print_figure(
            temporary, format="png", dpi=dpi, metadata={"Software": None}
        )


def _figure(height_in: float) -> Figure:
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="white")


# --- Training -------------------------------------------------------------------------------


@_styled
def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Accuracy and loss per epoch, training and validation, the best epoch marked.

    Rows have `epoch` and any of `train_accuracy`, `validation_accuracy`, `train_loss`,
    `validation_loss`; what a row lacks is a gap. Best is the epoch of lowest validation loss, the
    one whose weights are kept.
    """
    figure = _figure(3.0)
    axes = figure.subplots(1, 2)
    best = _best_epoch(history)
    for panel, quantity in zip(axes, ("accuracy", "loss"), strict=True):
        _draw_history(panel, history, quantity)
        if best is not None:
            panel.axvline(
                best, color=GREY, linestyle=":", linewidth=1.2, label=f"best epoch ({best:g})"
            )
        panel.set_title(quantity.capitalize())
        panel.set_xlabel("Epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[0].yaxis.set_major_formatter(PERCENT)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    return figure


def _draw_history(panel: Axes, history: Sequence[Mapping[str, float]], quantity: str) -> None:
    epochs = _column(history, "epoch")
    marker = "o" if len(history) <= MOST_MARKED else ""
    panel.plot(
        epochs, _column(history, f"train_{quantity}"), "--", marker=marker, mfc="white",
        color=VERMILION, label="training",
    )  # fmt: skip
    panel.plot(
        epochs, _column(history, f"validation_{quantity}"), "-", marker=marker,
        color=BLUE, label="validation",
    )  # fmt: skip


def _column(history: Sequence[Mapping[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in history], dtype=np.float64)


def _best_epoch(history: Sequence[Mapping[str, float]]) -> float | None:
    losses = _column(history, "validation_loss")
    if np.isnan(losses).all():
        return None
    return float(history[int(np.nanargmin(losses))]["epoch"])


# --- Confusion ------------------------------------------------------------------------------


@_styled
def confusion_matrix(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    """Counts and their share of the true class; rows true, columns called, (K, K).

    Counts may be fractions, as when every group counts once. A class without files has no share.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    shares = _row_shares(counts)
    cell_in = min(1.3, SIDE_IN / len(counts))
    figure, axes = _square(cell_in * len(counts), below_in=1.4 if len(counts) > 3 else 0.65)
    image = axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else INK
        words = _cell_words(float(counts[row, column]), float(share), cell_in)
        axes.text(column, row, words, ha="center", va="center", color=colour, linespacing=1.4)
    _label_confusion(axes, classes)
    bar = figure.colorbar(image, cax=axes.inset_axes((1.04, 0, 0.04, 1)), format=PERCENT)
    bar.set_label("Share of the true class")
    bar.outline.set_visible(False)
    return figure


def _square(side_in: float, below_in: float) -> tuple[Figure, Axes]:
    """A square of axes, centred, with room for labels on the left and below and a bar on the right.

    Matplotlib's own layouts misjudge the room beside axes of fixed shape.
    """
    height_in = below_in + side_in + 0.15
    figure = Figure(figsize=(WIDTH_IN, height_in), facecolor="white")
    left_in = LABEL_IN + 0.35 + (SIDE_IN - side_in) / 2
    place = np.array([left_in, below_in, side_in, side_in])
    shape = np.array([WIDTH_IN, height_in, WIDTH_IN, height_in])
    return figure, figure.add_axes(tuple(place / shape))


def _label_confusion(axes: Axes, classes: Sequence[str]) -> None:
    names = [shortened(name, LABEL_IN) for name in classes]
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    if len(names) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlabel("Called")
    axes.set_ylabel("True")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _row_shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.full_like(counts, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def _cell_words(count: float, share: float, cell_in: float) -> str:
    """Count over share; the count alone where the cell is too small for both."""
    number = f"{count:,.0f}" if count.is_integer() else f"{count:,.1f}"
    if cell_in < SMALLEST_CELL_IN:
        return number
    return f"{number}\n–" if np.isnan(share) else f"{number}\n{100 * share:.1f}{NBSP}%"


# --- ROC ------------------------------------------------------------------------------------


@_styled
def roc_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    positive: str,
    auc: Score,
) -> Figure:
    """Sensitivity against the false-positive rate over all thresholds.

    Shapes: `labels` (N,) class indices, `probabilities` (N, K). With two classes the curve of
    `positive`; with more, a curve per class against the rest. `auc` is written on the figure. A
    class that all or no files belong to has no curve, and the figure says so where none has.
    """
    from sklearn import metrics  # slow to load: only where something is counted

    true, table = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    figure = _figure(4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance")
    targets = [list(classes).index(positive)] if len(classes) == 2 else range(len(classes))
    drawn = [target for target in targets if 0 < np.mean(true == target) < 1]
    for target in drawn:
        rate, sensitivity, _ = metrics.roc_curve(
            true == target, table[:, target], drop_intermediate=False
        )
        axes.plot(
            rate,
            sensitivity,
            label=shortened(classes[target], 2.2),
            color=PALETTE[target % len(PALETTE)],
            linestyle=LINES[target // len(PALETTE) % len(LINES)],
        )
    if not drawn:
        axes.text(0.5, 0.9, "undefined: all files are of one class", ha="center")
    _label_roc(axes, positive if len(classes) == 2 else None, auc)
    return figure


def _label_roc(axes: Axes, positive: str | None, auc: Score) -> None:
    axes.set_title(f"ROC-AUC {auc}" if positive else f"Mean ROC-AUC, one against the rest: {auc}")
    axes.set_xlabel("False-positive rate (1 − specificity)")
    ylabel = f"Sensitivity for {drawable(positive)}" if positive else "Sensitivity"
    axes.set_ylabel(shortened(ylabel, 3.2), parse_math=False)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="white")


# --- Probabilities and triage ---------------------------------------------------------------


@_styled
def reliability_diagram(reliability: Reliability) -> Figure:
    """How often it came true against what was told, a mark per bin with its interval.

    The title has the calibration error beside what chance alone would show.
    """
    figure = _figure(4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="all told is true")
    bins = reliability.bins
    told = [each.told for each in bins]
    true, low, high = _ends([each.true for each in bins])
    axes.vlines(told, low, high, color=BLUE, linewidth=1.6)
    axes.plot(told, true, "o-", color=BLUE, markersize=5, linewidth=1, label="this model")
    chance = reliability.chance
    beside = "" if chance.value is None else f"; by chance {_shares(chance)}"
    axes.set_title(f"Calibration error {_shares(Score(reliability.error))}{beside}")
    whose = "the class called" if reliability.of is None else drawable(reliability.of)
    axes.set_xlabel(shortened(f"Probability told of {whose}", 3.2), parse_math=False)
    axes.set_ylabel("How often it is so")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.legend(loc="upper left", frameon=True, framealpha=1, edgecolor="white")
    return figure


def _shares(score: Score) -> str:
    """A share in per cent, with its ends where it has some."""
    words = f"{100 * (score.value or 0):.1f}{NBSP}%"
    if score.low is None or score.high is None:
        return words
    return f"{words} ({100 * score.low:.1f}–{100 * score.high:.1f}{NBSP}%)"


@_styled
def triage_chart(triage: Triage) -> Figure:
    """Shares left uncertain and decided wrongly, against the error that is promised.

    Bands are intervals over groups; dotted, what may be wrong at most, and this run's own promise.
    """
    figure = _figure(3.6)
    axes = figure.subplots()
    promised = [each.error for each in triage.curve]
    unlike, *_ = _ends([each.unlike for each in triage.curve])
    for scores, words, colour, line in (
        ([each.uncertain for each in triage.curve], "left uncertain", BLUE, "-"),
        ([each.wrong for each in triage.curve], "decided wrongly", VERMILION, "--"),
    ):
        values, low, high = _ends(scores)
        axes.plot(promised, values, line, color=colour, marker="o", label=words)
        axes.fill_between(promised, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.fill_between(
        promised, unlike, hatch="////", facecolor="none", edgecolor=SKY, linewidth=0,
        label="uncertain because no class fits",
    )  # fmt: skip
    end = promised[-1] * 1.03
    axes.plot(
        [0, end], [0, end], color=GREY, linestyle=":", linewidth=1.2, label="what is promised"
    )
    error = triage.calibration.error
    axes.axvline(error, color=INK, linestyle="-.", linewidth=1.2, label="this run's promise")
    axes.set(xlim=(0, end), ylim=(-0.02, 1.02))
    axes.set_xlabel("Promised: the true class is ruled out this often at most")
    axes.set_ylabel("Share of distinct pictures")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _ends(scores: Sequence[Score]) -> tuple[list[float], list[float], list[float]]:
    """Values and ends of scores; NaN, which isn't drawn, where they are undefined."""

    def known(ends: Sequence[float | None]) -> list[float]:
        return [np.nan if end is None else end for end in ends]

    return (
        known([score.value for score in scores]),
        known([score.low for score in scores]),
        known([score.high for score in scores]),
    )


# --- Scores beside the score to beat --------------------------------------------------------


@_styled
def score_chart(evaluation: Evaluation) -> Figure:
    """Each score with its interval beside what file facts alone get, per file and per group.

    A line on the accuracy row marks what calling the majority class every time gets. Sensitivity
    and specificity are those of the positive class. Undefined scores are written as such.
    """
    figure = _figure(4.6)
    panels = figure.subplots(1, 2, sharey=True)
    beat = evaluation.baseline
    majorities = (beat.majority_per_file, beat.majority_per_group) if beat else (None, None)
    for axes, weighting, majority in zip(
        panels, ("per_file", "per_group"), majorities, strict=True
    ):
        rows = _chart_rows(getattr(evaluation, weighting), evaluation.positive)
        _draw_scores(axes, list(rows.values()), 0.17, BLUE, "o", "this model")
        if beat:
            known = _chart_rows(getattr(beat, weighting), evaluation.positive)
            _draw_scores(axes, list(known.values()), -0.17, VERMILION, "D", "file facts alone")
        _draw_majority(axes, majority)
        _label_chart(axes, list(rows), _least(evaluation))
    panels[0].set_title(f"Each file counts once\n{count(evaluation.files, 'file')}")
    panels[1].set_title(f"Each group counts once\n{count(evaluation.groups, 'group')}")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    figure.supxlabel(
        f"{evaluation.split[:1].upper()}{evaluation.split[1:]} set, "
        f"lines are {100 * evaluation.level:g}{NBSP}% "
        f"intervals over groups; positive class: {shortened(evaluation.positive, 1.6)}",
        fontsize=SMALL_PT,
    )
    return figure


def _least(evaluation: Evaluation) -> float:
    """Left end of the axis: a round number below every mark, 0.9 at most."""
    beat = evaluation.baseline
    shown = [beat.majority_per_file, beat.majority_per_group] if beat else []
    for scores in (evaluation, beat) if beat else (evaluation,):
        for weighting in (scores.per_file, scores.per_group):
            shown += _chart_rows(weighting, evaluation.positive).values()
    ends = [end for score in shown for end in (score.value, score.low) if end is not None]
    return float(np.clip(np.floor(10 * min(ends, default=0)) / 10, 0, 0.9))


def _chart_rows(scores: Scores, positive: str) -> dict[str, Score]:
    return {
        "Accuracy": scores.accuracy,
        "Balanced accuracy": scores.balanced_accuracy,
        "F1 (macro)": scores.f1_macro,
        "Sensitivity": scores.sensitivity[positive],
        "Specificity": scores.specificity[positive],
        "ROC-AUC": scores.roc_auc,
        "PR-AUC": scores.pr_auc,
    }


def _draw_scores(
    axes: Axes, scores: Sequence[Score], shift: float, colour: str, marker: str, name: str
) -> None:
    """A mark, an interval and a number per score; `shift` moves them up from their row."""
    places = np.arange(len(scores)) - shift
    values = [np.nan if score.value is None else score.value for score in scores]
    axes.plot(values, places, marker, color=colour, markersize=5, label=name)
    for place, score in zip(places, scores, strict=True):
        if score.low is not None and score.high is not None:
            axes.plot([score.low, score.high], [place, place], color=colour, linewidth=1.6)
        words = "–" if score.value is None else f"{score.value:.3f}"
        right_of_axis = axes.get_yaxis_transform()
        axes.text(1.06, place, words, color=colour, va="center", transform=right_of_axis)


def _draw_majority(axes: Axes, majority: Score | None) -> None:
    if majority is not None and majority.value is not None:
        ends = ([majority.value, majority.value], [-0.42, 0.42])
        axes.plot(*ends, color=INK, linestyle=":", linewidth=1.8, label="majority class")


def _label_chart(axes: Axes, names: Sequence[str], least: float) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(least, 1)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    for line in axes.lines:
        line.set_clip_on(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
