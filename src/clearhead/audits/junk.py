"""Files that don't belong: broken, misnamed, blank, no head, lettered, framed, drawn upon.

Told from numbers (`data.oddness`) by cautious rules: a flag is a reason to look, never a verdict,
so none of them fails; many files gone or changed do. What a class has more of than another is
said, since a net can learn it.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.phrases import counted, listed, percent
from clearhead.audits.pictures import evenly
from clearhead.audits.section import LEVELS, Cell, Section, Sheet, Strip, Table, Tile
from clearhead.data.oddness import NOT_HEAD, ODDITIES, SIDES
from clearhead.data.read import locate, shown
from clearhead.types import Finding, Manifest

Mask = NDArray[np.bool_]

TILES = 16
"""Pictures of a sheet."""
FEW = 0.01
"""A mark on a smaller share of the files is said for the record, unless a class has it more."""
STRAY = 0.005
"""As `FEW`, for what is told least surely: CT, and pictures that fill their frame."""
TELLING = 0.001
"""p-value from which a mark is spread over the classes more unevenly than by chance…"""
UNEVEN = 1.5
"""…and how many times as often one class must have it as another to be worth a warning."""

KINDS = {
    "noise": "noise without a picture",
    "page": "text, a plot, or next to nothing on an empty page",
    "several": "several pictures on one sheet, or a pattern that repeats",
    "scene": "a picture that fills its frame to every edge, with no air around a head",
    "ct": "CT: a saturated closed skull around a dull brain",
    "coloured": "a colour picture or a colour map",
}
"""What each oddity of `NOT_HEAD` shows."""

UNSURE = ("scene", "ct")

FORMATS = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif", "mpo"), "JPEG"),
    **dict.fromkeys(("tif", "tiff"), "TIFF"),
    **dict.fromkeys(("bmp", "dib"), "BMP"),
    "png": "PNG",
    "webp": "WEBP",
}
"""The format that a file's extension promises."""


def junk(material: Material) -> Section:
    """What among the files is no ordinary picture of one head in MRI, with examples of each.

    Rows set aside take no part. A text or frame is looked for in pictures of heads alone.
    """
    files = _Files.of(material)
    found = [each for look in LOOKS for each in look(files)]
    found.sort(key=lambda each: LEVELS.index(each.finding.level))
    sheets = [each.sheet for each in found if each.sheet is not None]
    return Section(
        name="junk",
        title="Files that don't belong",
        findings=tuple(each.finding for each in found),
        tables=(_table(files, found), *(each.table for each in found if each.table is not None)),
        sheets=tuple(sheets),
    )


def set_aside(material: Material) -> dict[int, str]:
    """Rows that should take no part in training, and why: blank, without a head, gone or changed.

    Rows that can't be read or are set aside already are left out.
    """
    files = _Files.of(material)
    lost = files.readable & ~files.seen
    reasons = {"blank": "the picture is blank", **{name: f"does not look like one head in MRI: "
               f"{words}" for name, words in KINDS.items()}}  # fmt: skip
    return {
        int(row): "the file is gone or has changed since it was indexed" for row in files.rows[lost]
    } | {
        int(files.rows[place]): reasons[name]
        for name in reasons
        for place in np.flatnonzero(files.kind == name)
    }


# --- The files ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
    """The rows that take part, (M,) each: those of the manifest that aren't set aside."""

    manifest: Manifest
    rows: NDArray[np.int64]
    readable: Mask
    seen: Mask
    odd: NDArray[Any]
    labels: NDArray[Any]

    @classmethod
    def of(cls, material: Material) -> _Files:
        manifest = material.manifest
        rows = np.flatnonzero(manifest.table.column("aside").is_null().to_numpy())
        chosen = manifest.take(rows)
        return cls(
            chosen,
            rows,
            chosen.table.column("error").is_null().to_numpy(),
            np.asarray(material.traits["seen"])[rows],
            np.asarray(material.traits["odd"])[rows],
            chosen.column("label"),
        )

    @cached_property
    def sources(self) -> NDArray[Any]:
        return self.manifest.column("source")

    @cached_property
    def kind(self) -> NDArray[Any]:
        """`blank`, the oddity that makes a picture no head, or the empty word, (M,)."""
        kind = np.full(len(self.rows), "", dtype=object)
        for name in ("blank", *NOT_HEAD):
            kind[(kind == "") & self.seen & ODDITIES[name](self.odd)] = name
        return kind

    @cached_property
    def heads(self) -> Mask:
        """Pictures of a head, of whatever modality."""
        heads: Mask = self.seen & ((self.kind == "") | (self.kind == "ct"))
        return heads

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """Copies of one picture share a number."""
        column = self.manifest.table.column("copy")
        numbers: NDArray[np.int64] = (
            np.arange(len(self.rows)) if column.null_count else column.to_numpy()
        )
        return numbers

    @property
    def classes(self) -> tuple[str | None, ...]:
        """The classes, and None where there are rows without one."""
        named: tuple[str | None, ...] = self.manifest.classes
        return named + ((None,) if any(label is None for label in self.labels) else ())

    def per_class(self, chosen: Mask) -> list[int]:
        """How many of the chosen rows each of `classes` has."""
        counts = Counter(self.labels[chosen].tolist())
        return [counts[name] for name in self.classes]


