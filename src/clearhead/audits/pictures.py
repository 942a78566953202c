"""The files under audit, and what each is beside the first that shows its picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.between import turn_onto
from clearhead.types import Manifest

KINDS = (
    "a picture of its own",
    "same bytes as an earlier file",
    "same pixels, other bytes",
    "re-encoded, rescaled, with other contrast or border",
    "mirrored or turned",
)
"""What a file is beside the first of its picture, in the order of the test."""

TURN_NAMES = (
    "",
    "mirrored left to right",
    "mirrored top to bottom",
    "half a turn",
    "mirrored on a diagonal",
    "quarter turn clockwise",
    "quarter turn anticlockwise",
    "mirrored on a diagonal",
)
"""The eight turns in words, see `data.copies.turned`; the first is the picture as it is."""


@dataclass(frozen=True)
class Files:
    """The rows that take part, by source; every array is (n,)."""

    classes: tuple[str, ...]
    row: NDArray[np.int64]
    """Row of the manifest."""
    source: NDArray[np.object_]
    label: NDArray[np.int64]
    copy: NDArray[np.int64]
    turn: NDArray[np.int8]
    """Onto the first file here of the same picture, 0 where it lies alike."""
    kind: NDArray[np.int64]
    """Place in `KINDS`."""
    split: NDArray[np.object_]
    patient: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.row)

    def names(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> tuple[str, ...]:
        return tuple(self.source[chosen].tolist())

    def per_class(self, chosen: NDArray[np.bool_]) -> tuple[int, ...]:
        """Chosen files per class, (K,)."""
        counts = np.bincount(self.label[chosen], minlength=len(self.classes))
        return tuple(int(count) for count in counts)

    def groups(self) -> Iterator[NDArray[np.int64]]:
        """Places of the files that show one picture, by source, for pictures of two or more."""
        order = np.argsort(self.copy, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(self.copy[order])) + 1):
            if len(members) > 1:
                yield members


def files_of(manifest: Manifest) -> Files:
    """The usable rows of a manifest whose copies have been searched."""
    usable = np.flatnonzero(manifest.usable())
    row = usable[np.argsort(manifest.column("source")[usable], kind="stable")]
    rows = manifest.take(row)
    copy, turn = rows.column("copy"), rows.column("turn")
    first = first_places(copy)[0]
    onto_first = turn_onto(turn, turn[first])
    return Files(
        classes=manifest.classes,
        row=row,
        source=rows.column("source"),
        label=rows.labels(),
        copy=copy,
        turn=onto_first,
        kind=_kinds(rows, onto_first),
        split=rows.column("split"),
        patient=rows.column("patient"),
    )


def first_places(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each value the place where it stands first, and whether that is here; (n,) each."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    place = first[inverse].astype(np.int64)
    return place, place == np.arange(len(values))


def _kinds(rows: Manifest, turn: NDArray[np.int8]) -> NDArray[np.int64]:
    """What each file is beside the first of its picture, (n,): places in `KINDS`."""
    pages = zip(rows.column("sha256"), rows.column("source"), strict=True)
    files = np.array([f"{sha256}{_page(source)}" for sha256, source in pages], dtype=object)
    fresh = [first_places(values.astype(str))[1] for values in (files, rows.column("pixel_hash"))]
    own = first_places(rows.column("copy"))[1]
    kinds = np.select([own, ~fresh[0], ~fresh[1], turn == 0], [0, 1, 2, 3], default=4)
    return kinds.astype(np.int64)


def _page(source: str) -> str:
    """The page of a file with several: pages of one file are no copies of one another."""
    name, mark, page = source.rpartition("#page=")
    return page if name and mark and page.isdigit() else ""


def evenly(places: NDArray[np.int64], most: int) -> list[int]:
    """At most so many of the places, from first to last at even steps."""
    steps = np.linspace(0, len(places) - 1, min(most, len(places)))
    chosen: list[int] = places[steps.round().astype(int)].tolist()
    return chosen
