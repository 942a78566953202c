"""A cleaned manifest: what to leave out, with the reason beside each row, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.phrases import listed
from clearhead.audits.pictures import TURN_NAMES
from clearhead.audits.sources import collections
from clearhead.data.between import turn_onto
from clearhead.errors import ManifestError
from clearhead.types import Manifest

KEEPS = ("one", "all")
"""`one` keeps the best file of each distinct picture, `all` every file that isn't wrong."""

LOSSLESS = 101.0
"""What counts as the JPEG quality of a file that isn't one."""


def fix(
    material: Material, *, keep: str = "one", junk: Mapping[int, str] | None = None
) -> Manifest:
    """The manifest with the column `aside` filled for rows that should take no part.

    Set aside are, the first that fits: what can't be read, what has no label, the rows of `junk`
    (row → reason), pictures whose copies carry different labels, all of them, pictures that a set
    of the material's `against` holds too, all of them, and with `keep` "one" all but the best file
    of each distinct picture: one with a mask, not mirrored, of most pixels, least compressed, first
    by source. Rows set aside before stay so. The column `collection` is filled where it is empty,
    `split` and `fold` are cleared in rows set aside and left in the others. Files, and the manifest
    given, are not touched.

    Errors: `ManifestError` where `keep` is none of these or `junk` names a row that isn't there.
    """
    manifest = material.manifest
    _check(manifest, keep, junk or {})
    rows = np.flatnonzero(manifest.table.column("aside").is_null().to_numpy())
    reasons: dict[str, dict[int, str]] = {}
    for kind, find in _STEPS.items():
        if kind != "copies" or keep == "one":
            reasons[kind] = find(material, rows, junk or {})
            rows = rows[~np.isin(rows, list(reasons[kind]))]
    return _written(material, reasons, keep)


def _check(manifest: Manifest, keep: str, junk: Mapping[int, str]) -> None:
    if keep not in KEEPS:
        raise ManifestError(f"keep is {keep!r}: expected {' or '.join(KEEPS)}")
    for row, reason in junk.items():
        if not 0 <= row < len(manifest):
            raise ManifestError(
                f"junk names the row {row}: expected 0 to {len(manifest) - 1}, the rows of the "
                "manifest"
            )
        if not reason.strip():
            raise ManifestError(f"junk gives no reason for the row {row}: name one")


# --- Reasons --------------------------------------------------------------------------------


def _unreadable(
    material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]
) -> dict[int, str]:
    errors = material.manifest.column("error")[rows]
    return {
        row: f"can't be read: {error}"
        for row, error in zip(rows.tolist(), errors, strict=True)
        if error is not None
    }


def _unlabelled(
    material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]
) -> dict[int, str]:
    labels = material.manifest.column("label")[rows]
    return {row: "no label" for row, label in zip(rows.tolist(), labels, strict=True) if not label}


def _junk(material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]) -> dict[int, str]:
    return {row: junk[row] for row in rows.tolist() if row in junk}


def _contradicting(
    material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]
) -> dict[int, str]:
    """All rows of pictures whose copies carry different labels."""
    chosen = material.manifest.take(rows)
    labels: dict[int, set[str]] = {}
    copies = chosen.column("copy").tolist()
    for copy, label in zip(copies, chosen.column("label"), strict=True):
        labels.setdefault(copy, set()).add(label)
    return {
        row: f"copies of this picture carry contradicting labels: {listed(sorted(labels[copy]))}"
        for row, copy in zip(rows.tolist(), copies, strict=True)
        if len(labels[copy]) > 1
    }


def _shared(material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]) -> dict[int, str]:
    """All rows of pictures that another set holds too, and which file there."""
    found: dict[int, str] = {}
    for other, between in zip(material.against, material.between, strict=True):
        sources = other.manifest.column("source")
        for row in rows[between.shared[rows]].tolist():
            found.setdefault(row, f"{other.name} holds it too: {sources[between.partner[row]]}")
    return found


# --- One file per picture -------------------------------------------------------------------


