"""What the checks of a data set work on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.between import Between, copies_between
from clearhead.types import Manifest, Progress, silent


@dataclass(frozen=True)
class Against:
    """Another data set that the one under audit is compared with."""

    name: str
    manifest: Manifest
    thumbnails: NDArray[np.uint8]
    """(M, 64, 64), row by row as its manifest."""

    @property
    def taking_part(self) -> NDArray[np.bool_]:
        """Rows that can be read and are not set aside, (M,): another set need have no labels."""
        readable, kept = (self.manifest.table.column(name).is_null() for name in ("error", "aside"))
        taking: NDArray[np.bool_] = readable.to_numpy() & kept.to_numpy()
        return taking


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

    @cached_property
    def between(self) -> tuple[Between, ...]:
        """Which usable pictures each set of `against` holds too; rows that take no part share none.

        Errors: `ManifestError` where a manifest and its thumbnails don't fit.
        """
        return tuple(
            copies_between(
                _alone(self.manifest, self.manifest.usable()),
                self.thumbnails,
                _alone(other.manifest, other.taking_part),
                other.thumbnails,
                progress=self.progress,
            )
            for other in self.against
        )


def _alone(manifest: Manifest, chosen: NDArray[np.bool_]) -> Manifest:
    """The manifest with all other rows marked, so that they are nobody's copies."""
    errors = np.full(len(manifest), "takes no part", dtype=object)
    errors[chosen] = None
    return manifest.with_columns(error=errors)
