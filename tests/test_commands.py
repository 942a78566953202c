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

import pytest
import rich_click as click

from clearhead.app.cli import cli
from clearhead.app.progress import logged
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
        ("explain", "nowhere", "x.png"),
        ("explain", "runs/one"),
        ("report", "nowhere"),
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
