"""The audit in the hands of its users: small sets, wrong targets, files that are gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearhead.app.cli import cli
from clearhead.audits.balance import balance
from clearhead.audits.check import gather
from clearhead.audits.copies import copies
from clearhead.audits.fix import fix
from clearhead.audits.junk import junk, set_aside
from clearhead.audits.planted import draw_heads
from clearhead.audits.section import DataAudit, Section
from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest
from clearhead.deliver.audit_words import data_words
from clearhead.errors import ManifestError
from clearhead.types import Finding
from materials import material_of, rows_of

COUNT = 12


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve heads of two classes, indexed."""
    for place, head in enumerate(draw_heads(COUNT, seed=3, size_px=96)):
        picture = tmp_path / "set" / ("tumour" if place % 2 else "healthy") / f"{place}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(head.pixels).save(picture)
    return indexed(tmp_path / "set", tmp_path / "set.parquet")


def indexed(folder: Path, path: Path) -> Path:
    save_manifest(find_copies(index(folder, path, workers=1), load_thumbnails(path)), path)
    return path


def finding(section: Section, check: str) -> Finding:
    return next(each for each in section.findings if each.check == check)


def run(*arguments: object) -> int:
    code = cli.main([str(each) for each in arguments], standalone_mode=False)
    return int(code or 0)


# --- Sentences ------------------------------------------------------------------------------


def test_a_test_without_a_picture_of_a_class_has_no_interval_to_tell() -> None:
    labels = ["healthy"] * 20 + ["tumour"]
    said = finding(balance(material_of(rows_of(21, label=labels))), "balance.test")
    assert said.level == "warn"
    assert said.message.startswith(
        "A test of 30 % would hold no distinct tumour picture: its sensitivity can't be told. "
    )


def test_one_picture_of_a_class_is_one() -> None:
    labels = ["healthy"] * 20 + ["tumour"] * 3
    said = finding(balance(material_of(rows_of(23, label=labels))), "balance.test")
    assert said.message.startswith("With the 1 distinct tumour picture that a test of 30 % would")


@pytest.mark.parametrize(("files", "level"), [(2, "info"), (5, "warn")])
def test_a_pair_in_a_small_set_is_no_large_group(files: int, level: str) -> None:
    copy = [0] * files + list(range(1, 31 - files))
    said = finding(balance(material_of(rows_of(30, copy=copy))), "balance.patients")
    assert said.value == files / 30
    assert said.level == level


def test_one_file_is_and_several_are() -> None:
    for suffixes, words in (
        (["jpg"], "1 file (10 %) has an extension that isn't its format: "),
        (["jpg", "jpg"], "2 files (20 %) have an extension that isn't their format: "),
    ):
        names = [f"{place}.png" for place in range(10 - len(suffixes))]
        names += [f"x{place}.{suffix}" for place, suffix in enumerate(suffixes)]
        said = finding(junk(material_of(rows_of(10, source=names))), "junk.extension")
        assert said.message.startswith(words)
        assert ("1 .jpg holds PNG" in said.message) == (len(suffixes) == 1)


def test_reasons_keep_their_numbers_where_they_agree() -> None:
    errors = [None] * 6 + ["an empty file (0 bytes)"] * 2 + ["breaks off at 7", "breaks off at 9"]
    said = finding(junk(material_of(rows_of(10, error=errors))), "junk.unreadable").message
    assert "Why: an empty file (0 bytes) (2 files); breaks off at … (2 files)." in said


def test_kinds_of_copies_that_are_not_there_are_not_told() -> None:
    rows = rows_of(9, copy=[0, 1, 2, 3, 4, 5, 6, 0, 1], turn=[0] * 8 + [1], label=["tumour"] * 9)
    section = copies(material_of(rows))
    assert (
        "Of the other 2 files, 1 is re-encoded, rescaled, of other contrast or border and 1 is "
        "mirrored or turned." in finding(section, "copies.distinct").message
    )
    assert finding(section, "copies.mirrored").message.startswith(
        "1 file (11 %) lies otherwise than the first file of its picture"
    )


def test_what_was_audited_counts_what_takes_part() -> None:
    rows = rows_of(
        8,
        label=["healthy", "tumour"] * 3 + [None, "tumour"],
        copy=[0, 0, 1, 2, 3, 4, 5, 6],
        group=[0, 0, 0, 0, 3, 3, 5, 6],
        patient=["a", "a", "a", "a", "b", "b", None, None],
        error=[None] * 7 + ["empty"],
    )
    assert data_words(rows).replace("\u00a0", " ") == (
        "8 files (healthy 3, tumour 4, no label 1), 5 distinct pictures, 2 patients, 1 unreadable"
    )


