"""A folder of generated heads, like any other image folder with masks."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from clearhead.data.anatomy import anatomy
from clearhead.data.heads import HEALTHY, TUMOUR, Head, head
from clearhead.data.plant import PLANTS, check_plant, marked
from clearhead.errors import ManifestError
from clearhead.files import writing_folder
from clearhead.types import Progress, silent

__all__ = ["PLANTS", "Head", "head", "phantom"]

TRUTH = (
    "image", "label", "kind", "plane", "contrast", "slice_mm", "spacing_mm",
    "tumour_px", "plant", "marked", "seed", "index",
)  # fmt: skip
"""Columns of `phantom.csv`; `kind` is empty for a healthy head."""

Row = dict[str, Any]


def phantom(
    out: Path,
    *,
    n: int = 600,
    seed: int = 0,
    size_px: int = 256,
    plant: str | None = None,
    strength: float = 1.0,
    workers: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Write `n` generated heads, half of them with a tumour, as an image folder with masks.

    `out` gets a folder per class of 8-bit grey PNG files, `masks/` with `masks.csv`, and the truth
    of each head in `phantom.csv`. The same arguments give the same bytes, whatever `workers` is;
    with another `plant` or `strength` the heads stay the same and the marks change.

    Errors: `ManifestError` where `out` holds anything, or for an impossible `n`, `seed`,
    `size_px`, `workers`, `plant` or `strength`; nothing is left behind on failure.
    """
    _check(n, seed, size_px)
    workers = _workers(workers)
    check_plant(plant, strength)
    labels = _labels(n, seed)
    marks = _marks(labels, seed, plant, strength)
    with writing_folder(out) as folder:
        for name in (TUMOUR, HEALTHY, "masks"):
            (folder / name).mkdir()
        anatomy()  # built or read once, before the workers start
        draw = functools.partial(_write, folder, labels, marks, seed, size_px, plant)
        with closing(_ordered(draw, n, workers)) as drawn:  # done with writing, whatever happens
            rows = list(progress(drawn, total=n, label="heads"))
        _write_tables(folder, rows)
    return out


def _check(n: int, seed: int, size_px: int) -> None:
    if n < 2:
        raise ManifestError(f"n is {n}: expected at least 2, one head of each class")
    if seed < 0:
        raise ManifestError(f"seed is {seed}: expected 0 or more")
    if not 32 <= size_px <= 2048:
        raise ManifestError(f"size_px is {size_px}: expected 32 to 2048")


def _workers(asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise ManifestError(f"workers is {asked}: expected 1 or more")
    return asked or os.cpu_count() or 1


def _labels(n: int, seed: int) -> list[str]:
    """Half of each class in random order."""
    order = np.random.default_rng([seed, 0, 101]).permutation(n)
    return [TUMOUR if place < (n + 1) // 2 else HEALTHY for place in order]


def _marks(labels: list[str], seed: int, plant: str | None, strength: float) -> list[bool]:
    if plant is None:
        return [False] * len(labels)
    rng = np.random.default_rng([seed, 0, 102])
    return [bool(mark) for mark in marked(labels, strength, rng)]


def _ordered(draw: Callable[[int], Row], n: int, workers: int) -> Generator[Row]:
    """`draw(0)` … `draw(n - 1)` in order, a few at a time.

    Threads do: nearly all the time goes into numpy and zlib, which let others run meanwhile.
    """
    if workers == 1:
        yield from map(draw, range(n))
        return
    # The arithmetic library's own threads would fight with these for the cores.
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(draw, range(n))
        finally:
            pool.shutdown(cancel_futures=True)


def _write(
    folder: Path,
    labels: list[str],
    marks: list[bool],
    seed: int,
    size_px: int,
    plant: str | None,
    index: int,
) -> Row:
    """Draw head `index`, write it with its mask, and tell the truth about it."""
    drawn = head((seed, index), label=labels[index], size_px=size_px)
    if plant and marks[index]:
        drawn = PLANTS[plant](drawn, np.random.default_rng([seed, index, 103]))
    name = f"{index + 1:0{max(4, len(str(len(labels))))}d}.png"
    _write_png(folder / drawn.label / name, drawn.pixels)
    if drawn.label == TUMOUR:
        _write_png(folder / "masks" / name, drawn.mask.astype(np.uint8) * 255)
    return _truth(drawn, f"{drawn.label}/{name}", plant or "", marks[index])


def _truth(drawn: Head, image: str, plant: str, mark: bool) -> Row:
    return {
        "image": image,
        "label": drawn.label,
        "kind": drawn.kind if drawn.label == TUMOUR else "",
        "plane": drawn.plane,
        "contrast": drawn.contrast,
        "slice_mm": f"{drawn.slice_mm:.2f}",
        "spacing_mm": f"{drawn.spacing_mm:.4f}",
        "tumour_px": int(drawn.mask.sum()),
        "plant": plant,
        "marked": int(mark),
        "seed": drawn.seed[0],
        "index": drawn.seed[1],
    }


def _write_png(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, compress_level=3)


def _write_tables(folder: Path, rows: list[Row]) -> None:
    _write_csv(folder / "phantom.csv", TRUTH, rows)
    masks = [
        {"image": row["image"], "mask": f"masks/{Path(row['image']).name}"}
        for row in rows
        if row["label"] == TUMOUR
    ]
    _write_csv(folder / "masks.csv", ("image", "mask"), masks)


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
