"""Pictures of explanations: what they show, said and measured, not compared pixel by pixel."""

from __future__ import annotations

import dataclasses
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from clearhead.deliver import lettering
from clearhead.deliver.overlay import (
    MOST_CASES,
    OPACITY,
    Case,
    colourise,
    contact_sheet,
    display_grey,
    number_words,
    overlay,
    percent_words,
    save_overlay,
    triptych,
)
from clearhead.errors import ClearheadError
from clearhead.types import Explanation, Facts, Prediction, Scan

CLASSES = ("Brain Tumor", "Healthy")
SHAPES = [(64, 48), (1, 1), (20, 20), (2000, 300), (300, 2000), (3, 900)]


def make_scan(
    shape: tuple[int, int] = (64, 48), *, source: str = "Brain Tumor/Cancer (1).jpg"
) -> Scan:
    rows, columns = np.indices(shape)
    waves = 4000 * (1 + np.sin(rows / 7) * np.cos(columns / 5))
    facts = Facts("PNG", "I;16", *shape, bytes=1)
    return Scan(waves.astype(np.float32), source, "0" * 64, facts, depth=65535.0)


def make_explanation(
    shape: tuple[int, int] = (64, 48),
    *,
    peak: float = 3.0,
    call: str = "Brain Tumor",
    target: str | None = None,
    unit: str = "logit",
    classes: tuple[str, ...] = CLASSES,
) -> Explanation:
    """Heat that rises from 0 at the left border to `peak` at the right one."""
    heat = np.tile(np.linspace(0, peak, shape[1], dtype=np.float32), (shape[0], 1))
    shares = np.array([0.973, 0.027], np.float32)
    if call == classes[1]:
        shares = shares[::-1].copy()
    prediction = Prediction("x", classes, np.log(shares), shares, call)
    return Explanation(prediction, "Grad-CAM", target or call, heat, peak, (30, 30), unit)


def words_on(figure: Figure) -> list[str]:
    return [text.get_text() for text in _texts(figure)]


def _texts(figure: Figure) -> list[Text]:
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_text().strip() and text.get_visible()]


def bar_of(figure: Figure) -> Any:
    (bar,) = [axes for axes in figure.axes if axes.get_gid() == "colour bar"]
    return bar


def panels(figure: Figure, name: str) -> list[Any]:
    """The images called `name`: `picture`, `heatmap` or `overlay`."""
    return [image for image in figure.axes[0].images if image.get_gid() == name]


def check_lettering(figure: Figure) -> None:
    """All words lie on the figure, none upon another, none smaller than 9 pt."""
    figure.draw_without_rendering()
    boxes = []
    for text in _texts(figure):
        assert float(text.get_fontsize()) >= 9, text.get_text()
        box = text.get_window_extent()
        assert box.x0 >= -0.5, text.get_text()
        assert box.y0 >= -0.5, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 0.5, text.get_text()
        assert box.y1 <= figure.bbox.y1 + 0.5, text.get_text()
        boxes.append((text.get_text(), box.padded(-1)))
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


# --- Grey -----------------------------------------------------------------------------------


def test_grey_is_linear_between_the_two_percentiles() -> None:
    pixels = np.random.default_rng(0).gamma(2, 900, (50, 40)).astype(np.float32)
    ordered = np.sort(pixels.ravel())
    low, high = (
        np.interp(share * (ordered.size - 1), range(ordered.size), ordered)
        for share in (0.005, 0.995)
    )
    expected = np.interp(pixels, [low, high], [0, 255])
    assert np.abs(display_grey(pixels) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("gain", "offset"), [(257, 0), (0.001, -3), (40, 900)])
def test_grey_does_not_depend_on_the_stored_unit(gain: float, offset: float) -> None:
    pixels = np.random.default_rng(1).uniform(0, 255, (30, 30)).astype(np.float32)
    shown = display_grey((gain * pixels + offset).astype(np.float32)).astype(int)
    assert np.abs(shown - display_grey(pixels)).max() <= 1


def test_a_few_hot_pixels_do_not_darken_the_rest() -> None:
    pixels = np.tile(np.linspace(0, 100, 100, dtype=np.float32), (100, 1))
    hot = pixels.copy()
    hot[:2, :3] = 60_000
    assert np.abs(display_grey(hot)[5:].astype(int) - display_grey(pixels)[5:]).max() <= 2


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (7, 128), (65535, 128)])
def test_a_constant_picture_is_one_grey(value: float, grey: int) -> None:
    assert (display_grey(np.full((9, 4), value, np.float32)) == grey).all()


