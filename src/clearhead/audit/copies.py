"""How many pictures the files show, and where the same picture sits on both sides of a border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audit.material import Against, Material
from clearhead.audit.section import Cell, Section, Shares, Sheet, Strip, Table, Tile
from clearhead.data.between import Between, copies_between, turn_onto
from clearhead.types import SPLITS, Finding, Manifest

KINDS = (
    "a picture of its own",
    "same bytes as an earlier file",
    "same pixels, other bytes",
    "re-encoded, rescaled or with other contrast",
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

NOTABLE = 0.01
"""Share of the files from which repeated pictures are worth a warning."""

SHARED = 0.10
"""Share of a class in common with another set from which the two can't test one another."""

STRIPS = 3
"""Groups shown of the largest."""

DISPUTED = 12
"""Groups shown of those with contradicting labels."""

PAIRS = 10
"""Pictures shown that another set holds too."""

TILES = 12
"""Most pictures shown of one group."""

RANDOM_TRAIN = 0.595
"""What a random split of 30 % test and 15 % of the rest for validation leaves to train on."""


def copies(material: Material) -> Section:
    """Distinct pictures, copies across splits and data sets, and labels that contradict.

    Rows set aside, without label or unreadable take no part; copies have been searched.
    """
    files = _files(material)
    parts = [
        _distinct(files),
        _mirrored(files),
        _largest(files),
        *_across(files),
        *_patients(files),
        _contradicting(files),
        *(_against(material, files, other) for other in material.against),
    ]
    return Section(
        name="copies",
        title="Copies of the same picture",
        findings=tuple(finding for part in parts for finding in part.findings),
        tables=tuple(table for part in parts for table in part.tables),
        shares=tuple(chart for part in parts for chart in part.shares),
        sheets=tuple(sheet for part in parts for sheet in part.sheets),
    )


# --- The files ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
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


