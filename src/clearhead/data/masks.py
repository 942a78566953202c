"""Tumour masks beside the pictures: which belongs to which, from a folder or a CSV."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.data.csvfile import has_columns, read_csv
from clearhead.data.listing import SUFFIXES, source_of, storable
from clearhead.data.metadata import Names, Record, some
from clearhead.data.read import picture_size, shown
from clearhead.errors import ManifestError, ReadError
from clearhead.files import walk
from clearhead.types import Progress, silent


@dataclass(frozen=True)
class Masks:
    """Masks before they are matched with pictures."""

    place: Path
    """The folder or CSV that they come from."""
    named: tuple[tuple[str, Path], ...]
    """For a CSV: the picture as the table names it, and its mask. For a folder: the name of the
    mask below it, and the mask."""
    from_table: bool

    def besides(self) -> set[Path]:
        """Files and folders that hold masks, not pictures.

        A folder that holds a mask counts as a whole, unless a picture that the table names may lie
        in it too.
        """
        if not self.from_table:
            return {self.place}
        files = {mask for _, mask in self.named}
        pictures = {image.replace("\\", "/").rsplit("/", 1)[-1] for image, _ in self.named}
        folders = {mask.parent for mask in files}
        pure = {each for each in folders if not _holds_any(each, pictures, files)}
        return {self.place} | files | (pure - {self.place.parent})


def _holds_any(folder: Path, names: set[str], except_for: set[Path]) -> bool:
    """Whether a file of one of these names lies in `folder`, a few files aside."""
    if not folder.is_dir():
        return False
    return any(path.name in names and path not in except_for for path in folder.iterdir())


def find_masks(folder: Path, given: Path | None) -> Masks | None:
    """The masks at `given`, or else those of `masks.csv` or `masks/` in `folder`.

    Errors: `ManifestError` where `given` is not there or lacks the columns `image` and `mask`.
    """
    if given is None:
        given = _beside(folder)
        if given is None:
            return None
    given = Path(os.path.abspath(given))  # noqa: PTH100  without following links
    if not given.exists():
        raise ManifestError(f"there are no masks at {given}: name a folder of masks or a CSV")
    if given.is_dir():
        return Masks(given, tuple(_in_folder(given)), from_table=False)
    return Masks(given, tuple(_in_table(given)), from_table=True)


def _beside(folder: Path) -> Path | None:
    table = folder / "masks.csv"
    if table.is_file() and has_columns(table, "image", "mask"):
        return table
    return folder / "masks" if (folder / "masks").is_dir() else None


def _in_folder(folder: Path) -> Iterable[tuple[str, Path]]:
    for path in walk(folder):
        if path.suffix.lower() in SUFFIXES:
            yield storable(path.relative_to(folder).as_posix()), path


def _in_table(table: Path) -> Iterable[tuple[str, Path]]:
    for row in read_csv(table, "image", "mask"):
        if row["image"] and row["mask"]:
            name = row["mask"].replace("\\", "/")
            yield row["image"], Path(os.path.normpath(table.parent / name))


# --- Matching -------------------------------------------------------------------------------


def join_masks(
    masks: Masks, folder: Path, records: Sequence[Record], progress: Progress = silent
) -> tuple[list[str | None], dict[str, Any]]:
    """The mask of each row, as the manifest keeps it, and a note on those that fit none.

    A mask that is not there, can't be opened, or whose size is not its picture's is not kept.
    """
    pairs, loose, ambiguous = (_by_table if masks.from_table else _by_name)(masks, records)
    column: list[str | None] = [None] * len(records)
    missing, unfit = [], []
    for place, mask in progress(sorted(pairs.items()), total=len(pairs), label="Checking masks"):
        source = records[place]["source"]
        if not mask.is_file():
            missing.append({"source": source, "mask": source_of(folder, mask)})
            continue
        trouble = _misfit(mask, records[place])
        if trouble:
            unfit.append({"source": source, "mask": source_of(folder, mask), "why": trouble})
        else:
            column[place] = source_of(folder, mask)
    note = {
        "from": source_of(folder, masks.place),
        "kept": sum(mask is not None for mask in column),
        "missing": some(missing),
        "unfit": some(unfit),
        "without_picture": some(loose),
        "of_several_pictures": some(ambiguous),
    }
    return column, {**note, "remarks": _remarks(note)}


def _remarks(note: dict[str, Any]) -> list[str]:
    """The note in sentences."""
    remarks = [f"{note['kept']} pictures have a mask from {note['from']}"]
    for key, what in TROUBLES.items():
        if note[key]["count"]:
            first = note[key]["examples"][0]
            name = first if isinstance(first, str) else first["mask"]
            remarks.append(f"{note[key]['count']} masks {what}, {shown(name)} for one: left out")
    return remarks


TROUBLES = {
    "missing": "are not there",
    "unfit": "can't be opened or have another size than their picture",
    "without_picture": "belong to no picture",
    "of_several_pictures": "may belong to several pictures",
}
"""What the keys of a note mean that hold masks which were not kept."""


Pairs = tuple[dict[int, Path], list[str], list[str]]
"""Mask by row; names that fit no picture; names that fit several."""


def _by_table(masks: Masks, records: Sequence[Record]) -> Pairs:
    names = Names([record["source"] for record in records])
    pairs: dict[int, Path] = {}
    loose: list[str] = []
    ambiguous: list[str] = []
    for image, mask in masks.named:
        places = names.find(image)
        if len(places) == 1:
            pairs[places[0]] = mask
        else:
            (ambiguous if places else loose).append(image)
    return pairs, loose, ambiguous


def _by_name(masks: Masks, records: Sequence[Record]) -> Pairs:
    """A mask is called as its picture, or as its picture with a suffix more (`x.jpg.png`).

    Whole names go before stems (`x.png` for `x.jpg`), and a mask whose name fits several pictures
    is given to none.
    """
    sources = [record["source"] for record in records]
    whole = Names(sources)
    stems = Names([_stem(source) for source in sources])
    found = defaultdict(list)
    loose: list[str] = []
    ambiguous: list[str] = []
    for name, mask in masks.named:
        places = _places(name, whole, stems) or _places(name.rsplit("/", 1)[-1], whole, stems)
        if len(places) == 1:
            found[places[0]].append(mask)
        else:
            (ambiguous if places else loose).append(name)
    pairs = {place: found_masks[0] for place, found_masks in found.items()}
    ambiguous += [mask.name for each in found.values() for mask in each[1:]]
    return pairs, loose, ambiguous


def _places(name: str, whole: Names, stems: Names) -> list[int]:
    return whole.find(_stem(name)) or whole.find(name) or stems.find(_stem(name))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122  posix text, not a path of this system


def _misfit(mask: Path, record: Record) -> str:
    """Why a mask does not fit its picture; empty where it does."""
    if record["height"] is None:
        return ""
    try:
        height, width = picture_size(mask)
    except ReadError:
        return "the mask can't be opened"
    if (height, width) != (record["height"], record["width"]):
        return f"{height}×{width}, and the picture is {record['height']}×{record['width']}"
    return ""
