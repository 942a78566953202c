"""A table of metadata beside the pictures, held against what the files themselves say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.data.csvfile import read_csv
from clearhead.data.read import PAGE, shown
from clearhead.errors import ManifestError

EXAMPLES = 10
"""How many cases of each kind a note names."""

FORMATS = {"JPG": "JPEG", "JFIF": "JPEG", "MPO": "JPEG", "TIF": "TIFF"}
"""Other names of formats."""

CHANNELS = {
    **{"1": 1, "L": 1, "P": 1, "I": 1, "F": 1, "I;16": 1, "I;16B": 1, "I;16L": 1},
    **{"LA": 2, "La": 2, "PA": 2, "RGB": 3, "YCbCr": 3},
    **{"RGBA": 4, "RGBa": 4, "RGBX": 4, "CMYK": 4},
}

Record = dict[str, Any]
"""The columns `source`, `label`, `format`, `mode`, `height`, `width` of one row of a manifest."""


def some(cases: Iterable[Any]) -> dict[str, Any]:
    """A note on cases: how many, and the first few."""
    cases = list(cases)
    return {"count": len(cases), "examples": cases[:EXAMPLES]}


class Names:
    """Finds the sources that end in a given path, however many folders it gives."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, source in enumerate(sources):
            self._places[source.rsplit("/", 1)[-1]].append(place)

    def find(self, path: str) -> list[int]:
        """Positions of the sources that are `path` or end in `/path`."""
        path = path.replace("\\", "/").removeprefix("./")
        return [
            place
            for place in self._places.get(path.rsplit("/", 1)[-1], ())
            if self._sources[place] == path or self._sources[place].endswith(f"/{path}")
        ]


@dataclass(frozen=True)
class Joined:
    """Metadata rows by position in the manifest, and what there is to say about the rest."""

    rows: dict[int, dict[str, str]]
    note: dict[str, Any]


@dataclass(frozen=True)
class Metadata:
    """A table of metadata before it is matched with the files."""

    name: str
    rows: list[dict[str, str]]


def read_metadata(path: Path | None, patient_column: str | None) -> Metadata | None:
    """The table at `path`, if any. Errors: `ManifestError` where it lacks a column needed."""
    if path is not None:
        needed = ["image", *([patient_column] if patient_column else [])]
        return Metadata(path.name, read_csv(path, *needed))
    if patient_column is not None:
        raise ManifestError(
            f"no metadata has the patient column {patient_column!r}: give a table that has it"
        )
    return None


def join_metadata(metadata: Metadata, records: Sequence[Record]) -> Joined:
    """Match the table's column `image` with the files, and note every disagreement.

    Compared where the table has the column: `class` (its names are learnt: each stands for the
    label that most of its files have), `format`, `mode`, `shape`. Unreadable files count for
    `class` alone.
    """
    table = metadata.rows
    rows, astray, ambiguous = _match(table, records)
    note: dict[str, Any] = {
        "file": metadata.name,
        "rows": len(table),
        "matched": len(rows),
        "rows_without_file": some(astray),
        "rows_of_several_files": some(ambiguous),
        "files_without_row": some(
            record["source"] for place, record in enumerate(records) if place not in rows
        ),
    }
    pairs = [(rows[place], records[place]) for place in sorted(rows)]
    columns = set(table[0]) if table else set()
    if "class" in columns:
        note["class"] = _class_note(pairs)
    for column in sorted(columns & COMPARED.keys()):
        note[column] = some(_differences(pairs, column, COMPARED[column]))
    return Joined(rows, {**note, "remarks": _remarks(note)})


def _remarks(note: dict[str, Any]) -> list[str]:
    """The note in sentences."""
    name, compared = note["file"], [each for each in ("class", *COMPARED) if each in note]
    differing = [each for each in compared if note[each]["count"]]
    remarks = []
    for each in differing:
        first = note[each]["examples"][0]
        remarks.append(
            f"{name} disagrees with {note[each]['count']} of {note['matched']} files about their "
            f"{each}: {shown(first['source'])} is {first['file']}, and not {first['metadata']}"
        )
    if compared and note["matched"] and not differing:
        remarks.append(f"{name} agrees with {note['matched']} files in {', '.join(compared)}")
    for key, what in ASTRAY.items():
        if note[key]["count"]:
            first = shown(note[key]["examples"][0])
            remarks.append(f"{name}: {note[key]['count']} {what}, {first} for one")
    return remarks


ASTRAY = {
    "rows_without_file": "rows name no file",
    "rows_of_several_files": "rows may mean several files",
    "files_without_row": "files have no row",
}
"""What the keys of a note mean that hold names without a match."""


def _match(
    table: Iterable[dict[str, str]], records: Sequence[Record]
) -> tuple[dict[int, dict[str, str]], list[str], list[str]]:
    """Rows by position; names that no file has; names that several files have."""
    names = Names([_file(record["source"]) for record in records])
    rows: dict[int, dict[str, str]] = {}
    astray, ambiguous = [], []
    for row in table:
        places = names.find(row["image"])
        if not places:
            astray.append(row["image"])
        elif len({_file(records[place]["source"]) for place in places}) > 1:
            ambiguous.append(row["image"])
        else:
            rows.update(dict.fromkeys(places, row))
    return rows, astray, ambiguous


def _file(source: str) -> str:
    """The source of the whole file of which `source` may be a page."""
    page = PAGE.fullmatch(source)
    return page["file"] if page else source


def _class_note(pairs: Sequence[tuple[dict[str, str], Record]]) -> dict[str, Any]:
    """What the table's class names stand for, and the files where it says another class."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row, record in pairs:
        if row["class"] and record["label"] is not None:
            seen[row["class"]][record["label"]] += 1
    meaning = {name: labels.most_common(1)[0][0] for name, labels in sorted(seen.items())}
    differing = (
        {"source": record["source"], "metadata": row["class"], "file": record["label"]}
        for row, record in pairs
        if record["label"] != meaning.get(row["class"], record["label"])
    )
    return {"meaning": meaning, **some(differing)}


def _differences(
    pairs: Iterable[tuple[dict[str, str], Record]],
    column: str,
    found: Callable[[Record, str], str],
) -> Iterable[dict[str, str]]:
    for row, record in pairs:
        if record["format"] is None or not row[column]:
            continue
        actual = found(record, row[column])
        if actual != row[column]:
            yield {"source": record["source"], "metadata": row[column], "file": actual}


def _format(record: Record, said: str) -> str:
    """The file's format; in the table's spelling where they agree."""
    name = FORMATS.get(said.upper(), said.upper())
    return said if name == record["format"] else str(record["format"])


def _mode(record: Record, said: str) -> str:
    return str(record["mode"])


def _shape(record: Record, said: str) -> str:
    """The file's shape as numpy would write it; in the table's spelling where they agree."""
    shape = [record["height"], record["width"]]
    channels = CHANNELS.get(record["mode"], 1)
    if channels > 1:
        shape.append(channels)
    same = [int(number) for number in re.findall(r"[0-9]{1,9}", said)] == shape
    return said if same else f"({', '.join(map(str, shape))})"


COMPARED: dict[str, Callable[[Record, str], str]] = {
    "format": _format,
    "mode": _mode,
    "shape": _shape,
}
"""Columns that are compared with the files, and how the file's own value is written."""


def patients_of(joined: Joined, column: str, count: int) -> list[str | None]:
    """The patient of each of `count` rows, from a column of the metadata."""
    rows = joined.rows
    return [rows[place][column] or None if place in rows else None for place in range(count)]
