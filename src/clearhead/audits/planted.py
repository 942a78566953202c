"""Faults planted in generated heads: folders in which one thing is wrong and known.

An audit that is worth anything names each fault and stays quiet on the clean twin. The heads of a
fault and of its twin are the same, so nothing differs but the fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.heads import HEALTHY, TUMOUR, Head, head
from clearhead.data.plant import PLANTS, marked
from clearhead.errors import ManifestError

Pixels = NDArray[np.uint8]

ADDED = 0.15
"""Files that a fault of copies adds, as a share of the heads."""

SQUEEZED = 0.85
"""Width of a squeezed head, as a share of what it was."""

BLURRED = 0.5
"""Resolution of a blurred head, as a share of what it was."""


@dataclass(frozen=True)
class File:
    """A picture to be written: where, and how it is encoded."""

    label: str
    name: str
    """File name with its extension, which tells the format."""
    pixels: Pixels
    quality: int = 90
    """Of JPEG; a PNG has none."""
    mask: NDArray[np.bool_] | None = None
    """Tumour pixels; None where the fault moved them."""

    def save(self, folder: Path) -> None:
        """Write the file below the folder of its class."""
        path = folder / self.label / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Each encoder takes its own setting and ignores the other.
        Image.fromarray(self.pixels).save(path, quality=self.quality, compress_level=3)

    def save_mask(self, folder: Path) -> None:
        """Write the mask, where there is a tumour, below `masks` and the folder of its class."""
        if self.mask is not None and self.mask.any():
            path = folder / "masks" / self.label / f"{Path(self.name).stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.mask).save(path)


Plant = Callable[[Sequence[Head], float, Generator], list[File]]


@dataclass(frozen=True)
class Fault:
    """A fault, what it is called by, and what must name it."""

    words: str
    findings: tuple[str, ...]
    """Findings of which one at least must say `warn` or `fail`."""
    plant: Plant
    protocol: str = "group"
    """The split that the set comes with."""
    evidence: tuple[str, ...] = ()
    """Findings on a classifier trained with the fault, of which one at least must say `warn` or
    `fail`; empty where a classifier can't see the fault."""


# --- Marks in the picture -------------------------------------------------------------------


def _clean(heads: Sequence[Head], strength: float, rng: Generator) -> list[File]:
    return [_file(place, drawn) for place, drawn in enumerate(heads)]


def _mark(name: str) -> Plant:
    def plant(heads: Sequence[Head], strength: float, rng: Generator) -> list[File]:
        chosen = _chosen(heads, strength, rng)
        return [
            _file(place, PLANTS[name](drawn, rng) if chosen[place] else drawn)
            for place, drawn in enumerate(heads)
        ]

    return plant


def _redrawn(change: Callable[[Pixels], Pixels], *, moves: bool = False) -> Plant:
    """Chosen heads with their pixels changed; `moves` where the mask fits them no more."""

    def plant(heads: Sequence[Head], strength: float, rng: Generator) -> list[File]:
        files = _clean(heads, strength, rng)
        for place in np.flatnonzero(_chosen(heads, strength, rng)).tolist():
            mask = None if moves else heads[place].mask
            pixels = change(heads[place].pixels)
            files[place] = dataclasses.replace(files[place], pixels=pixels, mask=mask)
        return files

    return plant


def _squeeze(pixels: Pixels) -> Pixels:
    """The head narrower, in a picture of the same shape."""
    height, width = pixels.shape
    narrow = _resized(pixels, height, round(SQUEEZED * width))
    before = (width - narrow.shape[1]) // 2
    return np.pad(narrow, ((0, 0), (before, width - narrow.shape[1] - before)), mode="edge")


def _blur(pixels: Pixels) -> Pixels:
    """The head as from a scan of lower resolution."""
    height, width = pixels.shape
    small = _resized(pixels, round(BLURRED * height), round(BLURRED * width))
    return _resized(small, height, width)


