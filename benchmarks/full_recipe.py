"""From a folder of pictures to an evaluated run, by the commands that a user types, each timed.

    python benchmarks/full_recipe.py kaggle4600 --preset compact

Everything is cold: no manifest, no cache. More flags go to `clearhead train`, after `--`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clearhead.data.manifest import load_manifest
from clearhead.model.run import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--masks", type=Path, help="CSV of tumour masks")
    parser.add_argument("--keep", type=Path, help="new folder for the manifest and the run")
    parser.add_argument("training", nargs="*", help="flags of `clearhead train`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        manifest, run = work / "pictures.parquet", work / "run"
        masks = ["--masks", options.masks] if options.masks else []
        stages: dict[str, list[object]] = {
            "index": [options.folder, "--out", manifest, *masks],
            "split": [manifest],
            "train": [manifest, run, "--preset", options.preset, *options.training],
            "evaluate": [run],
        }
        took = {name: seconds(name, words, work / "cache") for name, words in stages.items()}
        made, rows = open_run(run), load_manifest(manifest)
        epochs = made.history()
        if options.keep:
            shutil.copytree(work, options.keep, ignore=shutil.ignore_patterns("cache"))
    whole = sum(took.values())
    for name, value in took.items():
        print(f"{name:9} {value:7.1f} s")
    print(f"{'whole':9} {whole:7.1f} s = {whole / 60:.1f} minutes for {len(rows)} files")
    print(
        f"{len(epochs)} epochs, {sum(row['seconds'] for row in epochs) / len(epochs):.1f} s each "
        f"without validation, {made.made['threads']} threads, {made.recipe.precision}"
    )


def seconds(name: str, words: list[object], cache: Path) -> float:
    """How long one command takes, from process start to its end."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "clearhead", name, *map(str, words)],
        check=True,
        env={**os.environ, "CLEARHEAD_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