def test_one_bright_pixel_in_the_dark_is_still_seen() -> None:
    pixels = np.zeros((100, 100), np.float32)
    pixels[4, 5] = 1
    assert display_grey(pixels)[4, 5] == 255
    assert display_grey(pixels).sum() == 255


def test_pixels_that_are_no_number_are_black() -> None:
    pixels = np.array([[np.nan, 5, 10], [np.inf, 7, -np.inf]], np.float32)
    grey = display_grey(pixels)
    assert grey[0, 0] == 0
    assert grey[0, 2] == 255
    assert not display_grey(np.full((2, 2), np.nan, np.float32)).any()


# --- Colour ---------------------------------------------------------------------------------


def test_opacity_is_zero_at_zero_rises_with_heat_and_stops_at_the_scale() -> None:
    heat = np.linspace(0, 6, 601, dtype=np.float32)[None]
    opacity = colourise(heat, scale=2.0)[0, :, 3].astype(int)
    assert opacity[0] == 0
    assert opacity[1] > 0
    assert (np.diff(opacity) >= 0).all()
    assert len(set(opacity[:201])) > 100
    assert (opacity[200:] == round(255 * OPACITY)).all()


def test_lightness_rises_with_heat_so_that_no_edge_appears() -> None:
    heat = np.linspace(0, 1, 256, dtype=np.float32)[None]
    lightness = colourise(heat, scale=1.0)[0, :, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[0] < 2
    assert lightness[-1] > 230


def test_a_heat_has_one_colour_whatever_else_is_in_the_picture() -> None:
    weak = colourise(np.array([[0.5, 0.1]], np.float32), scale=2.0)
    strong = colourise(np.array([[0.5, 90.0]], np.float32), scale=2.0)
    assert (weak[0, 0] == strong[0, 0]).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    scan, explanation = make_scan(), make_explanation()
    with pytest.raises(ClearheadError, match="display scale is"):
        overlay(scan, explanation, scale=scale)
    with pytest.raises(ClearheadError, match="display scale is"):
        triptych(scan, explanation, scale=scale)


def test_heat_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no number"):
        colourise(np.array([[np.nan]], np.float32), scale=1.0)


# --- Overlay --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_overlay_is_the_grey_itself_where_there_is_no_heat(shape: tuple[int, int]) -> None:
    scan, explanation = make_scan(shape), make_explanation(shape)
    explanation.heat[: max(1, shape[0] // 2)] = 0
    result = overlay(scan, explanation, scale=2.0)
    assert result.shape == (*shape, 3)
    assert result.dtype == np.uint8
    cold = explanation.heat == 0
    assert (result[cold] == display_grey(scan.pixels)[cold][:, None]).all()


def test_overlay_mixes_grey_and_colour_by_opacity() -> None:
    scan, explanation = make_scan(), make_explanation()
    result = overlay(scan, explanation, scale=2.0)
    grey, colours = display_grey(scan.pixels), colourise(explanation.heat, scale=2.0)
    for row, column in [(0, 0), (10, 5), (33, 21), (63, 47)]:
        red, green, blue, opacity = (float(value) for value in colours[row, column])
        share = opacity / 255
        for place, value in enumerate((red, green, blue)):
            expected = (1 - share) * float(grey[row, column]) + share * value
            assert abs(result[row, column, place] - expected) <= 0.5 + 1e-9


def test_overlay_changes_neither_scan_nor_heat() -> None:
    scan, explanation = make_scan(), make_explanation()
    pixels, heat = scan.pixels.copy(), explanation.heat.copy()
    overlay(scan, explanation, scale=2.0, contour=1.0)
    assert (scan.pixels == pixels).all()
    assert (explanation.heat == heat).all()


def test_contour_is_the_inner_edge_of_the_places_over_its_level() -> None:
    scan = make_scan((12, 12))
    explanation = make_explanation((12, 12))
    explanation.heat[:] = 0
    explanation.heat[3:8, 4:9] = 2.0
    plain = overlay(scan, explanation, scale=5.0)
    lined = overlay(scan, explanation, scale=5.0, contour=1.0)
    edge = np.zeros((12, 12), bool)
    edge[3:8, 4:9] = True
    edge[4:7, 5:8] = False
    assert (lined[edge] == 255).all()
    assert (lined[~edge] == plain[~edge]).all()


def test_heat_on_another_grid_is_refused_in_words() -> None:
    with pytest.raises(ClearheadError, match=r"the heat .* is 20×20: expected .* 64×48"):
        overlay(make_scan(), make_explanation((20, 20)), scale=1.0)


def test_saved_overlay_is_the_array_with_its_meaning(tmp_path: Path) -> None:
    scan, explanation = make_scan(), make_explanation()
    path = tmp_path / "new" / "overlay.png"
    save_overlay(path, scan, explanation, scale=2.0)
    with Image.open(path) as picture:
        assert (np.asarray(picture) == overlay(scan, explanation, scale=2.0)).all()
        text = picture.info["Description"]
    assert "evidence for Brain Tumor" in text
    assert "peak 3.00 logits" in text
    assert "full colour at 2.00 logits" in text
    first = path.read_bytes()
    save_overlay(path, scan, explanation, scale=2.0)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == ["overlay.png"]


# --- Triptych -------------------------------------------------------------------------------


def test_colour_bar_runs_from_zero_to_the_scale_in_the_unit() -> None:
    figure = triptych(make_scan(), make_explanation(), scale=2.5)
    bar = bar_of(figure)
    assert bar.get_xlim() == (0, 2.5)
    assert bar.get_xlabel() == "evidence for Brain Tumor (logits)"
    assert bar._colorbar.extend == "max"
    probability = triptych(make_scan(), make_explanation(unit="probability"), scale=0.02)
    bar = bar_of(probability)
    assert bar.get_xlim() == (0, 0.02)
    assert bar.get_xlabel() == "evidence for Brain Tumor (probability)"


@pytest.mark.parametrize("scale", [2.5, 5.68, 1e-7, 0.0312, 987654.0])
def test_the_end_of_the_colour_bar_is_written_out(scale: float) -> None:
    bar = bar_of(triptych(make_scan(), make_explanation(), scale=scale))
    ticks = bar.get_xticks()
    labels = [label.get_text() for label in bar.get_xticklabels()]
    assert ticks[0] == 0
    assert ticks[-1] == scale
    assert len(ticks) >= 3
    for tick, label in zip(ticks, labels, strict=True):
        assert float(label) == pytest.approx(tick, rel=0.006)


def test_title_tells_call_probability_truth_target_and_peak() -> None:
    explanation = make_explanation(target="Healthy", peak=1.25)
    text = " ".join(words_on(triptych(make_scan(), explanation, scale=2.5, truth="Healthy")))
    assert "Called Brain Tumor, 97.3 % · truth Healthy (wrong)" in text
    assert "evidence for Healthy: peak 1.25 logits" in text
    assert "over the scale" not in text
    assert "Cancer (1).jpg" in text
    assert "Brain Tumor/" not in text  # folders may be called after people
    right = words_on(triptych(make_scan(), make_explanation(), scale=2.5, truth="Brain Tumor"))
    assert any("truth Brain Tumor (right)" in line for line in right)


def test_a_peak_over_the_scale_is_said() -> None:
    text = " ".join(words_on(triptych(make_scan((90, 90)), make_explanation((90, 90)), scale=2.5)))
    assert "peak 3.00 logits, over the scale" in text


def test_panels_are_grey_heat_and_overlay_on_the_pictures_grid() -> None:
    scan, explanation = make_scan(), make_explanation()
    figure = triptych(scan, explanation, scale=2.0)
    shown = {
        name: panels(figure, name)[0].get_array() for name in ("picture", "heatmap", "overlay")
    }
    assert (shown["picture"] == display_grey(scan.pixels)).all()
    assert (shown["overlay"] == overlay(scan, explanation, scale=2.0)).all()
    assert (shown["heatmap"] == colourise(explanation.heat, scale=2.0)[..., :3]).all()


def test_no_positive_evidence_is_said_in_words_on_the_picture() -> None:
    blank = make_explanation(peak=0.0)
    figure = triptych(make_scan(), blank, scale=2.5)
    (panel,) = panels(figure, "heatmap")
    assert not (panel.get_array() > 4).any()
    _, said = [text for text in _texts(figure) if "no positive evidence" in text.get_text()]
    assert said.get_text().replace("\n", " ") == "no positive evidence for Brain Tumor"
    left, right, bottom, top = panel.get_extent()
    assert left < said.get_position()[0] < right
    assert top < said.get_position()[1] < bottom
    figure = triptych(make_scan(), make_explanation(), scale=2.5)
    assert "no positive evidence" not in " ".join(words_on(figure))


def test_mask_and_contour_are_drawn_and_named() -> None:
    mask = np.zeros((64, 48), bool)
    mask[20:30, 10:20] = True
    figure = triptych(make_scan(), make_explanation(), scale=2.5, mask=mask, contour=1.5)
    lines: Any = figure.axes[0].collections
    assert len(lines) == 4
    borders = [line.get_paths()[0].get_extents().extents for line in lines]
    left, right, bottom, top = panels(figure, "picture")[0].get_extent()
    across, down = (right - left) / 48, (bottom - top) / 64
    expected = [left + 10 * across, top + 20 * down, left + 20 * across, top + 30 * down]
    assert any(np.abs(border - expected).max() < 0.01 * across for border in borders)
    text = " ".join(words_on(figure))
    assert "blue outline: tumour mask" in text
    assert "heat of 1.50 logits" in text


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_keep_their_proportions(shape: tuple[int, int]) -> None:
    figure = triptych(make_scan(shape), make_explanation(shape), scale=2.5)
    for name in ("picture", "heatmap", "overlay"):
        (panel,) = panels(figure, name)
        left, right, bottom, top = panel.get_extent()
        assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0])
        assert 0 <= left < right <= figure.get_figwidth()
        assert 0 <= top < bottom <= figure.get_figheight()


def test_an_empty_mask_is_said_and_a_misfit_refused() -> None:
    empty = np.zeros((64, 48), bool)
    text = " ".join(words_on(triptych(make_scan(), make_explanation(), scale=1.0, mask=empty)))
    assert "the tumour mask is empty" in text
    with pytest.raises(ClearheadError, match=r"tumour mask .* is 48×64: expected"):
        triptych(make_scan(), make_explanation(), scale=1.0, mask=empty.T)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("peak", [0.0, 3.0])
def test_words_fit_whatever_the_shape(shape: tuple[int, int], peak: float) -> None:
    mask = np.ones(shape, bool)
    figure = triptych(
        make_scan(shape), make_explanation(shape, peak=peak), scale=2.5, truth="Healthy", mask=mask
    )
    check_lettering(figure)


def test_words_fit_whatever_the_names() -> None:
    name = "a $very_1$ long <b>name</b> 腦瘤\n" * 4
    explanation = make_explanation(peak=0.0, call=name, classes=(name, "B"))
    scan = make_scan(source="x" * 300 + ".png")
    figure = triptych(scan, explanation, scale=2.5, truth="y" * 200)
    check_lettering(figure)
    assert any(line.endswith("x.png") and "…" in line for line in words_on(figure))
    assert any("$very_1$" in line for line in words_on(figure))


def test_a_figure_has_the_same_bytes_each_time() -> None:
    def saved() -> bytes:
        stream = io.BytesIO()
        figure = triptych(make_scan(), make_explanation(), scale=2.5, truth="Healthy")
        figure.savefig(stream, format="png")
        return stream.getvalue()

    assert saved() == saved()


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.5, "50.0 %"), (0.99949, "99.9 %"), (1.0, "over 99.9 %"), (0.0, "under 0.1 %")],
)
def test_no_probability_is_called_certain(share: float, words: str) -> None:
    assert percent_words(share) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (3, "3.00"), (12.345, "12.3"), (0.0251, "0.0251"), (4e-7, "4.0e-07"), (812, "812")],
)
def test_numbers_keep_three_digits(value: float, words: str) -> None:
    assert number_words(value) == words


