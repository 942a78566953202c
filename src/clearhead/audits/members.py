"""Whether runs are a cross-validation: every fold of every seed once, one recipe, one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import RunError
from clearhead.model.folds import contents
from clearhead.model.run import Run
from clearhead.types import Manifest

BEGUN = "pretrained"
"""What a run was made with besides its recipe."""


@dataclass(frozen=True)
class Member:
    """A run and its place: which fold of which seeds, and the rows that it was tested on."""

    run: Run
    manifest: Manifest
    split_seed: int
    seed: int
    fold: int
    tested: NDArray[np.int64]
    """Places of its test rows among those of all folds."""

    @property
    def kind(self) -> tuple[int, int]:
        """What the folds of one seed have in common."""
        return self.seed, self.split_seed


def ordered(runs: Sequence[Run]) -> tuple[list[Member], Manifest]:
    """The runs seed by seed and fold by fold, and the rows that they test, by source.

    Errors: `RunError` where they are no cross-validation.
    """
    if not runs:
        raise RunError("there are no runs to pool: name the folders of a cross-validation")
    _check_recipes(runs)
    manifests = [run.manifest() for run in runs]
    plans = [_plan(run, manifest) for run, manifest in zip(runs, manifests, strict=True)]
    _check_same(runs, manifests, plans)
    known = manifests[0].take(manifests[0].usable())
    rows = known.take(np.argsort(known.column("source"), kind="stable"))
    place = {source: row for row, source in enumerate(rows.column("source"))}
    members = [
        Member(
            run,
            manifest,
            int(plan["seed"]),
            run.recipe.seed,
            int(plan["fold"]),
            np.array(sorted(place[name] for name in manifest.part("test").column("source"))),
        )
        for run, manifest, plan in zip(runs, manifests, plans, strict=True)
    ]
    members.sort(key=lambda each: (*each.kind, each.fold))
    _check_folds(members, int(plans[0]["folds"]))
    _check_groups(members, rows)
    return members, rows


def _check_same(
    runs: Sequence[Run], manifests: Sequence[Manifest], plans: Sequence[Mapping[str, Any]]
) -> None:
    """Errors: `RunError` where pictures or the kind of split differ."""
    first, plan = contents(manifests[0]), _shared(plans[0])
    for run, manifest, own in zip(runs, manifests, plans, strict=True):
        if contents(manifest) != first:
            raise RunError(
                f"{run.folder} has other pictures, labels or groups than {runs[0].folder}: pool "
                "runs of one manifest"
            )
        other = [name for name, value in _shared(own).items() if plan.get(name) != value]
        if other:
            told = ", ".join(f"{name} ({own[name]}, {plan.get(name)})" for name in other)
            raise RunError(
                f"{run.folder} and {runs[0].folder} were split with other {told}: pool runs of "
                "one k-fold split"
            )


def _shared(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the splits of one cross-validation have in common."""
    return {name: value for name, value in plan.items() if name not in ("seed", "fold")}


def _check_recipes(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs:
        if run.classes != first.classes:
            raise RunError(
                f"{run.folder} has the classes {', '.join(run.classes)}, {first.folder} "
                f"{', '.join(first.classes)}: pool runs of one manifest"
            )
        mine, theirs = _settings(run), _settings(first)
        other = [name for name in mine if name != "seed" and mine[name] != theirs[name]]
        if other:
            told = ", ".join(f"{name} ({mine[name]}, {theirs[name]})" for name in other)
            raise RunError(
                f"{run.folder} and {first.folder} differ in {told}: pool runs of one recipe"
            )


def _settings(run: Run) -> dict[str, Any]:
    return {**asdict(run.recipe), BEGUN: run.made.get(BEGUN)}


def _plan(run: Run, manifest: Manifest) -> Mapping[str, Any]:
    plan: Mapping[str, Any] = manifest.notes.get("split") or {}
    if not plan.get("folds"):
        raise RunError(
            f"{run.folder} was not trained on one of several folds: split with --folds, or let "
            "`clearhead crossval` do it"
        )
    return plan


def _check_folds(members: Sequence[Member], folds: int) -> None:
    """Errors: `RunError` where a seed has a fold twice or lacks one."""
    kinds: dict[tuple[int, int], dict[int, Member]] = {}
    for each in members:
        mine = kinds.setdefault(each.kind, {})
        if each.fold in mine:
            raise RunError(
                f"{mine[each.fold].run.folder} and {each.run.folder} test the same fold "
                f"{each.fold} of {seed_words(each)}: leave one out"
            )
        mine[each.fold] = each
    for mine in kinds.values():
        missing = [str(fold) for fold in range(folds) if fold not in mine]
        if missing:
            raise RunError(
                f"of {seed_words(next(iter(mine.values())))} no run tests fold "
                f"{', '.join(missing)} (there are {folds}): pool all of them"
            )


def seed_words(each: Member) -> str:
    """What tells the repetitions of a cross-validation apart."""
    same = each.seed == each.split_seed
    return f"seed {each.seed}" if same else f"seed {each.seed} (split with {each.split_seed})"


def _check_groups(members: Sequence[Member], rows: Manifest) -> None:
    """Errors: `RunError` where a group is tested by two folds of a seed, or a row by none."""
    groups = rows.groups()
    holder: dict[tuple[int, int, int], Member] = {}
    tested: dict[tuple[int, int], int] = {}
    for each in members:
        tested[each.kind] = tested.get(each.kind, 0) + len(each.tested)
        for group in np.unique(groups[each.tested]).tolist():
            other = holder.setdefault((*each.kind, group), each)
            if other is not each:
                raise RunError(
                    f"group {group} is tested by {other.run.folder} and by {each.run.folder}: "
                    "the folds overlap, split by group"
                )
    for each in members:
        if tested[each.kind] != len(rows):
            raise RunError(
                f"the folds of {seed_words(each)} test {tested[each.kind]} of {len(rows)} "
                "pictures: pool runs that test every picture once"
            )
