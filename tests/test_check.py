"""The audit of a data set: what is planted is named, the clean twin passes, nothing is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.app.cli import cli
from clearhead.audits import probes
from clearhead.audits.check import CHECKS, check, examine, gather, known_checks
from clearhead.audits.fix import fix
from clearhead.audits.junk import set_aside
from clearhead.audits.planted import FAULTS, draw_heads, plant_fault
from clearhead.audits.section import DataAudit
from clearhead.data.copies import find_copies
from clearhead.data.heads import Head
from clearhead.data.index import index
from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest
from clearhead.data.split import split
from clearhead.errors import ManifestError
from clearhead.files import sha256
from clearhead.types import Manifest

HEADS = 100
WHOLE = ("corner", "copies")
"""Faults that the whole audit is run for; for the others what must name them is."""


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return draw_heads(HEADS, seed=1, size_px=160)


@pytest.fixture(scope="module")
def clean(heads: list[Head], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted("clean", heads, tmp_path_factory.mktemp("clean"))


def planted(fault: str, heads: Sequence[Head], home: Path) -> Path:
    """The manifest, indexed and split, of heads with this fault."""
    plant_fault(fault, heads, home / "heads")
    path = home / "heads.parquet"
    manifest = find_copies(index(home / "heads", path, workers=1), load_thumbnails(path))
    save_manifest(split(manifest, protocol=FAULTS[fault].protocol), path)
    return path


@pytest.fixture(scope="module")
def audit(clean: Path) -> DataAudit:
    """The whole audit of the clean heads, with fewer draws than by default."""
    return check(clean, workers=1, permutations=999, resamples=200)


def levels(audit: DataAudit) -> dict[str, str]:
    """Worst level of each finding."""
    said: dict[str, str] = {}
    for finding in audit.findings:
        said.setdefault(finding.check, finding.level)
    return said


# --- Planted truth --------------------------------------------------------------------------


def test_no_check_fails_on_clean_heads(audit: DataAudit) -> None:
    assert not audit.failed
    assert {section.name for section in audit.sections} == set(CHECKS)
    assert "fail" not in levels(audit).values()


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "clean"])
def test_a_planted_fault_is_named(
    fault: str, heads: list[Head], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the places that must name it are probed, but for those of `WHOLE`."""
    names = FAULTS[fault].findings
    only = [] if fault in WHOLE else ["leaks" if names[0].startswith("leak.") else "copies"]
    if only:
        few = {name: place for name, place in probes.PROBES.items() if f"leak.{name}" in names}
        monkeypatch.setattr(probes, "PROBES", few)
    path = planted(fault, heads, tmp_path)
    said = levels(check(path, only=only, workers=1, permutations=999, resamples=200))
    assert {said.get(name, "unsaid") for name in names} & {"warn", "fail"}


def test_faults_change_nothing_but_what_they_say(heads: list[Head], tmp_path: Path) -> None:
    for fault in ("clean", "corner", "mirrored"):
        plant_fault(fault, heads[:20], tmp_path / fault)
    files = {
        fault: {
            path.relative_to(tmp_path / fault).as_posix(): sha256(path.read_bytes())
            for path in (tmp_path / fault).rglob("*.*")
        }
        for fault in ("clean", "corner", "mirrored")
    }
    assert len(files["clean"]) == len(files["corner"]) == 20
    changed = {name for name in files["clean"] if files["clean"][name] != files["corner"][name]}
    assert changed
    assert all(name.startswith("Brain Tumor") for name in changed)
    assert files["clean"].items() <= files["mirrored"].items()
    with pytest.raises(ManifestError, match="no fault is called 'moon'"):
        plant_fault("moon", heads[:4], tmp_path / "moon")


@pytest.mark.realdata
def test_the_kaggle_set_is_known_by_its_faults(
    kaggle: tuple[Manifest, NDArray[np.uint8]], tmp_path: Path
) -> None:
    """A fifth of its distinct pictures, with all their copies."""
    manifest, thumbnails = kaggle
    some = np.flatnonzero(manifest.column("copy") % 5 == 0)
    path = tmp_path / "kaggle.parquet"
    save_manifest(manifest.take(some), path)
    np.save(f"{path}.thumbs.npy", thumbnails[some])
    audit = check(path, permutations=999, resamples=200)
    said = levels(audit)
    for name in ("leak.score", "leak.facts", "leak.border", "leak.telling"):
        assert said[name] == "fail"
    for name in ("copies.distinct", "copies.mirrored", "sources.collections", "sources.mix"):
        assert said[name] == "warn"
    telling = next(finding for finding in audit.findings if finding.check == "leak.telling")
    assert "are Brain Tumor" in telling.message
    assert {"size", "width", "height"} & set(telling.message.split())


