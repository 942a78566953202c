"""What a selftest came to: which check names which planted fault, and how often."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from clearhead.audits.planted import FAULTS
from clearhead.audits.selftest import Trial


def lines(trials: Sequence[Trial]) -> list[str]:
    """Tables for people: a row per fault, a row per check that should name one, the clean twins."""
    head = (
        f"{'planted':8} {'net':8} {'trials':>6} {'taken':>6} {'by evidence':>12} {'by data':>8} "
        f"{'accuracy':>9} {'without it':>11}  named by"
    )
    faults = [_line(each) for each in _alike(trials)]
    return [head, *faults, *_checks(trials), *_alarms(trials)]


def _alike(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """The trials of each fault and net, in the order in which they come first."""
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        kinds.setdefault((trial.fault, trial.net), []).append(trial)
    yield from kinds.values()


def _line(trials: Sequence[Trial]) -> str:
    count, fault = len(trials), trials[0].fault
    accuracy, without = (
        sum(values) / count
        for values in (
            [trial.accuracy for trial in trials],
            [trial.accuracy_clean for trial in trials],
        )
    )
    taken = f"{sum(trial.taken for trial in trials)} of {count}" if fault != "clean" else "-"
    evidence = f"{sum(trial.by_evidence for trial in trials)} of {count}"
    data = f"{sum(trial.by_data for trial in trials)} of {count}"
    own = _named_by(fault)
    named = ", ".join(f"{name} {share}" for name, share in _said(trials) if name in own)
    return (
        f"{fault:8} {trials[0].net:8} {count:6d} {taken:>6} {evidence:>12} {data:>8} "
        f"{accuracy:9.1%} {without:11.1%}  {named}"
    ).rstrip()


def _said(trials: Sequence[Trial]) -> list[tuple[str, int]]:
    """Findings that warn or fail and in how many trials, most first."""
    counts: dict[str, int] = {}
    for trial in trials:
        for name in (*trial.evidence, *trial.data):
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda pair: -pair[1])


def _checks(trials: Sequence[Trial]) -> Iterator[str]:
    """How often each check names a fault that it should name, and how often the clean twin.

    One rule for both: a warning on a clean twin is counted as one on a fault is.
    """
    planted = {trial.fault for trial in trials} - {"clean"}
    if not planted:
        return
    yield ""
    yield f"{'check':17} {'planted: warn':>14} {'fail':>6} {'clean: warn':>12} {'fail':>6}  names"
    for name in _own(planted):
        faults = [fault for fault in FAULTS if fault in planted and name in _named_by(fault)]
        told = _levels(name, [trial for trial in trials if trial.fault in faults])
        clean = _levels(name, [trial for trial in trials if trial.fault == "clean"])
        yield f"{name:17} {told[0]:>14} {told[1]:>6} {clean[0]:>12} {clean[1]:>6}  " + ", ".join(
            faults
        )


def _named_by(fault: str) -> tuple[str, ...]:
    return (*FAULTS[fault].evidence, *FAULTS[fault].findings)


def _own(planted: Collection[str]) -> list[str]:
    """Every check that should name one of the faults, once, in the order of the faults."""
    return list(
        dict.fromkeys(name for fault in FAULTS if fault in planted for name in _named_by(fault))
    )


def _levels(name: str, trials: Sequence[Trial]) -> tuple[str, str]:
    """In how many trials a check at least warns, and in how many it fails: `2/3`."""
    said = [{**trial.evidence, **trial.data}.get(name) for trial in trials]
    count = len(trials)
    return f"{count - said.count(None)}/{count}", f"{said.count('fail')}/{count}"


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
            asdict(trial)
            | {
                "taken": trial.taken,
                "by_evidence": trial.by_evidence,
                "by_data": trial.by_data,
            }
            for trial in trials
        ]
    }
