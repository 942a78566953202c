"""Which pictures of one data set another data set holds too.

Both are searched as one, so that a copy between two folders is the same thing as a copy within
one: identical pixels, or local contrast that agrees in one of the 8 flips and quarter turns, or a
chain of such copies. See `data/copies.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clearhead.data.contrast import TURNS, UNDONE, turned
from clearhead.data.copies import THRESHOLD, find_copies
from clearhead.data.thumbnail import SIDE
from clearhead.errors import ManifestError
from clearhead.types import Manifest, Progress, silent


@dataclass(frozen=True)
class Between:
    """Which rows of a first manifest (N rows) and of another (M rows) show the same picture.

    Shapes: `picture`, `turn`, `partner`, `exact` are (N,), `other_picture`, `other_turn` (M,).
    """

    picture: NDArray[np.int64]
    """Number of the picture that each row of the first shows."""
    other_picture: NDArray[np.int64]
    """Number of the picture that each row of the other shows, counted alike."""
    turn: NDArray[np.int8]
    """The turn that maps a row of the first onto its `partner`; 0 where there is none."""
    partner: NDArray[np.int64]
    """The row of the other that shows the same picture, unturned if there is one; -1 for none."""
    exact: NDArray[np.bool_]
    """Whether a row of the other holds the very same pixels."""

    @property
    def shared(self) -> NDArray[np.bool_]:
        """Whether the other holds the picture of each row of the first, (N,)."""
        return self.partner >= 0

    @property
    def other_shared(self) -> NDArray[np.bool_]:
        """Whether the first holds the picture of each row of the other, (M,)."""
        return np.isin(self.other_picture, self.picture)

    def rows_of(self, row: int) -> NDArray[np.int64]:
        """The rows of the other that show what `row` of the first shows."""
        return np.flatnonzero(self.other_picture == self.picture[row])


def copies_between(
    manifest: Manifest,
    thumbnails: NDArray[np.uint8],
    other: Manifest,
    other_thumbnails: NDArray[np.uint8],
    *,
    threshold: float = THRESHOLD,
    progress: Progress = silent,
) -> Between:
    """Find the pictures that both manifests hold, whatever was done to the copies.

    Shapes: (N, 64, 64) and (M, 64, 64) uint8 thumbnails, row by row as the manifests; memory maps
    are read block by block, and a few kB are held for each row besides.
    Errors: `ManifestError` where a manifest and its thumbnails don't fit.
    """
    for rows, thumbs in ((manifest, thumbnails), (other, other_thumbnails)):
        _check(rows, thumbs)
    both = _both(manifest, other)
    pair = cast(NDArray[np.uint8], _Pair(thumbnails, other_thumbnails))
    found = find_copies(both, pair, threshold=threshold, progress=progress)
    picture, turn = found.column("copy"), found.column("turn")
    count = len(manifest)
    partner = _partners(picture[:count], turn[:count], picture[count:], turn[count:])
    return Between(
        picture=picture[:count],
        other_picture=picture[count:],
        turn=_turns_onto(turn[:count], turn[count:], partner),
        partner=partner,
        exact=_exact(manifest, other),
    )


def _check(manifest: Manifest, thumbnails: NDArray[np.uint8]) -> None:
    expected = (len(manifest), SIDE, SIDE)
    if thumbnails.shape != expected or thumbnails.dtype != np.uint8:
        raise ManifestError(
            f"the thumbnails of {manifest.root} are {thumbnails.shape} {thumbnails.dtype}: "
            f"expected {expected} uint8, one for each row of the manifest; index the folder again"
        )


# --- Two as one -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two arrays of thumbnails that are read as one, and copied nowhere."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.first) + len(self.second), SIDE, SIDE)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        taken = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
        within = rows < len(self.first)
        taken[within] = self.first[rows[within]]
        taken[~within] = self.second[rows[~within] - len(self.first)]
        return taken


def _both(manifest: Manifest, other: Manifest) -> Manifest:
    """One manifest of all rows, those of the first in front in the order of sources too."""
    tables = [
        rows.with_columns(
            source=[f"{place} {source}" for source in rows.column("source")],
        ).table
        for place, rows in enumerate((manifest, other))
    ]
    return dataclasses.replace(manifest, table=pa.concat_tables(tables).combine_chunks())


# --- Pairs ----------------------------------------------------------------------------------


def _partners(
    picture: NDArray[np.int64],
    turn: NDArray[np.int8],
    other_picture: NDArray[np.int64],
    other_turn: NDArray[np.int8],
) -> NDArray[np.int64]:
    """For each row of the first, the first row of the other of its picture, in its own turn if any.

    Shapes: (N,) and (M,) → (N,) int64, -1 where the other has none.
    """
    alike = _first_of(picture * TURNS + turn, other_picture * TURNS + other_turn)
    return np.where(alike >= 0, alike, _first_of(picture, other_picture))


def _first_of(wanted: NDArray[np.int64], offered: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first place where each wanted number is offered, (N,); -1 where it isn't."""
    if not len(offered):
        return np.full(len(wanted), -1, dtype=np.int64)
    numbers, first = np.unique(offered, return_index=True)
    place = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return np.where(numbers[place] == wanted, first[place], -1).astype(np.int64)


def turn_onto(turn: NDArray[np.int8], target: NDArray[np.int8]) -> NDArray[np.int8]:
    """The turn that maps one picture onto another, from those that map both onto a third.

    Shapes: two of (n,) int8 in 0–7 → (n,) int8; see `data.copies.turned`.
    """
    back = np.array(UNDONE, dtype=np.int8)[target]
    turns: NDArray[np.int8] = _composed()[turn, back]
    return turns


def _turns_onto(
    turn: NDArray[np.int8], other_turn: NDArray[np.int8], partner: NDArray[np.int64]
) -> NDArray[np.int8]:
    """The turn that maps each row onto its partner, (N,); 0 where it has none."""
    turns = np.zeros(len(turn), dtype=np.int8)
    paired = partner >= 0
    turns[paired] = turn_onto(turn[paired], other_turn[partner[paired]])
    return turns


def _composed() -> NDArray[np.int8]:
    """The turn that equals one turn and then another, (8, 8) int8."""
    square = np.arange(9).reshape(3, 3)
    number = {turned(square, turn).tobytes(): turn for turn in range(TURNS)}
    return np.array(
        [
            [number[turned(turned(square, first), then).tobytes()] for then in range(TURNS)]
            for first in range(TURNS)
        ],
        dtype=np.int8,
    )


def _exact(manifest: Manifest, other: Manifest) -> NDArray[np.bool_]:
    """Whether the other holds a readable row of the same pixels, (N,)."""
    known: set[Any] = set(other.readable().column("pixel_hash")) - {None}
    readable = manifest.column("error") == None  # noqa: E711  elementwise on objects
    same = np.array([pixels in known for pixels in manifest.column("pixel_hash")], dtype=np.bool_)
    exact: NDArray[np.bool_] = same & readable
    return exact
