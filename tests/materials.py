"""Data sets under audit for tests, as tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Against, Material
from clearhead.data.thumbnail import SIDE
from clearhead.data.traits import UNKNOWN
from clearhead.files import sha256
from clearhead.types import Manifest
from oracles import manifest_of

CLASSES = ("healthy", "tumour")


def rows_of(count: int, **columns: Sequence[Any] | NDArray[Any]) -> Manifest:
    """`count` readable rows of different pictures, classes in turn, but for what is given."""
    known: dict[str, Any] = {
        "source": [f"{place:06d}.png" for place in range(count)],
        "label": [CLASSES[place % 2] for place in range(count)],
        "sha256": [sha256(f"bytes {place}".encode()) for place in range(count)],
        "pixel_hash": [sha256(f"pixels {place}".encode()) for place in range(count)],
        "format": ["PNG"] * count,
        "mode": ["L"] * count,
        "height": [200] * count,
        "width": [180] * count,
        "copy": np.arange(count),
        "turn": [0] * count,
    } | columns
    known.setdefault("group", known["copy"])
    return manifest_of(Path("rows"), CLASSES, **known)


def material_of(
    manifest: Manifest,
    header: Sequence[dict[str, Any]] = (),
    *,
    border: NDArray[Any] | float = 1.0,
    thumbnails: NDArray[np.uint8] | None = None,
    against: tuple[Against, ...] = (),
    **settings: Any,
) -> Material:
    """The material of a manifest; `header` gives what differs in each row's file traits."""
    traits = np.full(len(manifest), UNKNOWN)
    traits["seen"] = True
    traits["stretch"]["border"] = np.reshape(border, (-1, 1))
    for row, values in enumerate(header):
        for name, value in values.items():
            traits["file"][name][row] = value
    if thumbnails is None:
        thumbnails = np.zeros((len(manifest), SIDE, SIDE), dtype=np.uint8)
    return Material(manifest, thumbnails, traits, against, **settings)
