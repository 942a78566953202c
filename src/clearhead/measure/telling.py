"""What gives the class away, in words: rules found on one half and counted on the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import ManifestError
from clearhead.measure.precision import wilson

FEWEST_PICTURES = 8
"""Distinct pictures that a rule must hold for, in the half that it is found on."""
MOST_GROUPS = 6000
"""Groups that are looked at; of more, so many are drawn."""
MOST_VALUES = 40
"""Values of a column that are tried, the most frequent."""
STEPS = 32
"""Thresholds of a number that are tried: its quantiles."""
MOST_PAIRED = 60
"""Conditions, the most telling, of which pairs are tried."""
GAIN = 1.25
"""A pair of conditions must tell this much more than either to be worth its words."""
MOST_TRIED = 32
"""Rules that are counted on the other half; the level is shared out among them (Bonferroni)."""
MOST_RULES = 8
"""Rules that are given."""
OVERLAP = 0.7
"""Two rules for a class that share this part of their pictures are one."""


# --- The nouns ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """What is asked of one column: that it `is` a value, is `above` it, or `at most` it."""

    column: str
    kind: str
    value: Any

    def holds(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """For which values, (N,); unknown ones never."""
        if self.kind == "is":
            same: NDArray[np.bool_] = np.asarray(values == self.value, dtype=bool)
            return same
        numbers = values.astype(np.float64)
        held: NDArray[np.bool_] = (
            numbers > self.value if self.kind == "above" else numbers <= self.value
        )
        return held

    def words(self, noun: str) -> str:
        """In words, after *with*: `size 512×512`, `no EXIF`, `mean level above 30`."""
        if isinstance(self.value, bool | np.bool_):
            return noun if self.value else f"no {noun}"
        said = self.value if isinstance(self.value, str) else f"{self.value:.6g}"
        return f"{noun} {said}" if self.kind == "is" else f"{noun} {self.kind} {said}"


@dataclass(frozen=True)
class Rule:
    """Of the pictures for which it holds, most are of one class.

    Found on one half of the groups; every number is counted on the other, so that it isn't the
    best of many by luck alone. A distinct picture counts where one of its files fulfils the rule.
    """

    conditions: tuple[Condition, ...]
    words: str
    label: str
    pictures: int
    """Distinct pictures for which it holds."""
    right: int
    """Those of them that are of the class."""
    interval: tuple[float, float]
    """Of `right` / `pictures`."""
    files: int
    files_right: int
    base: float
    """Share of the class among all distinct pictures."""
    files_base: float
    """Share of the class among all files."""

    @property
    def share(self) -> float:
        """Share of the class among the distinct pictures for which it holds."""
        return self.right / self.pictures

    @property
    def sentence(self) -> str:
        """The rule in plain words, per distinct picture and per file."""
        return (
            f"{_percent(self.share)} of the distinct pictures with {self.words} are {self.label} "
            f"({self.right} of {self.pictures}; of all distinct pictures {_percent(self.base)} "
            f"are), and so are {_percent(self.files_right / self.files)} of the files "
            f"({self.files_right} of {self.files}; of all {_percent(self.files_base)})"
        )


def _percent(share: float) -> str:
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return f"{np.floor(1000 * share) / 10:.1f} %"
    return f"{rounded} %"


@dataclass(frozen=True)
class _Half:
    """The rows of some groups, in order of their groups: where each begins, and its class."""

    columns: Mapping[str, NDArray[Any]]
    labels: NDArray[np.int64]
    starts: NDArray[np.int64]
    group_labels: NDArray[np.int64]
    classes: int

    def pictures(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which groups have a row in `mask`, (G,)."""
        touched: NDArray[np.bool_] = np.logical_or.reduceat(mask, self.starts)
        return touched

    def mask(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Which rows fulfil all of the conditions, (N,)."""
        held = [condition.holds(self.columns[condition.column]) for condition in conditions]
        both: NDArray[np.bool_] = np.logical_and.reduce(held)
        return both

    def counts(self, pictures: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Groups of each class among `pictures`, (K,)."""
        return np.bincount(self.group_labels[pictures], minlength=self.classes)

    @property
    def base(self) -> NDArray[np.float64]:
        """Share of each class among the groups, (K,)."""
        return np.bincount(self.group_labels, minlength=self.classes) / len(self.group_labels)


@dataclass(frozen=True)
class _Found:
    """Conditions, what they tell, and of which class."""

    conditions: tuple[Condition, ...]
    label: int
    tells: float
    """At the lower end of the interval; 0 where that isn't above the share among all."""
    promises: float
    """The same at the share itself: a condition may tell little alone and much beside another."""

    @property
    def kind(self) -> tuple[Any, ...]:
        """What is asked, but for the place of a threshold, and of which class it speaks."""
        asked = [
            (each.column, each.kind, each.value if each.kind == "is" else None)
            for each in self.conditions
        ]
        return (self.label, *asked)


# --- Finding --------------------------------------------------------------------------------


def rules(
    columns: Mapping[str, NDArray[Any]],
    words: Mapping[str, str],
    labels: ArrayLike,
    groups: ArrayLike,
    classes: Sequence[str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Rule, ...]:
    """Rules that tell the class, the most telling first, at most `MOST_RULES`.

    Shapes: columns are (N,) numbers or categories, `words` says how each is called (`size`,
    `mean level in the top edge`), `labels` (N,) class indices, `groups` (N,) any values.

    A condition asks for a frequent value, or for a number above or at most one of its quantiles
    (of float32, which is what measured numbers are, for the latter alone); a rule has one or two.
    What it tells is the share of distinct pictures for which it holds, times the divergence (bits)
    of its class's share, at the lower end of its interval, from the share among all. The
    `MOST_TRIED` rules that tell most are given where on the other half, too, their interval begins
    above that share, and where they say something else than those before.

    Errors: `ManifestError` for columns that don't fit or have no words.
    """
    own, member = np.asarray(labels, dtype=np.int64), np.asarray(groups)
    _check(columns, words, len(own), len(member))
    halves = _halves(columns, own, member, len(classes), seed)
    if halves is None:
        return ()
    search, check = halves
    given: list[Rule] = []
    taken: list[tuple[int, NDArray[np.bool_]]] = []
    for found in _once(_ranked(search, level))[:MOST_TRIED]:
        pictures = check.pictures(check.mask(found.conditions))
        if not _confirmed(found, check.counts(pictures), check.base, level):
            continue
        if all(other != found.label or _apart(pictures, seen) for other, seen in taken):
            given.append(_counted(found, check, words, classes, level))
            taken.append((found.label, pictures))
    return tuple(given[:MOST_RULES])


def _once(ranked: Sequence[_Found]) -> list[_Found]:
    """The first of every kind."""
    kept: dict[tuple[Any, ...], _Found] = {}
    for found in ranked:
        kept.setdefault(found.kind, found)
    return list(kept.values())


def _confirmed(
    found: _Found, counts: NDArray[np.int64], base: NDArray[np.float64], level: float
) -> bool:
    """Whether other pictures, too, are of the class more often than all are."""
    strict = 1 - (1 - level) / MOST_TRIED
    low, _ = wilson(int(counts[found.label]), int(counts.sum()), strict)
    return bool(low > base[found.label])


def _check(
    columns: Mapping[str, NDArray[Any]], words: Mapping[str, str], rows: int, groups: int
) -> None:
    for name, column in columns.items():
        if name not in words:
            raise ManifestError(f"the column {name!r} has no words: say what it is called")
        if np.asarray(column).shape != (rows,):
            raise ManifestError(
                f"the column {name!r} has the shape {np.asarray(column).shape}: expected ({rows},)"
            )
    if groups != rows:
        raise ManifestError(f"groups has {groups} rows: expected {rows}, one per label")


def _halves(
    columns: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    classes: int,
    seed: int,
) -> tuple[_Half, _Half] | None:
    """Two halves of the groups, drawn at random; None where there are too few to halve."""
    _, member = np.unique(groups, return_inverse=True)
    count = int(member.max(initial=-1)) + 1
    if count < 4 * FEWEST_PICTURES:
        return None
    order = np.random.default_rng([seed, 7]).permutation(count)[:MOST_GROUPS]
    side = np.full(count, -1)
    side[order] = np.arange(len(order)) % 2
    halves = [_half(columns, labels, member, side == number, classes) for number in (0, 1)]
    return halves[0], halves[1]


def _half(
    columns: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    member: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    classes: int,
) -> _Half:
    rows = np.flatnonzero(chosen[member])
    rows = rows[np.argsort(member[rows], kind="stable")]
    _, starts, own = np.unique(member[rows], return_index=True, return_inverse=True)
    table = np.zeros((len(starts), classes), dtype=np.int64)
    np.add.at(table, (own, labels[rows]), 1)
    taken = {name: np.asarray(column)[rows] for name, column in columns.items()}
    return _Half(taken, labels[rows], starts, table.argmax(axis=1), classes)


# --- What is asked --------------------------------------------------------------------------


def _ranked(half: _Half, level: float) -> list[_Found]:
    """Conditions and pairs of them that tell something, the most telling first."""
    single = [
        found
        for name, values in half.columns.items()
        for condition in _conditions(name, values, half)
        if (found := _told((condition,), half, level)) is not None
    ]
    pairs = []
    for one, other in combinations(_promising(single), 2):
        if one.conditions[0].column == other.conditions[0].column:
            continue
        found = _told((*one.conditions, *other.conditions), half, level)
        if found is not None and found.tells > GAIN * max(one.tells, other.tells):
            pairs.append(found)
    telling = [found for found in (*single, *pairs) if found.tells > 0]
    return sorted(telling, key=lambda found: -found.tells)


def _promising(single: Sequence[_Found]) -> list[_Found]:
    """The best of every kind of condition of each column, at most `MOST_PAIRED`."""
    return _once(sorted(single, key=lambda found: -found.promises))[:MOST_PAIRED]


def _conditions(name: str, values: NDArray[Any], half: _Half) -> Iterator[Condition]:
    numbers = np.issubdtype(values.dtype, np.number)
    if values.dtype != np.float32:  # that a measured level is 2 says less than that it is low
        for value in _frequent(values, half):
            yield Condition(name, "is", value)
    if numbers:
        known = values[np.isfinite(values.astype(np.float64))].astype(np.float64)
        for threshold in _thresholds(known):
            yield Condition(name, "above", threshold)
            yield Condition(name, "at most", threshold)


def _frequent(values: NDArray[Any], half: _Half) -> list[Any]:
    """Known values held by enough distinct pictures, the most frequent first."""
    known = np.array([_known(value) for value in values], dtype=bool)
    if not known.any():
        return []
    distinct, counts = np.unique(values[known].astype(_sortable(values)), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    return [
        value
        for value, count in zip(distinct[order].tolist(), counts[order], strict=True)
        if count >= FEWEST_PICTURES and half.pictures(values == value).sum() >= FEWEST_PICTURES
    ]


def _sortable(values: NDArray[Any]) -> Any:
    return str if values.dtype == object else values.dtype


def _known(value: Any) -> bool:
    return value is not None and value == value  # NaN is no value


def _thresholds(known: NDArray[np.float64]) -> list[float]:
    """Quantiles of a number, rounded to three digits so that they can be said."""
    distinct = np.unique(known)
    if len(distinct) < 3:
        return []
    cuts = np.unique(np.quantile(known, np.arange(1, STEPS) / STEPS))
    rounded = {float(f"{cut:.3g}") for cut in cuts}
    return sorted(cut for cut in rounded if distinct[0] <= cut < distinct[-1])


# --- What it tells --------------------------------------------------------------------------


def _told(conditions: tuple[Condition, ...], half: _Half, level: float) -> _Found | None:
    """What the conditions tell of the class that they speak for; None where of none."""
    counts = half.counts(half.pictures(half.mask(conditions)))
    total, base = int(counts.sum()), half.base
    if total < FEWEST_PICTURES or total == len(half.group_labels):
        return None
    label = int(np.argmax(counts / total - base))
    share, own = counts[label] / total, float(base[label])
    if share <= own:
        return None
    low, _ = wilson(int(counts[label]), total, level)
    part = total / len(half.group_labels)
    tells = part * _divergence(low, own) if low > own else 0.0
    return _Found(conditions, label, tells, part * _divergence(share, own))


def _divergence(share: float, base: float) -> float:
    """Kullback–Leibler divergence of a coin of `share` from one of `base`, bits."""
    rest = (1 - share) * np.log2((1 - share) / (1 - base)) if share < 1 else 0.0
    return float(share * np.log2(share / base) + rest)


def _counted(
    found: _Found, half: _Half, words: Mapping[str, str], classes: Sequence[str], level: float
) -> Rule:
    """The rule with the numbers of a half."""
    mask = half.mask(found.conditions)
    counts = half.counts(half.pictures(mask))
    total = int(counts.sum())
    own = half.labels == found.label
    return Rule(
        conditions=found.conditions,
        words=" and ".join(each.words(words[each.column]) for each in found.conditions),
        label=classes[found.label],
        pictures=total,
        right=int(counts[found.label]),
        interval=wilson(int(counts[found.label]), total, level),
        files=int(mask.sum()),
        files_right=int((mask & own).sum()),
        base=float(half.base[found.label]),
        files_base=float(own.mean()),
    )


def _apart(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    return bool((one & other).sum() < OVERLAP * (one | other).sum())
