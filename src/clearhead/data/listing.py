"""Which files an index covers, and what each is labelled: from folders, or from a table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from clearhead.data.csvfile import read_csv
from clearhead.data.read import HEAD_BYTES, locate, sniff
from clearhead.errors import ManifestError
from clearhead.files import LITTER, walk

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".apng"),
    *(".dcm", ".nii", ".jp2", ".avif", ".heic"),
}
"""Names that promise a picture, kept or not."""

NO_CLASSES = {
    *("train", "training", "test", "testing", "val", "valid", "validation"),
    *("image", "images", "img", "imgs", "slices", "pictures", "data"),
    *("axial", "coronal", "sagittal", "t1", "t2", "flair", "t1ce", "t1c", "t1gd"),
}
"""Folder names that tell a split, a plane or a contrast. A level of nothing else is no class."""

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One file, or one page of one, before it is read."""

    source: str
    path: Path
    label: str | None
    patient: str | None = None
    page: bool = False
    """Whether `source` names one page."""
    error: str | None = None
    """Why it need not be opened."""


@dataclass(frozen=True)
class Listing:
    """What will be rows, in order, and the files beside the classes that won't."""

    entries: list[Entry]
    left_out: list[str]
    not_entered: list[str]
    """Folders that are links or can't be opened."""


# --- Folders --------------------------------------------------------------------------------


def list_folder(folder: Path, besides: Collection[Path] = ()) -> Listing:
    """Every file below `folder`, labelled by its class folder; `besides` are left alone.

    `besides` names files and folders. Pictures outside of every class folder have no label; other
    files there are left out.
    """
    places: dict[Parts, list[Path]] = defaultdict(list)
    for path in walk(folder):
        if not _is_below(path, besides):
            places[path.relative_to(folder).parts[:-1]].append(path)
    pictured = {parts for parts, paths in places.items() if any(map(is_picture, paths))}
    if pictured <= {()}:  # a flat folder is one class
        name = folder.resolve().name
        return _labelled(folder, places, dict.fromkeys(places, name))
    depth = class_depth(pictured)
    classes = {parts[: depth + 1] for parts in pictured if len(parts) > depth}
    labels = {parts: parts[depth] if parts[: depth + 1] in classes else None for parts in places}
    return _labelled(folder, places, labels)


def _labelled(
    folder: Path, places: dict[Parts, list[Path]], labels: dict[Parts, str | None]
) -> Listing:
    entries, left_out = [], []
    for parts, paths in places.items():
        for path in paths:
            source = path.relative_to(folder).as_posix()
            if labels[parts] is None and not is_picture(path):
                left_out.append(storable(source))
            else:
                entries.append(_entry(source, path, labels[parts]))
    return Listing(entries, left_out, _not_entered(folder))


def _not_entered(folder: Path) -> list[str]:
    """Folders below `folder` that `walk` passes by, litter aside."""
    denied: list[str] = []
    links: list[Path] = []
    for place, names, _ in os.walk(folder, onerror=lambda error: denied.append(error.filename)):
        names[:] = [name for name in names if not (name.startswith(".") or name in LITTER)]
        links += [path for name in names if (path := Path(place, name)).is_symlink()]
    passed = links + [Path(name) for name in denied]
    return sorted(storable(path.relative_to(folder).as_posix()) for path in passed)


def class_depth(places: Iterable[Parts]) -> int:
    """Which part of the paths of folders that hold pictures is the class: an index from 0.

    The level where the paths first part, or a deeper one that all of them have and whose names
    mostly come back under several parents (`train/glioma`, `test/glioma`); patients don't, so
    `glioma/patient7` is glioma, also where the numbers start again in each class. A level of
    split, plane or contrast names alone is never it. Folders that hold both pictures and every
    other folder don't count.
    """
    places = _beyond_common(set(places))
    shared = len(_common(places))
    first = min(shared, min(len(parts) for parts in places) - 1)
    best = None
    for level in range(first, min(len(parts) for parts in places)):
        names = {parts[level] for parts in places}
        if {name.lower() for name in names} <= NO_CLASSES:
            continue
        if best is None or (len(names) > 1 and _comes_back(places, level) and not _numbered(names)):
            best = level
    return _last_class(next(iter(places)), first) if best is None else best