def _files(material: Material) -> _Files:
    manifest = material.manifest
    usable = np.flatnonzero(manifest.usable())
    row = usable[np.argsort(manifest.column("source")[usable], kind="stable")]
    rows = manifest.take(row)
    copy, turn = rows.column("copy"), rows.column("turn")
    first = _first_places(copy)[0]
    onto_first = turn_onto(turn, turn[first])
    return _Files(
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


def _first_places(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each value the place where it stands first, and whether that is here; (n,) each."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    place = first[inverse].astype(np.int64)
    return place, place == np.arange(len(values))


def _kinds(rows: Manifest, turn: NDArray[np.int8]) -> NDArray[np.int64]:
    """What each file is beside the first of its picture, (n,): places in `KINDS`."""
    pages = zip(rows.column("sha256"), rows.column("source"), strict=True)
    files = np.array([f"{sha256}{_page(source)}" for sha256, source in pages], dtype=object)
    fresh = [_first_places(values.astype(str))[1] for values in (files, rows.column("pixel_hash"))]
    own = _first_places(rows.column("copy"))[1]
    kinds = np.select([own, ~fresh[0], ~fresh[1], turn == 0], [0, 1, 2, 3], default=4)
    return kinds.astype(np.int64)


def _page(source: str) -> str:
    """The page of a file with several: pages of one file are no copies of one another."""
    name, mark, page = source.rpartition("#page=")
    return page if name and mark and page.isdigit() else ""


# --- Words ----------------------------------------------------------------------------------


def percent(part: float, whole: float = 1.0) -> str:
    """A share in words: `12 %`, `0.4 %`, `100 %` for all and never for nearly all."""
    share = 100.0 * part / whole if whole else 0.0
    if share in (0.0, 100.0) or 1.0 <= share < 99.5:
        return f"{share:.0f} %"
    return f"{max(share, 0.1):.1f} %" if share < 1.0 else f"{min(share, 99.9):.1f} %"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,087 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


# --- Distinct pictures ----------------------------------------------------------------------


def _distinct(files: _Files) -> Section:
    kinds = tuple((name, files.per_class(files.kind == kind)) for kind, name in enumerate(KINDS))
    distinct, total = sum(kinds[0][1]), len(files)
    level = "warn" if total - distinct > NOTABLE * total else "info"
    message = f"{counted(total, 'file')} show {counted(distinct, 'distinct picture')}"
    if distinct < total:
        message += (
            f", {listed(_per_class(files))}. Of the other {counted(total - distinct, 'file')}, "
            f"{listed([f'{sum(counts):,} {_SAID[name]}' for name, counts in kinds[1:]])}. "
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
    KINDS[1]: "repeat the bytes of another",
    KINDS[2]: "repeat its pixels in other bytes",
    KINDS[3]: "are re-encoded, rescaled or have other contrast",
    KINDS[4]: "are mirrored or turned",
}


def _per_class(files: _Files) -> list[str]:
    own, every = files.kind == 0, np.ones(len(files), dtype=np.bool_)
    counts = zip(files.classes, files.per_class(own), files.per_class(every), strict=True)
    return [
        f"{pictures:,} in {total:,} files of {name}" for name, pictures, total in counts if total
    ]


def _table_of_kinds(files: _Files, kinds: Sequence[tuple[str, tuple[int, ...]]]) -> Table:
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


def _mirrored(files: _Files) -> Section:
    turned = files.turn != 0
    count = int(turned.sum())
    message = "No file is a mirrored or turned copy of another."
    if count:
        most = np.bincount(files.turn[turned]).argmax()
        message = (
            f"{counted(count, 'file')} ({percent(count, len(files))}) lie otherwise than the first "
            f"file of their picture, most often {TURN_NAMES[most]}. Hashes of bytes, of pixels or "
            "of the look of a picture find none of them."
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


def _largest(files: _Files) -> Section:
    groups = sorted(files.groups(), key=lambda members: (-len(members), int(members[0])))
    if not groups:
        return Section("", "", ())
    size = len(groups[0])
    share = max(len(group) for group in groups) / len(files)
    top = sum(len(group) for group in groups[:10])
    finding = Finding(
        check="copies.largest",
        level="warn" if size >= 5 and share > NOTABLE else "info",
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


def _labels(files: _Files, members: NDArray[np.int64]) -> str:
    counts = np.bincount(files.label[members], minlength=len(files.classes))
    present = np.flatnonzero(counts)
    if len(present) == 1:
        return files.classes[int(present[0])]
    return listed([f"{counts[label]} {files.classes[label]}" for label in present])


def _strip(files: _Files, members: NDArray[np.int64], label: str) -> Strip:
    """Members side by side, at most `TILES`: the first, then those least like a plain repeat."""
    tellings = -np.where(np.isin(files.kind[members], (1, 2)), 0, 1)
    tellings[0] = -2
    shown = members[np.argsort(tellings, kind="stable")][:TILES]
    return Strip(label, tuple(Tile(int(files.row[at]), _caption(files, at)) for at in shown))


def _caption(files: _Files, at: int) -> str:
    turn = TURN_NAMES[files.turn[at]]
    return f"{files.classes[files.label[at]]}{', ' if turn else ''}{turn}"


# --- Across the splits ----------------------------------------------------------------------


def _across(files: _Files) -> list[Section]:
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


def _twins(files: _Files, part: str, of: str) -> NDArray[np.bool_]:
    """Files of one split whose picture also lies in another, (n,)."""
    there = np.isin(files.copy, files.copy[files.split == of])
    twins: NDArray[np.bool_] = (files.split == part) & there
    return twins


def _across_row(files: _Files, part: str, of: str, twins: NDArray[np.bool_]) -> tuple[Cell, ...]:
    total = int((files.split == part).sum())
    count = int(twins.sum())
    return (part, of, *files.per_class(twins), count, percent(count, total))


def _leaking(files: _Files, part: str, of: str, twins: NDArray[np.bool_]) -> Finding:
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


def _at_random(files: _Files) -> Section:
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
        f"Not split yet. A random 70/30 split would give {said}: use "
        "`clearhead split --protocol group`, which keeps copies together."
        if expected > 0
        else "Not split yet; no two files show the same picture, so no split can part copies."
    )
    level = "warn" if expected > NOTABLE else "info"
    return Section("", "", (Finding("copies.across", level, message, value=expected),))


def _sizes(files: _Files) -> NDArray[np.int64]:
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


def _patients(files: _Files) -> list[Section]:
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


def _contradicting(files: _Files) -> Section:
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


def _alternating(files: _Files, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Members with their labels in turn, so that the first few show all of them."""
    labels = files.label[members]
    rank = np.zeros(len(members), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return members[np.lexsort((labels, rank))]


# --- Against another set --------------------------------------------------------------------


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


def _against(material: Material, files: _Files, other: Against) -> Section:
    theirs = _taking_part(other.manifest)
    between = copies_between(
        _alone(material.manifest, material.manifest.usable()),
        material.thumbnails,
        _alone(other.manifest, theirs),
        other.thumbnails,
        progress=material.progress,
    )
    shared = np.isin(between.picture[files.row], between.other_picture[theirs])
    back = theirs & np.isin(between.other_picture, between.picture[files.row])
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


def _taking_part(manifest: Manifest) -> NDArray[np.bool_]:
    """Rows that can be read and are not set aside, (M,): another set need have no labels."""
    readable, kept = (manifest.table.column(name).is_null() for name in ("error", "aside"))
    taking: NDArray[np.bool_] = readable.to_numpy() & kept.to_numpy()
    return taking


def _alone(manifest: Manifest, chosen: NDArray[np.bool_]) -> Manifest:
    """The manifest with all other rows marked, so that they are nobody's copies."""
    errors = np.full(len(manifest), "takes no part", dtype=object)
    errors[chosen] = None
    return manifest.with_columns(error=errors)


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
            f"{other.name} is not independent of this set. It holds {_in_words(here)} of the "
            f"distinct pictures here, and they are {_in_words(there)} of its own. Before scores on "
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
    files: _Files, other: Against, between: Between, shared: NDArray[np.bool_], figure: str
) -> Sheet:
    """Pictures of both sets side by side, evenly from all that are shared, altered ones first."""
    firsts = np.flatnonzero(shared)[_first_places(files.copy[shared])[1]]
    altered = ~between.exact[files.row[firsts]]
    chosen = firsts[altered] if altered.any() else firsts
    evenly = np.unique(np.linspace(0, len(chosen) - 1, min(PAIRS, len(chosen))).astype(np.int64))
    strips = tuple(_pair(files, other, between, at) for at in chosen[evenly].tolist())
    return Sheet(figure, f"Here, and in {other.name}", strips)


def _pair(files: _Files, other: Against, between: Between, at: int) -> Strip:
    row = int(files.row[at])
    partner, turn = int(between.partner[row]), TURN_NAMES[between.turn[row]]
    label = other.manifest.column("label")[partner] or "no label"
    return Strip(
        turn or ("same pixels" if between.exact[row] else "re-encoded, rescaled or re-contrasted"),
        (
            Tile(row, f"here: {files.classes[files.label[at]]}"),
            Tile(partner, f"{other.name}: {label}", against=other.name),
        ),
    )


def _disputed(files: _Files, other: Against, between: Between) -> list[Finding]:
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
    message = (
        f"{counted(count, 'picture')} carry another label in {other.name} than here: one of the "
        "two sets is wrong about each."
    )
    sources = files.names(disputed)
    return [Finding("copies.contradicting", "warn", message, float(count), sources=sources)]
