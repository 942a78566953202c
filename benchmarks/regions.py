"""Background, rim and brain: how well each maker finds them, and how fast.

    python benchmarks/regions.py
    python benchmarks/regions.py --masks FOLDER/masks.csv --pictures FOLDER --sheet sheet.png

On generated heads that were in no training: Dice of rim and brain by plane, contrast and fit, then
with tones, frames and faults drawn at random; how many heads are told, and how many pictures that
show no head; processor time per slice on one core. With `--masks` (a table with the columns `image`
and `mask`, relative to `--pictures` and to the table): the share of tumour pixels, which nobody
trained on, that each maker calls brain, rim and background, one vote per picture. With `--sheet`:
a sample of the pictures with the outlines of rim and brain, to be judged by eye.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.canvas import draw, place
from clearhead.data.heads import CONTRASTS, HEALTHY, PLANES, TUMOUR, Head, head
from clearhead.data.read import read
from clearhead.data.regions import on_picture
from clearhead.model.region_pictures import Chance, no_heads
from clearhead.model.region_training import RegionTraining, bank, batch_of
from clearhead.model.regions import MAKERS, SURE, region_maps, regions
from clearhead.types import BRAIN, REGIONS, RIM, Facts, Scan

Bytes = NDArray[np.uint8]
HELD_OUT = 1_000_003
"""Seed of the heads; training takes small ones."""
FITS = {"canvas": 160, "stretch": 256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=10, help="per plane and contrast")
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--n", type=int, default=300, help="pictures with masks")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.pictures is None:
        generated(options.heads)
        wild()
        speed()
    elif options.masks:
        masked(options.masks, options.pictures, options.n, options.seed)
    if options.sheet:
        sheets(options.pictures, options.sheet, options.seed)


# --- Generated heads ------------------------------------------------------------------------


def generated(count: int) -> None:
    dice: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    told: dict[str, list[bool]] = defaultdict(list)
    for number, (plane, contrast) in enumerate(
        (plane, contrast) for plane in PLANES for contrast in CONTRASTS for _ in range(count)
    ):
        label = TUMOUR if number % 2 else HEALTHY
        one = head((HELD_OUT, number), label=label, plane=plane, contrast=contrast)
        for fit, size in FITS.items():
            for maker in MAKERS:
                labels, sure = found(scan_of(one), fit, size, maker)
                told[maker].append(sure >= SURE)
                for key in (plane, contrast, fit):
                    dice[maker, key].append(dices(labels, one.regions))
    print("generated heads, held out\nmaker      part       Dice of rim  of brain")
    for (maker, key), values in dice.items():
        rim, brain = np.mean(values, 0)
        print(f"{maker:10} {key:10} {rim:11.3f} {brain:9.3f}")
    for maker, each in told.items():
        print(f"{maker}: told {np.mean(each):.1%} of heads")


def wild() -> None:
    """Held-out heads in the tones, frames and faults of training, and pictures with no head."""
    settings = RegionTraining(seed=HELD_OUT, batch=60, empty=0)
    heads = bank(240, HELD_OUT)
    pictures = [batch_of(heads, settings, step) for step in range(4)]
    squares = np.concatenate([bytes_of(each.pixels) for each in pictures])
    truth = np.concatenate([each.regions.numpy() for each in pictures])
    chance = Chance(torch.Generator().manual_seed(HELD_OUT), 240)
    nothing = bytes_of(no_heads(torch.cat([each.pixels for each in pictures]), chance))
    for maker in MAKERS:
        labels, sure = region_maps(squares, maker=maker)
        pairs = zip(labels, truth, strict=True)
        rim, brain = np.nanmean([dices(one, other) for one, other in pairs], 0)
        print(f"{maker}: any tone and frame: Dice of rim {rim:.3f}, of brain {brain:.3f}, ", end="")
        print(f"told {np.mean(sure >= SURE):.1%}; ", end="")
        print(f"no head: told {np.mean(region_maps(nothing, maker=maker)[1] >= SURE):.1%}")


def speed() -> None:
    for fit, size in FITS.items():
        one = scan_of(head((HELD_OUT, 1)))
        squares = np.stack([draw(one, place(one, fit=fit, size_px=size))] * 30)
        for maker in MAKERS:
            region_maps(squares[:2], maker=maker)
            started = processor_seconds()
            region_maps(squares, maker=maker)
            each = (processor_seconds() - started) / len(squares)
            print(f"{maker}: {1000 * each:.1f} ms of one core per slice ({fit}, {size} px)")


def found(scan: Scan, fit: str, size_px: int, maker: str) -> tuple[Bytes, float]:
    """Labels on the picture's grid, as an audit at this fit and size finds them."""
    placement = place(scan, fit=fit, size_px=size_px)
    labels, sure = region_maps(draw(scan, placement)[None], maker=maker)
    return on_picture(labels[0], placement), float(sure[0])


