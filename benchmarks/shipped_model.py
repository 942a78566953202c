"""Train the classifier that comes with the package, and measure it on sets that it never saw.

    python benchmarks/shipped_model.py train --meningioma meningioma708 --healthy no_tumor_external
    python benchmarks/shipped_model.py measure kaggle.parquet --apart-from healthy.parquet

`train` learns from the 708 meningioma slices of figshare 1512427 (CC BY 4.0: `images/`, `masks/`
and `labels.csv`), the slices without tumour of BRISC 2025 (CC BY 4.0: a folder of pictures) and
generated heads, and writes the run to `--work` and the packed weights to `--out`. It goes on where
it was interrupted. `measure` prints sensitivity, specificity, ROC-AUC and pointing game per group,
and leaves out the pictures that the sets named by `--apart-from` hold too: those it learnt from.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import numpy as np

from clearhead.app.progress import progress_for
from clearhead.audits.subject import Subject, subject
from clearhead.data.between import copies_between
from clearhead.data.copies import find_copies
from clearhead.data.csvfile import read_csv
from clearhead.data.index import index
from clearhead.data.manifest import load_manifest, load_thumbnails
from clearhead.data.split import split
from clearhead.files import write_json, writing
from clearhead.heat.scale import learned_scale
from clearhead.measure.groupwise import mean
from clearhead.measure.localisation import distances, pointing
from clearhead.measure.scores import score
from clearhead.model.launch import reckons_halves
from clearhead.model.shipped import FOLDER, pack, shipped
from clearhead.model.train import resume, train
from clearhead.types import Manifest, Recipe

TUMOUR, HEALTHY = "Brain Tumor", "Healthy"

RECIPE = Recipe.preset(
    "evidence",
    norm="group",
    pooling="exponential",
    optimiser="adamw",
    size_px=160,
    epochs=30,
    progressive=0.6,
    phantoms=600,
    counterfactual=0.15,
    levelled=True,
    calibration="specificity",
    precision="bf16-mixed" if reckons_halves() else "32-true",
)
"""How the weights in the package were made: as the preset was before it learnt faster, since that
points better on a set that neither has seen (`docs/experiments/evidence-maps.md`, 24, 30, 36)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True)
    making = tasks.add_parser("train")
    making.add_argument("--meningioma", type=Path, required=True)
    making.add_argument("--healthy", type=Path, required=True)
    making.add_argument("--work", type=Path, default=Path("runs/shipped-work"))
    making.add_argument("--out", type=Path, default=FOLDER)
    measuring = tasks.add_parser("measure")
    measuring.add_argument("manifests", type=Path, nargs="+")
    measuring.add_argument("--as", dest="pairs", action="append", default=[])
    measuring.add_argument("--apart-from", type=Path, action="append", default=[])
    options = parser.parse_args()
    if options.task == "train":
        make(options.meningioma, options.healthy, options.work, options.out)
        return
    named = dict(pair.split("=", 1) for pair in options.pairs)
    for path in options.manifests:
        rows = apart(path, options.apart_from)
        print(f"{path.stem}: {report(subject_on(rows, named))}")


# --- Training ---------------------------------------------------------------------------------


def make(meningioma: Path, healthy: Path, work: Path, out: Path) -> None:
    """Index, split, train, pack."""
    progress = progress_for(quiet=False)
    run_folder = work / "run"
    if (run_folder / "recipe.json").exists():
        run = resume(run_folder, progress=progress)
    else:
        run = train(pictures_of(meningioma, healthy, work), RECIPE, run_folder, progress=progress)
    packed = pack(run, out)
    scales = {}
    for name in ("logit", "margin", "probability"):
        scales[f"grad_cam {name}"] = learned_scale(run, score=name).value
    write_json(out / "scale.json", scales)
    print(f"{out}: {packed.weights.stat().st_size:,} bytes of weights")


def pictures_of(meningioma: Path, healthy: Path, work: Path) -> Manifest:
    """Both sets as one manifest with masks, copies kept together, 10 % held out."""
    root = Path(os.path.commonpath([meningioma.resolve(), healthy.resolve()]))
    rows, masks = [], []
    for row in read_csv(meningioma / "labels.csv", "image", "mask"):
        image = (meningioma / row["image"]).resolve()
        rows.append((image.relative_to(root).as_posix(), TUMOUR))
        masks.append((rows[-1][0], str((meningioma / row["mask"]).resolve())))
    for path in sorted(healthy.resolve().iterdir()):
        rows.append((path.relative_to(root).as_posix(), HEALTHY))
    table = _csv(work / "pictures.csv", ("path", "label"), rows)
    masked = _csv(work / "masks.csv", ("image", "mask"), masks)
    manifest = work / "shipped.parquet"
    found = index(root, manifest, table=table, masks=masked, progress=progress_for(quiet=False))
    return split(find_copies(found, load_thumbnails(manifest)), test=0.1, validation=0.12)


def _csv(path: Path, head: tuple[str, ...], rows: list[tuple[str, str]]) -> Path:
    with writing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)
    return path


# --- Measuring --------------------------------------------------------------------------------


def apart(path: Path, others: list[Path]) -> Manifest:
    """The rows of a manifest that show no picture of the others."""
    rows = load_manifest(path)
    kept = np.ones(len(rows), dtype=np.bool_)
    for other in others:
        theirs, thumbnails = load_manifest(other), load_thumbnails(other)
        shared = copies_between(rows, load_thumbnails(path), theirs, thumbnails).shared
        kept &= ~np.isin(rows.column("copy"), rows.column("copy")[shared])
        pictures = len(np.unique(rows.column("copy")[shared]))
        print(f"{path.stem} and {other.stem} share {pictures} pictures: {shared.sum()} files")
    return rows.take(kept)


def subject_on(rows: Manifest, named: dict[str, str]) -> Subject:
    return subject(shipped(), on=rows, named=named, score="margin")


def report(found: Subject) -> str:
    """Scores per group, and where the hottest pixel of called tumours lies."""
    scores = score(found.labels, found.probabilities, found.groups, classes=found.classes).per_group
    ill = (found.labels == found.positive) & (found.calls == found.positive) & found.drawn.masked
    told = [f"{len(found):,} files", f"accuracy {scores.accuracy}", f"AUC {scores.roc_auc}"]
    told += [f"{name} right {scores.sensitivity[name]}" for name in found.classes]
    if ill.any():
        rows = np.flatnonzero(ill)
        heat = found.heat(rows, np.full(len(rows), found.positive))
        hits = pointing(heat, distances(found.drawn.masks[rows]))[:, 0]
        told.append(f"pointing {mean(hits, found.groups[rows])}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
