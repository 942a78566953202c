"""How a classifier reacts when its pictures are changed: one pass over them, every test on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.areas import AREAS, CHANGES, HOTTEST, Batch, Bools, Bytes, Common, with_tumour
from clearhead.audits.level import without_level
from clearhead.audits.subject import Subject
from clearhead.data.fills import FILLS, Hole, levels_of
from clearhead.measure.baseline import FACTS, score_to_beat
from clearhead.measure.change import Change, change, margins
from clearhead.measure.groupwise import mean
from clearhead.measure.scores import Score
from clearhead.types import BRAIN

MOST = 800
"""Pictures that are changed; of more, so many are drawn, evenly over the groups."""

Test = tuple[str, str]
"""What is changed, and what an erased area is filled with; empty where nothing is erased."""

WORDS: dict[str, str] = {
    "brain": "brain erased",
    "rim": "rim erased",
    "background": "background erased",
    "tumour": "tumour erased",
    "elsewhere": "its shape erased elsewhere in the brain",
    "hottest": f"hottest {100 * HOTTEST:.0f} % of the head erased",
    "blobs": f"random {100 * HOTTEST:.0f} % of the head erased",
    "coolest": f"coolest {100 * HOTTEST:.0f} % of the head erased",
    "level": "map without its level",
    "outline": "the head's outline alone",
    "swapped": "left and right swapped",
    "blur-1": "blurred by 1 % of the head",
    "blur-2": "blurred by 2 % of the head",
    "half": "half the resolution",
    "quarter": "a quarter of the resolution",
}
"""The tests in the order in which they are told, in words."""

ONCE = {"coolest": ("inpaint",)}
"""Tests that aren't tried with every fill, and the fills that they are tried with."""


# --- One pass -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """Changed pictures of a batch: `squares` (b, S, S) of those at positions `at` (b,)."""

    test: Test
    at: NDArray[np.int64]
    squares: Bytes


def variants(batch: Batch) -> Iterator[Variant]:
    """Every change of the pictures of a batch, where it has a meaning."""
    for name, area in AREAS.items():
        areas, defined = area(batch)
        at = np.flatnonzero(defined)
        for fill in ONCE.get(name, tuple(FILLS)) if len(at) else ():
            yield Variant((name, fill), at, FILLS[fill](_hole(batch, name, areas, at)))
    for name, changed in CHANGES.items():
        squares, defined = changed(batch)
        if defined.any():
            yield Variant((name, ""), np.flatnonzero(defined), squares[defined])


LEVELS = {"brain": "brain", "rim": "rim", "background": "head"}
"""Whose grey levels, over all pictures, fill an erased region."""


def _hole(batch: Batch, name: str, areas: Bools, at: NDArray[np.int64]) -> Hole:
    """An erased region gets one level in all pictures, a smaller area that of what is around it.

    A level of the picture's own would carry what lies outside the region into it: a bright scalp
    would make a bright brain.
    """
    squares, areas = batch.squares[at], areas[at]
    if name in LEVELS:
        levels = np.tile(batch.common.levels[LEVELS[name]], (len(at), 1))
    else:
        within = name in ("tumour", "elsewhere")
        around = batch.regions[at] == BRAIN if within else batch.head[at]
        levels = levels_of(squares, around & ~areas)
    return Hole(squares, areas, levels, batch.rows[at], batch.subject.seed)


