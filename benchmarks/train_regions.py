"""Train the net that tells background, rim and brain apart, on generated heads alone.

    python benchmarks/train_regions.py --out src/clearhead/model/weights/regions.safetensors

The defaults made the weights in the package, in about 20 minutes on one core of a busy machine. The
same seed and number of threads on the same machine give the same file, byte for byte; more threads
are faster and sum in another order.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from clearhead.app.progress import progress_for
from clearhead.model.region_training import RegionTraining, save_region_net, train_region_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=RegionTraining.seed)
    parser.add_argument("--heads", type=int, default=RegionTraining.heads)
    parser.add_argument("--steps", type=int, default=RegionTraining.steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = RegionTraining(seed=options.seed, heads=options.heads, steps=options.steps)
    started = time.perf_counter()
    net = train_region_net(settings, progress=progress_for(quiet=False))
    save_region_net(net, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, ", end="")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