def _enlarge(pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    return _resized(pixels, height * 9 // 8, width * 9 // 8)


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    resized: Pixels = np.asarray(picture)
    return resized


# --- Files ----------------------------------------------------------------------------------


def _encoded(marked_as: tuple[str, int], others_as: tuple[str, int]) -> Plant:
    """Chosen heads in one encoding (extension and JPEG quality), the rest in another."""

    def plant(heads: Sequence[Head], strength: float, rng: Generator) -> list[File]:
        chosen = _chosen(heads, strength, rng)
        files = []
        for place, drawn in enumerate(heads):
            extension, quality = marked_as if chosen[place] else others_as
            files.append(File(drawn.label, f"{place:04d}{extension}", drawn.pixels, quality))
        return files

    return plant


def _added(change: Callable[[Pixels, Generator], Pixels], other_label: bool = False) -> Plant:
    """Copies of some heads beside them, in their own class or in the other."""

    def plant(heads: Sequence[Head], strength: float, rng: Generator) -> list[File]:
        files = _clean(heads, strength, rng)
        count = max(1, round(ADDED * strength * len(heads)))
        for number, place in enumerate(rng.permutation(len(heads))[:count]):
            label = heads[place].label
            if other_label:
                label = HEALTHY if label == TUMOUR else TUMOUR
            pixels = change(heads[place].pixels, rng)
            files.append(File(label, f"{len(heads) + number:04d}.jpg", pixels))
        return files

    return plant


def _brighter(pixels: Pixels, rng: Generator) -> Pixels:
    table = (255 * (np.arange(256) / 255) ** rng.uniform(0.75, 1.3)).astype(np.uint8)
    brighter: Pixels = table[pixels]
    return brighter


def _mirrored(pixels: Pixels, rng: Generator) -> Pixels:
    return np.ascontiguousarray(_brighter(pixels, rng)[:, ::-1])


# --- The faults -----------------------------------------------------------------------------

FAULTS: dict[str, Fault] = {
    "clean": Fault("nothing", (), _clean),
    "corner": Fault(
        "a bright square in a corner",
        ("leak.border", "leak.background"),
        _mark("corner"),
        evidence=("need.brain", "need.background", "where.background"),
    ),
    "border": Fault(
        "a thin bright frame",
        ("leak.border",),
        _mark("border"),
        evidence=("need.brain", "need.background", "where.background"),
    ),
    "scale": Fault(
        "a wider field of view",
        ("leak.shape", "leak.silhouette"),
        _mark("scale"),
        evidence=("need.brain", "need.outline"),
    ),
    "text": Fault(
        "burned-in letters",
        ("leak.text",),
        _mark("text"),
        evidence=("need.brain", "need.background", "where.background"),
    ),
    "skull": Fault(
        "a brighter scalp and skull",
        ("leak.rim",),
        _mark("skull"),
        evidence=("need.brain", "need.rim", "where.rim"),
    ),
    "format": Fault(
        "JPEG in one class, PNG in the other", ("leak.facts",), _encoded((".jpg", 90), (".png", 0))
    ),
    "quality": Fault("stronger compression", ("leak.facts",), _encoded((".jpg", 60), (".jpg", 90))),
    "size": Fault("pictures an eighth larger", ("leak.facts",), _redrawn(_enlarge, moves=True)),
    "blur": Fault(
        "half the resolution",
        ("leak.sharpness",),
        _redrawn(_blur),
        evidence=("need.blur", "need.resample", "need.brain"),
    ),
    "aspect": Fault(
        "heads squeezed in width", ("leak.shape", "leak.silhouette"), _redrawn(_squeeze, moves=True)
    ),
    "copies": Fault("copies across the splits", ("copies.across",), _added(_brighter), "report"),
    "mirrored": Fault("mirrored copies", ("copies.mirrored",), _added(_mirrored)),
    "contradicting": Fault(
        "copies under the other label", ("copies.contradicting",), _added(_brighter, True)
    ),
}
"""What is planted; `clean` is the twin of all."""


def draw_heads(count: int, seed: int, size_px: int = 256) -> list[Head]:
    """`count` heads, every other one with a tumour."""
    labels = (TUMOUR, HEALTHY)
    return [head((seed, place), label=labels[place % 2], size_px=size_px) for place in range(count)]


def plant_fault(
    name: str,
    heads: Sequence[Head],
    folder: Path,
    *,
    strength: float = 1.0,
    seed: int = 0,
    masks: bool = False,
) -> None:
    """Write the heads as an image folder with the fault `name` in it, with tumour masks or not.

    `strength` is P(mark | tumour) − P(mark | healthy); of faults that add copies it scales the
    number. Errors: `ManifestError` for a fault that doesn't exist.
    """
    if name not in FAULTS:
        raise ManifestError(f"no fault is called {name!r}: expected {', '.join(FAULTS)}")
    rng = np.random.default_rng([seed, 104])
    for file in FAULTS[name].plant(heads, strength, rng):
        file.save(folder)
        if masks:
            file.save_mask(folder)


def _chosen(heads: Sequence[Head], strength: float, rng: Generator) -> NDArray[np.bool_]:
    return marked([drawn.label for drawn in heads], strength, rng)


def _file(place: int, drawn: Head) -> File:
    return File(drawn.label, f"{place:04d}.png", drawn.pixels, mask=drawn.mask)
