"""The diagram of a net: what it says, and how block sizes follow the shapes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text

from clearhead.deliver.diagram import Layer, net_diagram

REPORT = (
    Layer("input", "input", (3, 256, 256)),
    Layer("conv1", "conv 3×3", (32, 254, 254), 896),
    Layer("relu1", "ReLU", (32, 254, 254)),
    Layer("pool1", "max-pool 2", (32, 127, 127)),
    Layer("conv2", "conv 3×3", (64, 125, 125), 18_496),
    Layer("pool2", "max-pool 2", (64, 62, 62)),
    Layer("conv3", "conv 3×3", (128, 60, 60), 73_856),
    Layer("pool3", "max-pool 2", (128, 30, 30)),
    Layer("flatten", "flatten", (115_200,)),
    Layer("dense1", "dense", (128,), 14_745_728),
    Layer("dropout", "dropout 0.5", (128,)),
    Layer("dense2", "dense", (2,), 258),
)


def residual(count: int) -> list[Layer]:
    """A net of `count` layers whose maps halve and channels double every ten."""
    return [
        Layer(
            f"blocks.{number}.a.long.name",
            "residual block of two convolutions 3×3",
            (32 * 2 ** (number // 10), 192 // 2 ** (number // 10), 96),
            1000 + number,
        )
        for number in range(count)
    ]


def words_on(figure: Figure) -> list[str]:
    return [text.get_text() for text in _texts(figure)]


def _texts(figure: Figure) -> list[Text]:
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_text().strip()]


def test_it_names_every_layer_with_its_shape_and_parameters_in_order() -> None:
    figure = net_diagram(REPORT, title="report: 256×256 to 2 classes")
    words = words_on(figure)
    assert words[0] == "report: 256×256 to 2 classes"
    names = [layer.name for layer in REPORT]
    heights = {text.get_text(): text.get_position()[1] for text in _texts(figure)}
    assert sorted(names, key=heights.__getitem__) == names
    for shown in ("conv 3×3", "max-pool 2", "32 × 254 × 254", "115,200", "14,745,728", "258"):
        assert shown in words
    assert words.count("–") == sum(not layer.parameters for layer in REPORT)


def test_it_counts_all_parameters() -> None:
    assert "14,839,234 parameters" in words_on(net_diagram(REPORT, title="report"))
    expected = sum(layer.parameters for layer in residual(30))
    assert f"{expected:,} parameters" in words_on(net_diagram(residual(30), title="compact"))


def _fronts(figure: Figure) -> list[float]:
    """Width of the front of each block, from the top."""
    blocks: Any = figure.axes[0].patches
    corners = [patch.get_xy() for patch in blocks if isinstance(patch, Polygon)]
    flat = [c for c in corners if c[0][1] == c[1][1] and c[1][0] == c[2][0] and c[0][0] == c[3][0]]
    return [float(c[1][0] - c[0][0]) for c in flat]


def test_fronts_are_as_wide_as_the_maps() -> None:
    fronts = _fronts(net_diagram(REPORT, title="report"))
    assert len(fronts) == len(REPORT)
    for front, layer in zip(fronts, REPORT, strict=True):
        if len(layer.shape) == 3:
            assert front / fronts[0] == pytest.approx(layer.shape[2] / 256, abs=1e-6)
    flatten, dense, _, last = fronts[-4:]
    assert flatten > dense > last > 0


def test_lines_under_the_numbers_are_shares_of_all_parameters() -> None:
    layers = [Layer("a", "dense", (4,), 750), Layer("b", "dense", (4,), 250)]
    bars: Any = net_diagram(layers, title="two").axes[0].patches
    lengths = [bar.get_width() for bar in bars if isinstance(bar, Rectangle)]
    assert lengths[0] == pytest.approx(3 * lengths[1])


@pytest.mark.parametrize("layers", [REPORT, residual(30), residual(1)], ids=["12", "30", "1"])
def test_words_fit_and_keep_apart(layers: list[Layer]) -> None:
    figure = net_diagram(layers, title="a title $x$ of some length " * 12)
    figure.draw_without_rendering()
    boxes = []
    for text in _texts(figure):
        assert float(text.get_fontsize()) >= 9
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1, text.get_text()
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1, text.get_text()
        boxes.append((text.get_text(), box.padded(-1)))
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def test_blocks_stay_in_their_own_row() -> None:
    layers = [Layer(str(number), "conv 3×3", (4096, 9, 9)) for number in range(30)]
    blocks: Any = net_diagram(layers, title="deep").axes[0].patches
    faces = [patch.get_xy() for patch in blocks if isinstance(patch, Polygon)]
    spans = [
        (min(y for face in trio for _, y in face), max(y for face in trio for _, y in face))
        for trio in zip(faces[::3], faces[1::3], faces[2::3], strict=True)
    ]
    assert len(spans) == 30
    assert all(low < high for (_, low), (high, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("shape", [(3, 4), (0,), (3, 0, 5), ()])
def test_impossible_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="layer odd has shape"):
        net_diagram([Layer("odd", "conv", shape)], title="x")


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        net_diagram([], title="x")