@dataclass(frozen=True)
class _Found:
    """A finding, what it stands for, and what shows it."""

    finding: Finding
    what: str
    chosen: Mask
    sheet: Sheet | None = None
    table: Table | None = None


def _found(
    files: _Files,
    check: str,
    what: str,
    chosen: Mask,
    advice: str,
    *,
    few: float = 0.0,
    caption: Callable[[int], str] | None = None,
    name: str = "",
) -> Iterator[_Found]:
    """The finding on the chosen rows, if any: `what` they are, per class, and what to do."""
    number = int(np.count_nonzero(chosen))
    if not number:
        return
    telling = _telling(files, chosen) if caption else ""
    share = number / len(chosen)
    sheet = _sheet(files, name or check, what, chosen, caption) if caption else None
    does = what if number > 1 else _of_one(what)
    message = f"{counted(number, 'file')} ({percent(share)}) {does}: {_by_class(files, chosen)}."
    finding = Finding(
        check,
        "warn" if telling or share > few else "info",
        f"{message}{telling} {advice}",
        value=float(number),
        sources=tuple(files.sources[chosen].tolist()),
        figure=sheet.name if sheet else None,
    )
    yield _Found(finding, what, chosen, sheet)


def _of_one(what: str) -> str:
    """`is blank` for `are blank`: what several files do, said of one."""
    verb, _, rest = what.partition(" ")
    return f"{ONE.get(verb, verb)} {rest}".replace(" their ", " its ")


ONE = {"are": "is", "have": "has", "carry": "carries", "share": "shares", "don't": "doesn't"}
"""The verbs of what is said of several files, for one; others are the same for both."""


def _by_class(files: _Files, chosen: Mask) -> str:
    """`12 of 2,087 Healthy (0.6 %) and 3 of 2,513 Brain Tumor (0.1 %)`."""
    everything = files.per_class(np.ones(len(chosen), bool))
    parts = [
        f"{part:,} of {whole:,} {name or 'without label'} ({percent(part, whole)})"
        for name, part, whole in zip(
            files.classes, files.per_class(chosen), everything, strict=True
        )
        if part
    ]
    return listed(parts)


def _telling(files: _Files, chosen: Mask) -> str:
    """A sentence where the classes differ in it, distinct pictures counted once; or nothing."""
    from scipy.stats import chi2_contingency

    counts = _distinct(files, chosen)
    shares = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    if len(counts) < 2 or not counts.sum(axis=0).all() or not counts.sum(axis=1).all():
        return ""
    if chi2_contingency(counts).pvalue >= TELLING or shares.max() < UNEVEN * shares.min():
        return ""
    parts = [
        f"{percent(share)} of {name}"
        for share, name in zip(shares, files.manifest.classes, strict=True)
    ]
    return (
        f" Of the distinct pictures these are {listed(parts)}: a net can learn that instead of the "
        "disease."
    )


def _distinct(files: _Files, chosen: Mask) -> NDArray[np.int64]:
    """Distinct pictures of each class with and without a chosen file, (K, 2)."""
    pairs: dict[tuple[str, int], bool] = defaultdict(bool)
    for label, copy, flag in zip(files.labels, files.copies, chosen, strict=True):
        if label is not None:
            pairs[label, copy] |= bool(flag)
    counts = Counter((label, flag) for (label, _), flag in pairs.items())
    names = files.manifest.classes
    return np.array([[counts[name, flag] for flag in (True, False)] for name in names])


