"""Cross-validation by group: every picture is tested by a classifier that never saw it or a copy.

The runs of all folds and seeds are pooled. The unit of every figure is the group; several seeds are
several opinions of the same pictures and no more pictures, so they are averaged within each group
before groups are drawn for an interval, and how far they differ is told beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import clearhead
from clearhead.audits.beside import HEAT
from clearhead.audits.members import Member, ordered, seed_words
from clearhead.audits.said import BESIDE, METHOD, SCORE, Said, said
from clearhead.data.manifest import as_classes
from clearhead.data.split import copies_across
from clearhead.errors import ManifestError, RunError
from clearhead.files import read_json
from clearhead.measure.baseline import FACTS
from clearhead.measure.groupwise import mean_of_repeats
from clearhead.measure.scores import Baseline, Evaluation, Score, score, score_repeats
from clearhead.model.folds import jobs_of, run_jobs
from clearhead.model.pretrained import check_pretrained
from clearhead.model.run import Run, open_run
from clearhead.model.unseen import seen_in
from clearhead.types import Manifest, Progress, Recipe, silent

MEASURES = ("pointing", "inside")
"""What is measured of heat where there is a tumour mask."""
FORMAT = 1
"""Version of `crossval.json`."""
SPREAD = ("accuracy", "balanced_accuracy", "roc_auc")
"""Scores of the whole sample whose spread over seeds and folds is told, beside sensitivities."""


# --- The nouns ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """How far single trainings differ: mean, standard deviation (n - 1), least and largest.

    No interval: trainings share their pictures. All None where no training defines the figure, the
    deviation where only one does.
    """

    mean: float | None
    deviation: float | None
    least: float | None
    largest: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """The spread of the values that are defined."""
        known = [value for value in values if value is not None]
        if not known:
            return cls(None, None, None, None)
        deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
        return cls(float(np.mean(known)), deviation, min(known), max(known))


@dataclass(frozen=True)
class Located:
    """Where heat for the positive class lies in pictures with a tumour mask that are called so.

    Each score is a mean over groups with its interval; `best_*` are those of the best control.
    """

    pictures: int
    """Files with a mask, called so by at least one run."""
    groups: int
    pointing: Score
    inside: Score
    best_pointing: tuple[str, Score]
    best_inside: tuple[str, Score]
    pointing_spread: Spread
    """Over seeds, or over runs for a set that every run scores."""
    inside_spread: Spread


@dataclass(frozen=True)
class Fold:
    """One run: what it was tested on, and its scores by group."""

    run: Run
    seed: int
    split_seed: int
    fold: int
    tested: NDArray[np.int64]
    """Places of its test rows among `CrossValidation.rows`."""
    scores: Evaluation


@dataclass(frozen=True)
class Elsewhere:
    """Another set, scored by every run: each score is the mean over the runs.

    `in_training` counts its files that show a picture of the folds.
    """

    name: str
    scores: Evaluation
    spread: Mapping[str, Spread]
    located: Located | None
    in_training: int


@dataclass(frozen=True)
class CrossValidation:
    """The pooled runs of R seeds and F folds.

    Shapes: `probabilities` (R, N, K), out of fold, as `seeds` and `rows`.
    """

    rows: Manifest
    """The rows that were tested, each once per seed."""
    probabilities: NDArray[np.float64]
    folds: tuple[Fold, ...]
    """Seed by seed, fold by fold."""
    seeds: tuple[str, ...]
    """What tells the repetitions apart."""
    scores: Evaluation
    """Each score the mean over seeds of the pooled score, its interval over groups."""
    each: tuple[Evaluation, ...]
    """The pooled scores of each seed."""
    over_seeds: Mapping[str, Spread]
    over_folds: Mapping[str, Spread]
    """Of the scores that each run has on its own fold."""
    located: Located | None
    """None where no picture of the positive class has a mask."""
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(fold.run for fold in self.folds)

    @property
    def positive(self) -> str:
        return self.scores.positive

    @property
    def of(self) -> int:
        """Folds per seed."""
        return len(self.folds) // len(self.seeds)

    def mean_probabilities(self) -> NDArray[np.float64]:
        """Out-of-fold probabilities, mean over seeds, (N, K)."""
        mean: NDArray[np.float64] = self.probabilities.mean(0)
        return mean

    def places(self) -> NDArray[np.int64]:
        """The place in `folds` of the run that tested each row, seed by seed, (R, N)."""
        found = np.empty((len(self.seeds), len(self.rows)), np.int64)
        for place, fold in enumerate(self.folds):
            found[place // self.of, fold.tested] = place
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; runs are named without their folders."""
        recipe = asdict(self.runs[0].recipe)
        del recipe["seed"]
        return {
            "format": FORMAT,
            "made": self.made(),
            "recipe": recipe,
            "classes": list(self.rows.classes),
            "positive": self.positive,
            "folds": self.of,
            "seeds": list(self.seeds),
            "runs": [_fold_values(fold) for fold in self.folds],
            "scores": self.scores.to_json(),
            "each_seed": [
                {"seed": seed, "scores": scores.to_json()}
                for seed, scores in zip(self.seeds, self.each, strict=True)
            ],
            "spread_over_seeds": _plain_spreads(self.over_seeds),
            "spread_over_folds": _plain_spreads(self.over_folds),
            "located": None if self.located is None else asdict(self.located),
            "elsewhere": [
                {
                    "name": other.name,
                    "scores": other.scores.to_json(),
                    "spread_over_runs": _plain_spreads(other.spread),
                    "located": None if other.located is None else asdict(other.located),
                    "in_training": other.in_training,
                }
                for other in self.elsewhere
            ],
        }

    def made(self) -> dict[str, Any]:
        """How it was made; the same runs give the same words."""
        every = [run.made for run in self.runs]
        return {
            "runs": len(self.runs),
            "method": METHOD,
            "score": SCORE,
            "resamples": self.scores.resamples,
            "training_hours": round(sum(made["seconds"] for made in every) / 3600, 2),
            "version": clearhead.__version__,
            "when": max(made["finished"] for made in every),
            "pretrained": every[0].get("pretrained"),
        }


