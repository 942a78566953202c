"""Write docs/reference from the code: `python docs/generate.py` (a test compares)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import rich_click as click

from clearhead.app.cli import cli
from clearhead.types import COLUMNS, PRESETS, Recipe

HERE = Path(__file__).resolve().parent / "reference"


def commands() -> str:
    """Every command with its arguments and flags."""
    lines = ["# Commands", "", "Made from the program itself by `docs/generate.py`.", ""]
    for name, command in cli.commands.items():
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        usage = " ".join(["clearhead", name, *(_metavar(part) for part in arguments)])
        lines += [f"## `{usage}`", "", _plain(command.help or ""), ""]
        options = [p for p in command.params if isinstance(p, click.Option)]
        if options:
            lines += ["| flag | meaning |", "|---|---|"]
            lines += [f"| `{_flag(option)}` | {_meaning(option)} |" for option in options]
            lines.append("")
    return "\n".join(lines)


def _metavar(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = (argument.name or "").upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _plain(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _flag(option: click.Option) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    kind = option.type
    if isinstance(kind, click.Choice):
        return f"{names} {'∣'.join(map(str, kind.choices))}"
    return f"{names} {kind.name.upper()}"


def _meaning(option: click.Option) -> str:
    default = f" [{option.default}]" if option.show_default else ""
    return (option.help or "").replace("|", "\\|") + default


def recipe() -> str:
    """Every training setting and what the presets make of it."""
    names = list(PRESETS)
    lines = [
        "# Settings of a training",
        "",
        "The fields of `clearhead.Recipe`: argument in Python, flag of `clearhead train`, key of",
        "`recipe.json`. Made from the code by `docs/generate.py`.",
        "",
        f"| setting | meaning | {' | '.join(f'`{name}`' for name in names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for item in dataclasses.fields(Recipe):
        values = [str(PRESETS[name].get(item.name, item.default)) for name in names]
        choices = item.metadata.get("choices")
        meaning = item.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
        lines.append(f"| `{item.name}` | {meaning} | {' | '.join(values)} |")
    return "\n".join([*lines, ""])


def manifest() -> str:
    """Every column of a manifest."""
    lines = [
        "# Columns of a manifest",
        "",
        "A manifest is a Parquet file; its schema's metadata holds root, classes and notes. Made",
        "from `clearhead.types.COLUMNS` by `docs/generate.py`; what a column means stands there.",
        "",
        "| column | type |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{name}` | {kind} |" for name, kind in COLUMNS.items()), ""])


PAGES = {"commands.md": commands, "recipe.md": recipe, "manifest.md": manifest}

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
