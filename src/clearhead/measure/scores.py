"""How good the calls are: scores per file and per group, each with an interval over groups."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import ManifestError, RecipeError, RunError
from clearhead.measure.bootstrap import Sample, interval, resample

SINGLE = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "pr_auc")
"""Scores of the whole sample."""
PER_CLASS = ("f1", "sensitivity", "specificity", "precision")
"""Scores of each class against the rest."""


# --- The nouns ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """A figure between 0 and 1 with the ends of its interval; None where undefined, never NaN.

    The value can be defined where the interval is not: with a single group, or where more than
    half of the resamples leave the score undefined.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class Scores:
    """Every score under one weighting.

    `accuracy` is the share of correct calls; `balanced_accuracy` the mean sensitivity over the
    classes that have files (undefined with one class); `f1_macro` the mean F1 over the classes
    that have files or are called. `f1`, `sensitivity`, `specificity`, `precision` take each class
    against the rest. `roc_auc` and `pr_auc` (average precision) rank by probability: of the
    positive class where there are two, else the mean over the classes, one against the rest.
    `confusion` has a row per true class and a column per called class; its cells are weights, so
    per group they may be fractions.
    """

    accuracy: Score
    balanced_accuracy: Score
    f1_macro: Score
    f1: dict[str, Score]
    sensitivity: dict[str, Score]
    specificity: dict[str, Score]
    precision: dict[str, Score]
    roc_auc: Score
    pr_auc: Score
    confusion: tuple[tuple[float, ...], ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scores:
        """The scores that `dataclasses.asdict` wrote."""
        scores: dict[str, Any] = {name: Score(**value[name]) for name in SINGLE}
        for name in PER_CLASS:
            scores[name] = {label: Score(**score) for label, score in value[name].items()}
        confusion = tuple(tuple(float(cell) for cell in row) for row in value["confusion"])
        return cls(**scores, confusion=confusion)


@dataclass(frozen=True)
class Baseline:
    """The score to beat: what a classifier gets that never looks at the picture.

    `facts` names the columns it was given. `majority` is the class most frequent in training, and
    `majority_per_file`, `majority_per_group` the accuracy of calling it every time.
    """

    facts: tuple[str, ...]
    per_file: Scores
    per_group: Scores
    majority: str
    majority_per_file: Score
    majority_per_group: Score

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Baseline:
        """The baseline that `dataclasses.asdict` wrote."""
        return cls(
            facts=tuple(value["facts"]),
            per_file=Scores.from_json(value["per_file"]),
            per_group=Scores.from_json(value["per_group"]),
            majority=value["majority"],
            majority_per_file=Score(**value["majority_per_file"]),
            majority_per_group=Score(**value["majority_per_group"]),
        )


@dataclass(frozen=True)
class Bin:
    """A point of a reliability diagram: pictures that were told about the same probability.

    `told` is their mean probability, `true` how often it came true, `groups` how many groups they
    are (the sum of their weights, so it may be a fraction).
    """

    told: float
    true: Score
    groups: float


@dataclass(frozen=True)
class Reliability:
    """Whether probabilities can be taken at their word, every group counting once.

    `of` is the class whose probability is meant; None for that of the class called, where there
    are more than two. `brier` is the mean squared distance from the truth, `error` the expected
    calibration error over `bins`. `chance` says what `error` would be, were every probability true:
    its mean, and the ends between which chance alone leaves it.
    """

    of: str | None
    brier: Score
    error: float
    chance: Score
    bins: tuple[Bin, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reliability:
        """What `dataclasses.asdict` wrote."""
        bins = tuple(Bin(**{**each, "true": Score(**each["true"])}) for each in value["bins"])
        scores = {name: Score(**value[name]) for name in ("brier", "chance")}
        return cls(**{**value, **scores, "bins": bins})


@dataclass(frozen=True)
class Calibration:
    """What was fitted on labelled pictures that the training did not learn from.

    `temperature` divides the logits, of which `bias` is a part. `thresholds` has, for each class,
    the smallest probability at which it is not ruled out; of a new group of a class, that class is
    promised to be ruled out with a probability of at most `error`. `groups` says how many of each
    class stand behind that, `on` which pictures they are: the run's `validation` rows, or the name
    of another set. `exact` says whether they had no other say: not in which epoch was kept, nor,
    where there are more than two classes, in temperature and bias.
    """

    error: float
    temperature: float
    thresholds: tuple[float, ...]
    groups: tuple[int, ...]
    on: str = "validation"
    exact: bool = True
    bias: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """What `dataclasses.asdict` wrote."""
        lists = {name: tuple(value.get(name, ())) for name in ("thresholds", "groups", "bias")}
        return cls(**{**value, **lists})


@dataclass(frozen=True)
class Outcome:
    """What triage makes of the pictures of one class; shares count every group once.

    `right`, `wrong` and `uncertain` add up to 1. `ruled_out` is the share of groups with a copy
    whose true class is ruled out: promised to be small. `limit` is the largest such share that
    chance explains, 19 times in 20, where pictures are like those that it was calibrated on.
    """

    groups: int
    right: Score
    wrong: Score
    uncertain: Score
    ruled_out: Score
    limit: float

    @property
    def broken(self) -> bool:
        """Whether more is ruled out than the promise and chance explain."""
        return self.ruled_out.value is not None and self.ruled_out.value > self.limit


@dataclass(frozen=True)
class Level:
    """A point of the curve, where `error` is promised: shares left uncertain, the part of them for
    which no class is left, and shares decided wrongly."""

    error: float
    uncertain: Score
    unlike: Score
    wrong: Score


@dataclass(frozen=True)
class Triage:
    """What is left undecided, and what becomes of the rest; shares count every group once.

    `uncertain` is the share left undecided, `unlike` the part of it for which no class is left.
    `missed` is the share of the positive class decided otherwise, among those decided. `curve`
    holds what other promises would cost, their thresholds fitted on the validation rows.
    """

    calibration: Calibration
    classes: dict[str, Outcome]
    uncertain: Score
    unlike: Score
    missed: Score
    curve: tuple[Level, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Triage:
        """What `dataclasses.asdict` wrote."""
        return cls(
            Calibration.from_json(value["calibration"]),
            {name: Outcome(**_scored(each)) for name, each in value["classes"].items()},
            Score(**value["uncertain"]),
            Score(**value["unlike"]),
            Score(**value["missed"]),
            tuple(Level(**_scored(each)) for each in value["curve"]),
        )


def _scored(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Score(**each) if isinstance(each, dict) else each for name, each in value.items()}


@dataclass(frozen=True)
class Evaluation:
    """Scores on one split, beside the score to beat.

    `files` and `groups` say how many were scored. `per_file` counts every file once, `per_group`
    every group once (each of its files with weight 1 / size of the group). `level`, `resamples`
    and `seed` say how the intervals were drawn. `copies_in_training` is (files with a copy in
    training, files scored), None where copies were never searched. `reliability` judges the
    probabilities, `triage` what is decided; None for a classifier that was never calibrated.
    """

    split: str
    classes: tuple[str, ...]
    positive: str
    files: int
    groups: int
    level: float
    resamples: int
    seed: int
    per_file: Scores
    per_group: Scores
    baseline: Baseline | None = None
    copies_in_training: tuple[int, int] | None = None
    reliability: Reliability | None = None
    triage: Triage | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: dicts, lists, strings, finite numbers and None."""
        value: dict[str, Any] = _plain(dataclasses.asdict(self))
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_json` wrote."""
        copies, baseline = value["copies_in_training"], value["baseline"]
        told, triage = value.get("reliability"), value.get("triage")
        nested = {
            "classes": tuple(value["classes"]),
            "per_file": Scores.from_json(value["per_file"]),
            "per_group": Scores.from_json(value["per_group"]),
            "baseline": None if baseline is None else Baseline.from_json(baseline),
            "copies_in_training": None if copies is None else (int(copies[0]), int(copies[1])),
            "reliability": None if told is None else Reliability.from_json(told),
            "triage": None if triage is None else Triage.from_json(triage),
        }
        return cls(**{**value, **nested})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


# --- The positive class ---------------------------------------------------------------------

DISEASE = (
    "tumor",
    "tumour",
    "cancer",
    "carcinoma",
    "glioma",
    "glioblastoma",
    "astrocytoma",
    "meningioma",
    "pituitary",
    "adenoma",
    "metasta",
    "neoplas",
    "lymphoma",
    "lesion",
    "malignan",
    "disease",
    "patholog",
    "abnormal",
    "unhealthy",
    "sick",
    "stroke",
    "positive",
)
"""How words begin that speak of disease in a class name."""
DENIAL = ("no", "not", "non", "without", "free", "negative", "benign")
"""Words that turn such a name around."""
_DISEASE = re.compile(rf"(?:{'|'.join(DISEASE)})|yes$")
_DENIED = re.compile(rf"(?:no|not|non|without)(?:{'|'.join(DISEASE)})")


def positive_class(classes: Sequence[str], positive: str | None = None) -> str:
    """The class whose detection counts: `positive` where given, else the one named like disease.

    A name reads like disease where a word in it begins like one of `DISEASE` or is *yes*, unless
    a word of `DENIAL` stands in it (`no_tumor`, `Not Cancer`, `tumour-free`) or the word itself
    is denied (`notumor`). Where no name or several read so, the last in order of those.
    Errors: `ManifestError` where `positive` is none of the classes.
    """
    if positive is not None:
        if positive not in classes:
            raise ManifestError(
                f"no class is called {positive!r}: expected one of {', '.join(classes)}"
            )
        return positive
    ill = [name for name in classes if _reads_like_disease(name)]
    return (ill or list(classes))[-1]


def absent_class(classes: Sequence[str]) -> int | None:
    """Which class means that nothing was found, or None where none does.

    Of two classes the one that isn't positive; of more the only one that doesn't read like disease.
    """
    if len(classes) == 2:
        return 1 - list(classes).index(positive_class(classes))
    well = [place for place, name in enumerate(classes) if not _reads_like_disease(name)]
    return well[0] if len(well) == 1 else None


def _reads_like_disease(name: str) -> bool:
    words = re.split(r"[\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    denied = any(word in DENIAL or _DENIED.match(word) for word in words)
    return not denied and any(_DISEASE.match(word) for word in words)


# --- Scoring --------------------------------------------------------------------------------


def score(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    classes: Sequence[str],
    positive: str | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    called: ArrayLike | None = None,
    split: str = "test",
) -> Evaluation:
    """Score the calls of a classifier, per file and per group, with intervals over groups.

    Shapes: `labels` (N,) class indices, `probabilities` (N, K), `groups` (N,) any values, `called`
    (N,) class indices; without it the class of highest probability is called (the first in a
    tie). `positive` as in `positive_class`. Intervals are percentiles of `resamples` draws of
    groups with replacement (Efron and Tibshirani 1993, section 13.3), the group being the unit
    that is independent of the others (Field and Welsh 2007); 0 resamples give none. Adding the
    score to beat is `dataclasses.replace(evaluation, baseline=…)`.

    Errors: `ManifestError` for no rows or columns that don't fit each other, `RunError` for
    probabilities that are not finite, `RecipeError` for an impossible level or count.
    """
    return score_repeats(
        labels,
        np.asarray(probabilities)[None],
        groups,
        classes=classes,
        positive=positive,
        resamples=resamples,
        level=level,
        seed=seed,
        called=None if called is None else np.asarray(called)[None],
        split=split,
    )


def score_repeats(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    classes: Sequence[str],
    positive: str | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    called: ArrayLike | None = None,
    split: str = "test",
) -> Evaluation:
    """Score R classifiers on the same files: every score is its mean over the R.

    Shapes: `probabilities` (R, N, K) and `called` (R, N); the rest as in `score`. A draw of groups
    is the same for all R before their scores are averaged, so the interval is one over groups and
    gets no narrower by training again: how far classifiers differ is another question.
    """
    names = tuple(classes)
    target = positive_class(names, positive)
    _check_settings(resamples, level)
    each = np.asarray(probabilities)
    calls = [None] * len(each) if called is None else np.asarray(called)
    samples = [
        _sample(labels, table, groups, own, names, names.index(target))
        for table, own in zip(each, calls, strict=True)
    ]
    if not samples:
        raise ManifestError("there is nothing to score: no classifier said anything")
    sizes = np.bincount(samples[0].groups)
    even = 1 / sizes[samples[0].groups]
    by_group = [dataclasses.replace(sample, weights=even) for sample in samples]
    return Evaluation(
        split=split,
        classes=names,
        positive=target,
        files=len(samples[0].labels),
        groups=len(sizes),
        level=level,
        resamples=resamples,
        seed=seed,
        per_file=_scores(samples, names, resamples, level, seed),
        per_group=_scores(by_group, names, resamples, level, seed),
    )


def _scores(
    samples: Sequence[Sample], classes: tuple[str, ...], resamples: int, level: float, seed: int
) -> Scores:
    """The mean of each score over samples of the same files."""
    values = _averaged([point_scores(sample) for sample in samples])
    several_groups = samples[0].groups.max() > 0
    drawn = (
        _averaged([resample(sample, resamples, seed) for sample in samples])
        if resamples and several_groups
        else {}
    )
    scores: dict[str, Any] = {name: _score(values[name], drawn.get(name), level) for name in SINGLE}
    for name in PER_CLASS:
        scores[name] = {
            label: _score(values[name][k], drawn[name][:, k] if drawn else None, level)
            for k, label in enumerate(classes)
        }
    confusion = np.mean([_confusion(sample) for sample in samples], axis=0)
    return Scores(**scores, confusion=tuple(map(tuple, confusion.tolist())))


def _averaged(each: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """The mean of arrays of the same names; NaN where one of them is."""
    return {name: np.mean([values[name] for values in each], axis=0) for name in each[0]}


def _score(value: Any, resampled: NDArray[np.float64] | None, level: float) -> Score:
    if np.isnan(value):
        return Score(None)
    ends = None if resampled is None else interval(resampled, level)
    return Score(float(value), *(ends or ()))


def _confusion(sample: Sample) -> tuple[tuple[float, ...], ...]:
    from sklearn import metrics  # slow to load: only where something is counted

    cells = metrics.confusion_matrix(
        sample.labels,
        sample.called,
        labels=range(sample.probabilities.shape[1]),
        sample_weight=sample.weights,
    )
    return tuple(tuple(float(cell) for cell in row) for row in cells)


def point_scores(sample: Sample) -> dict[str, NDArray[np.float64]]:
    """Every score of the sample as scikit-learn counts it; NaN where undefined.

    Shapes: those of `bootstrap.resample` without the axis of resamples: () or (K,).
    """
    from sklearn import metrics  # slow to load: only where something is counted

    true, called, weights = sample.labels, sample.called, sample.weights
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        true,
        called,
        labels=range(sample.probabilities.shape[1]),
        sample_weight=weights,
        zero_division=np.nan,
    )
    several = sample.present.sum() > 1
    values = {
        "accuracy": metrics.accuracy_score(true, called, sample_weight=weights),
        "balanced_accuracy": recall[sample.present].mean() if several else np.nan,
        "f1_macro": f1[sample.occurring].mean(),
        "f1": f1,
        "sensitivity": recall,
        "specificity": _specificities(sample),
        "precision": precision,
        "roc_auc": _ranked(metrics.roc_auc_score, sample),
        "pr_auc": _ranked(metrics.average_precision_score, sample),
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}


def _specificities(sample: Sample) -> list[float]:
    """Of each class, the share of the rest that is not called it."""
    from sklearn import metrics  # slow to load: only where something is counted

    return [
        metrics.recall_score(
            sample.labels == k,
            sample.called == k,
            pos_label=False,
            sample_weight=sample.weights,
            zero_division=np.nan,
        )
        for k in range(sample.probabilities.shape[1])
    ]


def _ranked(metric: Any, sample: Sample) -> float:
    """Mean of `metric` over the ranked classes, each against the rest."""
    values = [
        metric(sample.labels == k, sample.probabilities[:, k], sample_weight=sample.weights)
        for k in sample.ranked
    ]
    return float(np.mean(values)) if values else np.nan


# --- The door -------------------------------------------------------------------------------


def _check_settings(resamples: int, level: float) -> None:
    if resamples < 0:
        raise RecipeError(f"resamples is {resamples}: expected 0 (no intervals) or more")
    if not 0 < level < 1:
        raise RecipeError(f"level is {level}: expected a share between 0 and 1, such as 0.95")


def _sample(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    called: ArrayLike | None,
    classes: tuple[str, ...],
    positive: int,
) -> Sample:
    table = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(labels)
    if true.size == 0:
        raise ManifestError("there is nothing to score: the split holds no files; choose another")
    if table.shape != (len(true), len(classes)):
        raise ManifestError(
            f"probabilities have the shape {table.shape}: expected {(len(true), len(classes))}, "
            "a row per label and a column per class"
        )
    _check_finite(table)
    calls = table.argmax(axis=1) if called is None else np.asarray(called)
    return Sample(
        labels=_indices(true, "labels", len(true), len(classes)),
        called=_indices(calls, "called", len(true), len(classes)),
        probabilities=table,
        groups=_numbered(np.asarray(groups), len(true)),
        weights=np.ones(len(true)),
        targets=(positive,) if len(classes) == 2 else tuple(range(len(classes))),
    )


def _check_finite(table: NDArray[np.float64]) -> None:
    broken = int((~np.isfinite(table)).any(axis=1).sum())
    if broken:
        raise RunError(
            f"{broken} of {len(table)} predictions have probabilities that are not finite: "
            "the training went astray; train again with a lower learning rate"
        )


def _indices(values: NDArray[Any], name: str, length: int, classes: int) -> NDArray[np.int64]:
    if values.shape != (length,):
        raise ManifestError(f"{name} has the shape {values.shape}: expected ({length},)")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= classes:
        raise ManifestError(
            f"{name} holds {sorted(set(values.tolist()))[:5]}: expected class indices "
            f"from 0 to {classes - 1}"
        )
    return values.astype(np.int64)


def _numbered(groups: NDArray[Any], length: int) -> NDArray[np.int64]:
    """The groups as 0 … G - 1, in sorted order, so that the order of rows changes nothing."""
    if groups.shape != (length,):
        raise ManifestError(f"groups has the shape {groups.shape}: expected ({length},)")
    _, numbers = np.unique(groups, return_inverse=True)
    return numbers.astype(np.int64)
