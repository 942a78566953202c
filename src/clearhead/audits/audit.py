"""The audit of a run: where its evidence lies, whether it needs it, and what it looks at instead.

Every check is a function of the subject that returns a section; `AUDITS` names them in the order
in which a reader wants them. A check that fails says that results of this classifier can't be
believed to come from the brain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import clearhead
from clearhead.audits.calls import calls
from clearhead.audits.gallery import gallery
from clearhead.audits.lesions import lesions
from clearhead.audits.maps import maps
from clearhead.audits.need import need
from clearhead.audits.section import EvidenceAudit, Section
from clearhead.audits.strategies import strategies
from clearhead.audits.subject import Subject, subject
from clearhead.audits.where import where
from clearhead.errors import RunError
from clearhead.model.run import Run

AUDITS: dict[str, Callable[[Subject], Section]] = {
    "calls": calls,
    "need": need,
    "where": where,
    "lesions": lesions,
    "strategies": strategies,
    "maps": maps,
    "gallery": gallery,
}
"""What is looked at; each gives one section of the audit."""


def audit(run: Run, *, only: Sequence[str] = (), **settings: Any) -> EvidenceAudit:
    """Audit the evidence of a run on its held-out split, or on another manifest.

    Runs the checks named `only`, default all. `settings` are those of `subject`: `split`, `on`,
    `named`, `method`, `score`, `positive`, `maker`, `resamples`, `seed`, `device`, `progress`.

    Errors: `RunError` for a check of another name, and those of `subject`.
    """
    known_audits(only)  # before the long work
    return examine(subject(run, **settings), only)


def examine(subject: Subject, only: Sequence[str] = ()) -> EvidenceAudit:
    """Run the checks named `only`, default all, in the order of `AUDITS`."""
    started = time.perf_counter()
    chosen = known_audits(only)
    sections = []
    bar = subject.progress(chosen, total=len(chosen), label="auditing")
    for name in bar:
        bar.note(name)
        sections.append(AUDITS[name](subject))
    return EvidenceAudit(subject, tuple(sections), made(subject, chosen, started))


def made(subject: Subject, chosen: Sequence[str], started: float) -> Mapping[str, Any]:
    """How an audit was made, as page and JSON tell it; no folder of a machine."""
    return {
        "run": None if subject.run is None else subject.run.folder.resolve().name,
        "pictures": f"{len(subject):,} of the {subject.split} split",
        "checks": list(chosen),
        "method": subject.method,
        "unit": subject.unit,
        "seed": subject.seed,
        "resamples": subject.resamples,
        "version": clearhead.__version__,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 1),
    }


def known_audits(only: Sequence[str]) -> tuple[str, ...]:
    """The checks of these names, default all, in order. Errors: `RunError` for another."""
    for name in only:
        if name not in AUDITS:
            raise RunError(f"no check is called {name!r}: expected {', '.join(AUDITS)}")
    return tuple(name for name in AUDITS if name in only or not only)
