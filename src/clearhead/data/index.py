"""A folder of pictures becomes a manifest: every file a row, whatever state it is in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import pyarrow as pa
from numpy.typing import NDArray

from clearhead.data.csvfile import has_columns
from clearhead.data.earlier import Earlier, load_earlier
from clearhead.data.facts import Page, Row, rows_of
from clearhead.data.listing import Entry, Listing, list_folder, list_table
from clearhead.data.manifest import SCHEMA, save_manifest, thumbnails_path
from clearhead.data.masks import Masks, find_masks, join_masks
from clearhead.data.metadata import (
    Metadata,
    Record,
    join_metadata,
    patients_of,
    read_metadata,
    some,
)
from clearhead.data.read import COLOURS, shown
from clearhead.data.thumbnail import SIDE
from clearhead.data.workers import each
from clearhead.errors import ManifestError
from clearhead.files import writing
from clearhead.types import Manifest, Progress, silent

READER = f"1, Pillow {PIL.__version__}"
"""What decodes the pixels; rows of another reader are not reused. Count up when facts change."""

BATCH = 4096
"""Rows that are gathered before they become a piece of the table."""

KeepThumbnail = Callable[[NDArray[np.uint8]], None]


def index(
    folder: Path,
    out: Path | None = None,
    *,
    table: Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    patient_column: str | None = None,
    masks: Path | None = None,
    metadata: Path | None = None,
    colour: str = "agree",
    workers: int | None = None,
    progress: Progress = silent,
) -> Manifest:
    """The manifest of the pictures below `folder`: one row per picture, one per unreadable file.

    Labels are the names of the class folders, or come from the CSV `table`. With `out` the
    manifest and its thumbnails are saved there; what an earlier one there says of files that have
    not changed since (same bytes, same time of change) is kept, and they are not read again.
    `masks` (folder or CSV) and `metadata` (CSV) default to `masks.csv`, `masks/` and
    `metadata.csv` in `folder`. `workers` defaults to the number of cores.
    Errors: `ManifestError` where nothing can be read or a table lacks a column.
    """
    root = _root(folder)
    out, table = out and Path(out), table and Path(table)
    _check_settings(colour, workers, out)
    found = find_masks(root, masks)
    metadata = Path(metadata) if metadata else _metadata_beside(root, table)
    from_metadata = patient_column if table is None else None
    facts = read_metadata(metadata, from_metadata)  # before the long work: it may be unfit
    if table is None:
        listing = list_folder(root, _besides(out, metadata, found))
    else:
        listing = list_table(root, table, path_column, label_column, patient_column)
    earlier = load_earlier(out, READER, colour)
    with _thumbnail_file(out) as keep_thumbnail:
        rows, reused = _gather(listing, earlier, colour, workers, keep_thumbnail, progress)
        manifest = _manifest(root, rows, listing, reused, colour)
        manifest = _with_metadata(manifest, facts, from_metadata)
        manifest = _with_masks(manifest, found, progress)
    if out is not None:
        save_manifest(manifest, out)
    return manifest


# --- Settings -------------------------------------------------------------------------------


def _root(folder: Path) -> Path:
    root = Path(os.path.abspath(folder))  # noqa: PTH100  without following links
    if not root.exists():
        raise ManifestError(f"there is no folder {shown(str(folder))}: check the name")
    if not root.is_dir():
        raise ManifestError(f"{shown(str(folder))} is a file: name the folder that holds pictures")
    return root


def _check_settings(colour: str, workers: int | None, out: Path | None) -> None:
    if colour not in COLOURS:
        raise ManifestError(f"colour is {colour!r}: expected {' or '.join(COLOURS)}")
    if workers is not None and workers < 1:
        raise ManifestError(f"workers is {workers}: expected 1 or more")
    if out is not None and Path(out).is_dir():
        raise ManifestError(f"{out} is a folder: name the manifest file to write, as in x.parquet")


def _metadata_beside(root: Path, table: Path | None) -> Path | None:
    path = root / "metadata.csv"
    itself = table is not None and path.exists() and path.samefile(table)
    return path if path.is_file() and has_columns(path, "image") and not itself else None


def _besides(out: Path | None, metadata: Path | None, masks: Masks | None) -> set[Path]:
    """Files and folders that are no pictures of the data set, wherever they lie."""
    given = [out, out and thumbnails_path(out), metadata]
    besides = {Path(os.path.abspath(path)) for path in given if path}  # noqa: PTH100
    return besides | (masks.besides() if masks else set())


# --- Rows -----------------------------------------------------------------------------------


def _gather(
    listing: Listing,
    earlier: Earlier | None,
    colour: str,
    workers: int | None,
    keep_thumbnail: KeepThumbnail,
    progress: Progress,
) -> tuple[pa.Table, int]:
    """The table, in the order of the listing, and how many files were not read again."""
    entries = listing.entries
    known = [earlier.find(entry) if earlier else None for entry in entries]
    bar = progress(
        _pages(entries, known, earlier, colour, workers), total=len(entries), label="Indexing"
    )
    batches: list[pa.Table] = []
    rows: list[Row] = []
    unreadable = 0
    for entry, pages in bar:
        for row, thumbnail in pages:
            rows.append({**row, "label": entry.label, "patient": entry.patient})
            keep_thumbnail(thumbnail)
            unreadable += row.get("error") is not None
        bar.note(f"{unreadable} unreadable" if unreadable else "")
        if len(rows) >= BATCH:
            batches.append(pa.Table.from_pylist(rows, schema=SCHEMA))
            rows = []
    batches.append(pa.Table.from_pylist(rows, schema=SCHEMA))
    return pa.concat_tables(batches).combine_chunks(), sum(places is not None for places in known)


def _pages(
    entries: Sequence[Entry],
    known: Sequence[list[int] | None],
    earlier: Earlier | None,
    colour: str,
    workers: int | None,
) -> Iterator[tuple[Entry, list[Page]]]:
    fresh = [entry for entry, places in zip(entries, known, strict=True) if places is None]
    with closing(each(partial(rows_of, colour=colour), fresh, workers)) as read:
        for entry, places in zip(entries, known, strict=True):
            if earlier is not None and places is not None:
                yield entry, earlier.pages(places)
            else:
                yield entry, next(read)


@contextmanager
def _thumbnail_file(out: Path | None) -> Iterator[KeepThumbnail]:
    """Yield what appends a thumbnail to the file beside `out`; nothing is kept without `out`."""
    if out is None:
        yield lambda thumbnail: None
        return
    count = 0
    with writing(thumbnails_path(out)) as temporary, temporary.open("wb") as file:
        _write_header(file, 0)

        def keep(thumbnail: NDArray[np.uint8]) -> None:
            nonlocal count
            file.write(thumbnail.tobytes())
            count += 1

        yield keep
        file.seek(0)
        _write_header(file, count)


def _write_header(file: IO[bytes], count: int) -> None:
    """The header of a `.npy` file; numpy pads it, so its length is the same for any count."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, SIDE, SIDE)}
    )