def _fold_values(fold: Fold) -> dict[str, Any]:
    groups = fold.scores.per_group
    return {
        "run": fold.run.folder.resolve().name,
        "seed": fold.seed,
        "split_seed": fold.split_seed,
        "fold": fold.fold,
        "files": fold.scores.files,
        "groups": fold.scores.groups,
        **{name: getattr(groups, name).value for name in SPREAD},
        "sensitivity": {name: found.value for name, found in groups.sensitivity.items()},
    }


def _plain_spreads(spreads: Mapping[str, Spread]) -> dict[str, Any]:
    return {name: asdict(spread) for name, spread in spreads.items()}


# --- The doors ------------------------------------------------------------------------------


def crossval(
    manifest: Manifest,
    recipe: Recipe,
    out: Path,
    *,
    folds: int = 5,
    seeds: int = 3,
    jobs: int = 1,
    validation: float = 0.15,
    also: Mapping[str, Manifest] | None = None,
    named: Mapping[str, str] | None = None,
    pretrained: Run | None = None,
    positive: str | None = None,
    resamples: int = 1000,
    device: str = "auto",
    progress: Progress = silent,
) -> CrossValidation:
    """Split, train and evaluate every fold of every seed in `out/seedS-foldK/`, then pool them.

    Seeds count up from the recipe's; each draws its own folds of groups. Every training begins with
    the weights of the run `pretrained`, or with drawn ones. Finished runs are not done again and
    interrupted ones go on. `jobs` trainings run side by side, then with one thread each. The other
    settings are those of `pool`.

    Errors: `ManifestError` where the manifest can't be split so or the pretrained run has learnt
    from its pictures, `RunError` where `out` holds other settings or pictures, `RecipeError` where
    the weights of that run don't fit, `Interrupted` on Ctrl-C, after everything is saved.
    """
    other, named = also or {}, named or {}
    _check_elsewhere(other, manifest.classes, named)  # before the long work
    if pretrained is not None:
        rows = manifest.take(manifest.usable())
        check_pretrained(pretrained, rows, recipe, progress=progress)
    how: dict[str, Any] = {"positive": positive, "resamples": resamples}
    planned = jobs_of(
        manifest,
        recipe,
        out,
        folds=folds,
        seeds=seeds,
        validation=validation,
        device=device,
        pretrained=None if pretrained is None else pretrained.folder,
        **how,
    )
    runs = run_jobs(planned, manifest, processes=jobs, progress=progress)
    where = "cpu" if device == "auto" else device
    return pool(runs, also=other, named=named, device=where, progress=progress, **how)