def _sheet(
    files: _Files, name: str, what: str, chosen: Mask, caption: Callable[[int], str]
) -> Sheet:
    """Up to `TILES` examples, a strip per class, copies of one picture shown once."""
    strips = []
    marked = [label for label, part in zip(files.classes, files.per_class(chosen), strict=True)
              if part]  # fmt: skip
    for label in marked:
        places = np.flatnonzero(chosen & (files.labels == label))
        _, first = np.unique(files.copies[places], return_index=True)
        shown_here = evenly(places[np.sort(first)], max(1, TILES // len(marked)))
        tiles = tuple(Tile(int(files.rows[place]), caption(int(place))) for place in shown_here)
        strips.append(Strip(label or "without label", tiles))
    return Sheet(name, f"Files that {what}", tuple(strips[:TILES]))


def _name_of(files: _Files) -> Callable[[int], str]:
    return lambda place: PurePosixPath(files.sources[place]).name


# --- Files as such --------------------------------------------------------------------------


def _unreadable(files: _Files) -> Iterator[_Found]:
    broken = ~files.readable
    reasons = _reasons(files, broken)
    first = "; ".join(f"{reason} ({counted(number, 'file')})" for reason, number in reasons[:3])
    if len(reasons) > 3:
        first += f"; and {counted(len(reasons) - 3, 'more reason')}"
    for found in _found(
        files,
        "junk.unreadable",
        "can't be read",
        broken,
        f"Why: {first}. Repair or remove them; they take no part in anything.",
    ):
        table = Table(
            "junk.unreadable",
            "Why files can't be read",
            ("files", "why"),
            tuple((number, reason) for reason, number in reasons),
        )
        figured = dataclasses.replace(found.finding, figure=table.name)
        yield _Found(figured, found.what, broken, table=table)


def _reasons(files: _Files, broken: Mask) -> list[tuple[str, int]]:
    """Why they can't be read and how many each, most first; numbers that differ are left out."""
    errors = files.manifest.column("error")[broken]
    alike: dict[str, list[str]] = defaultdict(list)
    for source, error in zip(files.sources[broken], errors, strict=True):
        reason = error.removeprefix(f"{shown(source)}: ")
        alike[re.sub(r"\d+(\.\d+)?", "…", reason)].append(reason)
    reasons = [
        (members[0] if len(set(members)) == 1 else general, len(members))
        for general, members in alike.items()
    ]
    return sorted(reasons, key=lambda each: -each[1])


def _changed(files: _Files) -> Iterator[_Found]:
    lost = files.readable & ~files.seen
    gone = sum(not _is_there(files, place) for place in np.flatnonzero(lost))
    totals = files.per_class(files.readable)
    shares = [
        part / max(total, 1) for part, total in zip(files.per_class(lost), totals, strict=True)
    ]
    blind = max(shares, default=0.0) > LOST
    advice = "What is said of the others is not of the set that was indexed. " * blind
    for found in _found(
        files,
        "junk.changed",
        "are not what was indexed",
        lost,
        f"{_fate(gone, int(lost.sum()) - gone)} {advice}Make the manifest again with "
        "`clearhead index`.",
    ):
        level = "fail" if blind else found.finding.level
        yield dataclasses.replace(found, finding=dataclasses.replace(found.finding, level=level))


LOST = 0.10
"""Share of a class that is gone or changed from which nothing said of the set can be believed."""


def _fate(gone: int, changed: int) -> str:
    """What became of files that are no longer what was indexed."""
    parts = [f"{gone:,} {'is' if gone == 1 else 'are'} gone"] * bool(gone)
    parts += [f"{changed:,} {'has' if changed == 1 else 'have'} changed since"] * bool(changed)
    return f"{listed(parts)}."


def _is_there(files: _Files, place: np.int64) -> bool:
    path, _ = locate(files.manifest.root, files.sources[place])
    return path.exists()


def _extension(files: _Files) -> Iterator[_Found]:
    formats = files.manifest.column("format")
    promised = [FORMATS.get(_suffix(source)) for source in files.sources]
    wrong = np.array(
        [
            ok and promise is not None and promise != actual
            for ok, promise, actual in zip(files.readable, promised, formats, strict=True)
        ],
        dtype=bool,
    )
    kinds = Counter((_suffix(files.sources[place]), formats[place]) for place in
                    np.flatnonzero(wrong))  # fmt: skip
    words = listed([f"{number} .{suffix} {'hold' if number > 1 else 'holds'} {actual}"
                    for (suffix, actual), number in kinds.most_common(3)])  # fmt: skip
    yield from _found(
        files,
        "junk.extension",
        "have an extension that isn't their format",
        wrong,
        f"{words}. Here they are read by their first bytes; other programs may fail: rename them.",
        few=FEW,
    )


def _suffix(source: str) -> str:
    """The extension of the file of which `source` may be a page, in small letters."""
    return _file(source).suffix.removeprefix(".").lower()


def _file(source: str) -> PurePosixPath:
    return PurePosixPath(re.sub(r"#page=\d+$", "", source))


def _names(files: _Files) -> Iterator[_Found]:
    """Names in one folder that differ by case or extension alone: joins by name mix them up."""
    twins: dict[tuple[str, str], set[str]] = defaultdict(set)
    keys = [_key(source) for source in files.sources]
    for key, source in zip(keys, files.sources, strict=True):
        twins[key].add(_file(source).name)
    alike = np.array([len(twins[key]) > 1 for key in keys], dtype=bool)
    first = next((sorted(names) for names in twins.values() if len(names) > 1), [])
    yield from _found(
        files,
        "junk.names",
        "share their folder and name with another but for case or extension",
        alike,
        f"{listed([shown(name) for name in first])}, for one. Tables and masks that are joined by "
        "name may mean either, and some systems keep one of them only: rename them.",
        few=1.0,
    )


def _key(source: str) -> tuple[str, str]:
    path = _file(source)
    return path.parent.as_posix(), path.stem.casefold()


def _shared_names(files: _Files) -> Iterator[_Found]:
    """Names in several classes with different pictures, where they are exceptions.

    In sets that count 1, 2, 3… in each class most names are shared, and that says nothing.
    """
    holders: dict[str, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    names = [_file(source).name for source in files.sources]
    for name, label, copy in zip(names, files.labels, files.copies, strict=True):
        if label is not None:
            holders[name][label].add(copy)
    shared = np.array([len(holders.get(name, ())) > 1 for name in names], dtype=bool)
    if shared.mean() > EXCEPTIONS:
        return
    yield from _found(
        files,
        "junk.names",
        "have a name that another class has too",
        shared,
        "Most names here stand in one class: see whether these were filed in the wrong one.",
        few=1.0,
        name="junk.names.shared",
    )


EXCEPTIONS = 0.05
"""Names that several classes share are exceptions up to this share of the files."""


# --- Pictures -------------------------------------------------------------------------------


def _blank(files: _Files) -> Iterator[_Found]:
    yield from _found(
        files,
        "junk.blank",
        "are blank",
        files.kind == "blank",
        "Set them aside with `--fix`.",
        caption=_name_of(files),
    )


def _not_head(files: _Files) -> Iterator[_Found]:
    for name, words in KINDS.items():
        yield from _found(
            files,
            "junk.not-head",
            f"don't look like one head in MRI but like {words}",
            files.kind == name,
            "Look at them; `--fix` sets them aside.",
            few=STRAY if name in UNSURE else 0.0,
            caption=_name_of(files),
            name=f"junk.not-head.{name}",
        )


ELONGATED = 2.5
"""Longer over shorter side beyond which no head is drawn in its own shape…"""
STRETCHED = 1.6
"""…or this many times the set's own median, from 2 on."""
TINY_PX, SMALL_PX = 64, 128
"""Shorter sides below the first are tiny; below the second where the median is thrice as long."""
HUGE_PX, LARGE_PX = 4096, 2048
"""Longer sides above the first are huge; above the second where the median is a quarter."""


def _geometry(files: _Files) -> Iterator[_Found]:
    if not files.readable.any():
        return
    height, width = (files.manifest.column(name).astype(float) for name in ("height", "width"))
    shorter, longer = np.fmin(height, width), np.fmax(height, width)
    ratio = longer / shorter
    usual, long_side, short_side = (
        np.median(sides[files.readable]) for sides in (ratio, longer, shorter)
    )
    tiny = (shorter < TINY_PX) | (shorter < SMALL_PX) & (shorter < short_side / 3)
    huge = (longer > HUGE_PX) | (longer > LARGE_PX) & (longer > 4 * long_side)
    narrow = (ratio > ELONGATED) | (ratio > 2) & (ratio > STRETCHED * usual)

    def size(place: int) -> str:
        return f"{height[place]:.0f}×{width[place]:.0f}"

    kinds = {
        "tiny": ("are tiny", tiny, "Too few pixels to show a lesion: leave them out."),
        "huge": ("are huge", huge, "Scans of paper or montages, perhaps: look at them."),
        "narrow": ("are far from square", narrow & ~tiny, "Strips or banners, perhaps: look."),
    }
    for name, (what, chosen, advice) in kinds.items():
        yield from _found(
            files,
            "junk.geometry",
            what,
            chosen & files.readable,
            advice,
            few=FEW,
            caption=size,
            name=f"junk.geometry.{name}",
        )


def _text(files: _Files) -> Iterator[_Found]:
    lettered = files.heads & ODDITIES["text"](files.odd)
    yield from _found(
        files,
        "junk.text",
        "carry burned-in text beside the head",
        lettered,
        "It may name patient or clinic, and may tell the class: crop to the head or erase it.",
        few=FEW,
        caption=_name_of(files),
    )
    yield from _found(
        files,
        "junk.text",
        "carry a lone bright mark beside the head",
        files.heads & ~lettered & ODDITIES["mark"](files.odd),
        "A side marker or a stamp: crop to the head or erase it.",
        few=FEW,
        caption=_name_of(files),
        name="junk.text.mark",
    )


def _frame(files: _Files) -> Iterator[_Found]:
    framed = files.heads & ODDITIES["frame"](files.odd)
    widths = files.odd["frame"]
    sides = Counter(
        " and ".join(name for name, wide in zip(SIDES, widths[place], strict=True) if wide > 0)
        for place in np.flatnonzero(framed)
    )
    words = listed([f"{number} at {where}" for where, number in sides.most_common(3)])

    def width(place: int) -> str:
        return f"{percent(float(widths[place].max()))} wide"

    yield from _found(
        files,
        "junk.frame",
        "have a bright even line or margin along an edge",
        framed,
        f"Most often: {words.replace('top and right and bottom and left', 'all four sides')}. "
        "Crop it away: it is no anatomy.",
        few=FEW,
        caption=width,
    )


def _drawing(files: _Files) -> Iterator[_Found]:
    yield from _found(
        files,
        "junk.drawing",
        "are drawn upon: boxes, circles, or coloured marks, bars or tints",
        files.heads & ODDITIES["drawing"](files.odd),
        "What was drawn by someone who knew the answer gives it away: replace or erase them.",
        few=STRAY,
        caption=_name_of(files),
    )


# --- Metadata -------------------------------------------------------------------------------


def _metadata(files: _Files) -> Iterator[_Found]:
    """The remarks that the index made on the table of metadata, where they object."""
    note = files.manifest.notes.get("metadata", {})
    for remark in note.get("remarks", ()):
        if " agrees with " in remark:
            continue
        named = set(_sources_in(note, remark))
        chosen = np.array([source in named for source in files.sources], dtype=bool)
        level = "warn" if "about their class" in remark else "info"
        finding = Finding(
            "junk.metadata",
            level,
            f"{remark}. Which of them is right, only who made them knows: correct the table or "
            "index again without it.",
            sources=tuple(sorted(named)),
        )
        yield _Found(finding, "disagree with the metadata", chosen)


def _sources_in(note: dict[str, Any], remark: str) -> Iterable[str]:
    """The files that a remark's kind of case names, as far as the note lists them."""
    for key, cases in note.items():
        if isinstance(cases, dict) and f"about their {key}:" in remark:
            return [case["source"] for case in cases["examples"]]
    if "files have no row" in remark:
        return list(note["files_without_row"]["examples"])
    return []


LOOKS: tuple[Callable[[_Files], Iterator[_Found]], ...] = (
    _unreadable,
    _changed,
    _not_head,
    _blank,
    _text,
    _frame,
    _drawing,
    _extension,
    _names,
    _shared_names,
    _geometry,
    _metadata,
)
"""What is looked at, in the order in which findings of one level are told."""


def _table(files: _Files, found: list[_Found]) -> Table:
    """How many files of each class each finding names."""
    columns = ("files that", "all", *(name or "without label" for name in files.classes))
    rows: list[tuple[Cell, ...]] = [
        (each.what, int(np.count_nonzero(each.chosen)), *files.per_class(each.chosen))
        for each in found
        if each.finding.check != "junk.metadata"
    ]
    everything = np.ones(len(files.rows), bool)
    rows.append(("are in the set", len(files.rows), *files.per_class(everything)))
    note = (
        "Looked for: files that can't be read or have changed, wrong extensions, names that "
        "collide, blank pictures, what is no head in MRI, sizes, text, marks, frames, drawings."
    )
    return Table("junk", "What was found, by class", columns, tuple(rows), note)
