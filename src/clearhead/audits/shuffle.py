"""Whether the split lets a model score by memory: labels drawn at random must not be learnable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.copies import twin_chance
from clearhead.audits.material import Material
from clearhead.audits.phrases import percent_of
from clearhead.audits.section import Cell, Dots, Line, Mark, Section, Sheet, Strip, Table, Tile
from clearhead.data.contrast import TURNS, local_contrast, turned
from clearhead.data.thumbnail import SIDE, cosines
from clearhead.measure.scores import Score, score
from clearhead.types import Finding, Manifest

SHUFFLES = 1000
"""Draws of random labels."""
MOST_TESTED = 4000
"""Test files that are looked up; of more, so many are drawn."""
FREQUENCIES = 16
"""Lowest frequencies per axis by which pictures are compared."""
BLOCK = 1024
"""Pictures worked on at a time."""
TEST = 0.30
"""The share that a random test would take where there is no split."""
SHOWN = 8
"""Pairs shown of a test picture and its copy in training."""


@dataclass(frozen=True)
class _Memory:
    """Test files and the training file that each looks most like; (n,) each.

    `test` and `train` are rows of the manifest, `groups` and `nearest` their groups, `labels` and
    `remembered` their class indices.
    """

    test: NDArray[np.int64]
    train: NDArray[np.int64]
    groups: NDArray[np.int64]
    nearest: NDArray[np.int64]
    labels: NDArray[np.int64]
    remembered: NDArray[np.int64]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Whether the test file and what it reminds of are of one group."""
        same: NDArray[np.bool_] = self.groups == self.nearest
        return same


def split_sanity(material: Material) -> Section:
    """Can labels that mean nothing be learnt across the split?

    Every group of copies and patients gets a class drawn at random. A memoriser then calls each
    test file as the training file that its thumbnail looks most like, in all 8 flips and quarter
    turns. Where training and test share no group it is right as often as chance has it; what it
    gets beyond is memory of copies, and so may be what a model gets with the labels as they are.
    Of more than `MOST_TESTED` test files so many are drawn. Rows set aside, without label or
    unreadable take no part.
    """
    parts = _parts(material.manifest, material.seed)
    if parts is None or len(material.manifest.classes) < 2:
        return _without_split(material)
    memory = _remembered(material, *parts)
    drawn = _random_accuracies(memory, len(material.manifest.classes), material.seed)
    real = _real_accuracy(memory, material)
    return Section(
        name="split",
        title="Can random labels be learnt across the split?",
        findings=(_finding(memory, drawn, real, material.manifest),),
        dots=(_chart(memory, drawn, real, material.manifest),),
        sheets=_sheets(memory, material.manifest),
    )


