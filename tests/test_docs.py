"""The docs are true: the tutorial runs, the reference is the code's, links and commands exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import clearhead
from clearhead.app.cli import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tutorial_runs(tmp_path: Path) -> None:
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks(ROOT / "docs" / "tutorial.md", "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "first" / "report.html").exists()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_the_codes() -> None:
    for name, page in generator().PAGES.items():
        stored = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert stored == page(), f"run `python docs/generate.py`: {name} is out of date"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_in_the_docs_exist_with_their_flags(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *blocks(page, "sh"), *blocks(page, "")])
    for line in code.replace("\\\n", " ").splitlines():
        for name, rest in re.findall(r"(?<![\w/.-])clearhead (\w+)([^`#]*)", line):
            assert name in cli.commands, f"{page.name}: clearhead {name}"
            known = {
                option
                for part in cli.commands[name].params
                for option in [*part.opts, *part.secondary_opts]
            }
            for flag in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest):
                assert flag in known | {"--help"}, f"{page.name}: clearhead {name} {flag}"


def test_the_readme_names_both_single_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "python3 dev.py demo" in text
    assert "python3 dev.py test" in text
    assert "python3 dev.py test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_version_is_told_once() -> None:
    assert f"version: {clearhead.__version__}" in (ROOT / "CITATION.cff").read_text()