# --- Files that are gone --------------------------------------------------------------------


def test_files_gone_or_changed_fail_are_told_apart_and_set_aside(manifest: Path) -> None:
    folder = manifest.parent / "set"
    (folder / "tumour" / "1.png").unlink()
    Image.new("L", (96, 96), 9).save(folder / "tumour" / "3.png")
    material = gather(manifest, workers=1)
    said = finding(junk(material), "junk.changed")
    assert said.level == "fail"
    assert "1 is gone and 1 has changed since." in said.message
    fixed = fix(material, junk=set_aside(material))
    aside = fixed.column("aside") != None  # noqa: E711  elementwise
    assert fixed.column("source")[aside].tolist() == ["tumour/1.png", "tumour/3.png"]


def test_few_changed_files_are_a_warning() -> None:
    material = material_of(rows_of(40))
    material.traits["seen"][0] = False
    assert finding(junk(material), "junk.changed").level == "warn"


def test_a_set_whose_folder_is_gone_is_refused_in_one_line(manifest: Path) -> None:
    shutil.rmtree(manifest.parent / "set")
    with pytest.raises(ManifestError, match="are not there: expected them in"):
        gather(manifest, workers=1)


# --- What is asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [{"seed": -1}, {"resamples": -1}, {"permutations": -1}, {"workers": 0}]
)
def test_impossible_numbers_are_refused_before_the_long_work(
    manifest: Path, number: dict[str, Any]
) -> None:
    (name,) = number
    with pytest.raises(ManifestError, match=f"{name} is {number[name]}: expected"):
        gather(manifest, **number)
    assert not manifest.with_name("set.parquet.traits.npy").exists()


def test_a_set_is_not_compared_with_itself_and_with_another_once(manifest: Path) -> None:
    link = manifest.with_name("link.parquet")
    link.symlink_to(manifest)
    with pytest.raises(ManifestError, match="is the manifest under audit"):
        gather(manifest, against=[link])
    other = indexed(manifest.parent / "set" / "tumour", manifest.with_name("other.parquet"))
    again = other.parent / "set" / ".." / other.name
    material = gather(manifest, against=[other, again], workers=1)
    assert [each.name for each in material.against] == ["other"]


def test_results_never_replace_what_is_no_result(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manifest.parent)
    picture = Path("set/tumour/1.png")
    other = indexed(Path("set/tumour"), Path("other.parquet"))
    before = {path: path.read_bytes() for path in (picture, other)}
    for refused, words in (
        (["--out", picture], "is a file"),
        (["--fix", picture], "is no manifest"),
        (["--fix", "set"], "is no manifest"),
        (["--against", other, "--fix", other], "a manifest of --against"),
    ):
        with pytest.raises(Exception, match=words) as error:
            run("check", manifest, "--quiet", "--only", "balance", *refused)
        assert type(error.value).__name__ == "UsageError"
    assert {path: path.read_bytes() for path in before} == before
    assert not manifest.with_name("set.parquet.traits.npy").exists()  # before the long work


def test_a_page_names_no_path_of_the_machine(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        run("check", manifest, "--quiet", "--only", "junk", "--out", tmp_path / "o")
    assert left.value.code == 0
    for name in ("check.html", "findings.json"):
        assert str(tmp_path) not in (tmp_path / "o" / name).read_text(encoding="utf-8")


def test_rows_set_aside_are_in_no_part(manifest: Path) -> None:
    rows = load_manifest(manifest)
    aside = np.array([None] * len(rows), object)
    aside[0] = "no head"
    parted = rows.with_columns(aside=aside, split=["train"] * len(rows))
    assert rows.column("source")[0] not in parted.part("train").column("source")
    assert len(DataAudit(parted, ()).manifest.part("train")) == len(rows) - 1


GATHERER = """
import os, sys, time
from pathlib import Path
from typing import Any
from clearhead.data.workers import each

def wait(number):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(0.05)
    return number

for _ in each(wait, range(200_000), 2):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_processes_end_with_a_gatherer_that_was_killed(tmp_path: Path) -> None:
    gatherer = subprocess.Popen([sys.executable, "-c", GATHERER, str(tmp_path)])
    try:
        assert soon(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        gatherer.kill()
        gatherer.wait()
    assert soon(lambda: not any(is_running(int(path.name)) for path in tmp_path.iterdir()))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within a minute, which is far more than it takes."""
    until = time.monotonic() + 60
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()