# --- Contact sheet --------------------------------------------------------------------------


def make_cases() -> list[Case]:
    pairs = [("Brain Tumor", "Brain Tumor"), ("Healthy", "Brain Tumor"), ("Healthy", "Healthy")]
    return [
        Case(make_scan((30, 40 + number)), make_explanation((30, 40 + number), call=call), truth)
        for truth, call in pairs
        for number in range(3)
    ]


def test_contact_sheet_groups_cases_under_headings_in_order() -> None:
    cases = make_cases()
    figure = contact_sheet(cases[::-1], scale=2.5)
    words = words_on(figure)
    headings = [line for line in words if line.startswith(CLASSES) and " called " in line]
    assert headings == [
        "Healthy called Healthy",
        "Healthy called Brain Tumor",
        "Brain Tumor called Brain Tumor",
    ]
    for name in ("picture", "heatmap", "overlay"):
        assert len(panels(figure, name)) == len(cases)
    bar = bar_of(figure)
    assert bar.get_xlim() == (0, 2.5)
    check_lettering(figure)


def test_contact_sheet_says_blank_captions_and_masks() -> None:
    mask = np.zeros((64, 48), bool)
    mask[5:9, 5:9] = True
    case = Case(make_scan(), make_explanation(peak=0.0), None, mask, caption="the surest miss")
    figure = contact_sheet([case], scale=1.0)
    text = " ".join(words_on(figure)).replace("\n", " ")
    assert "the surest miss" in text
    assert "no positive evidence for Brain Tumor" in text
    assert "Called Brain Tumor" in text
    assert "blue outline: tumour mask" in text
    bar = bar_of(figure)
    assert bar.get_xlabel() == "evidence for Brain Tumor (logits)"
    check_lettering(figure)