# --- Manifest -------------------------------------------------------------------------------


def _manifest(root: Path, table: pa.Table, listing: Listing, reused: int, colour: str) -> Manifest:
    """The manifest with its note on the index. Errors: `ManifestError` without readable rows."""
    unreadable = [
        {"source": source, "why": error}
        for source, error in zip(
            table.column("source").to_pylist(), table.column("error").to_pylist(), strict=True
        )
        if error is not None
    ]
    if len(unreadable) == len(table):
        raise ManifestError(_nothing(root, listing, unreadable))
    labels = Counter(table.column("label").to_pylist())
    classes = tuple(sorted(label for label in labels if label is not None))
    note = {
        "reader": READER,
        "colour": colour,
        "pages_named": any(entry.page for entry in listing.entries),
        "files": len(listing.entries),
        "rows": len(table),
        "reused": reused,
        "unreadable": some(unreadable),
        "unlabelled": labels[None],
        "classes": {name: labels[name] for name in classes},
        "left_out": some(listing.left_out),
        "not_entered": some(listing.not_entered),
    }
    note["remarks"] = _remarks(note)
    return Manifest(root=root, classes=classes, table=table, notes={"index": note})


def _nothing(root: Path, listing: Listing, unreadable: Sequence[Record]) -> str:
    if unreadable:
        first = unreadable[0]
        return (
            f"none of the {len(unreadable)} files below {shown(str(root))} can be read; "
            f"the first, {shown(first['source'])}: {first['why']}"
        )
    if listing.not_entered:
        return (
            f"there is no picture below {shown(str(root))}, whose folder "
            f"{shown(listing.not_entered[0])} is a link or can't be opened: name the real folder"
        )
    return f"there is no picture below {shown(str(root))}: name the folder that holds them"


def _remarks(note: dict[str, Any]) -> list[str]:
    """The note in sentences, where there is something to say."""
    remarks = []
    if note["reused"]:
        remarks.append(f"{note['reused']} of {note['files']} files are unchanged: not read again")
    if len(note["classes"]) == 1:
        remarks.append(f"one class alone ({', '.join(note['classes'])}): nothing to tell apart")
    if note["unlabelled"]:
        remarks.append(f"{note['unlabelled']} pictures have no label: they lie in no class folder")
    for key, what in LEFT.items():
        if note[key]["count"]:
            first = note[key]["examples"][0]
            name = shown(first if isinstance(first, str) else first["source"])
            remarks.append(f"{note[key]['count']} {what}, {name} for one")
    return remarks


LEFT = {
    "unreadable": "files can't be read (the column `error` says why)",
    "left_out": "files beside the pictures are left out",
    "not_entered": "folders are links or can't be opened, and are not entered",
}
"""What the keys of a note mean that hold what gave no picture."""


def _records(manifest: Manifest) -> list[Record]:
    columns = ["source", "label", "format", "mode", "height", "width"]
    records: list[Record] = manifest.table.select(columns).to_pylist()
    return records


def _with_metadata(manifest: Manifest, facts: Metadata | None, patient: str | None) -> Manifest:
    """The manifest with a note on its metadata, and the patients where a column has them."""
    if facts is None:
        return manifest
    joined = join_metadata(facts, _records(manifest))
    if patient is not None:
        manifest = manifest.with_columns(patient=patients_of(joined, patient, len(manifest)))
    return manifest.with_notes(metadata=joined.note)


def _with_masks(manifest: Manifest, masks: Masks | None, progress: Progress) -> Manifest:
    if masks is None:
        return manifest
    column, note = join_masks(masks, manifest.root, _records(manifest), progress)
    return manifest.with_columns(mask=column).with_notes(masks=note)