def dices(labels: Bytes, truth: Bytes) -> tuple[float, float]:
    """Dice of rim and of brain; NaN for a region that the truth does not have."""
    rim, brain = (
        2 * np.count_nonzero((labels == part) & (truth == part))
        / (np.count_nonzero(labels == part) + np.count_nonzero(truth == part))
        if (truth == part).any()
        else np.nan
        for part in (RIM, BRAIN)
    )  # fmt: skip
    return float(rim), float(brain)


def scan_of(one: Head) -> Scan:
    height, width = one.pixels.shape
    facts = Facts("PNG", "L", height, width, one.pixels.size)
    return Scan(one.pixels.astype(np.float32), "generated", "", facts)


def bytes_of(pixels: torch.Tensor) -> Bytes:
    """Pictures (B, 1, S, S) of 0…1 as bytes (B, S, S)."""
    values: Bytes = (pixels[:, 0].clamp(0, 1) * 255).round().byte().numpy()
    return values


def processor_seconds() -> float:
    now = os.times()
    return now.user + now.system if torch.get_num_threads() == 1 else time.perf_counter()


# --- Real pictures --------------------------------------------------------------------------


def masked(table: Path, folder: Path, count: int, seed: int) -> None:
    with table.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    shares: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    told: dict[str, list[bool]] = defaultdict(list)
    for row in chosen:
        scan = read(folder / rows[row]["image"], colour="mean")
        mask = read(table.parent / rows[row]["mask"], colour="mean").pixels > 0
        for maker in MAKERS:
            said = regions(scan, maker=maker)
            told[maker].append(said.told)
            shares[maker].append(np.bincount(said.labels[mask], minlength=3) / mask.sum())
    print(f"tumour pixels of {len(chosen)} pictures, one vote per picture")
    for maker, each in shares.items():
        mean = np.mean(each, 0)
        parts = ", ".join(f"{name} {mean[value]:.1%}" for value, name in enumerate(REGIONS))
        low = np.mean([share[BRAIN] < 0.8 for share in each])
        print(f"{maker}: {parts}; under 80 % in the brain: {low:.1%}; ", end="")
        print(f"told {np.mean(told[maker]):.1%}")


def sheets(folder: Path, path: Path, seed: int) -> None:
    """One sheet of 100 pictures for each maker: rim outlined in yellow, brain in red."""
    kinds = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in kinds)
    chosen = np.random.default_rng(seed).permutation(len(files))[:100]
    for maker in MAKERS:
        tiles = [tile(read(files[row], colour="mean"), maker) for row in chosen]
        lines = [np.concatenate(tiles[row : row + 10], 1) for row in range(0, len(tiles), 10)]
        whole = np.concatenate([line for line in lines if line.shape == lines[0].shape])
        Image.fromarray(whole).save(path.with_stem(f"{path.stem}-{maker}"))


def tile(scan: Scan, maker: str, size: int = 192) -> Bytes:
    placement = place(scan, fit="canvas", size_px=size)
    square = draw(scan, placement)
    labels, sure = region_maps(square[None], maker=maker)
    picture = np.stack([square] * 3, -1)
    for low, colour in ((RIM, (255, 220, 0)), (BRAIN, (255, 0, 60))):
        picture[edges(labels[0] >= low)] = colour
    if sure[0] < SURE:  # a red corner: can't tell
        picture[:12, :12] = (255, 0, 0)
    return picture


def edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    line = np.zeros_like(mask)
    line[1:] |= mask[1:] != mask[:-1]
    line[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    return line


if __name__ == "__main__":
    main()
