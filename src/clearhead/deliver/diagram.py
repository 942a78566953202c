"""The net as a picture: one row per layer with its block, its shape and its parameters.

The front of a block is as wide as the maps it makes, its depth grows with the logarithm of the
channels; a layer without maps is a bar whose length grows with the logarithm of its values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from clearhead.deliver.lettering import HEADING_PT, shortened, wrapped, write

_WIDTH = 8.9  # inches, as all below
_MARGIN = 0.2
_KIND = (_MARGIN, 2.05)  # left edge and room of each column
_NAME = (2.35, 1.25)
_BLOCK = (3.65, 2.2)
_SHAPE_RIGHT = 7.35
_PARAMETERS_RIGHT = _WIDTH - _MARGIN
_FEW_LAYERS = 14
_QUIET = "#5a5a5a"

FAMILIES = {
    "conv": "#3d78b3",
    "residual": "#3d78b3",
    "block": "#3d78b3",
    "pool": "#d98a2b",
    "dense": "#5d9a4e",
    "linear": "#5d9a4e",
}
"""Colour of a block by the first of these words in its kind; every other kind is grey."""
_OTHER = "#b4b4b4"


@dataclass(frozen=True)
class Layer:
    """One step of a net: what it does, what comes out of it, and what it learns."""

    name: str
    kind: str
    """`conv 3×3`, `max-pool 2`, `dense`…"""
    shape: tuple[int, ...]
    """(C, H, W) or (F,) of what comes out, for one picture."""
    parameters: int = 0


def net_diagram(layers: Sequence[Layer], *, title: str) -> Figure:
    """The layers from top to bottom, with all parameters counted at the end.

    Errors: `ValueError` where there is no layer, or a shape is neither (C, H, W) nor (F,).
    """
    _check(layers)
    row = 0.42 if len(layers) <= _FEW_LAYERS else 0.33
    heading = wrapped(title, _WIDTH - 2 * _MARGIN, HEADING_PT, bold=True, lines=2)
    top = 0.15 + 0.22 * len(heading) + 0.32
    height = top + row * len(layers) + 0.5
    figure = Figure(figsize=(_WIDTH, height), dpi=150, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    for place, line in enumerate(heading):
        write(axes, _MARGIN, 0.15 + 0.22 * place, line, fontsize=HEADING_PT, weight="bold")
    _write_columns(axes, top - 0.28)
    _Drawing(axes, tuple(layers), row, top).draw()
    _write_total(axes, layers, top + row * len(layers) + 0.1)
    return figure


def _check(layers: Sequence[Layer]) -> None:
    if not layers:
        raise ValueError("a diagram needs at least one layer")
    for layer in layers:
        if len(layer.shape) not in (1, 3) or min(layer.shape) < 1:
            raise ValueError(
                f"layer {layer.name} has shape {layer.shape}: expected (C, H, W) or (F,)"
            )


def _write_columns(axes: Axes, y: float) -> None:
    write(axes, _KIND[0], y, "layer", color=_QUIET)
    write(axes, _NAME[0], y, "name", color=_QUIET)
    write(axes, _SHAPE_RIGHT, y, "channels × rows × columns", ha="right", color=_QUIET)
    write(axes, _PARAMETERS_RIGHT, y, "parameters", ha="right", color=_QUIET)
    axes.plot([_MARGIN, _WIDTH - _MARGIN], [y + 0.21] * 2, color="#c8c8c8", lw=0.8)


def _write_total(axes: Axes, layers: Sequence[Layer], y: float) -> None:
    total = sum(layer.parameters for layer in layers)
    axes.plot([_MARGIN, _WIDTH - _MARGIN], [y - 0.06] * 2, color="#c8c8c8", lw=0.8)
    write(axes, _MARGIN, y, "all layers", weight="bold")
    write(axes, _PARAMETERS_RIGHT, y, f"{total:,} parameters", ha="right", weight="bold")


def shape_words(shape: Sequence[int]) -> str:
    """A shape as it is written: `32 × 254 × 254`, `115,200`."""
    return " × ".join(f"{side:,}" for side in shape)


@dataclass(frozen=True)
class _Drawing:
    """The rows of a diagram on axes whose unit is an inch, y pointing down."""

    axes: Axes
    layers: tuple[Layer, ...]
    row: float
    top: float

    def draw(self) -> None:
        centres = [self.top + self.row * (place + 0.5) for place in range(len(self.layers))]
        x = _BLOCK[0] + _BLOCK[1] / 2
        self.axes.plot([x, x], [centres[0], centres[-1]], color="#9a9a9a", lw=1, zorder=0)
        for layer, y in zip(self.layers, centres, strict=True):
            self._write(layer, y)
            if len(layer.shape) == 3:
                self._block(layer, x, y)
            else:
                self._bar(layer, x, y)

    def _write(self, layer: Layer, y: float) -> None:
        write(self.axes, _KIND[0], y, shortened(layer.kind, _KIND[1]), va="center")
        name = shortened(layer.name, _NAME[1])
        write(self.axes, _NAME[0], y, name, va="center", color=_QUIET)
        write(self.axes, _SHAPE_RIGHT, y, shape_words(layer.shape), va="center", ha="right")
        count = f"{layer.parameters:,}" if layer.parameters else "–"
        colour = "#1a1a1a" if layer.parameters else _QUIET
        write(self.axes, _PARAMETERS_RIGHT, y, count, va="center", ha="right", color=colour)
        self._share(layer, y + 0.1)

    def _share(self, layer: Layer, y: float) -> None:
        """A line under the number, as long as the layer's share of all parameters."""
        total = max(sum(each.parameters for each in self.layers), 1)
        length = 1.2 * layer.parameters / total
        if length > 0.01:
            spot = (_PARAMETERS_RIGHT - length, y)
            self.axes.add_patch(Rectangle(spot, length, 0.025, color=_colour(layer)))

    def _block(self, layer: Layer, x: float, y: float) -> None:
        """A prism: front as wide as the map, depth by the logarithm of the channels."""
        channels, _, columns = layer.shape
        widest = max(each.shape[-1] for each in self.layers if len(each.shape) == 3)
        width = max(1.5 * columns / widest, 0.05)
        depth = 0.03 + 0.045 * math.log2(channels)
        rise = min(depth * 0.35, 0.3 * self.row)
        high = 0.46 * self.row
        left, right = x - (width + depth) / 2, x + (width - depth) / 2
        low, up = y + (high + rise) / 2, y - (high - rise) / 2
        back = right + depth
        front = ((left, low), (right, low), (right, up), (left, up))
        roof = ((left, up), (right, up), (back, up - rise), (left + depth, up - rise))
        side = ((right, low), (right, up), (back, up - rise), (back, low - rise))
        for corners, light in ((front, 1.0), (roof, 1.3), (side, 0.8)):
            self._face(corners, _lit(_colour(layer), light))

    def _bar(self, layer: Layer, x: float, y: float) -> None:
        length = 0.12 + 0.28 * math.log10(layer.shape[0])
        high = 0.22 * self.row
        left, right = x - length / 2, x + length / 2
        corners = [(left, y + high), (right, y + high), (right, y - high), (left, y - high)]
        self._face(corners, _lit(_colour(layer), 1.0))

    def _face(
        self, corners: Sequence[tuple[float, float]], colour: tuple[float, float, float]
    ) -> None:
        self.axes.add_patch(
            Polygon(corners, closed=True, facecolor=colour, edgecolor="white", lw=0.6)
        )


def _colour(layer: Layer) -> str:
    kind = layer.kind.lower()
    return next((colour for word, colour in FAMILIES.items() if word in kind), _OTHER)


def _lit(colour: str, light: float) -> tuple[float, float, float]:
    """`colour` darker (`light` below 1) or nearer to white (above 1)."""
    red, green, blue = to_rgb(colour)
    if light <= 1:
        return red * light, green * light, blue * light
    mix = light - 1
    return red + (1 - red) * mix, green + (1 - green) * mix, blue + (1 - blue) * mix
