"""Is the explanation itself good: every method on the bench, beside controls that know nothing.

A map can lie in the brain and still say nothing of what the classifier does. Each bench is a
function of the `Exhibits` that gives a section and its figures; the first section sets every method
against every measure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.agreement import agreement
from clearhead.audits.audit import made
from clearhead.audits.exhibits import CHEAP, Exhibits, Judged, figure
from clearhead.audits.faithful import faithful
from clearhead.audits.phrases import counted
from clearhead.audits.randomised import check_shuffled, randomised
from clearhead.audits.repeatable import check_seeds, repeatable
from clearhead.audits.section import Cell, EvidenceAudit, Section, Table
from clearhead.audits.stable import stable
from clearhead.audits.subject import subject_of
from clearhead.errors import RunError
from clearhead.heat.methods import METHODS
from clearhead.model.regions import DEFAULT
from clearhead.model.run import Run
from clearhead.types import Manifest, Progress, silent

BENCHES: dict[str, Callable[[Exhibits], Judged]] = {
    "faithful": faithful,
    "randomised": randomised,
    "repeatable": repeatable,
    "stable": stable,
    "agreement": agreement,
}
"""What the explanation is put to; each gives one section, and figures for the summary."""


def bench(
    run: Run,
    *,
    seeds: Sequence[Run] = (),
    shuffled: Run | None = None,
    methods: Sequence[str] = CHEAP,
    pictures: int = 256,
    split: str = "test",
    only: Sequence[str] = (),
    score: str = "logit",
    maker: str = DEFAULT,
    resamples: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> EvidenceAudit:
    """Judge the explanations of a run on up to `pictures` of a split, one of every group.

    `methods` are put to the benches named `only` (default all); findings speak of the first.
    `seeds` are runs of the same recipe and manifest with other seeds, `shuffled` one on labels
    dealt at random. Every draw follows `seed`.

    Errors: `RunError` for another bench or method, fewer than two groups, and runs that can't be
    compared; those of `subject_of`.
    """
    _check_names(methods, only)
    check_seeds(run, seeds)
    if shuffled is not None:
        check_shuffled(run, shuffled)
    rows = one_per_group(run.manifest().part(split), pictures, seed)
    subject = subject_of(
        run.classifier(device),
        rows,
        classes=run.classes,
        fit=run.recipe.fit,
        size_px=run.recipe.size_px,
        method=methods[0],
        score=score,
        maker=maker,
        resamples=resamples,
        seed=seed,
        progress=progress,
        split=split,
        run=run,
    )
    exhibits = Exhibits(subject, tuple(dict.fromkeys(methods)), score, tuple(seeds), shuffled)
    return judge(exhibits, only)


def judge(exhibits: Exhibits, only: Sequence[str] = ()) -> EvidenceAudit:
    """Put exhibits to the benches named `only`, default all, in the order of `BENCHES`."""
    started = time.perf_counter()
    _check_names(exhibits.methods, only)
    chosen = [name for name in BENCHES if name in only or not only]
    judged: dict[str, Judged] = {}
    seconds: dict[str, float] = {}
    bar = exhibits.subject.progress(chosen, total=len(chosen), label="bench")
    for name in bar:
        bar.note(name)
        began = time.perf_counter()
        judged[name] = BENCHES[name](exhibits)
        seconds[name] = round(time.perf_counter() - began, 1)
    sections = (summary(exhibits, judged), *(each.section for each in judged.values()))
    return EvidenceAudit(exhibits.subject, sections, _made(exhibits, seconds, started))


def one_per_group(rows: Manifest, count: int, seed: int) -> Manifest:
    """Up to `count` rows, each drawn from another group. Errors: `RunError` for less than two."""
    if count < 2:
        raise RunError(f"pictures is {count}: expected at least 2, one is the other's chance")
    groups = rows.groups()
    order = np.random.default_rng(seed).permutation(len(rows))
    _, first = np.unique(groups[order], return_index=True)
    drawn: NDArray[np.int64] = order[np.sort(first)][:count]
    if len(drawn) < 2:
        raise RunError("the split holds a single group of pictures: expected at least 2 to compare")
    return rows.take(drawn)


def summary(exhibits: Exhibits, judged: Mapping[str, Judged]) -> Section:
    """One table: every method and control against every measure."""
    measures = {
        title: scores for each in judged.values() for title, scores in each.measures.items()
    }
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.names:
        known = (scores.get(name) for scores in measures.values())
        told = f"{name} (control)" if name in exhibits.controls else name
        rows.append((told, *("–" if score is None else figure(score) for score in known)))
    table = Table(
        "summary",
        "Every method against every measure",
        ("Method", *measures),
        tuple(rows),
        note=f"Up to {counted(len(exhibits), 'picture')}, each of its own group, with 95 % "
        "intervals over groups. Gains are areas over those of random order: more is better. What "
        "is left in a random net should be little; what is alike across seeds and after small "
        "changes, much. Controls know nothing of the classifier: a method that is no better than "
        "they are shows nothing of it either.",
    )
    return Section("summary", "Is the explanation itself good?", (), tables=(table,))


def _check_names(methods: Sequence[str], only: Sequence[str]) -> None:
    if not methods:
        raise RunError(f"no method was named: expected some of {', '.join(METHODS)}")
    for name in methods:
        if name not in METHODS:
            raise RunError(f"no method is called {name!r}: expected {', '.join(METHODS)}")
    for name in only:
        if name not in BENCHES:
            raise RunError(f"no bench is called {name!r}: expected {', '.join(BENCHES)}")


def _made(exhibits: Exhibits, seconds: Mapping[str, float], started: float) -> Mapping[str, Any]:
    """How a bench was made, as page and JSON tell it; no folder of a machine."""
    subject = exhibits.subject
    return {
        **made(subject, list(seconds), started),
        "seeds": [run.folder.resolve().name for run in exhibits.seeds],
        "shuffled": None if exhibits.shuffled is None else exhibits.shuffled.folder.resolve().name,
        "pictures": f"{len(subject):,} groups of the {subject.split} split",
        "methods": list(exhibits.methods),
        "method": exhibits.chosen,
        "seconds_each": dict(seconds),
    }