def _beyond_common(places: set[Parts]) -> set[Parts]:
    """Without the folders that hold all the others."""
    while len(places) > 1:
        common = _common(places)
        if common not in places:
            break
        places = places - {common}
    return places


def _common(places: Iterable[Parts]) -> Parts:
    """The leading parts that all share."""
    levels = zip(*places, strict=False)  # as deep as the shallowest
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels))


def _comes_back(places: Iterable[Parts], level: int) -> bool:
    """Whether at least half of the names at `level` lie under more than one parent."""
    parents: dict[str, set[Parts]] = defaultdict(set)
    for parts in places:
        parents[parts[level]].add(parts[:level])
    return 2 * sum(len(found) > 1 for found in parents.values()) >= len(parents)


def _numbered(names: Iterable[str]) -> bool:
    """Whether every name has a number in it, as patients and series have."""
    return all(any(letter.isdigit() for letter in name) for name in names)


def _last_class(parts: Parts, first: int) -> int:
    """The deepest shared level that may be a class; `first` where none may."""
    for level in range(first - 1, -1, -1):
        if parts[level].lower() not in NO_CLASSES:
            return level
    return first


def is_picture(path: Path) -> bool:
    """Whether a name or first bytes promise a picture, of whatever state and format."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return False
        with path.open("rb") as file:
            found = sniff(file.read(HEAD_BYTES))
    except OSError:
        return False
    return found is not None and not found.other


def _is_below(path: Path, besides: Collection[Path]) -> bool:
    return path in besides or any(parent in besides for parent in path.parents)


def _entry(source: str, path: Path, label: str | None) -> Entry:
    stored = storable(source)
    label = None if label is None else storable(label)
    if stored != source:
        return Entry(stored, path, label, error="the file name is not UTF-8: rename it")
    return Entry(source, path, label)


def storable(name: str) -> str:
    """`name` as text that a table can hold: bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- Tables ---------------------------------------------------------------------------------


def list_table(
    folder: Path, table: Path, path_column: str, label_column: str, patient_column: str | None
) -> Listing:
    """The files that a CSV names, in its order; paths are relative to `folder` or to the table.

    Errors: `ManifestError` where a column is missing or a file has two labels.
    """
    needed = [path_column, label_column, *([patient_column] if patient_column else [])]
    entries: dict[str, Entry] = {}
    for row in read_csv(table, *needed):
        if not row[path_column]:
            raise ManifestError(f"the table {table} has a row without {path_column}: fill it in")
        patient = row[patient_column] if patient_column else ""
        entry = _named(folder, table.parent, row[path_column])
        entry = Entry(
            entry.source, entry.path, row[label_column] or None, patient or None, entry.page
        )
        _check_same(table, entries.setdefault(entry.source, entry), entry)
    return Listing(list(entries.values()), [], [])


def _named(folder: Path, beside: Path, name: str) -> Entry:
    """The file that `name` means, with a page where it names one."""
    for spelling in (name, name.replace("\\", "/")):
        for root in (folder, beside):
            if os.path.lexists(root / spelling):
                path = root / spelling
                return Entry(source_of(folder, path), path, None)
            path, page = locate(root, spelling)
            if path != root / spelling and os.path.lexists(path):
                return Entry(f"{source_of(folder, path)}#page={page}", path, None, page=True)
    return Entry(source_of(folder, folder / name), folder / name, None)


def source_of(folder: Path, path: Path) -> str:
    """How a manifest of `folder` names `path`: relative where it lies inside, else absolute."""
    place = Path(os.path.normpath(path.absolute()))
    root = Path(os.path.normpath(folder.absolute()))
    return storable((place.relative_to(root) if place.is_relative_to(root) else place).as_posix())


def _check_same(table: Path, first: Entry, again: Entry) -> None:
    if (first.label, first.patient) != (again.label, again.patient):
        raise ManifestError(
            f"the table {table} names {first.source!r} twice, with different labels or patients: "
            "keep one of the rows"
        )