@dataclass(frozen=True)
class Reactions:
    """What a classifier says of `rows` (M,) of a subject before and after every change.

    `after` holds logits (M, K) by test; NaN where a test has no meaning for a picture.
    """

    subject: Subject
    rows: NDArray[np.int64]
    common: Common
    after: Mapping[Test, NDArray[np.float32]]

    @cached_property
    def before(self) -> NDArray[np.float32]:
        """Logits of the pictures as they are, (M, K)."""
        return self.subject.logits[self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, (M,)."""
        labels: NDArray[np.int64] = self.subject.labels[self.rows]
        return labels

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """The unit of every average, (M,)."""
        groups: NDArray[np.int64] = self.subject.groups[self.rows]
        return groups

    @cached_property
    def ill(self) -> Bools:
        """Pictures with a tumour mask, (M,)."""
        return with_tumour(self.subject, self.rows)

    @cached_property
    def unchanged(self) -> Change:
        """The scores of the pictures as they are."""
        return self.compared(self.before, self.before)

    @cached_property
    def changes(self) -> dict[Test, Change]:
        """The scores after each test, beside those of the same pictures before it."""
        return {test: self.compared(self.before, logits) for test, logits in self.after.items()}

    def compared(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> Change:
        """Two sets of logits (M, K) on the pictures for which both are defined."""
        keep = ~(np.isnan(first) | np.isnan(second)).any(1)
        return change(
            self.labels[keep],
            self.groups[keep],
            first[keep],
            second[keep],
            positive=self.subject.positive,
            resamples=self.subject.resamples,
            seed=self.subject.seed,
        )

    def fell(self, test: Test, targets: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """How far a test lowers the margin of a class, (M,) in logits; NaN where undefined."""
        return margins(self.before, targets) - margins(self.after[test], targets)

    def flipped(self, test: Test) -> NDArray[np.float64]:
        """1 where a test changes the call and 0 where not, (M,); NaN where undefined."""
        after = self.after[test]
        other = (after.argmax(1) != self.before.argmax(1)).astype(np.float64)
        return np.where(np.isnan(after).any(1), np.nan, other)

    def mean(self, values: NDArray[np.float64]) -> Score:
        """The mean of `values` (M,), every group counting once, with its interval."""
        return mean(values, self.groups, resamples=self.subject.resamples, seed=self.subject.seed)

    def tests(self, name: str) -> list[Test]:
        """The tests of one name that were made, in the order of the fills."""
        return [test for test in self.after if test[0] == name]


def react(subject: Subject) -> Reactions:
    """Change up to `MOST` pictures of a subject in every way, and ask the classifier again."""
    rows = sampled(subject)
    common = Common.of(subject, rows)
    shape = (len(rows), len(subject.classes))
    after: dict[Test, NDArray[np.float32]] = {}
    done = 0
    for part in subject.batches(rows, "causal tests"):
        batch = Batch(subject, part, common)
        for test, at, logits in _asked(batch):
            kept = after.setdefault(test, np.full(shape, np.nan, np.float32))
            kept[done + at] = logits
        done += len(part)
    order = [(name, fill) for name in WORDS for fill in (*FILLS, "")]
    return Reactions(subject, rows, common, {test: after[test] for test in order if test in after})


def _asked(batch: Batch) -> Iterator[tuple[Test, NDArray[np.int64], NDArray[np.float32]]]:
    """Test, positions and logits of every variant of a batch, and of its maps without their level.

    A healthy picture has one lent shape, which serves `tumour` and `elsewhere` alike.
    """
    ill = with_tumour(batch.subject, batch.rows)
    lent: dict[str, NDArray[np.float32]] = {}  # logits of `tumour`, whose positions are the same
    for variant in variants(batch):
        name, fill = variant.test
        own = np.ones(len(variant.at), bool)
        if name == "elsewhere":
            own = ill[variant.at]
            healthy = ~ill[variant.at]
            yield variant.test, variant.at[healthy], lent[fill][healthy]
        if not own.any():
            continue
        logits = batch.subject.predict(variant.squares[own])
        if name == "tumour":
            lent[fill] = logits
        yield variant.test, variant.at[own], logits
    if batch.common.usual is not None:
        every = np.arange(len(batch.rows))
        yield ("level", ""), every, without_level(batch.subject, batch.rows, batch.common.usual)


def sampled(subject: Subject) -> NDArray[np.int64]:
    """Up to `MOST` rows, (M,): one of each group, then a second of each, and so on."""
    count = len(subject)
    order = np.random.default_rng((subject.seed, 5)).permutation(count)
    grouped = order[np.argsort(subject.groups[order], kind="stable")]
    sizes = np.unique(subject.groups, return_counts=True)[1]
    turn = np.concatenate([np.arange(size) for size in sizes])
    turns = np.empty(count, np.int64)
    turns[grouped] = turn
    chosen = order[np.argsort(turns[order], kind="stable")][:MOST]
    rows: NDArray[np.int64] = np.sort(chosen).astype(np.int64)
    return rows


# --- What to compare with -------------------------------------------------------------------


@dataclass(frozen=True)
class Chance:
    """What is reached without looking at a picture, every group counting once."""

    majority: str
    always: Score
    """Accuracy of calling `majority` every time."""
    facts: Mapping[str, Score] | None = None
    """The score to beat, by `change.MEASURES`; None where there are no training rows."""


def chance(reactions: Reactions) -> Chance:
    """The majority class and the score to beat on the same pictures."""
    own = reactions.subject
    if own.known is None or not len(own.known):
        return _commonest(reactions)
    rows = own.rows.take(reactions.rows)
    beat = score_to_beat(
        {name: own.known.column(name) for name in FACTS},
        own.known.labels(),
        {name: rows.column(name) for name in FACTS},
        reactions.labels,
        reactions.groups,
        classes=own.classes,
        positive=own.classes[own.positive],
        resamples=own.resamples,
        seed=own.seed,
    )
    scores = beat.per_group
    facts = {
        "roc_auc": scores.roc_auc,
        "balanced_accuracy": scores.balanced_accuracy,
        "accuracy": scores.accuracy,
    }
    return Chance(beat.majority, beat.majority_per_group, facts)


def _commonest(reactions: Reactions) -> Chance:
    shares = [
        reactions.mean((reactions.labels == label).astype(np.float64))
        for label in range(len(reactions.subject.classes))
    ]
    most = int(np.argmax([share.value or 0.0 for share in shares]))
    return Chance(reactions.subject.classes[most], shares[most])


# --- Examples -------------------------------------------------------------------------------


def example(reactions: Reactions, row: int) -> Iterator[tuple[Test, Bytes]]:
    """Each test and what it makes of one row, (S, S)."""
    batch = Batch(reactions.subject, np.array([row], np.int64), reactions.common)
    for variant in variants(batch):
        yield variant.test, variant.squares[0]
