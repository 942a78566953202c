"""Generated heads: how fast they are drawn, and what gives their label away.

    python benchmarks/phantoms.py --n 600 --seed 1

Each probe sees one place where nothing medical is (or hardly anything: a 16×16 thumbnail) and is
cross-validated five-fold; 0.5 is chance. The interval of the AUC is a bootstrap over heads.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clearhead.data.phantom import phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        phantom(Path(temporary) / "first", n=2, seed=0)  # builds the anatomy, once
        started, cpu = time.perf_counter(), os.times()
        folder = phantom(Path(temporary) / "heads", n=options.n, seed=options.seed)
        seconds, now = time.perf_counter() - started, os.times()
        spent = (now.user + now.system - cpu.user - cpu.system) / options.n
        print(f"{options.n / seconds:.1f} heads/s, {1000 * spent:.1f} ms of processor time a head")
        truth, probes = look(folder)
    for name, values in probes.items():
        print(f"{name:22} {judge(values, truth)}")


def look(folder: Path) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Labels (N,), and for each probe what it sees of every head (N, F)."""
    with (folder / "masks.csv").open(newline="") as file:
        ill = {row["image"] for row in csv.DictReader(file)}
    names = sorted(path for path in folder.glob("*/*.png") if path.parent.name != "masks")
    seen: dict[str, list[NDArray[np.float64]]] = {}
    for path in names:
        with Image.open(path) as image:
            pixels = np.asarray(image, np.float64)
            small = np.asarray(image.resize((16, 16), Image.Resampling.BOX), np.float64)
        edge = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
        summary = [pixels.mean(), pixels.std(), *np.percentile(pixels, (1, 25, 50, 75, 99))]
        seen.setdefault("16×16 thumbnail", []).append(small.ravel())
        seen.setdefault("border of the thumbnail", []).append(edge)
        seen.setdefault("bytes of the file", []).append(np.array([float(path.stat().st_size)]))
        seen.setdefault("intensity summary", []).append(np.array(summary))
    truth = np.array([path.relative_to(folder).as_posix() in ill for path in names], np.int64)
    return truth, {name: np.stack(values) for name, values in seen.items()}


def judge(values: NDArray[np.float64], truth: NDArray[np.int64]) -> str:
    words = []
    for name, model in (
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))),
        ("trees", HistGradientBoostingClassifier(max_iter=60, random_state=0)),
    ):
        chance = cross_val_predict(model, values, truth, cv=5, method="predict_proba")[:, 1]
        low, high = interval(truth, chance)
        words.append(
            f"{name}: accuracy {accuracy_score(truth, chance > 0.5):.0%}, "
            f"AUC {roc_auc_score(truth, chance):.2f} [{low:.2f}, {high:.2f}]"
        )
    return "   ".join(words)


def interval(truth: NDArray[np.int64], chance: NDArray[np.float64]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = [random.integers(0, len(truth), len(truth)) for _ in range(300)]
    areas = [roc_auc_score(truth[rows], chance[rows]) for rows in drawn]
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
