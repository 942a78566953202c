"""Orthogonal steps for the filters of the evidence net: ours in float32 against torch's own Muon.

Both move the same filters by the same slopes, on this machine, one after the other. Prints
milliseconds a step, their ratio, and what a training step of 32 pictures takes without them.

    python benchmarks/orthogonal_steps.py --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from clearhead.model.classifier import build
from clearhead.model.launch import reckons_halves
from clearhead.model.memory import keep_freed_memory
from clearhead.model.muon import Muon
from clearhead.model.nets import StandardConv2d
from clearhead.types import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    recipe = Recipe.preset("evidence", size_px=args.size_px)
    classifier = build(recipe, 2, absent=1).train()
    filters = [
        each.weight
        for each in classifier.modules()
        if isinstance(each, StandardConv2d) and each.in_channels > 1
    ]
    squares = torch.rand(32, 1, args.size_px, args.size_px) * 255

    def learn() -> None:
        classifier.zero_grad()
        classifier(squares).square().sum().backward()

    rest = _seconds(learn, args.steps)
    ours = Muon(filters, lr=1e-6, weight_decay=0.02)
    theirs = torch.optim.Muon(filters, lr=1e-6, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    mine, torchs = _seconds(ours.step, args.steps), _seconds(theirs.step, args.steps)
    halves = "has" if reckons_halves() else "has no"
    print(f"{args.threads} threads; this processor {halves} bfloat16")
    print(f"forward and backward, 32 pictures of {args.size_px} px: {1000 * rest:.0f} ms")
    print(f"torch's steps: {1000 * torchs:.1f} ms, ours: {1000 * mine:.1f} ms", end="")
    print(f", ratio {torchs / mine:.1f}; a whole step {(rest + torchs) / (rest + mine):.2f} x")


def _seconds(work: Callable[[], object], times: int) -> float:
    """The mean time of some calls, after one that warms up."""
    work()
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


if __name__ == "__main__":
    main()
