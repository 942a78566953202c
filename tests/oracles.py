"""Small data with a known truth, and slow literal versions, shared by the tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.phantom import phantom
from clearhead.data.split import split
from clearhead.files import sha256
from clearhead.types import COLUMNS, Manifest


def manifest_of(root: Path, classes: Sequence[str], **columns: Sequence[Any]) -> Manifest:
    """A manifest with the given columns and nulls elsewhere."""
    count = len(next(iter(columns.values())))
    table = pa.table(
        {
            name: pa.array(columns.get(name, [None] * count), type=pa.type_for_alias(kind))
            for name, kind in COLUMNS.items()
        }
    )
    return Manifest(root, tuple(classes), table)


def disc_picture(side: int, bright: bool, random: np.random.Generator) -> NDArray[np.uint8]:
    """A grey noisy ball with (`bright`) or without a small bright disc in it."""
    rows, columns = np.mgrid[:side, :side]
    centre = side / 2 + random.uniform(-2, 2, 2)
    ball = np.hypot(rows - centre[0], columns - centre[1]) < 0.4 * side
    picture = 70.0 * ball + random.normal(0, 6, (side, side)) * ball
    if bright:
        spot = centre + random.uniform(-0.2, 0.2, 2) * side
        picture += 140.0 * (np.hypot(rows - spot[0], columns - spot[1]) < 0.08 * side)
    drawn: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return drawn


def disc_folder(
    root: Path, *, counts: tuple[int, int, int] = (24, 8, 8), side: int = 64, seed: int = 0
) -> Manifest:
    """A folder of discs (class `spot`) and none (class `plain`) with train, validation and test."""
    random = np.random.default_rng(seed)
    splits = np.repeat(["train", "validation", "test"], counts)
    sources, labels, digests = [], [], []
    for number, _ in enumerate(splits):
        label = ("plain", "spot")[number % 2]
        source = f"{label}/{number:04d}.png"
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc_picture(side, label == "spot", random)).save(root / source)
        sources.append(source)
        labels.append(label)
        digests.append(sha256((root / source).read_bytes()))
    count = len(sources)
    return manifest_of(
        root,
        ("plain", "spot"),
        source=sources,
        label=labels,
        sha256=digests,
        pixel_hash=digests,
        split=splits.tolist(),
        group=list(range(count)),
        copy=list(range(count)),
        format=["PNG"] * count,
        mode=["L"] * count,
        height=[side] * count,
        width=[side] * count,
    )


def head_manifest(root: Path, *, n: int, size_px: int, seed: int = 2) -> Manifest:
    """Generated heads below `root`, indexed, searched for copies and split."""
    folder = phantom(root / "heads", n=n, seed=seed, size_px=size_px)
    found = index(folder, root / "heads.parquet")
    return split(find_copies(found, load_thumbnails(root / "heads.parquet")), seed=0)


class Interrupted:
    """A progress at which somebody presses Ctrl-C, after five items."""

    def __init__(self, items: Iterable[Any], *, total: int | None = None, label: str = "") -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        for count, item in enumerate(self.items):
            if count == 5:
                raise KeyboardInterrupt
            yield item

    def note(self, text: str) -> None:
        return None
