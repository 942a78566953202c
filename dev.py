#!/usr/bin/env python3
"""Set up and run, with nothing but Python: `python3 dev.py demo|test|check|bench`.

Makes `.venv` beside this file and installs clearhead in it with the versions of constraints.txt;
a second call installs nothing unless one of these files changed. Further arguments are passed on:
`python3 dev.py test -k heat`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")

EXTRAS = {"demo": "", "test": "test", "check": "dev", "bench": "dev,bench"}
"""What each task installs besides the package itself."""


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  whoever runs this has not installed anything yet
        print("clearhead needs Python 3.11 or newer", file=sys.stderr)  # noqa: T201
        return 2
    if len(sys.argv) < 2 or sys.argv[1] not in EXTRAS:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    task, *rest = sys.argv[1:]
    install(EXTRAS[task])
    return TASKS[task](rest)


def install(extras: str) -> None:
    """Create the environment and install the package, once for each state of its files."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    stamp = VENV / f".installed-{extras or 'plain'}"
    if stamp.exists() and stamp.read_text() == state:
        return
    if not (VENV / "pyvenv.cfg").exists():
        venv.create(VENV, with_pip=True)
    target = f".[{extras}]" if extras else "."
    pip = [str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command = [*pip, "--quiet", "-c", "constraints.txt", "-e", target]
    subprocess.run(command, cwd=ROOT, check=True)
    stamp.write_text(state)


def run(*command: str, **environment: str) -> int:
    """Run a program of the environment; its exit code."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        check=False,
    ).returncode


def demo(rest: list[str]) -> int:
    return run("clearhead", "demo", *rest)


def test(rest: list[str]) -> int:
    """The whole suite on two processes, whose arithmetic takes one thread each."""
    return run(
        "python", "-m", "pytest", "-n", "2", "--dist", "loadscope", *rest, OMP_NUM_THREADS="1"
    )


def check(rest: list[str]) -> int:
    """Lint, format, types and import layers; all of them, then the first failure's code."""
    codes = [
        run("ruff", "check", "."),
        run("ruff", "format", "--check", "."),
        run("mypy"),
        run("lint-imports", "--no-cache"),
    ]
    return next((code for code in codes if code), 0)


def bench(rest: list[str]) -> int:
    return run("python", *rest)


TASKS = {"demo": demo, "test": test, "check": check, "bench": bench}

if __name__ == "__main__":
    sys.exit(main())
