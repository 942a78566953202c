"""How many pictures the files show, and where the same picture sits on both sides of a border."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.against import against
from clearhead.audits.material import Material
from clearhead.audits.phrases import counted, listed, percent
from clearhead.audits.pictures import KINDS, TURN_NAMES, Files, files_of
from clearhead.audits.section import Cell, Section, Shares, Sheet, Strip, Table, Tile
from clearhead.types import SPLITS, Finding

NOTABLE = 0.01
"""Share of the files from which repeated pictures are worth a warning."""

STRIPS = 3
"""Groups shown of the largest."""

DISPUTED = 12
"""Groups shown of those with contradicting labels."""

TILES = 12
"""Most pictures shown of one group."""

RANDOM_TRAIN = 0.595
"""What a random split of 30 % test and 15 % of the rest for validation leaves to train on."""


def copies(material: Material) -> Section:
    """Distinct pictures, copies across splits and data sets, and labels that contradict.

    Rows set aside, without label or unreadable take no part; copies have been searched.
    """
    files = files_of(material.manifest)
    parts = [
        _distinct(files),
        _mirrored(files),
        _largest(files),
        *_across(files),
        *_patients(files),
        _contradicting(files),
        *(
            against(files, other, between)
            for other, between in zip(material.against, material.between, strict=True)
        ),
    ]
    return Section(
        name="copies",
        title="Copies of the same picture",
        findings=tuple(finding for part in parts for finding in part.findings),
        tables=tuple(table for part in parts for table in part.tables),
        shares=tuple(chart for part in parts for chart in part.shares),
        sheets=tuple(sheet for part in parts for sheet in part.sheets),
    )


# --- Distinct pictures ----------------------------------------------------------------------


def _distinct(files: Files) -> Section:
    kinds = tuple((name, files.per_class(files.kind == kind)) for kind, name in enumerate(KINDS))
    distinct, total = sum(kinds[0][1]), len(files)
    level = "warn" if total - distinct > NOTABLE * total else "info"
    message = f"{counted(total, 'file')} show {counted(distinct, 'distinct picture')}"
    if distinct < total:
        message += (
            f", {listed(_per_class(files))}. Of the other {counted(total - distinct, 'file')}, "
            f"{listed([_said(name, sum(counts)) for name, counts in kinds[1:] if any(counts)])}. "
            "Count pictures and not files, and keep the copies of a picture on one side of a split."
        )
    else:
        message += ": no file repeats another, mirrored and re-encoded copies included."
    finding = Finding(
        check="copies.distinct",
        level=level,
        message=message,
        value=distinct / total if total else None,
        sources=files.names(files.kind > 0),
        figure="copies-kinds",
    )
    chart = Shares("copies-kinds", "What each file is", files.classes, kinds)
    return Section("", "", (finding,), tables=(_table_of_kinds(files, kinds),), shares=(chart,))


_SAID = {
    KINDS[1]: ("repeats", "repeat", "the bytes of another"),
    KINDS[2]: ("repeats", "repeat", "the pixels of another in other bytes"),
    KINDS[3]: ("is", "are", "re-encoded, rescaled, of other contrast or border"),
    KINDS[4]: ("is", "are", "mirrored or turned"),
}


def _said(kind: str, count: int) -> str:
    one, several, rest = _SAID[kind]
    return f"{count:,} {one if count == 1 else several} {rest}"


def _per_class(files: Files) -> list[str]:
    own, every = files.kind == 0, np.ones(len(files), dtype=np.bool_)
    counts = zip(files.classes, files.per_class(own), files.per_class(every), strict=True)
    return [
        f"{pictures:,} in {total:,} files of {name}" for name, pictures, total in counts if total
    ]


def _table_of_kinds(files: Files, kinds: Sequence[tuple[str, tuple[int, ...]]]) -> Table:
    rows: list[tuple[Cell, ...]] = [(name, *counts, sum(counts)) for name, counts in kinds]
    every = files.per_class(np.ones(len(files), dtype=np.bool_))
    return Table(
        name="copies-distinct",
        title="Files and distinct pictures",
        columns=("what the file is", *files.classes, "all"),
        rows=(*rows, ("files", *every, len(files))),
        note="A mirrored copy counts as one picture with its original. The first file by name "
        "counts as the picture, the others by the first row that fits them.",
    )


def _mirrored(files: Files) -> Section:
    turned = files.turn != 0
    count = int(turned.sum())
    message = "No file is a mirrored or turned copy of another."
    if count:
        most = np.bincount(files.turn[turned]).argmax()
        lie, whose = ("lies", "its") if count == 1 else ("lie", "their")
        message = (
            f"{counted(count, 'file')} ({percent(count, len(files))}) {lie} otherwise than the "
            f"first file of {whose} picture, most often {TURN_NAMES[most]}. Hashes of bytes, of "
            "pixels or of the look of a picture find no such copy."
        )
    level = "warn" if count > NOTABLE * len(files) else "info"
    finding = Finding(
        "copies.mirrored",
        level,
        message,
        value=float(count),
        sources=files.names(turned),
        figure="copies-largest" if count else None,
    )
    return Section("", "", (finding,))


# --- The largest groups ---------------------------------------------------------------------


def _largest(files: Files) -> Section:
    groups = sorted(files.groups(), key=lambda members: (-len(members), int(members[0])))
    if not groups:
        return Section("", "", ())
    size = len(groups[0])
    top = sum(len(group) for group in groups[:10])
    finding = Finding(
        check="copies.largest",
        level="warn" if size > max(NOTABLE * len(files), 4) else "info",
        message=f"The picture with most copies fills {size:,} files ({_labels(files, groups[0])}), "
        f"{percent(size, len(files))} of all; the ten with most fill {percent(top, len(files))}. "
        f"In an average over files this one picture counts {size:,} times.",
        value=float(size),
        sources=files.names(groups[0]),
        figure="copies-largest",
    )
    strips = tuple(
        _strip(files, members, f"{len(members)} files of one picture, {_labels(files, members)}")
        for members in groups[:STRIPS]
    )
    note = "Each strip is one picture. Files of other pixels come first."
    sheet = Sheet("copies-largest", "The pictures with most copies", strips, note)
    return Section("", "", (finding,), sheets=(sheet,))


def _labels(files: Files, members: NDArray[np.int64]) -> str:
    counts = np.bincount(files.label[members], minlength=len(files.classes))
    present = np.flatnonzero(counts)
    if len(present) == 1:
        return files.classes[int(present[0])]
    return listed([f"{counts[label]} {files.classes[label]}" for label in present])


def _strip(files: Files, members: NDArray[np.int64], label: str) -> Strip:
    """Members side by side, at most `TILES`: the first, then those least like a plain repeat."""
    tellings = -np.where(np.isin(files.kind[members], (1, 2)), 0, 1)
    tellings[0] = -2
    shown = members[np.argsort(tellings, kind="stable")][:TILES]
    return Strip(label, tuple(Tile(int(files.row[at]), _caption(files, at)) for at in shown))


def _caption(files: Files, at: int) -> str:
    turn = TURN_NAMES[files.turn[at]]
    return f"{files.classes[files.label[at]]}{', ' if turn else ''}{turn}"


# --- Across the splits ----------------------------------------------------------------------


def _across(files: Files) -> list[Section]:
    parts = [name for name in SPLITS if (files.split == name).any()]
    if len(parts) < 2:
        return [_at_random(files)]
    pairs = [(part, of) for of, part in _pairs(parts)]
    shared = {pair: _twins(files, *pair) for pair in pairs}
    findings = tuple(
        _leaking(files, part, of, twins) for (part, of), twins in shared.items() if twins.any()
    )
    table = Table(
        name="copies-across",
        title="Copies on both sides of the split",
        columns=("files", "with a copy in", *files.classes, "all", "share"),
        rows=tuple(_across_row(files, *pair, twins) for pair, twins in shared.items()),
    )
    return [Section("", "", findings or (_kept_apart(parts),), tables=(table,))]


def _pairs(parts: Sequence[str]) -> list[tuple[str, str]]:
    return [(of, part) for place, of in enumerate(parts) for part in reversed(parts[place + 1 :])]


def _twins(files: Files, part: str, of: str) -> NDArray[np.bool_]:
    """Files of one split whose picture also lies in another, (n,)."""
    there = np.isin(files.copy, files.copy[files.split == of])
    twins: NDArray[np.bool_] = (files.split == part) & there
    return twins


def _across_row(files: Files, part: str, of: str, twins: NDArray[np.bool_]) -> tuple[Cell, ...]:
    total = int((files.split == part).sum())
    count = int(twins.sum())
    return (part, of, *files.per_class(twins), count, percent(count, total))


def _leaking(files: Files, part: str, of: str, twins: NDArray[np.bool_]) -> Finding:
    inside = files.per_class(files.split == part)
    each = [
        f"{name} {percent(count, total)}"
        for name, count, total in zip(files.classes, files.per_class(twins), inside, strict=True)
        if total
    ]
    count = int(twins.sum())
    remembered = f"scores on {part} reward remembering"
    why = remembered if of == "train" else f"what is chosen on {of} is chosen for {part} too"
    return Finding(
        check="copies.across",
        level="fail",
        message=f"{count:,} of {counted(sum(inside), f'{part} file')} "
        f"({percent(count, sum(inside))}) have a copy in {of} ({', '.join(each)}): {why}. "
        "Split again with `clearhead split --protocol group`.",
        value=count / sum(inside),
        limit=0.0,
        sources=files.names(twins),
        figure="copies-across",
    )


def _kept_apart(parts: Sequence[str]) -> Finding:
    return Finding(
        "copies.across",
        "info",
        f"No picture lies in two of {listed(parts)}, mirrored and re-encoded copies included.",
        value=0.0,
        limit=0.0,
        figure="copies-across",
    )


def _at_random(files: Files) -> Section:
    """What a random split would do to a manifest that has none."""
    chance = twin_chance(_sizes(files), round(RANDOM_TRAIN * len(files)))
    expected = float(chance.mean()) if len(chance) else 0.0
    each = [
        f"{name} {percent(float(chance[files.label == label].mean()))}"
        for label, name in enumerate(files.classes)
        if (files.label == label).any()
    ]
    said = f"{percent(expected)} of the test files a copy in training ({', '.join(each)})"
    message = (
        f"Not split yet, and a random 70/30 split would give {said}. Use "
        "`clearhead split --protocol group`: it keeps copies together."
        if expected > 0
        else "Not split yet, but no two files show the same picture, so no split can part copies."
    )
    level = "warn" if expected > NOTABLE else "info"
    return Section("", "", (Finding("copies.across", level, message, value=expected),))


def _sizes(files: Files) -> NDArray[np.int64]:
    """How many files show the picture of each file, (n,)."""
    _, inverse, counts = np.unique(files.copy, return_inverse=True, return_counts=True)
    sizes: NDArray[np.int64] = counts[inverse].astype(np.int64)
    return sizes


def twin_chance(sizes: NDArray[np.int64], train: int) -> NDArray[np.float64]:
    """Chance that a file outside training has a copy among `train` files drawn at random, (n,).

    `sizes` (n,) counts the files of each file's picture. Of the n − 1 other files `train` are
    drawn; none of the size − 1 copies is among them with the hypergeometric probability
    ∏ (n − 1 − train − i) / (n − 1 − i), i = 0 … size − 2.
    """
    others = len(sizes) - 1
    steps = np.arange(max(int(sizes.max(initial=1)) - 1, 0))
    missed = np.maximum(others - train - steps, 0) / np.maximum(others - steps, 1)
    none = np.concatenate([[1.0], np.cumprod(missed)])
    chance: NDArray[np.float64] = 1.0 - none[sizes - 1]
    return chance


# --- Patients -------------------------------------------------------------------------------


def _patients(files: Files) -> list[Section]:
    known = files.patient != None  # noqa: E711  elementwise on objects
    placed = known & (files.split != None)  # noqa: E711  elementwise on objects
    parts: dict[str, set[str]] = {}
    for patient, split in zip(files.patient[placed], files.split[placed], strict=True):
        parts.setdefault(patient, set()).add(split)
    torn = {patient for patient, splits in parts.items() if len(splits) > 1}
    if not torn:
        return []
    inside = np.array([patient in torn for patient in files.patient], dtype=np.bool_)
    message = (
        f"{counted(len(torn), 'patient')} of {len(parts):,} have pictures in more than one split "
        f"({counted(int(inside.sum()), 'file')}): the test holds people seen in training. Split "
        "again with `clearhead split --protocol group`, which keeps patients together."
    )
    finding = Finding(
        "copies.across",
        "fail",
        message,
        value=len(torn) / len(parts),
        limit=0.0,
        sources=files.names(inside & placed),
    )
    return [Section("", "", (finding,))]


# --- Contradicting labels -------------------------------------------------------------------


def _contradicting(files: Files) -> Section:
    groups = [members for members in files.groups() if len(set(files.label[members])) > 1]
    if not groups:
        message = "No picture carries two labels."
        return Section("", "", (Finding("copies.contradicting", "info", message, value=0.0),))
    inside = np.concatenate(groups)
    finding = Finding(
        check="copies.contradicting",
        level="fail",
        message=f"{counted(len(groups), 'picture')} in {counted(len(inside), 'file')} "
        f"{'carries' if len(groups) == 1 else 'carry'} more than one label: at least one of each "
        "is wrong. Look at them; `clearhead check --fix` sets them aside.",
        value=float(len(groups)),
        limit=0.0,
        sources=files.names(inside),
        figure="copies-contradicting",
    )
    strips = tuple(
        _strip(files, _alternating(files, members), _labels(files, members))
        for members in sorted(groups, key=len, reverse=True)[:DISPUTED]
    )
    title = "One picture, several labels"
    note = f"{len(groups) - DISPUTED} more are not shown." if len(groups) > DISPUTED else ""
    sheet = Sheet("copies-contradicting", title, strips, note)
    return Section("", "", (finding,), sheets=(sheet,))


def _alternating(files: Files, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Members with their labels in turn, so that the first few show all of them."""
    labels = files.label[members]
    rank = np.zeros(len(members), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return members[np.lexsort((labels, rank))]
