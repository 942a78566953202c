"""How the search for copies grows: seconds, peak memory, pairs tested, for several sizes.

    python benchmarks/copies.py                        generated heads, 10 000 to 100 000
    python benchmarks/copies.py --sizes 4600 20000
    python benchmarks/copies.py --manifest FILE        an indexed folder with its thumbnails

Four in ten generated thumbnails are copies of an earlier one: mirrored or turned, with another
brightness, contrast and gamma, clipped, with noise, and every third with a wider border. So the
script also says how many of them were found, and how many pictures were joined that are not copies.
Each size runs in a process of its own; peak memory is that process's resident set, mapped
thumbnails included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from clearhead.data.contrast import TURNS, turned
from clearhead.data.copies import copy_report, find_copies
from clearhead.data.thumbnail import SIDE, cosines
from clearhead.types import COLUMNS, Manifest

COPIES = 0.4
"""Share of the generated thumbnails that are copies of an earlier one."""

BORDERED = 1 / 3
"""Share of the copies that have a wider border, on each side another."""

WIDEST = 0.35
"""Widest border added, as a share of half the side."""

BLOCK = 1000
"""Thumbnails generated at a time."""


@dataclass(frozen=True)
class Measured:
    """One run over `files` thumbnails."""

    files: int
    distinct: int
    pairs: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    found: float
    """Share of the planted copies that share a group with their original; NaN without truth."""
    joined: int
    """Groups that hold pictures of different origin; 0 without truth."""


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.manifest is not None:
        _print([_apart(_measure_manifest, arguments.manifest)])
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for size in arguments.sizes:
            path = Path(folder) / f"{size}.npy"
            origin = generate(path, size, arguments.seed)
            runs.append(_apart(_measure_generated, path, origin))
            path.unlink()
            _print(runs[-1:], heading=len(runs) == 1)
    if len(runs) > 1:
        print(f"\nseconds of CPU grow as files^{_exponent(runs):.2f} (2 would be quadratic)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--manifest", type=Path, help="manifest of an indexed folder")
    return parser


# --- Generated heads ------------------------------------------------------------------------


def generate(path: Path, count: int, seed: int) -> NDArray[np.int64]:
    """Write (count, 64, 64) uint8 to `path`; returns which thumbnail each one is a copy of."""
    random = np.random.default_rng(seed)
    thumbnails = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE))
    origin = np.arange(count)
    for start in range(0, count, BLOCK):
        block = np.arange(start, min(start + BLOCK, count))
        thumbnails[block] = _heads(random, len(block))
        if start:
            copies = block[random.random(len(block)) < COPIES]
            earlier = random.integers(0, start, len(copies))
            origin[copies] = origin[earlier]
            thumbnails[copies] = _copies(random, _bordered(random, thumbnails[earlier]))
    thumbnails.flush()
    return origin


def _heads(random: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Heads: a bright rim about an oval full of texture whose spectrum falls as in real slices."""
    frequency = 24
    fall = 1.0 / (2.0 + np.hypot(*np.mgrid[:frequency, :frequency])) ** 1.5
    basis = cosines(SIDE)[:frequency]
    texture = basis.T @ (random.normal(size=(count, frequency, frequency)) * fall) @ basis
    texture /= texture.std(axis=(1, 2), keepdims=True)
    row, column = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1 + 0.5 / SIDE
    middle, axes = random.normal(0, 0.05, (2, count, 1, 1)), random.uniform(0.65, 0.9, (2, count))
    radius = np.hypot(
        (row - middle[0]) / axes[0, :, None, None], (column - middle[1]) / axes[1, :, None, None]
    )
    inside = 1 / (1 + np.exp((radius - 0.88) * 40))
    rim = np.exp(-np.square((radius - 0.95) / 0.04))
    heads = inside * (0.5 + 0.15 * texture) + random.uniform(0.4, 1.0, (count, 1, 1)) * rim
    return _levels(heads)


