"""A manifest on disk: one Parquet file, and the thumbnails of its rows beside it.

What isn't a column (version, root, classes, notes) is JSON in the Parquet schema's metadata.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clearhead.data.thumbnail import SIDE
from clearhead.errors import ManifestError
from clearhead.files import writing
from clearhead.types import COLUMNS, Manifest

VERSION = 1
"""Version of the layout on disk; a file of another version is refused."""

KEY = b"clearhead"

ADDED = ("collection", "aside")
"""Columns that manifests of this version may lack: empty before they were thought of."""

SCHEMA = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
"""The Arrow schema of every manifest's table."""


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest to `path` as Parquet, whole or not at all.

    The root is kept twice, absolute and relative to the file, so that manifest and pictures can
    be moved together.
    Errors: `ManifestError` where a note is no plain JSON value.
    """
    root = manifest.root.absolute()
    try:
        head = json.dumps(
            {
                "version": VERSION,
                "root": root.as_posix(),
                "relative_root": _relative(root, path),
                "classes": list(manifest.classes),
                "notes": dict(manifest.notes),
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise ManifestError(f"a note of the manifest can't be kept as JSON: {error}") from None
    table = manifest.table.select(list(COLUMNS)).cast(SCHEMA)
    with writing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata({KEY: head.encode()}), temporary, compression="zstd"
        )


def _relative(root: Path, path: Path) -> str | None:
    try:
        return Path(os.path.relpath(root, path.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return None


def load_manifest(path: Path) -> Manifest:
    """The manifest in the Parquet file `path`.

    Errors: `ManifestError` where the file is absent, no Parquet, no manifest, or of another
    version.
    """
    head = _head(path)
    try:
        table = _completed(pq.ParquetFile(path, memory_map=False).read())
    except (pa.ArrowException, OSError, KeyError):
        raise ManifestError(f"{path} is damaged: make it again with `clearhead index`") from None
    if table.schema.remove_metadata() != SCHEMA:
        wrong = [name for name in COLUMNS if name not in table.column_names]
        raise ManifestError(
            f"{path} has other columns than a manifest (missing: {', '.join(wrong) or 'none'}): "
            "make it again with `clearhead index`"
        )
    return Manifest(
        root=_root(head, path),
        classes=tuple(head["classes"]),
        table=table.replace_schema_metadata(None),
        notes=head["notes"],
    )


def _completed(table: pa.Table) -> pa.Table:
    """The table with the columns that were added since it was written, empty."""
    for name in ADDED:
        if name not in table.column_names:
            field = SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select([name for name in COLUMNS if name in table.column_names])


def is_manifest(path: Path) -> bool:
    """Whether `path` is a manifest, of whatever version."""
    try:
        return KEY in (_footer(path).metadata or {})
    except ManifestError:
        return False


def _head(path: Path) -> dict[str, Any]:
    """What the schema's metadata says, of a file that is a manifest of this version."""
    metadata = _footer(path).metadata or {}
    try:
        head: dict[str, Any] = json.loads(metadata[KEY])
        version = head["version"]
    except (KeyError, ValueError, TypeError):
        raise ManifestError(
            f"{path} is a Parquet file but not a manifest: make one with `clearhead index`"
        ) from None
    if version != VERSION:
        raise ManifestError(
            f"{path} is a manifest of version {version}, and this clearhead reads {VERSION}: "
            "make it again with `clearhead index`"
        )
    return head


def _footer(path: Path) -> pq.FileMetaData:
    if not path.exists():
        raise ManifestError(f"there is no manifest {path}: make one with `clearhead index`")
    if path.is_dir():
        raise ManifestError(f"{path} is a folder: name the manifest file (.parquet) itself")
    try:
        return pq.read_metadata(path)
    except PermissionError:
        raise ManifestError(f"permission to read {path} is denied") from None
    except (pa.ArrowException, OSError):
        raise ManifestError(
            f"{path} is not a Parquet file: name a manifest made with `clearhead index`"
        ) from None


def _root(head: dict[str, Any], path: Path) -> Path:
    """The root as stored, or, where that is gone, as it lies relative to the manifest."""
    stored = Path(head["root"])
    if head["relative_root"] is None or stored.is_dir():
        return stored
    moved = Path(os.path.normpath(path.absolute().parent / head["relative_root"]))
    return moved if moved.is_dir() else stored


# --- Another set ----------------------------------------------------------------------------


def as_classes(on: Manifest, classes: tuple[str, ...], named: Mapping[str, str]) -> Manifest:
    """The usable rows of another set, labelled with the classes of a run.

    `named` tells which class a label of that set stands for (`{"meningioma": "Brain Tumor"}`).
    Errors: `ManifestError` where a label is none of the classes or no row is usable.
    """
    for label, name in named.items():
        if label not in on.classes or name not in classes:
            raise ManifestError(
                f"{label}={name} names no pair of classes: the other set has "
                f"{', '.join(on.classes)}, the run {', '.join(classes)}"
            )
    rows = on.take(on.usable())
    labels = [named.get(label, label) for label in rows.column("label")]
    strange = next((label for label in labels if label not in classes), None)
    if strange is not None:
        raise ManifestError(
            f"the other set has pictures labelled {strange!r}, and the run knows "
            f"{', '.join(classes)}: say which it stands for with --as {strange!r}=CLASS"
        )
    if not labels:
        raise ManifestError(
            "the other set has no usable row: every one is unreadable or unlabelled"
        )
    return dataclasses.replace(rows.with_columns(label=labels), classes=classes)


# --- Thumbnails -----------------------------------------------------------------------------


def thumbnails_path(path: Path) -> Path:
    """Where the thumbnails of the manifest at `path` lie."""
    return path.with_name(f"{path.name}.thumbs.npy")


def load_thumbnails(path: Path) -> NDArray[np.uint8]:
    """Thumbnails of the manifest at `path`, (N, 64, 64) uint8, memory-mapped, one per row.

    Rows that could not be read hold zeros.
    Errors: `ManifestError` where they are absent or don't belong to the manifest.
    """
    place = thumbnails_path(path)
    again = "make them again with `clearhead index`"
    try:
        thumbnails: NDArray[np.uint8] = np.load(place, mmap_mode="r")
    except FileNotFoundError:
        raise ManifestError(f"the thumbnails {place} are not there: {again}") from None
    except (OSError, ValueError, EOFError):
        raise ManifestError(f"the thumbnails {place} are damaged: {again}") from None
    rows = _footer(path).num_rows
    if thumbnails.shape != (rows, SIDE, SIDE) or thumbnails.dtype != np.uint8:
        raise ManifestError(
            f"the thumbnails {place} are {thumbnails.dtype} {thumbnails.shape}, and the manifest "
            f"has {rows} rows: {again}"
        )
    return thumbnails


def carry_thumbnails(source: Path, target: Path) -> None:
    """Copy the thumbnails of the manifest at `source` to that at `target`, which has the same rows.

    Nothing happens where there are none, or where both are one file.
    """
    have = thumbnails_path(source)
    if have.exists() and source.resolve() != target.resolve():
        with writing(thumbnails_path(target)) as temporary:
            shutil.copyfile(have, temporary)
