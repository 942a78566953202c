"""What is not a brain MRI: how well several scores of a run tell strangers from its test pictures.

    python benchmarks/gate.py runs/NAME
    python benchmarks/gate.py runs/NAME --real other.parquet FOLDER --strangers FOLDER

Scores are fitted on the run's training pictures, their line is drawn at 1 % of its validation
groups, and its test groups are what strangers are told from. `--real` (manifests or folders) are
pictures that ought to pass. Strangers are generated (noise, blank and shaded frames, pages, plots),
made from the heads of the test groups (shuffled, cropped, inverted), and the pictures in each
folder in `--strangers`; a name up to `--` says which files came from one picture, and is the group.
No score is fitted on a stranger; the region net was trained with drawn pictures that show no head.
"""

from __future__ import annotations

import argparse
import io
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.special import logsumexp, softmax
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.cache import load_scan, pictures
from clearhead.data.canvas import draw, place
from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.data.manifest import load_manifest
from clearhead.data.read import read
from clearhead.files import walk
from clearhead.measure.groupwise import mean, weights
from clearhead.measure.strangers import line, told_apart
from clearhead.model.augment import draw_variation, vary
from clearhead.model.classifier import Classifier
from clearhead.model.gate import Gate, watched
from clearhead.model.gate_fitting import AS_THEY_ARE, CHUNK, SHARE, chosen, fit_gate, spread
from clearhead.model.region_net import at_side, shipped
from clearhead.model.run import Run, open_run
from clearhead.types import Facts, Manifest, Recipe, Scan

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


COUNT = 60
"""Pictures of a generated set; heads made strange are as many groups."""
NEAREST = 5
"""The neighbour whose distance counts in `k-NN`."""


@dataclass(frozen=True)
class Set:
    """Squares (N, S, S) and the picture that each comes from, (N,)."""

    squares: Bytes
    groups: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--strangers", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = open_run(options.run)
    manifest = run.manifest()
    own = {name: _rows(manifest.part(name), run.recipe) for name in ("train", "validation", "test")}
    real = {"test groups": own["test"], "generated heads": _heads(run.recipe)}
    real |= {path.stem: _from(path, run.recipe) for path in options.real}
    strangers = drawn_strangers(run.recipe) | made_strange(manifest.part("test"), run.recipe)
    if options.strangers:
        folders = sorted(path for path in options.strangers.iterdir() if path.is_dir())
        strangers |= {path.name: _from(path, run.recipe) for path in folders}
    gate = fitted(run, own["train"], own["validation"])
    scores = all_scores(run, gate, own["train"])
    classifier = run.classifier()
    sets = {"validation": own["validation"]} | real | strangers
    seen = {name: look(classifier, gate, one.squares) for name, one in sets.items()}
    told = {
        name: {title: score(one) for title, one in seen.items()} for name, score in scores.items()
    }
    lines = {
        name: line(values["validation"], own["validation"].groups, SHARE)
        for name, values in told.items()
    }
    turned_away(told, lines, real)
    told_from_test(told, lines, real["test groups"], strangers)
    speed(classifier, gate, own["test"])


# --- The scores -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """Everything that a score may be made of, of N squares, from one pass of each net."""

    logits: Floats
    maps: Floats
    regions: Floats
    dice: Floats
    facts: Floats
    strangeness: Floats


def look(classifier: Classifier, gate: Gate, squares: Bytes) -> Look:
    whole = torch.from_numpy(squares).unsqueeze(1)
    chunks = [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]
    with torch.inference_mode():
        parts = [_look(classifier, gate, chunk) for chunk in chunks]
    return Look(*(torch.cat(some).double().numpy() for some in zip(*parts, strict=True)))


def _look(classifier: Classifier, gate: Gate, x: Tensor) -> tuple[Tensor, ...]:
    stage = watched(classifier.net)
    maps = stage.features(classifier.normalise(x))
    return stage.head(maps), maps.mean((2, 3)), *_regions(x), _facts(x), gate(x, maps)


Score_ = Callable[[Look], Floats]


def fitted(run: Run, train: Set, validation: Set) -> Gate:
    return fit_gate(
        run.classifier(),
        torch.from_numpy(train.squares),
        torch.from_numpy(train.groups),
        torch.from_numpy(validation.squares),
        torch.from_numpy(validation.groups),
    )