# --- The audit as a whole -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_findings_and_the_manifest_stays(
    clean: Path, audit: DataAudit
) -> None:
    before = clean.read_bytes()
    again = check(clean, workers=1, permutations=999, resamples=200)
    assert again.sections == audit.sections
    assert clean.read_bytes() == before


def test_chosen_checks_run_alone_and_unknown_ones_are_refused(clean: Path) -> None:
    chosen = check(clean, only=["balance", "copies"], workers=1)
    assert [section.name for section in chosen.sections] == ["copies", "balance"]
    assert known_checks(()) == tuple(CHECKS)
    with pytest.raises(ManifestError, match="no check is called 'moon': expected copies"):
        check(clean, only=["moon"])


def test_the_audit_is_plain_json_worst_first(audit: DataAudit) -> None:
    value = json.loads(json.dumps(audit.to_json(), allow_nan=False))
    order = [("fail", "warn", "info").index(row["level"]) for row in value["findings"]]
    assert order == sorted(order)
    assert value["failed"] is False
    figures = {
        (section["name"], figure["name"])
        for section in value["sections"]
        for kind in ("tables", "dots", "shares", "sheets")
        for figure in section[kind]
    }
    for section in audit.sections:
        for finding in section.findings:
            assert finding.figure is None or (section.name, finding.figure) in figures


def test_a_set_of_one_class_or_few_pictures_is_checked(heads: list[Head], tmp_path: Path) -> None:
    for name, few in (("one", [h for h in heads if h.label == "Healthy"][:12]), ("few", heads[:4])):
        home = tmp_path / name
        plant_fault("clean", few, home / "heads")
        path = home / "heads.parquet"
        save_manifest(
            find_copies(index(home / "heads", path, workers=1), load_thumbnails(path)), path
        )
        assert not check(path, workers=1).failed


def test_a_set_without_usable_rows_is_refused_in_one_line(clean: Path, tmp_path: Path) -> None:
    rows = load_manifest(clean)
    empty = tmp_path / "empty.parquet"
    save_manifest(rows.with_columns(aside=["out"] * len(rows)), empty)
    np.save(f"{empty}.thumbs.npy", load_thumbnails(clean))
    with pytest.raises(ManifestError, match="no row that can be read"):
        check(empty, workers=1)


# --- The command ----------------------------------------------------------------------------


def run(*arguments: object) -> int:
    try:
        cli.main([str(part) for part in arguments], prog_name="clearhead", standalone_mode=False)
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def test_exit_codes_page_and_json(
    clean: Path,
    heads: list[Head],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("check", clean, "--only", "copies", "--quiet") == 0
    assert (tmp_path / "heads-check" / "check.html").read_text().startswith("<!doctype html>")
    path = planted("contradicting", heads[:40], tmp_path / "bad")
    capsys.readouterr()
    assert run("check", path, "--only", "copies", "--out", "out", "--json", "--quiet") == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["failed"]
    assert shown["findings"][0]["level"] == "fail"
    kept = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert kept["findings"] == shown["findings"]


def test_a_fixed_manifest_has_no_copies_and_trains_on_the_rest(
    heads: list[Head], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = planted("contradicting", heads[:60], tmp_path / "bad")
    assert run("check", path, "--fix", "fixed.parquet", "--only", "copies", "--quiet") == 3
    fixed = load_manifest(tmp_path / "fixed.parquet")
    assert len(fixed) == len(load_manifest(path))
    kept = fixed.take(fixed.usable())
    assert 0 < len(kept) < 60
    assert len(np.unique(kept.column("copy"))) == len(kept)
    assert run("split", "fixed.parquet") == 0
    assert run("check", "fixed.parquet", "--only", "copies", "--quiet") == 0
    assert set(load_manifest(Path("fixed.parquet")).part("train").column("aside")) == {None}


def test_fixing_again_changes_nothing(heads: list[Head], tmp_path: Path) -> None:
    path = planted("mirrored", heads[:40], tmp_path)
    material = gather(path, workers=1)
    once = fix(material, junk=set_aside(material))
    save_manifest(once, path)
    again = gather(path, workers=1)
    assert fix(again, junk=set_aside(again)).table.equals(once.table)
    assert not examine(again, ["copies"]).failed


def test_the_manifest_under_audit_is_never_the_fixed_one(clean: Path) -> None:
    import rich_click as click

    before = clean.read_bytes()
    with pytest.raises(click.UsageError, match="name a new file"):
        run("check", clean, "--fix", clean)
    assert clean.read_bytes() == before


def test_two_other_sets_of_one_name_are_told_apart(
    clean: Path, heads: list[Head], tmp_path: Path
) -> None:
    others = [planted("clean", heads[:8], tmp_path / home) for home in ("one", "two")]
    audit = check(clean, against=others, only=["copies"], workers=1)
    assert [other.name for other in audit.against] == ["heads (1)", "heads (2)"]
    assert str(tmp_path) not in json.dumps(audit.to_json())
