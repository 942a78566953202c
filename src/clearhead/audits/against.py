"""Which pictures of a data set another one holds too, and how much of each class that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Against
from clearhead.audits.phrases import counted, percent
from clearhead.audits.pictures import TURN_NAMES, Files, evenly, first_places
from clearhead.audits.section import Section, Sheet, Strip, Table, Tile
from clearhead.data.between import Between
from clearhead.types import Finding

SHARED = 0.10
"""Share of a class in common with another set from which the two can't test one another."""

PAIRS = 10
"""Pictures shown that another set holds too."""


def against(files: Files, other: Against, between: Between) -> Section:
    """What another set has in common with the usable rows: per class, in pairs, label by label.

    `files` are the usable rows, `between` is the material's for that set. A set that shares a tenth
    or more of some class, here or there, fails as an external test; one that shares less is worth
    a look.
    """
    theirs = other.taking_part
    shared = np.isin(between.picture[files.row], between.other_picture[theirs])
    back = np.isin(between.other_picture, between.picture[files.row])
    here = _overlaps(
        np.array(files.classes, dtype=object)[files.label], between.picture[files.row], shared
    )
    there = _overlaps(
        other.manifest.column("label")[theirs], between.other_picture[theirs], back[theirs]
    )
    figure = f"copies-against-{other.name}" if shared.any() else None
    finding = _shared(other, here, there, tuple(other.manifest.column("source")[back]), figure)
    table = _table_against(other.name, here, there)
    if figure is None:
        return Section("", "", (finding,), tables=(table,))
    pairs = _sheet_of_pairs(files, other, between, shared, figure)
    return Section(
        "", "", (finding, *_disputed(files, other, between)), tables=(table,), sheets=(pairs,)
    )


# --- Rows and overlaps ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Overlap:
    """How much of a class of one set another holds: pictures and files, and how many there are."""

    label: str
    pictures: int
    of_pictures: int
    files: int
    of_files: int

    @property
    def share(self) -> float:
        return self.pictures / self.of_pictures if self.of_pictures else 0.0


def _overlaps(
    label: NDArray[np.object_], picture: NDArray[np.int64], shared: NDArray[np.bool_]
) -> list[_Overlap]:
    """The overlap of each class, and of all together last."""
    named = np.array([str(name) if name is not None else "no label" for name in label], dtype=str)
    chosen = [(str(name), named == name) for name in np.unique(named)]
    return [
        _Overlap(
            name,
            len(np.unique(picture[inside & shared])),
            len(np.unique(picture[inside])),
            int((inside & shared).sum()),
            int(inside.sum()),
        )
        for name, inside in [*chosen, ("all", np.ones(len(named), dtype=np.bool_))]
    ]


def _shared(
    other: Against,
    here: Sequence[_Overlap],
    there: Sequence[_Overlap],
    sources: tuple[str, ...],
    figure: str | None,
) -> Finding:
    largest = max(part.share for part in (*here, *there))
    if not sources:
        message = f"{other.name} holds none of these pictures, mirrored copies included."
    else:
        message = (
            f"{other.name} is not independent of this set: it holds {_in_words(here)} of the "
            f"distinct pictures here. They are {_in_words(there)} of its own. Before scores on "
            f"{other.name} count as an external test, leave its {counted(len(sources), 'file')} "
            "of these pictures out."
        )
    level = "info" if not sources else "fail" if largest >= SHARED else "warn"
    return Finding(
        "copies.against", level, message, value=largest, limit=0.0, sources=sources, figure=figure
    )


def _in_words(overlaps: Sequence[_Overlap]) -> str:
    """`100 % (all 311 of Healthy, 2 of 1,100 of Brain Tumor)`."""
    *classes, every = overlaps
    parts = [
        f"{_of(part)} of {part.label}"
        for part in sorted(classes, key=lambda part: -part.share)
        if part.pictures
    ]
    return f"{percent(every.share)} ({', '.join(parts)})"


def _of(part: _Overlap) -> str:
    if part.pictures == part.of_pictures:
        return f"all {part.pictures:,}"
    return f"{part.pictures:,} of {part.of_pictures:,}"


def _table_against(name: str, here: Sequence[_Overlap], there: Sequence[_Overlap]) -> Table:
    rows = [
        (side, part.label, part.pictures, part.of_pictures, percent(part.share), part.files)
        for side, parts in (("this set", here), (name, there))
        for part in parts
    ]
    return Table(
        name=f"copies-shared-{name}",
        title=f"Pictures in common with {name}",
        columns=("of", "class", "shared pictures", "pictures", "share", "files of shared pictures"),
        rows=tuple(rows),
    )


def _sheet_of_pairs(
    files: Files, other: Against, between: Between, shared: NDArray[np.bool_], figure: str
) -> Sheet:
    """Pictures of both sets side by side, evenly from all that are shared, altered ones first."""
    firsts = np.flatnonzero(shared)[first_places(files.copy[shared])[1]]
    altered = ~between.exact[files.row[firsts]]
    chosen = firsts[altered] if altered.any() else firsts
    strips = tuple(_pair(files, other, between, at) for at in evenly(chosen, PAIRS))
    return Sheet(figure, f"Here, and in {other.name}", strips)


def _pair(files: Files, other: Against, between: Between, at: int) -> Strip:
    row = int(files.row[at])
    partner, turn = int(between.partner[row]), TURN_NAMES[between.turn[row]]
    label = other.manifest.column("label")[partner] or "no label"
    return Strip(
        turn
        or (
            "same pixels"
            if between.exact[row]
            else "re-encoded, rescaled, with other contrast or border"
        ),
        (
            Tile(row, f"here: {files.classes[files.label[at]]}"),
            Tile(partner, f"{other.name}: {label}", against=other.name),
        ),
    )


def _disputed(files: Files, other: Against, between: Between) -> list[Finding]:
    """Pictures of one class here and another there, where both sets know both classes."""
    known = set(files.classes)
    theirs: dict[int, set[str]] = {}
    for picture, label in zip(between.other_picture, other.manifest.column("label"), strict=True):
        if label in known:
            theirs.setdefault(int(picture), set()).add(label)
    named = [files.classes[label] for label in files.label]
    disputed = np.array(
        [
            bool(theirs.get(int(picture), set()) - {name})
            for picture, name in zip(between.picture[files.row], named, strict=True)
        ],
        dtype=np.bool_,
    )
    if not disputed.any():
        return []
    count = len(np.unique(files.copy[disputed]))
    carry, each = ("carries", "it") if count == 1 else ("carry", "each")
    message = (
        f"{counted(count, 'picture')} {carry} another label in {other.name} than here: one of the "
        f"two sets is wrong about {each}."
    )
    sources = files.names(disputed)
    return [Finding("copies.contradicting", "warn", message, float(count), sources=sources)]