def all_scores(run: Run, gate: Gate, train: Set) -> dict[str, Score_]:
    """Every score by name: the higher the stranger."""
    squares, each = taught(train)
    known = look(run.classifier(), gate, squares)
    heads = F.normalize(torch.from_numpy(known.maps[: len(squares) // 2]))
    maps, regions = distance(known.maps, each), distance(known.regions, each)
    facts = distance(known.facts, each)
    return {
        "max prob.": lambda seen: -softmax(seen.logits, axis=1).max(axis=1),
        "energy": lambda seen: -np.asarray(logsumexp(seen.logits, axis=1)),
        "k-NN": lambda seen: _nearest(F.normalize(torch.from_numpy(seen.maps)), heads),
        "Mahalan.": lambda seen: maps(seen.maps),
        "regions": lambda seen: regions(seen.regions),
        "exp. Dice": lambda seen: -seen.dice,
        "facts": lambda seen: facts(seen.facts),
        "gate": lambda seen: seen.strangeness,
    }


def taught(train: Set) -> tuple[Bytes, Floats]:
    """What every distance is fitted on, as the gate is: squares (R, S, S), and what each counts."""
    rows = chosen(train.groups, 0)
    plain = torch.from_numpy(train.squares[rows]).unsqueeze(1)
    varied = vary(plain, draw_variation(len(rows), 0)).round().byte()
    one = weights(train.groups[rows])
    each = np.concatenate([AS_THEY_ARE * one, one])
    return torch.cat([plain, varied])[:, 0].numpy(), each / each.sum()


def distance(traits: Floats, each: Floats) -> Callable[[Floats], Floats]:
    """Mahalanobis distance from some traits of the training pictures."""
    centre, whitening = spread(traits, each)
    return lambda x: np.asarray(np.square((x - centre) @ whitening).mean(1))


def _nearest(found: Tensor, known: Tensor) -> Floats:
    return np.asarray((2 - 2 * found @ known.T).kthvalue(NEAREST, dim=1).values.numpy())


def _regions(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the maps on the way down in the region net, and the Dice it expects."""
    net, small = shipped(), at_side(x.float() / 255)
    deviation, middle = torch.std_mean(small, (1, 2, 3), keepdim=True, correction=0)
    seen = [net.stem(F.pixel_unshuffle((small - middle) / deviation.clamp(min=1e-3), 2))]
    for down in net.down:
        seen.append(down(seen[-1]))
    both = [torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1) for maps in seen]
    return torch.cat(both, 1), net(small)[1]


def _facts(x: Tensor) -> Tensor:
    """Grey in 4×4 cells and its deviation there, shares of 8 greys, sharpness at 4 scales."""
    grey = x.float() / 255
    cells = F.adaptive_avg_pool2d(grey, 4).flatten(1)
    rough = (F.adaptive_avg_pool2d(grey**2, 4).flatten(1) - cells**2).clamp(min=0).sqrt()
    shares = [((grey * 8).long().clamp(max=7) == k).float().mean((1, 2, 3)) for k in range(8)]
    sharp = []
    for _ in range(4):
        sharp += [grey.diff(dim=axis).abs().mean((1, 2, 3)).add(1e-3).log() for axis in (2, 3)]
        grey = F.avg_pool2d(grey, 2)
    return torch.cat([cells, rough, torch.stack(shares, 1).sqrt(), torch.stack(sharp, 1)], 1)


# --- Real pictures --------------------------------------------------------------------------


def _rows(manifest: Manifest, recipe: Recipe) -> Set:
    squares = pictures(manifest, fit=recipe.fit, size_px=recipe.size_px)
    return Set(np.array(squares), np.array(manifest.groups()))


def _from(path: Path, recipe: Recipe) -> Set:
    """The pictures of a manifest or folder."""
    if path.is_file():
        manifest = load_manifest(path)
        return _rows(manifest.take(manifest.usable()), recipe)
    files = sorted(walk(path))
    _, groups = np.unique([file.name.split("--")[0] for file in files], return_inverse=True)
    squares = [_square(read(file, colour="mean"), recipe) for file in files]
    return Set(np.stack(squares), groups)


def _heads(recipe: Recipe) -> Set:
    made = (head((HELD_OUT, n), label=(HEALTHY, TUMOUR)[n % 2]).pixels for n in range(2 * COUNT))
    return _set([np.asarray(pixels, np.float32) for pixels in made], recipe)


HELD_OUT = 1_000_003
"""Seed of the generated heads; training takes small ones."""


def _square(scan: Scan, recipe: Recipe) -> Bytes:
    return draw(scan, place(scan, fit=recipe.fit, size_px=recipe.size_px))


def _set(images: list[NDArray[np.float32]], recipe: Recipe) -> Set:
    scans = [_scan(image) for image in images]
    return Set(np.stack([_square(scan, recipe) for scan in scans]), np.arange(len(scans)))


def _scan(image: NDArray[np.float32]) -> Scan:
    facts = Facts("PNG", "L", image.shape[0], image.shape[1], image.size)
    return Scan(np.ascontiguousarray(image), "made", "", facts)


# --- Strangers ------------------------------------------------------------------------------


def drawn_strangers(recipe: Recipe) -> dict[str, Set]:
    random = np.random.default_rng(5)
    kinds: dict[str, Callable[[], NDArray[np.float32]]] = {
        "noise, white": lambda: _noise(random, 0),
        "noise, pink": lambda: _noise(random, 1),
        "noise, brown": lambda: _noise(random, 2),
        "blank, shaded": lambda: _shade(random),
        "text pages": lambda: _page(random),
        "plots": lambda: _plot(random),
    }
    return {name: _set([make() for _ in range(COUNT)], recipe) for name, make in kinds.items()}


def _noise(random: np.random.Generator, fall: float) -> NDArray[np.float32]:
    """Noise whose amplitude falls with frequency to the power of `fall`."""
    steps = np.fft.fftfreq(256)
    reach = np.hypot(steps[:, None], steps[None])
    reach[0, 0] = 1 / 256
    waves = np.fft.ifft2(np.fft.fft2(random.normal(size=(256, 256))) / reach**fall).real
    return np.asarray(255 * (waves - waves.min()) / np.ptp(waves), np.float32)


def _shade(random: np.random.Generator) -> NDArray[np.float32]:
    """One grey, a slope, or a soft spot."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    slope = 128 + 100 * (random.uniform(-1, 1) * x + random.uniform(-1, 1) * y)
    spot = (x - random.uniform(-0.5, 0.5)) ** 2 + (y - random.uniform(-0.5, 0.5)) ** 2
    kinds = (np.full_like(x, random.uniform(0, 255)), slope, 255 * np.exp(-spot / 0.3))
    return np.asarray(np.clip(kinds[random.integers(3)], 0, 255), np.float32)


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _page(random: np.random.Generator) -> NDArray[np.float32]:
    """Words of this file, dark on white or light on black."""
    words = Path(__file__).read_text(encoding="utf-8").split()
    size, dark = int(random.integers(9, 26)), random.random() < 0.3
    page = Image.new("L", tuple(random.integers(250, 600, 2).tolist()), 0 if dark else 255)
    some = " ".join(random.permutation(words)[:500])
    text = "\n".join(textwrap.wrap(some, int(1.5 * page.width / size)))
    ink = 230 if dark else 20
    ImageDraw.Draw(page).multiline_text((15, 15), text, fill=ink, font=_font(size))
    return np.asarray(page, np.float32)


def _plot(random: np.random.Generator) -> NDArray[np.float32]:
    """Lines, bars, points, cells or a pie, on white or black."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("dark_background" if random.random() < 0.5 else "default"):
        figure = Figure(figsize=(4, 4 * random.uniform(0.6, 1.2)), dpi=70)
        axes = figure.subplots()
        kind = random.integers(5)
        if kind == 0:
            axes.plot(random.normal(size=(50, 3)).cumsum(0))
        elif kind == 1:
            axes.bar(range(8), random.random(8))
        elif kind == 2:
            axes.scatter(random.normal(size=100), random.normal(size=100))
        elif kind == 3:
            axes.imshow(random.normal(size=(8, 8)))
        else:
            axes.pie(random.random(5) + 0.1)
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("L"), np.float32)


def made_strange(test: Manifest, recipe: Recipe) -> dict[str, Set]:
    """Heads of the test groups, one file of each, that are no heads any more."""
    random = np.random.default_rng(6)
    _, first = np.unique(test.groups(), return_index=True)
    rows = random.permutation(first)[:COUNT]
    scans = [load_scan(test, source) for source in test.column("source")[rows]]
    grey = [np.asarray(255 * s.pixels / max(s.pixels.max(), 1), np.float32) for s in scans]
    boxes = [place(scan, fit="canvas", size_px=160).box for scan in scans]

    def cropped(share: float) -> Set:
        pairs = zip(grey, boxes, strict=True)
        return _set([_crop(random, one, box, share) for one, box in pairs], recipe)

    return {
        "heads in 4×4 tiles": _set([_tiles(random, one, 4) for one in grey], recipe),
        "heads in 8×8 tiles": _set([_tiles(random, one, 8) for one in grey], recipe),
        "half of a head": cropped(0.5),
        "third of a head": cropped(0.33),
        "heads inverted": _set([255 - one for one in grey], recipe),
    }


def _tiles(
    random: np.random.Generator, image: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """The picture cut into tiles that change places."""
    side = 256 // count
    whole = np.asarray(Image.fromarray(image).resize((256, 256)))
    tiles = whole.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)
    moved = tiles[random.permutation(count * count)].reshape(count, count, side, side)
    return moved.swapaxes(1, 2).reshape(256, 256)


def _crop(
    random: np.random.Generator,
    image: NDArray[np.float32],
    box: tuple[int, int, int, int],
    share: float,
) -> NDArray[np.float32]:
    """A square from within the head, its side this share of the head's shorter one."""
    top, left, bottom, right = box
    side = int(share * min(bottom - top, right - left))
    row, column = random.integers(top, bottom - side), random.integers(left, right - side)
    return image[row : row + side, column : column + side]


# --- The tables -----------------------------------------------------------------------------


Told = dict[str, dict[str, Floats]]
"""Scores by name and set."""


def turned_away(told: Told, lines: dict[str, float], real: dict[str, Set]) -> None:
    print(f"real pictures turned away by the line at {SHARE:.0%} of validation groups, %")
    print(_head(told, 10) + f"{'95 % interval (gate)':>24}")
    for title, one in real.items():
        cells = [mean(values[title] > lines[name], one.groups) for name, values in told.items()]
        shares = "".join(f"{100 * (cell.value or 0):10.1f}" for cell in cells)
        reach = f"{100 * (cells[-1].low or 0):.1f}–{100 * (cells[-1].high or 0):.1f}"
        print(_title(title, one) + shares + f"{reach:>24}", flush=True)


def told_from_test(
    told: Told, lines: dict[str, float], test: Set, strangers: dict[str, Set]
) -> None:
    print("\nstrangers told from test groups: AUROC, FPR95, turned away by that line, all in %")
    print(_head(told, 14))
    rows = []
    for title, one in strangers.items():
        cells: list[tuple[float, float, float]] = []
        for name, values in told.items():
            both = told_apart(values["test groups"], values[title], test.groups, one.groups)
            cells.append((*both, mean(values[title] > lines[name], one.groups).value or 0.0))
        rows.append(cells)
        print(_title(title, one) + _cells(np.array(cells)))
    print(f"{'mean of the sets':36}" + _cells(np.array(rows).mean(axis=0)))


def _head(scores: Told, width: int) -> str:
    return f"{'set (pictures, groups)':36}" + "".join(f"{name:>{width}}" for name in scores)


def _title(name: str, one: Set) -> str:
    return f"{name} ({len(one.squares)}, {len(np.unique(one.groups))})".ljust(36)


def _cells(values: Floats) -> str:
    return "".join(f"{100 * a:6.1f}{100 * b:4.0f}{100 * c:4.0f}" for a, b, c in values)


def speed(classifier: Classifier, gate: Gate, test: Set) -> None:
    """Processor time of one core that the gate adds to a call, the best of many."""
    x = torch.from_numpy(test.squares[:1]).unsqueeze(1)
    with torch.inference_mode():
        maps, taken = watched(classifier.net).features(classifier.normalise(x)), []
        for _ in range(50):
            started = time.process_time()
            gate(x, maps)
            taken.append(time.process_time() - started)
    size = sum(value.nbytes for value in gate.state_dict().values())
    print(f"\nthe gate adds {1e3 * min(taken):.2f} ms to a call; it holds {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
