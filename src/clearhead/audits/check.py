"""The audit of a data set: can it teach what it is meant to teach?

Every check is a function of the material that returns a section; `CHECKS` names them in the order
in which a reader wants them. A check that fails says that results on this set can't be believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clearhead
from clearhead.audits.balance import balance
from clearhead.audits.copies import copies
from clearhead.audits.junk import junk
from clearhead.audits.leaks import leaks
from clearhead.audits.material import Against, Material
from clearhead.audits.section import DataAudit, Section
from clearhead.audits.shuffle import split_sanity
from clearhead.audits.sources import sources
from clearhead.data.copies import find_copies
from clearhead.data.manifest import load_manifest, load_thumbnails
from clearhead.data.traits import measure_traits
from clearhead.errors import ManifestError
from clearhead.types import Manifest, Progress, silent

CHECKS: dict[str, Callable[[Material], Section]] = {
    "copies": copies,
    "split": split_sanity,
    "leaks": leaks,
    "sources": sources,
    "junk": junk,
    "balance": balance,
}
"""What is looked at; each gives one section of the audit."""

FAILED = 3
"""Exit code of `clearhead check` where a check fails."""


def check(
    manifest: Path, *, against: Sequence[Path] = (), only: Sequence[str] = (), **settings: Any
) -> DataAudit:
    """Look for what makes results on the data set of a manifest file unbelievable.

    Compares with the manifests `against`; runs the checks named `only`, default all. `settings`
    are `resamples`, `permutations`, `seed`, `workers` and `progress`, as in `gather`. Every file
    is read once more, unless nothing changed since the last check; the manifest is not touched.

    Errors: `ManifestError` where a manifest, its thumbnails or a check of that name is absent.
    """
    known_checks(only)  # before the long work
    return examine(gather(manifest, against=against, **settings), only)


def gather(
    manifest: Path,
    *,
    against: Sequence[Path] = (),
    resamples: int = 1000,
    permutations: int = 9999,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
) -> Material:
    """The material of a manifest file: copies searched where they were not, traits measured.

    Another manifest that is named twice is compared once.
    Errors: `ManifestError` where a manifest or its thumbnails are absent, no row is usable,
    `against` names `manifest` itself, or a number is impossible.
    """
    _check_settings(resamples, permutations, seed, workers)
    against = _others(manifest, against)
    rows, thumbnails = _searched(manifest, progress)
    if not rows.root.is_dir():
        raise ManifestError(
            f"the pictures of {manifest} are not there: expected them in {rows.root}; bring the "
            "folder back, or make the manifest again with `clearhead index`"
        )
    if not rows.usable().any():
        raise ManifestError(
            f"{manifest} has no row that can be read, has a label and is not set aside: there is "
            "nothing to check"
        )
    return Material(
        rows,
        thumbnails,
        measure_traits(rows, manifest, workers=workers, progress=progress),
        tuple(_against(path, against, progress) for path in against),
        resamples=resamples,
        permutations=permutations,
        seed=seed,
        progress=progress,
        path=manifest,
    )


def examine(material: Material, only: Sequence[str] = ()) -> DataAudit:
    """Run the checks named `only`, default all, in the order of `CHECKS`."""
    started = time.perf_counter()
    chosen = known_checks(only)
    bar = material.progress(chosen, total=len(chosen), label="Checking")
    sections = []
    for name in bar:
        bar.note(name)
        sections.append(CHECKS[name](material))
    made = {
        "manifest": material.path.name,  # the page may be handed on: no folders of a machine
        "against": [other.name for other in material.against],
        "checks": list(chosen),
        "seed": material.seed,
        "resamples": material.resamples,
        "permutations": material.permutations,
        "version": clearhead.__version__,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return DataAudit(material.manifest, tuple(sections), material.against, made)


def known_checks(only: Sequence[str]) -> tuple[str, ...]:
    """The checks of these names, default all, in order. Errors: `ManifestError` for another."""
    for name in only:
        if name not in CHECKS:
            raise ManifestError(f"no check is called {name!r}: expected {', '.join(CHECKS)}")
    return tuple(name for name in CHECKS if name in only or not only)


def _check_settings(resamples: int, permutations: int, seed: int, workers: int | None) -> None:
    least = {
        "resamples": (resamples, 0),
        "permutations": (permutations, 0),
        "seed": (seed, 0),
        "workers": (1 if workers is None else workers, 1),
    }
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ManifestError(f"{name} is {value}: expected {minimum} or more")


def _others(manifest: Path, against: Sequence[Path]) -> list[Path]:
    """The other manifests, each once. Errors: `ManifestError` where one is `manifest` itself."""
    for path in against:
        if path.resolve() == manifest.resolve():
            raise ManifestError(
                f"{path} is the manifest under audit, and holds all of its pictures: name another "
                "to compare it with"
            )
    return list({path.resolve(): path for path in reversed(against)}.values())[::-1]


def _against(path: Path, every: Sequence[Path], progress: Progress) -> Against:
    """Another set, named by its file; where two files have one name, with its number as well."""
    namesakes = [other for other in every if other.stem == path.stem]
    number = f" ({1 + namesakes.index(path)})" if len(namesakes) > 1 else ""
    return Against(f"{path.stem}{number}", *_searched(path, progress))


def _searched(path: Path, progress: Progress) -> tuple[Manifest, Any]:
    """Manifest with copies searched, and its thumbnails."""
    rows, thumbnails = load_manifest(path), load_thumbnails(path)
    if rows.table.column("copy").null_count:
        rows = find_copies(rows, thumbnails, progress=progress)
    return rows, thumbnails
