"""Cold start: `clearhead explain RUN one.png` from process start to files written.

    python benchmarks/cold_start.py runs/first scan.png

Prints the seconds of the whole, the share of the imports it makes (measured in a process that makes
these imports only), and the same for `clearhead --help`. The best of several rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = (
    "import clearhead.app.cli, clearhead.deliver.gallery, clearhead.heat.explain, "
    "clearhead.heat.scale, clearhead.model.run"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        explain = ["-m", "clearhead", "explain", str(options.run), str(options.image)]
        commands = {
            "explain": [*explain, "--out", out, "--quiet"],
            "  its imports": ["-c", IMPORTS],
            "  import torch": ["-c", "import torch"],
            "--help": ["-m", "clearhead", "--help"],
        }
        best = {
            name: min(seconds(words) for _ in range(options.rounds))
            for name, words in commands.items()
        }
    for name, value in best.items():
        print(f"{name:15} {value:5.2f} s  {value / best['explain']:4.0%} of explain")


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
