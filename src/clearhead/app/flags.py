"""Command-line flags of every training setting, made from the fields of `Recipe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from clearhead.errors import RecipeError
from clearhead.types import PRESETS, Recipe

if TYPE_CHECKING:
    from clearhead.model.run import Run

F = TypeVar("F", bound=Callable[..., Any])

PRESET = "compact"
"""Where no other preset is named."""

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


def recipe_from(
    preset: str | None, file: Path | None, flags: dict[str, Any], pretrained: Run | None = None
) -> Recipe:
    """The recipe of a preset or a recipe file, with the flags that were given on top.

    Without a file, what shapes the net of a pretrained run is taken over. Errors: `RecipeError` for
    a file that is no recipe and a preset of another net than the run's.
    """
    changes = {name: value for name, value in flags.items() if value is not None}
    if file is None and pretrained is not None:
        from clearhead.model.pretrained import recipe_after

        return recipe_after(pretrained, preset=preset, **changes)
    if file is None:
        return Recipe.preset(preset or PRESET, **changes)
    import json

    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{file} is no recipe: {error}") from None
    if not isinstance(settings, dict):
        raise RecipeError(f"{file} is no recipe: expected a JSON object of settings")
    return Recipe.of({**settings, **changes})