def pool(
    runs: Sequence[Run],
    *,
    also: Mapping[str, Manifest] | None = None,
    named: Mapping[str, str] | None = None,
    positive: str | None = None,
    resamples: int = 1000,
    device: str = "cpu",
    progress: Progress = silent,
) -> CrossValidation:
    """Pool runs that tested each fold of one or more seeds, wherever they were trained.

    `also` are sets that nothing was trained on, by name, scored by every run; `named` tells which
    class of the runs a label of theirs stands for. What a run says of its test rows is kept beside
    it, so pooling again is quick.

    Errors: `RunError` where the runs are no cross-validation: a fold twice or missing, other
    recipes, other pictures, a group in two folds; `ManifestError` for sets that don't fit.
    """
    members, rows = ordered(runs)
    others = _check_elsewhere(also or {}, rows.classes, named or {})
    told = _told(members, rows, positive, device, progress)
    gathered = _Gathered(rows, members, told)
    how: dict[str, Any] = {
        "classes": rows.classes,
        "positive": positive,
        "resamples": resamples,
        "split": "out-of-fold",
    }
    table = gathered.stacked([each.probabilities for each in told])
    labels, groups = rows.labels(), rows.groups()
    scores = dataclasses.replace(
        score_repeats(labels, table, groups, **how),
        baseline=_baseline(gathered, how),
        copies_in_training=_copies(members),
    )
    each = tuple(score(labels, one, groups, **how) for one in table)
    folds = tuple(_fold(*pair, rows, how) for pair in zip(members, told, strict=True))
    return CrossValidation(
        rows,
        table,
        folds,
        tuple(seed_words(one) for one in members[:: gathered.folds]),
        scores,
        each,
        _spreads(each),
        _spreads([fold.scores for fold in folds]),
        _located(gathered.heat(table, rows.classes.index(scores.positive)), resamples),
        tuple(
            _elsewhere(name, other, members, {**how, "split": name}, device, progress)
            for name, other in others.items()
        ),
    )


def _told(
    members: Sequence[Member],
    rows: Manifest,
    positive: str | None,
    device: str,
    progress: Progress,
) -> list[Said]:
    """What each run says of the rows that it was tested on."""
    bar = progress(members, total=len(members), label="pool the runs")
    told = []
    for each in bar:
        bar.note(each.run.folder.name)
        tested = rows.take(each.tested)
        told.append(said(each.run, tested, "test", positive=positive, device=device))
    return told


def runs_of(folder: Path) -> list[Run]:
    """The runs that `crossval.json` in `folder` was pooled from.

    Errors: `RunError` where there is none or a run is gone.
    """
    path = folder / "crossval.json"
    if not path.exists():
        raise RunError(
            f"{folder} holds no cross-validation: expected what `clearhead crossval` or "
            "`clearhead pool` wrote"
        )
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise RunError(f"{path} has format {value.get('format')!r}: this clearhead reads {FORMAT}")
    return [open_run(folder / one["folder"]) for one in value["runs"]]


