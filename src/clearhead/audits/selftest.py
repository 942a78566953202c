"""Does the audit find what is planted? Train on generated heads with one known shortcut, and ask.

For each fault and each seed: the same heads with and without the fault, a classifier trained on
them, its evidence audited, its data checked. What the audit should say is written down beforehand
(`planted.FAULTS`); the clean twin must make it say nothing. Pictures are stretched to the square,
as in the report: on the canvas, which crops to the head, several of the shortcuts are out of sight.

A shortcut that is there need not be taken. So the faults are given to the report's net without
augmentation, which takes what it gets, and the same classifier is tried on the heads without the
fault: what it loses is what the shortcut was worth. The clean twin is given to that net, which
learns little from it, and to the compact net as the demo trains it, which learns most tumours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from clearhead.audits.audit import audit
from clearhead.audits.check import check
from clearhead.audits.planted import FAULTS, draw_heads, plant_fault
from clearhead.data.copies import find_copies
from clearhead.data.heads import Head
from clearhead.data.index import index
from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest
from clearhead.data.split import split
from clearhead.errors import ManifestError
from clearhead.files import read_json, write_json
from clearhead.measure.groupwise import mean
from clearhead.model.evaluate import predict
from clearhead.model.run import Run
from clearhead.model.train import resume, train
from clearhead.types import Finding, Manifest, Progress, Recipe, silent

SEEN = ("clean", *(name for name, fault in FAULTS.items() if fault.evidence))
"""The faults that a classifier can see, and the clean twin of all."""

AUDITED = ("calls", "need", "where", "lesions", "maps")
"""The checks of evidence that are run."""

RECIPES = {
    "report": Recipe.preset(
        "report", fit="stretch", size_px=128, epochs=12, batch=16, augment=False
    ),
    "compact": Recipe.preset(
        "compact", fit="stretch", size_px=96, epochs=36, batch=16, progressive=0.0
    ),
}
"""The trainings; clean heads are given to both, a fault to the first alone."""

TAKEN = 0.1
"""Accuracy lost without the shortcut from which on a classifier counts as having taken it."""


@dataclass(frozen=True)
class Trial:
    """One classifier trained with one fault, and what was said of it."""

    fault: str
    net: str
    """The recipe of `RECIPES`."""
    seed: int
    heads: int
    accuracy: float
    """On held-out heads that have the fault."""
    accuracy_clean: float
    """The same classifier on the same heads without it: what the shortcut was worth."""
    evidence: Mapping[str, str]
    """Findings on the classifier's evidence that say `warn` or `fail`, with their level."""
    data: Mapping[str, str]
    """Findings on the data, the same way."""
    seconds: float

    @property
    def taken(self) -> bool:
        """Whether the classifier uses the shortcut; where not, its evidence can't show it."""
        return self.accuracy - self.accuracy_clean >= TAKEN

    @property
    def by_evidence(self) -> bool:
        """Whether a finding on the evidence names the fault; for the clean twin, whether any fails.

        Warnings on a clean classifier are not alarms: it may well be weak.
        """
        return _names(FAULTS[self.fault].evidence, self.evidence)

    @property
    def by_data(self) -> bool:
        """The same of the findings on the data."""
        return _names(FAULTS[self.fault].findings, self.data)

    @property
    def as_expected(self) -> bool:
        """Whether evidence or data names the fault; of the clean twin, whether neither fails."""
        found = self.by_evidence or self.by_data
        return found != (self.fault == "clean")


def _names(own: Sequence[str], said: Mapping[str, str]) -> bool:
    return any(name in said for name in own) if own else "fail" in said.values()


def selftest(
    out: Path,
    *,
    seeds: int = 1,
    first_seed: int = 0,
    n: int = 600,
    faults: Sequence[str] = SEEN,
    device: str = "auto",
    progress: Progress = silent,
) -> list[Trial]:
    """Train and audit a classifier for each of `faults` and seeds, on `n` heads each, in `out`.

    A trial that is there already is not done again, and a training that was interrupted goes on.
    Errors: `ManifestError` for an unknown fault or a number that is too small.
    """
    _check(seeds, n, faults)
    jobs = [
        (fault, net, seed)
        for seed in range(first_seed, first_seed + seeds)
        for fault in faults
        for net in (RECIPES if fault == "clean" else list(RECIPES)[:1])
    ]
    bar = progress(jobs, total=len(jobs), label="selftest")
    heads: dict[int, list[Head]] = {}
    trials = []
    for fault, net, seed in bar:
        bar.note(f"{fault}, {net} net, seed {seed}")
        folder = out / f"{fault}-{seed}-{n}"
        told = folder / f"{net}.json"
        if not told.exists():
            if seed not in heads:
                heads = {seed: draw_heads(n, seed)}
            trial = _trial(fault, net, seed, heads[seed], folder, device)
            write_json(told, asdict(trial))
        trials.append(Trial(**read_json(told)))
    return trials


def _trial(
    fault: str, net: str, seed: int, heads: Sequence[Head], folder: Path, device: str
) -> Trial:
    started = time.perf_counter()
    manifest = _manifest(fault, seed, heads, folder / "heads")
    clean = _manifest("clean", seed, heads, folder / "clean")
    run = _run(manifest, replace(RECIPES[net], seed=seed), folder / net, device)
    evidence = audit(run, only=AUDITED, seed=seed).findings
    data = check(folder / "heads.parquet", only=("leaks",), seed=seed).findings
    held = manifest.part("test")
    twins = clean.take([list(clean.column("source")).index(each) for each in held.column("source")])
    return Trial(
        fault,
        net,
        seed,
        len(heads),
        _accuracy(run, held),
        _accuracy(run, twins),
        _loud(evidence),
        _loud(data),
        round(time.perf_counter() - started, 1),
    )


def _manifest(fault: str, seed: int, heads: Sequence[Head], folder: Path) -> Manifest:
    """The heads with a fault, written, indexed and split; as it is where that was done before."""
    path = folder.with_suffix(".parquet")
    if not path.exists():
        plant_fault(fault, heads, folder, seed=seed, masks=True)
        index(folder, path)
    manifest = load_manifest(path)
    if manifest.table.column("split").null_count:
        manifest = split(find_copies(manifest, load_thumbnails(path)), seed=seed)
        save_manifest(manifest, path)
    return manifest


def _run(manifest: Manifest, recipe: Recipe, folder: Path, device: str) -> Run:
    if (folder / "recipe.json").exists():
        return resume(folder, device=device)
    return train(manifest, recipe, folder, device=device)


def _accuracy(run: Run, rows: Manifest) -> float:
    _, probabilities = predict(run, rows)
    right = probabilities.argmax(1) == rows.labels()
    return float(mean(right, rows.groups(), resamples=0).value or 0.0)


def _loud(findings: Sequence[Finding]) -> dict[str, str]:
    return {found.check: found.level for found in findings if found.level != "info"}


def _check(seeds: int, n: int, faults: Sequence[str]) -> None:
    for fault in faults:
        if fault not in SEEN:
            raise ManifestError(f"no fault is called {fault!r}: expected {', '.join(SEEN)}")
    if seeds < 1:
        raise ManifestError(f"seeds is {seeds}: expected at least 1")
    if n < 100:
        raise ManifestError(f"n is {n}: expected at least 100 heads, or nothing is learnt")