def test_contact_sheet_of_odd_shapes_and_long_names() -> None:
    name = "an endless class name without any mercy " * 6
    cases = [
        Case(
            make_scan(shape, source="y" * 250),
            make_explanation(shape, call=name, classes=(name, "B"), peak=0.0),
            "z" * 120,
        )
        for shape in SHAPES
    ]
    check_lettering(contact_sheet(cases, scale=1e-7))


def test_contact_sheet_names_the_target_where_it_is_not_the_call() -> None:
    called = [Case(make_scan(), make_explanation(call=call)) for call in CLASSES]
    figure = contact_sheet(called, scale=1.0)
    assert bar_of(figure).get_xlabel() == "evidence for the class called (logits)"
    assert "called Healthy, 97.3 % · peak 3.00 logits, over the scale" in words_on(figure)
    other = [*called, Case(make_scan(), make_explanation(target="Healthy"))]
    figure = contact_sheet(other, scale=4.0)
    assert bar_of(figure).get_xlabel() == "evidence for the class named above each (logits)"
    assert "called Brain Tumor, 97.3 % · for Healthy: peak 3.00 logits" in words_on(figure)


def test_a_full_contact_sheet_takes_from_every_heading_and_says_so() -> None:
    small = make_scan((8, 8)), make_explanation((8, 8), peak=0.0)
    cases = [Case(*small, truth) for truth in ("A", "B") for _ in range(MOST_CASES)]
    figure = contact_sheet(cases, scale=1.0)
    assert len(panels(figure, "picture")) == MOST_CASES
    words = words_on(figure)
    assert {"A called Brain Tumor", "B called Brain Tumor"} <= set(words)
    assert any(f"{MOST_CASES} of {2 * MOST_CASES} cases" in line for line in words)
    assert sum(line.startswith("called Brain") for line in words) == MOST_CASES