# --- Pooling --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gathered:
    """What each run says of its own fold."""

    rows: Manifest
    members: Sequence[Member]
    told: Sequence[Said]

    @property
    def repeats(self) -> int:
        return len({each.kind for each in self.members})

    @property
    def folds(self) -> int:
        """Folds per seed."""
        return len(self.members) // self.repeats

    def stacked(self, values: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Values of each run's fold as one array, (R, N, …)."""
        table = np.full((self.repeats, len(self.rows), *values[0].shape[1:]), np.nan)
        for number, (member, own) in enumerate(zip(self.members, values, strict=True)):
            table[number // self.folds, member.tested] = own
        return table

    def heat(self, table: NDArray[np.float64], target: int) -> list[_Found]:
        """What each seed measured of the heat."""
        made = {
            (measure, maker): self.stacked([getattr(each, measure)[maker] for each in self.told])
            for measure in MEASURES
            for maker in (HEAT, *BESIDE)
        }
        return [
            _Found(
                table[number].argmax(1),
                {kind: values[number] for kind, values in made.items()},
                self.rows.labels(),
                self.rows.groups(),
                target,
            )
            for number in range(self.repeats)
        ]


def _fold(member: Member, told: Said, rows: Manifest, how: Mapping[str, Any]) -> Fold:
    tested = rows.take(member.tested)
    scores = score(tested.labels(), told.probabilities, tested.groups(), **{**how, "resamples": 0})
    return Fold(member.run, member.seed, member.split_seed, member.fold, member.tested, scores)


def _baseline(gathered: _Gathered, how: Mapping[str, Any]) -> Baseline:
    """The score to beat, pooled as the runs are: learnt on each run's own training rows."""
    rows, count = gathered.rows, len(gathered.rows.classes)
    facts = gathered.stacked([np.asarray(each.facts) for each in gathered.told])
    commonest = [
        int(np.bincount(each.manifest.part("train").labels(), minlength=count).argmax())
        for each in gathered.members
    ]
    calls = gathered.stacked(
        [
            np.tile(np.eye(count)[most], (len(each.tested), 1))
            for most, each in zip(commonest, gathered.members, strict=True)
        ]
    )
    known = score_repeats(rows.labels(), facts, rows.groups(), **how)
    always = score_repeats(rows.labels(), calls, rows.groups(), **how)
    return Baseline(
        facts=FACTS,
        per_file=known.per_file,
        per_group=known.per_group,
        majority=rows.classes[int(np.bincount(commonest).argmax())],
        majority_per_file=always.per_file.accuracy,
        majority_per_group=always.per_group.accuracy,
    )


def _copies(members: Sequence[Member]) -> tuple[int, int] | None:
    """Test files with a copy in their run's training, and test files, over all runs."""
    if any(each.manifest.table.column("copy").null_count for each in members):
        return None
    pairs = [copies_across(each.manifest) for each in members]
    return sum(twins for twins, _ in pairs), sum(files for _, files in pairs)


def _spreads(each: Sequence[Evaluation]) -> dict[str, Spread]:
    """How far scores by group differ from one evaluation to the next."""
    groups = [scores.per_group for scores in each]
    found = {name: Spread.of([getattr(scores, name).value for scores in groups]) for name in SPREAD}
    for label in each[0].classes:
        values = [scores.sensitivity[label].value for scores in groups]
        found[f"sensitivity {label}"] = Spread.of(values)
    return found


# --- Where the heat lies --------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What one seed (or run) measured of the heat in N pictures."""

    calls: NDArray[np.int64]
    measured: Mapping[tuple[str, str], NDArray[np.float64]]
    """Each of `MEASURES` of each maker's heat, (N,)."""
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    target: int

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Masked tumours that are called so, (N,)."""
        masked = ~np.isnan(self.measured["pointing", HEAT])
        keep: NDArray[np.bool_] = (
            masked & (self.labels == self.target) & (self.calls == self.target)
        )
        return keep

    def values(self, measure: str, maker: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The measure of the kept pictures, and their groups."""
        return self.measured[measure, maker][self.keep], self.groups[self.keep]


def _located(found: Sequence[_Found], resamples: int) -> Located | None:
    if not any((~np.isnan(each.measured["pointing", HEAT])).any() for each in found):
        return None
    kept = np.logical_or.reduce([each.keep for each in found])

    def told(measure: str, maker: str, draws: int = resamples) -> Score:
        repeats = [each.values(measure, maker) for each in found]
        return mean_of_repeats(repeats, resamples=draws)

    def best(measure: str) -> tuple[str, Score]:
        name = max(BESIDE, key=lambda maker: told(measure, maker, 0).value or 0.0)
        return name, told(measure, name)

    def spread(measure: str) -> Spread:
        single = [
            mean_of_repeats([each.values(measure, HEAT)], resamples=0).value for each in found
        ]
        return Spread.of(single)

    return Located(
        int(kept.sum()),
        len(np.unique(found[0].groups[kept])),
        told("pointing", HEAT),
        told("inside", HEAT),
        best("pointing"),
        best("inside"),
        spread("pointing"),
        spread("inside"),
    )


# --- Sets that nothing was trained on -------------------------------------------------------


def _check_elsewhere(
    also: Mapping[str, Manifest], classes: tuple[str, ...], named: Mapping[str, str]
) -> dict[str, Manifest]:
    """Each set with its labels as classes of the runs.

    Errors: `ManifestError` where a label stands for no class, or nothing has a label in `named`.
    """
    every = {label for other in also.values() for label in other.classes}
    strange = next((label for label in named if label not in every), None)
    if strange is not None:
        raise ManifestError(
            f"no other set has the label {strange!r}: expected one of {', '.join(sorted(every))}"
        )
    if "test" in also:
        raise ManifestError("a set is called 'test', as the folds are: rename its manifest")
    return {
        name: as_classes(
            other, classes, {label: named[label] for label in other.classes if label in named}
        )
        for name, other in also.items()
    }


def _elsewhere(
    name: str,
    rows: Manifest,
    members: Sequence[Member],
    how: Mapping[str, Any],
    device: str,
    progress: Progress,
) -> Elsewhere:
    bar = progress(members, total=len(members), label=name)
    told = [
        said(each.run, rows, name, own=False, positive=how["positive"], device=device)
        for each in bar
    ]
    labels, groups = rows.labels(), rows.groups()
    table = np.stack([each.probabilities for each in told])
    scores = score_repeats(labels, table, groups, **how)
    each_run = [score(labels, one, groups, **{**how, "resamples": 0}) for one in table]
    target = rows.classes.index(scores.positive)
    found = [
        _Found(
            each.probabilities.argmax(1),
            {
                (measure, maker): getattr(each, measure)[maker]
                for measure in MEASURES
                for maker in (HEAT, *BESIDE)
            },
            labels,
            groups,
            target,
        )
        for each in told
    ]
    whole, before = members[0].manifest, members[0].run.learnt_before()
    seen = seen_in(rows, (whole.take(whole.usable()), *before), progress=progress)
    located = _located(found, int(how["resamples"]))
    return Elsewhere(name, scores, _spreads(each_run), located, int(seen.sum()))
