"""Which flipped labels does confident learning find: ours beside cleanlab's, on planted flips.

    python benchmarks/label_noise.py --seeds 20 --pictures 1500

Opinions are those of good and middling classifiers that never learnt a flipped label; a share of
the labels is flipped at random, in one class more often than in the other. For each clarity and
share of flips, means over the seeds: how many flips are found, how many right labels are doubted,
and of how many pictures the two libraries say different things.
"""

from __future__ import annotations

import argparse

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from clearhead.measure.doubt import doubt


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--classes", type=int, default=2)
    options = parser.parse_args()
    print(
        f"{'clarity':>7} {'flips':>6}  {'found, ours':>12} {'cleanlab':>9}"
        f"  {'doubted wrongly':>15} {'cleanlab':>9}  {'differ':>6}"
    )
    for clarity in (2.0, 4.0, 6.0):
        for share in (0.0, 0.02, 0.05, 0.10):
            rows = [
                one(seed, options.pictures, options.classes, clarity, share)
                for seed in range(options.seeds)
            ]
            ours, theirs, alarms, their_alarms, differ = np.nanmean(rows, axis=0)
            found = f"{ours:12.1%} {theirs:9.1%}" if share else f"{'-':>12} {'-':>9}"
            print(
                f"{clarity:7.0f} {share:6.0%}  {found}  {alarms:15.2%} {their_alarms:9.2%}"
                f"  {differ:6.1f}"
            )


def one(seed: int, count: int, classes: int, clarity: float, share: float) -> list[float]:
    """Found and wrongly doubted by ours and by cleanlab, and pictures on which they differ."""
    random = np.random.default_rng(seed)
    truth = random.choice(classes, count, p=_mixture(classes))
    logits = clarity * np.eye(classes)[truth] + random.normal(0, 1, (count, classes))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    flipped = random.random(count) < share * np.where(truth == 0, 0.5, 1.5)
    given = np.where(flipped, (truth + random.integers(1, classes, count)) % classes, truth)
    ours = doubt(given, chances).contradicted
    theirs: NDArray[np.bool_] = find_label_issues(given, chances, filter_by="confident_learning")
    return [
        _share(ours, flipped),
        _share(theirs, flipped),
        _share(ours, ~flipped),
        _share(theirs, ~flipped),
        float((ours != theirs).sum()),
    ]


def _mixture(classes: int) -> NDArray[np.float64]:
    """The first class is the commonest, as tumours are."""
    weights = 1.0 / np.arange(1, classes + 1) ** 1.5
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _share(found: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(found[among].mean()) if among.any() else float("nan")


if __name__ == "__main__":
    main()