def test_contact_sheet_refuses_nothing_and_mixed_units() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        contact_sheet([], scale=1.0)
    mixed = [
        Case(make_scan(), make_explanation()),
        Case(make_scan(), make_explanation(unit="probability")),
    ]
    with pytest.raises(ValueError, match="different units"):
        contact_sheet(mixed, scale=1.0)
    wrong = dataclasses.replace(mixed[0], mask=np.zeros((3, 3), bool))
    with pytest.raises(ClearheadError, match="tumour mask"):
        contact_sheet([wrong], scale=1.0)


# --- Lettering ------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0.5, 1.0, 3.0])
def test_shortened_text_fits_and_keeps_both_ends(room: float) -> None:
    text = "Brain Tumor Data Set/Brain Tumor/Cancer (1234).tif#page=2"
    short = lettering.shortened(text, room)
    assert lettering.width_in(short) <= room
    assert short.startswith("B")
    assert short.endswith("2")
    assert "…" in short
    longer = lettering.shortened(text, room + 0.3)
    assert len(longer) > len(short)
    assert lettering.shortened("short", room) == "short"


def test_wrapped_lines_fit_and_lose_no_word() -> None:
    text = "no positive evidence for a rather long name of a class"
    lines = lettering.wrapped(text, 1.2)
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(lettering.width_in(line) <= 1.2 for line in lines)
    capped = lettering.wrapped(text, 1.2, lines=2)
    assert len(capped) == 2
    assert "…" in capped[1]


def test_what_the_font_lacks_is_marked_and_breaks_become_spaces() -> None:
    assert lettering.drawable("a\n\tb  腦é") == "a b �é"
