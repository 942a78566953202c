"""What the checks of a data set work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.types import Manifest, Progress, silent


@dataclass(frozen=True)
class Against:
    """Another data set that the one under audit is compared with."""

    name: str
    manifest: Manifest
    thumbnails: NDArray[np.uint8]
    """(M, 64, 64), row by row as its manifest."""


@dataclass(frozen=True)
class Material:
    """A data set under audit.

    Shapes, row by row as the manifest: `thumbnails` (N, 64, 64) uint8, `traits` (N,) of the
    structured type `data.traits.TRAITS`; both may be memory maps. Copies have been searched.
    """

    manifest: Manifest
    thumbnails: NDArray[np.uint8]
    traits: NDArray[Any]
    against: tuple[Against, ...] = ()
    resamples: int = 1000
    """Bootstrap draws of groups behind each interval."""
    permutations: int = 9999
    """Shuffles of labels behind each p-value."""
    seed: int = 0
    progress: Progress = silent
    path: Path = Path()
    """The manifest's file."""
