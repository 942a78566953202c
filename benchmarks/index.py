"""Index and copies: files per second cold and warm, and peak memory.

    python benchmarks/index.py data/kaggle            # a folder of your own
    python benchmarks/index.py --generated 100000     # small generated files

Each measurement runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--generated", type=int, default=0, metavar="N")
    parser.add_argument("--stage", choices=["index", "copies"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(stage(options.stage, options.folder, options.out)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or generate(Path(temporary) / "pictures", options.generated)
        out = Path(temporary) / "manifest.parquet"
        for name, kind in (("cold", "index"), ("warm", "index"), ("copies", "copies")):
            command = [sys.executable, __file__, str(folder), "--stage", kind, "--out", str(out)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            print(
                f"{name:7} {found['files']:7} files  {found['seconds']:7.1f} s  "
                f"{found['files'] / found['seconds']:8.0f} files/s  "
                f"peak {found['peak_mb']:6.0f} MB (+ {found['worker_mb']:.0f} MB a worker)  "
                f"{found['words']}"
            )


def stage(kind: str, folder: Path, out: Path) -> dict[str, object]:
    from clearhead.data.copies import copy_report, find_copies
    from clearhead.data.index import index
    from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest

    started = time.perf_counter()
    words = ""
    if kind == "index":
        manifest = index(folder, out)
    else:
        manifest = find_copies(load_manifest(out), load_thumbnails(out))
        save_manifest(manifest, out)
        words = str(copy_report(manifest))
    return {
        "files": len(manifest),
        "seconds": time.perf_counter() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "words": words,
    }


def generate(folder: Path, count: int, side: int = 64) -> Path:
    """`count` smooth random pictures in two class folders, a fifth of them mirrored copies."""
    random = np.random.default_rng(0)
    picture = np.zeros((side, side), np.uint8)
    for number in range(count):
        home = folder / ("one", "two")[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        if number % 5 == 4:
            picture = picture[:, ::-1]
        else:
            coarse = Image.fromarray(random.integers(0, 256, (7, 7), dtype=np.uint8))
            picture = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
        Image.fromarray(np.ascontiguousarray(picture)).save(home / f"{number:06d}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
