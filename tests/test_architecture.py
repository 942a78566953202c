"""The shape of the package: layers kept, a light start, public names that exist."""

from __future__ import annotations

import subprocess
import sys

import clearhead

HEAVY = {"torch", "sklearn", "scipy", "matplotlib", "pyarrow", "numpy", "PIL", "nilearn", "tqdm"}


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_importing_clearhead_and_its_command_line_is_light() -> None:
    assert not HEAVY & loaded_after("import clearhead, clearhead.app.cli, clearhead.types")


def test_data_and_measure_do_not_know_torch() -> None:
    code = (
        "import pkgutil, importlib, clearhead.data, clearhead.measure\n"
        "for home in (clearhead.data, clearhead.measure):\n"
        "    for part in pkgutil.iter_modules(home.__path__):\n"
        "        importlib.import_module(f'{home.__name__}.{part.name}')\n"
    )
    assert "torch" not in loaded_after(code)


def test_the_import_contracts_hold() -> None:
    from importlinter.cli import lint_imports

    assert lint_imports(cache_dir=None, no_cache=True) == 0


def test_every_public_name_exists_and_says_what_it_is() -> None:
    for name in clearhead.__all__:
        value = getattr(clearhead, name)
        assert name == "__version__" or (value.__doc__ or "").strip()
    assert set(clearhead.__all__) <= set(dir(clearhead))