def _parts(manifest: Manifest, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows to train on and to test on; None where the manifest has none of either."""
    usable, splits = manifest.usable(), manifest.column("split")
    train, test = (np.flatnonzero(usable & (splits == name)) for name in ("train", "test"))
    if not len(train) or not len(test):
        return None
    order = np.random.default_rng([seed, 13]).permutation(len(test))
    return train, np.sort(test[order[:MOST_TESTED]])


# --- Remembering ----------------------------------------------------------------------------


def _remembered(material: Material, train: NDArray[np.int64], test: NDArray[np.int64]) -> _Memory:
    near = train[nearest(material.thumbnails, train, test)]
    groups = _groups(material.manifest)
    place = {name: index for index, name in enumerate(material.manifest.classes)}
    names = material.manifest.column("label")
    labels, remembered = (
        np.array([place[name] for name in names[rows]], dtype=np.int64) for rows in (test, near)
    )
    return _Memory(test, near, groups[test], groups[near], labels, remembered)


def _groups(manifest: Manifest) -> NDArray[np.int64]:
    """Group of each row; rows without one stand alone, (N,)."""
    column = manifest.table.column("group")
    alone = -1 - np.arange(len(manifest), dtype=np.int64)
    if column.null_count == 0:
        return manifest.groups()
    known = column.is_valid().to_numpy()
    return np.where(known, column.fill_null(0).to_numpy(), alone)


def nearest(
    thumbnails: NDArray[np.uint8], train: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each test row, the place in `train` of the picture most like it in any turn, (n,).

    Alike is what the local contrast of thumbnails has in common, in its lowest frequencies.
    """
    import faiss

    index = faiss.IndexFlatIP(FREQUENCIES * FREQUENCIES)
    for start in range(0, len(train), BLOCK):
        index.add(_described(_contrast(thumbnails, train[start : start + BLOCK])))
    found = []
    for start in range(0, len(test), BLOCK):
        contrast = _contrast(thumbnails, test[start : start + BLOCK])
        turns = [index.search(_described(turned(contrast, turn)), 1) for turn in range(TURNS)]
        best = np.argmax([likeness[:, 0] for likeness, _ in turns], axis=0)
        places = np.stack([place[:, 0] for _, place in turns])
        found.append(places[best, np.arange(len(best))])
    return np.concatenate(found).astype(np.int64)


def _contrast(thumbnails: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return local_contrast(np.asarray(thumbnails[rows]))


def _described(contrast: NDArray[Any]) -> NDArray[np.float32]:
    """The lowest frequencies, (n, 64, 64) → (n, 256) of unit length."""
    basis = cosines(SIDE)[:FREQUENCIES].astype(np.float32)
    low = (basis @ contrast @ basis.T).reshape(len(contrast), -1)
    low[:, 0] = 0.0
    length = np.sqrt(np.square(low).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = np.ascontiguousarray(low / np.maximum(length, 1e-6))
    return unit


# --- Scores ---------------------------------------------------------------------------------


def _random_accuracies(memory: _Memory, classes: int, seed: int) -> NDArray[np.float64]:
    """Share of test files called right in each draw of random labels, (S,)."""
    distinct, places = np.unique(np.stack([memory.groups, memory.nearest]), return_inverse=True)
    own, other = places.reshape(2, -1)
    rng = np.random.default_rng([seed, 17])
    right = np.empty(SHUFFLES)
    for shuffle in range(SHUFFLES):
        drawn = rng.integers(0, classes, len(distinct))
        right[shuffle] = (drawn[own] == drawn[other]).mean()
    return right


def _real_accuracy(memory: _Memory, material: Material) -> tuple[Score, Score]:
    """Accuracy of the memoriser with the labels as they are, per file and per group."""
    classes = material.manifest.classes
    evaluation = score(
        memory.labels,
        np.eye(len(classes))[memory.remembered],
        memory.groups,
        classes=classes,
        resamples=material.resamples,
        seed=material.seed,
    )
    return evaluation.per_file.accuracy, evaluation.per_group.accuracy


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


# --- What is said ---------------------------------------------------------------------------


def _finding(
    memory: _Memory, drawn: NDArray[np.float64], real: tuple[Score, Score], manifest: Manifest
) -> Finding:
    chance, (low, high) = 1 / len(manifest.classes), _interval(drawn)
    learnt = low > chance
    numbers = (
        f"a memoriser gets {100 * drawn.mean():.1f} % of the test files right "
        f"({100 * low:.1f}–{100 * high:.1f}), where chance is {100 * chance:.0f} %"
    )
    really = (
        f" With the labels as they are it gets {percent_of(real[0])} of the files and "
        f"{percent_of(real[1])} of the distinct pictures."
    )
    if learnt:
        message = (
            f"Labels drawn by lot can be learnt across this split: {numbers}. "
            f"{int(memory.same.sum()):,} of {len(memory.test):,} test files look most like a "
            "training file that is a copy or of the same patient, so a model can score by memory "
            "alone."
            f"{really} What to do: split by groups (`clearhead split --protocol group`)."
        )
    else:
        message = f"Labels drawn by lot can't be learnt across this split: {numbers}.{really}"
    return Finding(
        "split.shuffle",
        "fail" if learnt else "info",
        message,
        value=float(drawn.mean()),
        interval=(low, high),
        limit=chance,
        sources=tuple(manifest.column("source")[memory.test[memory.same]].tolist()),
        figure="split-shuffle",
    )


def _chart(
    memory: _Memory, drawn: NDArray[np.float64], real: tuple[Score, Score], manifest: Manifest
) -> Dots:
    low, high = _interval(drawn)
    chance = 100 / len(manifest.classes)
    random = Mark("per file", 100 * float(drawn.mean()), 100 * low, 100 * high)
    marks = tuple(
        Mark.of(series, share)
        for series, share in zip(("per file", "per distinct picture"), real, strict=True)
    )
    tone = "fail" if 100 * low > chance else "info"
    drawn_from = int(((manifest.column("split") == "test") & manifest.usable()).sum())
    note = (
        f"{len(memory.test):,} test files"
        + (f", drawn from {drawn_from}" if drawn_from > len(memory.test) else "")
        + f"; {SHUFFLES} draws of labels, one label per group of copies and patients. A memoriser "
        "calls each test file as the training file that its thumbnail looks most like."
    )
    return Dots(
        "split-shuffle",
        "What a memoriser gets across the split",
        "accuracy, %",
        (0.0, 100.0),
        (
            Line("labels drawn by lot", (random,), "must be at chance", tone),
            Line("labels as they are", marks, "what memory alone may earn"),
        ),
        (("chance", chance),),
        note,
    )


def _sheets(memory: _Memory, manifest: Manifest) -> tuple[Sheet, ...]:
    """Test pictures beside the training picture of their group, one pair per group."""
    _, first = np.unique(memory.groups[memory.same], return_index=True)
    chosen = np.flatnonzero(memory.same)[np.sort(first)][:SHOWN]
    if not len(chosen):
        return ()
    sources = manifest.column("source")
    strips = []
    for place in chosen.tolist():
        test, train = int(memory.test[place]), int(memory.train[place])
        tiles = tuple(
            Tile(row, f"{part}: {PurePosixPath(sources[row]).name}")
            for part, row in (("test", test), ("train", train))
        )
        strips.append(Strip(manifest.column("label")[test], tiles))
    note = "Each test picture is called by the training picture beside it."
    return (Sheet("split-pairs", "Test pictures remembered", tuple(strips), note),)


# --- Without a split ------------------------------------------------------------------------


def _without_split(material: Material) -> Section:
    manifest = material.manifest.take(material.manifest.usable())
    title = "Can random labels be learnt across the split?"
    if not len(manifest):
        missing = Finding("split.missing", "info", "There are no labelled pictures to split.")
        return Section("split", title, (missing,))
    sizes = np.unique(manifest.groups(), return_counts=True)[1]
    share = with_copy_in_training(sizes, TEST)
    finding = Finding(
        "split.missing",
        "info",
        "The manifest has no split into train and test. Drawn at random, "
        f"{100 * (1 - TEST):.0f}/{100 * TEST:.0f}, {100 * share:.0f} % of the test files would "
        "have a copy, or another picture of their patient, in training. What to do: split by "
        "groups (`clearhead split`).",
        value=share,
        figure="split-random",
    )
    return Section("split", title, (finding,), tables=(_random_table(sizes),))


def _random_table(sizes: NDArray[np.int64]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for test in (0.1, 0.2, 0.3, 0.4, 0.5):
        share = with_copy_in_training(sizes, test)
        wrong = share + (1 - share) / 2
        rows.append((round(100 * test), round(100 * share, 1), round(100 * wrong, 1)))
    return Table(
        "split-random",
        "What a random split would do",
        (
            "test share, %",
            "test files with a copy in training, %",
            "accuracy that a perfect memory gets with labels drawn by lot (two classes), %",
        ),
        tuple(rows),
        "Expected from the sizes of the groups of copies and patients.",
    )


def with_copy_in_training(sizes: NDArray[np.int64], test: float) -> float:
    """Expected share of test files with another file of their group in training.

    `sizes` are the files of each group, (G,); the share `test` of all files is drawn at random.
    """
    total = int(sizes.sum())
    tested = round(test * total)
    if total < 2 or tested < 1:
        return 0.0
    return float(twin_chance(np.repeat(sizes, sizes), total - tested).mean())
