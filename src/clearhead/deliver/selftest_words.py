"""What a selftest came to: which check names which planted fault, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from clearhead.audits.planted import FAULTS
from clearhead.audits.selftest import Trial


def lines(trials: Sequence[Trial]) -> list[str]:
    """A table for people: a row per fault, then the findings that named it."""
    head = (
        f"{'planted':8} {'trials':>6} {'by evidence':>12} {'by data':>8} {'accuracy':>9} "
        f"{'without it':>11}  named by"
    )
    return [head, *(_line(fault, each) for fault, each in _by_fault(trials)), *_alarms(trials)]


def _by_fault(trials: Sequence[Trial]) -> Iterator[tuple[str, list[Trial]]]:
    for fault in dict.fromkeys(trial.fault for trial in trials):
        yield fault, [trial for trial in trials if trial.fault == fault]


def _line(fault: str, trials: Sequence[Trial]) -> str:
    count = len(trials)
    means = [
        sum(values) / count
        for values in (
            [trial.accuracy for trial in trials],
            [trial.accuracy_clean for trial in trials],
        )
    ]
    evidence = f"{sum(trial.by_evidence for trial in trials)} of {count}"
    data = f"{sum(trial.by_data for trial in trials)} of {count}"
    own = (*FAULTS[fault].evidence, *FAULTS[fault].findings)
    named = ", ".join(f"{name} {share}" for name, share in _said(trials) if name in own)
    return (
        f"{fault:8} {count:6d} {evidence:>12} {data:>8} {means[0]:9.1%} {means[1]:11.1%}  {named}"
    )


def _said(trials: Sequence[Trial]) -> list[tuple[str, int]]:
    """Findings that warn or fail and in how many trials, most first."""
    counts: dict[str, int] = {}
    for trial in trials:
        for name in (*trial.evidence, *trial.data):
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda pair: -pair[1])


def _alarms(trials: Sequence[Trial]) -> Iterator[str]:
    clean = [trial for trial in trials if trial.fault == "clean"]
    if clean:
        failed = sum(trial.by_evidence or trial.by_data for trial in clean)
        words = ", ".join(f"{name} {count}" for name, count in _said(clean)) or "nothing"
        yield f"of {len(clean)} clean twins {failed} fail; said of them: {words}"


def values(trials: Sequence[Trial]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "trials": [
            asdict(trial) | {"by_evidence": trial.by_evidence, "by_data": trial.by_data}
            for trial in trials
        ]
    }
