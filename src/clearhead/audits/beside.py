"""The heat of some pictures beside controls that know nothing of the classifier."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.subject import Subject
from clearhead.heat.controls import CONTROLS, Ground

HEAT = "heat"
"""The name of the classifier's own heat, among those of the controls."""

CONTROL_WORDS = {
    "uniform": "the same everywhere",
    "centre": "a blob in the middle of the square",
    "edges": "the edges of the picture",
    "blobs": "random blobs",
    "head": "the head as a whole",
    "other": "the heat of another picture",
}
"""What each control is, for a sentence or a table."""

TRIES = 20
"""Draws of another picture before it is given up that one of another group be found."""


def heats_beside(
    subject: Subject, rows: NDArray[np.int64], targets: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The heat of some rows for some classes (B,), then that of every control: (B, S, S) ≥ 0."""
    yield HEAT, subject.heat(rows, targets)
    ground = Ground(
        subject.squares[rows],
        subject.regions[rows],
        other_heats(subject, rows, targets),
        rows,
        subject.seed,
    )
    for name, control in CONTROLS.items():
        yield name, control(ground)


def other_heats(
    subject: Subject, rows: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.float32]:
    """For each row the heat for its class of a picture of another group, (B, S, S).

    Drawn at random, but the same whenever asked, among the pictures called that class: what the
    method shows in a picture of this kind, whichever. 0 everywhere where there is no other group.
    """
    pools = {target: np.flatnonzero(subject.calls == target) for target in set(targets.tolist())}
    pairs = zip(rows.tolist(), targets.tolist(), strict=True)
    found = np.array([_another(subject, row, pools[target]) for row, target in pairs], np.int64)
    heats = subject.heat(np.maximum(found, 0), targets)
    heats[found < 0] = 0
    return heats


def _another(subject: Subject, row: int, pool: NDArray[np.int64]) -> int:
    """A row of the pool from another group than `row`; -1 where none is found."""
    if len(pool):
        random = np.random.default_rng((subject.seed, row))
        for candidate in random.choice(pool, TRIES).tolist():
            if subject.groups[candidate] != subject.groups[row]:
                return int(candidate)
    return -1
