"""The common grid on which a bench compares maps: square patches, as large as a cell of the net.

A finer grid would compare interpolation, and maps of another grid (occlusion, integrated
gradients) meet here as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.data.canvas import Grid, on_square


@dataclass(frozen=True)
class Patches:
    """A square of `size_px` cut into patches of `side_px`; those at the far ends may be smaller."""

    size_px: int
    side_px: int

    @classmethod
    def of(cls, grid: Grid, size_px: int) -> Patches:
        """Patches as large as the cells of a grid."""
        return cls(size_px, max(1, round(grid.stride_px)))

    @property
    def count(self) -> int:
        """Patches along one side, P."""
        return -(-self.size_px // self.side_px)

    def of_maps(
        self, maps: NDArray[np.float32], grid: Grid, shift: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Means over patches (B, P, P) of maps (B, h, w), lifted to the square as they are shown.

        With a `shift` (down, across) the map belongs to a picture moved by so many pixels, and is
        moved back; what has left the square is its nearest pixel.
        """
        down = self._means(shift[0]) @ _lifting(maps.shape[1], grid, self.size_px)
        across = self._means(shift[1]) @ _lifting(maps.shape[2], grid, self.size_px)
        return (down @ maps @ across.T).astype(np.float32)

    def of_squares(
        self, squares: NDArray[np.float32], shift: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Means over patches (B, P, P) of values (B, S, S)."""
        down, across = (self._means(pixels) for pixels in shift)
        return (down @ squares @ across.T).astype(np.float32)

    def spread(self, patches: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values of patches (B, P, P) in each of their pixels, (B, S, S)."""
        pixels = np.arange(self.size_px) // self.side_px
        return patches[:, pixels[:, None], pixels]

    def _means(self, shift: int) -> NDArray[np.float32]:
        """Means over patches of pixels `shift` further on, as a matrix (P, S)."""
        pixels = np.arange(self.size_px)
        weights = np.zeros((self.count, self.size_px), np.float32)
        there = np.clip(pixels + shift, 0, self.size_px - 1)
        np.add.at(weights, (pixels // self.side_px, there), 1.0)
        means: NDArray[np.float32] = weights / weights.sum(1, keepdims=True)
        return means


def _lifting(cells: int, grid: Grid, size_px: int) -> NDArray[np.float32]:
    """`on_square` along one axis as a matrix (S, cells): each cell of a column lifted alone."""
    one_by_one = np.eye(cells, dtype=np.float32)[:, :, None]
    lifting: NDArray[np.float32] = on_square(one_by_one, grid, size_px)[:, :, 0].T
    return lifting
