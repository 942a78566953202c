"""Command-line flags of every training setting, made from the fields of `Recipe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from clearhead.errors import RecipeError
from clearhead.types import PRESETS, Recipe

F = TypeVar("F", bound=Callable[..., Any])

_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float}


def recipe_flags(command: F) -> F:
    """Give a command one flag per setting; left out, the preset's value holds."""
    for item in reversed(dataclasses.fields(Recipe)):
        command = _flag(item)(command)
    return command


def _flag(item: dataclasses.Field[Any]) -> Callable[[F], F]:
    name = item.name.replace("_", "-")
    help = f"{item.metadata['help']} [{_defaults(item)}]"
    if item.type == "bool":
        return click.option(f"--{name}/--no-{name}", default=None, help=help)
    choices = item.metadata.get("choices")
    kind = click.Choice(choices) if choices else _KINDS[str(item.type)]
    return click.option(f"--{name}", type=kind, default=None, help=help)


def _defaults(item: dataclasses.Field[Any]) -> str:
    values = {name: settings.get(item.name, item.default) for name, settings in PRESETS.items()}
    if len({str(value) for value in values.values()}) == 1:
        return f"{item.default}"
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def recipe_from(preset: str, file: Path | None, flags: dict[str, Any]) -> Recipe:
    """The recipe of a preset or a recipe file, with the flags that were given on top.

    Errors: `RecipeError` for a file that is no recipe.
    """
    changes = {name: value for name, value in flags.items() if value is not None}
    if file is None:
        return Recipe.preset(preset, **changes)
    import json

    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{file} is no recipe: {error}") from None
    if not isinstance(settings, dict):
        raise RecipeError(f"{file} is no recipe: expected a JSON object of settings")
    return Recipe.of({**settings, **changes})