def _repeated(
    material: Material, rows: NDArray[np.int64], junk: Mapping[int, str]
) -> dict[int, str]:
    """Every row but the best of each picture, and which it is a copy of."""
    manifest = material.manifest
    order = rows[_best_first(material, rows)]
    copy = manifest.column("copy")[order]
    _, first, inverse = np.unique(copy, return_index=True, return_inverse=True)
    best = order[first[inverse]]
    rest = order != best
    words = _how(manifest, order[rest], best[rest])
    sources = manifest.column("source")[best[rest]]
    return {
        row: f"copy of {source}{how}"
        for row, source, how in zip(order[rest].tolist(), sources, words, strict=True)
    }


def _best_first(material: Material, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the rows from the best file to the worst, (n,)."""
    chosen = material.manifest.take(rows)
    area = chosen.column("height").astype(np.int64) * chosen.column("width")
    keys = (
        np.argsort(np.argsort(chosen.column("source"), kind="stable"), kind="stable"),
        -_quality(material, rows),
        -area,
        chosen.column("turn") != 0,
        chosen.table.column("mask").is_null().to_numpy(),
    )
    order: NDArray[np.int64] = np.lexsort(keys)
    return order


def _quality(material: Material, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """How little each file was compressed, (n,): JPEG quality 1–100, 0 unknown, `LOSSLESS`."""
    quality = np.nan_to_num(material.traits["file"]["quality"][rows]).astype(np.float64)
    lossless = material.manifest.column("format")[rows] != "JPEG"
    return np.where(lossless, LOSSLESS, quality)


def _how(manifest: Manifest, rows: NDArray[np.int64], best: NDArray[np.int64]) -> list[str]:
    """How each row differs from the file kept in its place."""
    turn = manifest.column("turn")
    turns = turn_onto(turn[rows], turn[best])
    same = {
        name: manifest.column(name)[rows] == manifest.column(name)[best]
        for name in ("sha256", "pixel_hash")
    }
    return [
        ", same bytes" if bytes_ else ", same pixels" if pixels else _turned(int(turned))
        for bytes_, pixels, turned in zip(same["sha256"], same["pixel_hash"], turns, strict=True)
    ]


def _turned(turn: int) -> str:
    return (
        f", {TURN_NAMES[turn]}" if turn else ", re-encoded, rescaled, with other contrast or border"
    )


_STEPS: dict[str, Callable[[Material, NDArray[np.int64], Mapping[int, str]], dict[int, str]]] = {
    "unreadable": _unreadable,
    "unlabelled": _unlabelled,
    "junk": _junk,
    "contradicting": _contradicting,
    "shared": _shared,
    "copies": _repeated,
}
"""What is set aside, in the order in which it is looked for among the rows that are left."""


# --- The manifest ---------------------------------------------------------------------------


def _written(material: Material, reasons: Mapping[str, dict[int, str]], keep: str) -> Manifest:
    manifest = material.manifest
    fresh = {row: text for part in reasons.values() for row, text in part.items()}
    told = manifest.table.column("collection").null_count < len(manifest)
    if not fresh and told and "fix" in manifest.notes:
        return manifest  # nothing left to do
    earlier = manifest.column("aside")
    aside = np.array([fresh.get(row, text) for row, text in enumerate(earlier)], dtype=object)
    stays = aside == None  # noqa: E711  elementwise on objects
    numbers = collections(material)
    counts = {"earlier": len(manifest) - int(stays.sum()) - len(fresh)}
    counts |= {kind: len(part) for kind, part in reasons.items()}
    return manifest.with_columns(
        aside=aside,
        collection=_blanked(numbers.astype(object), numbers < 0),
        split=_blanked(manifest.column("split"), ~stays),
        fold=_blanked(np.array(manifest.table.column("fold").to_pylist(), object), ~stays),
    ).with_notes(
        fix={
            "keep": keep,
            "kept": int(stays.sum()),
            "set_aside": {kind: count for kind, count in counts.items() if count},
            "collections": int(numbers.max(initial=-1)) + 1,
            "remarks": _remarks(manifest, stays),
        }
    )


def _blanked(values: NDArray[np.object_], blank: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The values, None where they are to be blank."""
    kept = values.copy()
    kept[blank] = None
    return kept


def _remarks(manifest: Manifest, stays: NDArray[Any]) -> list[str]:
    split = manifest.table.column("split").is_valid().to_numpy()
    if not split.any():
        return []
    return [
        f"{int((split & stays).sum())} rows that stay keep the split they had and "
        f"{int((split & ~stays).sum())} that don't lose it: split again for even shares"
    ]
