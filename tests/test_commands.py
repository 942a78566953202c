"""Every command as a user types it, on generated heads: results, JSON, errors, exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich_click as click

from clearhead.app import cli as cli_module
from clearhead.app.cli import cli
from clearhead.app.progress import logged
from clearhead.data.manifest import load_manifest, save_manifest
from clearhead.data.split import split
from clearhead.heat.methods import METHODS
from clearhead.heat.seen import SCORES
from clearhead.types import Recipe

Say = Any


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


def clearhead(home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CLEARHEAD_CACHE": str(home / "cache"), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "clearhead", *words],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done


def answer(home: Path, *words: str) -> Any:
    return json.loads(clearhead(home, *words, "--json", "--quiet").stdout)


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """phantom, index, split and train, each as a command."""
    clearhead(home, "phantom", "heads", "--n", "60", "--size-px", "96", "--seed", "3")
    found = answer(home, "index", "heads", "--out", "heads.parquet")
    assert found["rows"] == 60
    assert found["classes"] == ["Brain Tumor", "Healthy"]
    assert found["unreadable"] == []
    assert found["copies"]["distinct"] == 60
    parts = answer(home, "split", "heads.parquet", "--test", "0.3", "--seed", "1")
    assert sum(parts[name]["files"] for name in ("train", "validation", "test")) == 60
    flags = ("--size-px", "64", "--epochs", "2", "--batch", "16")
    told = answer(home, "train", "heads.parquet", "runs/one", *flags)
    assert told["epochs"] == 2
    assert 0 <= told["validation_accuracy"] <= 1
    return home / "runs" / "one"


def test_an_interrupted_training_says_how_to_go_on(home: Path, run: Path) -> None:
    command = [sys.executable, "-m", "clearhead", "train", "heads.parquet", "runs/long"]
    flags = ["--size-px", "64", "--epochs", "500", "--batch", "16", "--quiet"]
    environment = {**os.environ, "CLEARHEAD_CACHE": str(home / "cache")}
    process = subprocess.Popen(
        [*command, *flags], cwd=home, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (home / "runs" / "long" / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with `clearhead train --resume runs/long`" in errors
    assert len(errors.strip().splitlines()) == 1


def test_evaluate_prints_the_score_to_beat(home: Path, run: Path) -> None:
    done = clearhead(home, "evaluate", "runs/one", "--resamples", "100")
    assert "file facts alone" in done.stdout
    scores = answer(home, "evaluate", "runs/one", "--resamples", "100")
    assert scores["baseline"]["facts"] == ["format", "mode", "width", "height"]
    assert 0 <= scores["per_file"]["accuracy"]["value"] <= 1


def test_calibrate_at_another_level_and_on_other_pictures(home: Path, run: Path) -> None:
    told = answer(home, "calibrate", "runs/one", "--error", "0.5")
    assert (told["error"], told["on"]) == (0.5, "validation")
    assert min(told["thresholds"]) > 0
    evaluated = answer(home, "evaluate", "runs/one", "--resamples", "50")
    assert evaluated["triage"]["calibration"]["thresholds"] == told["thresholds"]
    clearhead(home, "phantom", "ours", "--n", "40", "--size-px", "96", "--seed", "8")
    answer(home, "index", "ours")
    clearhead(home, "calibrate", "runs/one", "--on", "ours.parquet")
    refused = clearhead(home, "report", "runs/one", code=2)
    assert "calibrated anew" in refused.stderr
    done = clearhead(home, "calibrate", "runs/one")
    assert "is never ruled out" in done.stdout  # so few are in the validation split
    assert "next: clearhead evaluate runs/one" in done.stdout
    done = clearhead(home, "evaluate", "runs/one", "--resamples", "50")
    assert "true class ruled out" in done.stdout


@pytest.mark.usefixtures("run")  # which makes the heads
def test_explain_without_a_run_uses_the_classifier_in_the_package(home: Path) -> None:
    picture = next((home / "heads" / "Brain Tumor").iterdir())
    told = answer(home, "explain", str(picture), "--out", "boxed", "--no-triptych")
    (row,) = told["explanations"]
    assert {"probability Brain Tumor", "probability Healthy"} <= set(row)
    assert row["triage"] in {"Brain Tumor", "Healthy", "uncertain"}
    again = answer(home, "explain", "shipped", str(picture), "--out", "again", "--no-triptych")
    assert again["explanations"][0]["peak"] == row["peak"]


def test_explain_takes_files_and_folders(home: Path, run: Path) -> None:
    files = sorted((home / "heads" / "Healthy").iterdir())[:2]
    told = answer(home, "explain", "runs/one", *map(str, files), "--out", "maps")
    assert [row["source"] for row in told["explanations"]] == [str(path) for path in files]
    names = {path.suffixes[-1] for path in (home / "maps").iterdir()}
    assert names == {".npz", ".png", ".csv"}
    (home / "mixed").mkdir()
    (home / "mixed" / "broken.png").write_bytes(b"no picture")
    (home / "mixed" / "good.png").write_bytes(files[0].read_bytes())
    done = clearhead(
        home, "explain", "runs/one", "mixed", "--target", "Brain Tumor", "--no-triptych", code=2
    )
    assert "broken.png" in done.stderr
    assert "good.png" in done.stdout


def test_report_writes_the_page(home: Path, run: Path) -> None:
    clearhead(home, "evaluate", "runs/one", "--resamples", "50")
    assert Path(answer(home, "report", "runs/one")["page"]).name == "report.html"
    assert (run / "report.html").stat().st_size > 50_000


def judged(home: Path, *words: str) -> dict[str, Any]:
    """The findings of a command whose exit code is 3 where one of them fails, and else 0."""
    environment = {**os.environ, "CLEARHEAD_CACHE": str(home / "cache")}
    command = [sys.executable, "-m", "clearhead", *words, "--json", "--quiet"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    failed = any(finding["level"] == "fail" for finding in told["findings"])
    assert done.returncode == (3 if failed else 0), done.stderr
    return told


def test_audit_writes_its_page_and_the_report_tells_of_it(home: Path, run: Path) -> None:
    told = judged(home, "audit", "runs/one", "--resamples", "50")
    assert Path(told["page"]).relative_to("runs/one") == Path("audit", "test", "audit.html")
    assert {"calls.right", "need.brain", "where.brain"} <= {
        each["check"] for each in told["findings"]
    }
    loud = [each["check"] for each in told["findings"] if each["level"] != "info"]
    clearhead(home, "evaluate", "runs/one", "--resamples", "50")
    clearhead(home, "report", "runs/one")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert loud
    assert all(check in page for check in loud)


def test_audit_on_another_set_names_its_folder_after_it(home: Path, run: Path) -> None:
    told = judged(home, "audit", "runs/one", "--on", "heads.parquet", "--only", "calls")
    assert Path(told["page"]).parent.name == "heads"
    assert {each["check"].partition(".")[0] for each in told["findings"]} == {"calls"}


def test_bench_writes_its_page(home: Path, run: Path) -> None:
    told = judged(
        home, "bench", "runs/one", "--method", "grad_cam", "--method", "eigen_cam",
        "--only", "agreement", "--pictures", "8", "--resamples", "50",
    )  # fmt: skip
    assert Path(told["page"]).name == "bench.html"
    assert (home / told["page"]).stat().st_size > 20_000
    assert told["made"]["methods"] == ["grad_cam", "eigen_cam"]


def test_selftest_tells_of_trials_that_are_done(home: Path) -> None:
    trial = {
        "fault": "corner", "net": "report", "seed": 0, "heads": 600, "seconds": 80.0,
        "accuracy": 1.0, "accuracy_clean": 0.5,
        "evidence": {"need.brain": "fail"}, "data": {"leak.border": "fail"},
    }  # fmt: skip
    folder = home / "proof" / "corner-0-600"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(trial))
    assert "need.brain" in clearhead(home, "selftest", "proof", "--fault", "corner").stdout
    (folder / "report.json").write_text(json.dumps({**trial, "evidence": {}, "data": {}}))
    told = json.loads(
        clearhead(home, "selftest", "proof", "--fault", "corner", "--json", code=3).stdout
    )
    assert told["trials"][0]["by_evidence"] is False


def test_copies_lists_a_planted_mirror(home: Path) -> None:
    from PIL import Image, ImageOps

    folder = home / "twins" / "Healthy"
    folder.mkdir(parents=True)
    source = sorted((home / "heads" / "Healthy").iterdir())
    for path in source[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    with Image.open(source[0]) as image:
        ImageOps.mirror(image).save(folder / "mirrored.jpg", quality=90)
    told = answer(home, "index", "twins")
    assert told["copies"]["distinct"] == 5
    assert told["copies"]["mirrored"] == 1
    done = clearhead(home, "copies", "twins.parquet", "--list")
    assert "mirrored.jpg" in done.stdout


def test_index_says_what_to_do_about_a_picture_under_two_labels(home: Path) -> None:
    for name in ("Healthy", "Tumour"):
        folder = home / "disputed" / name
        folder.mkdir(parents=True)
        source = sorted((home / "heads" / "Healthy").iterdir())[: 3 if name == "Healthy" else 1]
        for path in source:
            (folder / path.name).write_bytes(path.read_bytes())
    told = clearhead(home, "index", "disputed").stdout
    assert "1 groups with contradicting labels" in told
    assert "`clearhead check disputed.parquet`" in told


def test_copies_are_searched_anew_where_an_older_version_searched(home: Path) -> None:
    from PIL import Image, ImageOps

    folder = home / "bordered" / "Healthy"
    folder.mkdir(parents=True)
    source = sorted((home / "heads" / "Healthy").iterdir())
    for path in source[:30]:
        (folder / path.name).write_bytes(path.read_bytes())
    with Image.open(source[0]) as image:
        ImageOps.expand(image, (0, 0, 40, 12)).save(folder / "bordered.png")
    assert answer(home, "index", "bordered")["copies"]["distinct"] == 30
    path = home / "bordered.parquet"
    rows = load_manifest(path)
    alone = np.arange(len(rows))
    notes = {"threshold": 0.85, "drift": 0.7, "pairs_tested": 9}
    old = rows.with_columns(copy=alone, group=alone).with_notes(copies=notes)
    save_manifest(split(old), path)
    told = clearhead(home, "copies", "bordered.parquet").stdout
    assert "30 distinct" in told
    assert "draw it again" in told
    assert "two labels" not in told
    again = clearhead(home, "copies", "bordered.parquet").stdout
    assert "30 distinct" in again
    assert "draw it again" not in again


def test_demo_walks_the_whole_way(home: Path) -> None:
    told = answer(home, "demo", "demo", "--n", "60")
    assert (home / told["page"]).exists()
    assert list((home / "demo" / "run" / "explanations").glob("*.triptych.png"))
    refused = clearhead(home, "demo", "demo", code=2)
    assert "exists already" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("index", "nowhere"),
        ("split", "nowhere.parquet"),
        ("train", "nowhere.parquet", "runs/two"),
        ("train", "heads.parquet"),
        ("train", "heads.parquet", "runs/two", "--epochs", "none"),
        ("train", "heads.parquet", "runs/two", "--epochs", "0"),
        ("train", "--resume", "nowhere"),
        ("evaluate", "nowhere"),
        ("calibrate", "nowhere"),
        ("calibrate", "runs/one", "--error", "1"),
        ("calibrate", "runs/one", "--on", "heads.parquet"),
        ("calibrate", "runs/one", "--on", "nowhere.parquet"),
        ("explain", "nowhere", "x.png"),
        ("explain", "shipped"),
        ("explain", "runs/one"),
        ("explain", "runs/one", "heads", "--stage", "attic"),
        ("report", "nowhere"),
        ("audit", "nowhere"),
        ("audit", "runs/one", "--only", "heat"),
        ("audit", "runs/one", "--method", "guess"),
        ("audit", "runs/one", "--on", "nowhere.parquet"),
        ("audit", "runs/one", "--on", "heads.parquet", "--as", "Healthy"),
        ("audit", "runs/one", "--on", "heads.parquet", "--as", "Healthy=Cured"),
        ("audit", "runs/one", "--out", "heads.parquet", "--only", "calls"),
        ("bench", "runs/one", "--pictures", "1"),
        ("bench", "runs/one", "--seeds", "runs/one"),
        ("bench", "runs/one", "--only", "beauty"),
        ("selftest", "proof", "--fault", "copies"),
        ("phantom", "heads"),
        ("phantom", "new", "--plant", "ghost"),
        ("completion", "tcsh"),
    ],
)
def test_a_users_error_is_one_line_and_code_2(
    home: Path, run: Path, words: tuple[str, ...]
) -> None:
    done = clearhead(home, *words, code=2)
    assert done.stderr.startswith("clearhead: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not (home / "runs" / "two").exists()


def test_no_arguments_show_the_help(home: Path) -> None:
    assert "demo" in clearhead(home, code=2).stdout
    assert "Usage" in clearhead(home, "train", "--help").stdout
    assert "clearhead" in clearhead(home, "--version").stdout
    assert "_CLEARHEAD_COMPLETE" in clearhead(home, "completion", "bash").stdout


def test_progress_in_a_log_is_whole_lines(home: Path) -> None:
    done = clearhead(home, "phantom", "few", "--n", "4", "--size-px", "64")
    assert "\r" not in done.stderr
    assert "4/4" in done.stderr
    assert clearhead(home, "phantom", "fewer", "--n", "4", "--quiet").stderr == ""


def test_every_setting_is_a_flag_with_its_help() -> None:
    flags = {parameter.name: parameter for parameter in cli.commands["train"].params}
    for item in dataclasses.fields(Recipe):
        flag = flags[item.name]
        assert isinstance(flag, click.Option)
        assert item.metadata["help"] in (flag.help or "")


def test_the_methods_of_the_commands_are_all_there_are() -> None:
    assert tuple(METHODS) == cli_module.METHODS
    for name in ("explain", "audit"):
        options = {parameter.name: parameter.type for parameter in cli.commands[name].params}
        assert isinstance(options["score"], click.Choice)
        assert set(options["score"].choices) == set(SCORES)


def test_every_command_says_what_it_does() -> None:
    for name, command in cli.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} --{parameter.name}"


def test_a_log_line_tells_count_and_note(capsys: pytest.CaptureFixture[str]) -> None:
    bar = logged(iter("abc"), total=3, label="letters")
    for letter in bar:
        bar.note(f"at {letter}")
    assert capsys.readouterr().err.startswith("letters: 3/3")