def _copies(random: np.random.Generator, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count = len(pictures)
    values = pictures / 255.0
    gamma, contrast = random.uniform(0.8, 1.25, (2, count, 1, 1))
    brightness = random.uniform(-0.1, 0.1, (count, 1, 1))
    values = np.clip((values**gamma - 0.5) * contrast + 0.5 + brightness, 0, 1)
    values += random.normal(0, 0.01, values.shape)
    turns = random.integers(0, TURNS, count)
    for turn in range(TURNS):
        values[turns == turn] = turned(values[turns == turn], turn).copy()
    return _levels(values)


def _bordered(random: np.random.Generator, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Some of the pictures with a black border around them, squeezed to the square again."""
    pictures = pictures.copy()
    for row in np.flatnonzero(random.random(len(pictures)) < BORDERED):
        before, after = random.uniform(0, WIDEST * SIDE / 2, (2, 2))
        places = [
            np.linspace(-first, SIDE - 1 + last, SIDE)
            for first, last in zip(before, after, strict=True)
        ]
        grid = np.meshgrid(*places, indexing="ij")
        pictures[row] = map_coordinates(pictures[row].astype(float), grid, order=1).round()
    return pictures


def _levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    low = values.min(axis=(1, 2), keepdims=True)
    high = values.max(axis=(1, 2), keepdims=True)
    levels: NDArray[np.uint8] = np.rint(255 * (values - low) / (high - low)).astype(np.uint8)
    return levels


# --- Measuring ------------------------------------------------------------------------------


def _apart(measure: object, *arguments: object) -> Measured:
    """Call `measure` in a fresh process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: Measured = pool.apply(measure, arguments)  # type: ignore[arg-type]
    return measured


def _measure_generated(path: Path, origin: NDArray[np.int64]) -> Measured:
    return _measure(_listed(len(origin)), np.load(path, mmap_mode="r"), origin)


def _measure_manifest(path: Path) -> Measured:
    from clearhead.data.manifest import load_manifest, load_thumbnails

    return _measure(load_manifest(path), load_thumbnails(path), None)


def _measure(
    manifest: Manifest, thumbnails: NDArray[np.uint8], origin: NDArray[np.int64] | None
) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    found = find_copies(manifest, thumbnails)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    share, joined = (float("nan"), 0) if origin is None else _judged(found.column("copy"), origin)
    return Measured(
        files=len(manifest),
        distinct=copy_report(found).distinct,
        pairs=found.notes["copies"]["pairs_tested"],
        wall_s=wall,
        cpu_s=cpu,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        found=share,
        joined=joined,
    )


def _judged(copy: NDArray[np.int64], origin: NDArray[np.int64]) -> tuple[float, int]:
    """Share of copies grouped with their original, and groups of more than one origin."""
    planted = origin != np.arange(len(origin))
    together = copy[planted] == copy[origin[planted]]
    kinds = np.unique(np.stack([copy, origin]), axis=1)
    joined = np.count_nonzero(np.bincount(kinds[0]) > 1)
    return float(together.mean()), int(joined)


def _listed(count: int) -> Manifest:
    """A manifest of as many readable rows of different pixels."""
    rows = np.arange(count)
    known = {
        "source": [f"{row:09d}.png" for row in rows],
        "pixel_hash": [f"{row:064x}" for row in rows],
        "mode": ["L"] * count,
        "std": np.full(count, 60.0),
    }
    columns = {
        name: pa.array(known[name], type=pa.type_for_alias(kind))
        if name in known
        else pa.nulls(count, pa.type_for_alias(kind))
        for name, kind in COLUMNS.items()
    }
    return Manifest(Path(), (), pa.table(columns))


def _exponent(runs: list[Measured]) -> float:
    sizes, seconds = np.log([run.files for run in runs]), np.log([run.cpu_s for run in runs])
    return float(np.polyfit(sizes, seconds, 1)[0])


def _print(runs: list[Measured], heading: bool = True) -> None:
    if heading:
        print(
            f"{'files':>8} {'distinct':>9} {'pairs tested':>13} {'seconds':>8} {'CPU s':>8} "
            f"{'peak MiB':>9} {'copies found':>13} {'false groups':>13}"
        )
    for run in runs:
        print(
            f"{run.files:8d} {run.distinct:9d} {run.pairs:13d} {run.wall_s:8.1f} {run.cpu_s:8.1f} "
            f"{run.peak_mib:9.0f} {run.found:13.2%} {run.joined:13d}",
            flush=True,
        )


if __name__ == "__main__":
    main()
