"""The whole way on generated heads, every stage through its public function."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from clearhead.errors import ManifestError
from clearhead.types import Progress, Recipe, silent

EPOCHS, SIZE_PX, BATCH = 36, 96, 16
"""Enough to see every stage at work within minutes; not enough for a good classifier."""


def demo(
    out: Path,
    *,
    n: int = 600,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> Path:
    """Generate `n` heads in the new folder `out` and walk every stage; returns the run's page.

    Errors: `ManifestError` where `out` exists or `n` is too small to be split.
    """
    from clearhead.audits.audit import audit
    from clearhead.audits.check import check
    from clearhead.data.copies import copy_report, find_copies
    from clearhead.data.index import index
    from clearhead.data.manifest import load_thumbnails, save_manifest
    from clearhead.data.phantom import phantom
    from clearhead.data.split import split
    from clearhead.deliver import audit_words, evidence_words, verdict
    from clearhead.deliver.audit_page import save_audit
    from clearhead.deliver.evidence_page import save_evidence_audit
    from clearhead.deliver.gallery import save_explanations
    from clearhead.deliver.report import report
    from clearhead.heat.explain import explain
    from clearhead.heat.scale import display_scale
    from clearhead.model.evaluate import evaluate
    from clearhead.model.train import train

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ManifestError(f"{out} exists already: name a new folder, or remove this one first")
    if n < 40:
        raise ManifestError(f"n is {n}: expected at least 40 heads, or the test split says nothing")
    started = time.monotonic()
    say(f"phantom   {n} generated heads in {out / 'heads'}")
    heads = phantom(out / "heads", n=n, seed=seed, progress=progress)
    manifest_path = out / "heads.parquet"
    say(f"index     {manifest_path}")
    manifest = index(heads, manifest_path, progress=progress)
    manifest = find_copies(manifest, load_thumbnails(manifest_path), progress=progress)
    say(f"copies    {copy_report(manifest)}")
    manifest = split(manifest, seed=seed)
    save_manifest(manifest, manifest_path)
    say("split     whole groups of copies together")
    checked = check(manifest_path, seed=seed, progress=progress)
    where = save_audit(checked, out / "heads-check")
    say(f"check     {audit_words.headline(checked)} {where}")
    changes = {"size_px": SIZE_PX, "epochs": EPOCHS, "batch": BATCH, "progressive": 0.0}
    recipe = Recipe.preset("compact", **changes, seed=seed)
    say(f"train     preset compact at {SIZE_PX} px, {EPOCHS} epochs, in {out / 'run'}")
    run = train(manifest, recipe, out / "run", device="auto", progress=progress)
    scores = evaluate(run, progress=progress)
    say(f"evaluate  {verdict.headline(scores)}")
    test = manifest.part("test").column("source")[:8]
    scale = display_scale(run)
    images = [manifest.root / source for source in test]
    explained = explain(run, images, progress=progress)
    saved = list(save_explanations(explained, run.folder / "explanations", scale=scale))
    say(f"explain   {len(saved)} test pictures in {run.folder / 'explanations'}")
    found = audit(run, seed=seed, progress=progress)
    audited = save_evidence_audit(found, run.folder / "audit" / "test", progress=progress)
    say(f"audit     {evidence_words.headline(found, 'audit')} {audited}")
    page = report(run, progress=progress)
    say(f"report    {page}  ({time.monotonic() - started:.0f} s in all)")
    return page
