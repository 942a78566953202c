"""The report's split as its printed sizes tell of it, and what they are worth in accuracy.

The report prints 2932 training, 1380 test and 483 validation files: 195 more than the 4600 that
there are. 2932 is 85 % of 75 %, 1380 is 30 % and 483 is 15 % of 70 %, so training files were drawn
from a 75/25 split and test files from a 70/30 split. Drawn with one random state, as a notebook
does that is run again with another share, the smaller test is part of the larger, and 85 % of the
230 files between them are trained on and tested on: 195.

This draws just so, trains the preset `report` and prints the accuracy on all 1380 test files, on
those it was trained on, and on the others.

    python benchmarks/report_split.py kaggle.parquet runs/report-as-printed
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from clearhead.app.progress import progress_for
from clearhead.data.manifest import load_manifest
from clearhead.model.evaluate import predict
from clearhead.model.run import Run
from clearhead.model.train import resume, train
from clearhead.types import Manifest, Recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the draws and of the training")
    parser.add_argument("--precision", default="32-true")
    options = parser.parse_args()
    rows = load_manifest(options.manifest)
    rows = rows.take(rows.usable())
    rows = rows.take(np.argsort(rows.column("source"), kind="stable"))
    parts, tested = drawn(len(rows), options.seed)
    told = rows.with_columns(split=parts.tolist())
    run = trained(told, options.run, options.seed, options.precision)
    _, probabilities = predict(run, told.take(tested), progress=progress_for(quiet=False))
    right = probabilities.argmax(1) == told.labels()[tested]
    known = parts[tested] == "train"
    print(f"train {np.count_nonzero(parts == 'train')}, test {len(tested)}: {known.sum()} in both")
    print(f"right: all test files {right.mean():.1%}", end="")
    print(f", those trained on {right[known].mean():.1%}, the others {right[~known].mean():.1%}")


def drawn(count: int, seed: int) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The part of each of `count` files, (N,), drawn 75/25, and the files tested, drawn 70/30."""
    places = np.arange(count)
    learnt, _ = train_test_split(places, test_size=0.25, random_state=seed)
    _, tested = train_test_split(places, test_size=0.30, random_state=seed)
    learnt, validation = train_test_split(learnt, test_size=0.15, random_state=seed)
    parts = np.full(count, "test", dtype=object)
    parts[learnt], parts[validation] = "train", "validation"
    return parts, np.sort(tested)


def trained(rows: Manifest, folder: Path, seed: int, precision: str) -> Run:
    """The run in the folder, trained or gone on with where there is none yet."""
    progress = progress_for(quiet=False)
    if (folder / "recipe.json").exists():
        return resume(folder, progress=progress)
    recipe = Recipe.preset("report", seed=seed, precision=precision)
    return train(rows, recipe, folder, progress=progress)


if __name__ == "__main__":
    main()
