"""The layers of a recipe's net, measured by running it without data."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from clearhead.deliver.diagram import Layer
from clearhead.model.classifier import build
from clearhead.model.nets import Residual, StandardConv2d
from clearhead.types import Recipe

_CONV = nn.Conv2d | StandardConv2d
_ONE = _CONV | nn.Linear | nn.MaxPool2d | nn.Dropout | nn.Dropout2d | Residual | nn.GroupNorm
"""Modules that are drawn as one layer; what is inside of them isn't drawn again."""


def layers_of(recipe: Recipe, classes: int, *, absent: int | None = None) -> list[Layer]:
    """The layers in the order in which one picture passes them, with output shapes and parameters.

    The net runs on torch's `meta` device: shapes are computed, nothing else.
    """
    with torch.device("meta"):
        net = cast(nn.Module, build(recipe, classes, absent=absent).net).eval()
        picture = torch.empty(1, 1, recipe.size_px, recipe.size_px)
    found = [Layer("picture", "grey", (1, recipe.size_px, recipe.size_px))]
    for name, module in _drawn(net):
        module.register_forward_hook(_noting(found, name))
    net(picture)
    return found


def _drawn(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    if isinstance(module, _ONE):
        return [(prefix, module)]
    parts = []
    for name, child in module.named_children():
        parts += _drawn(child, f"{prefix}.{name}" if prefix else name)
    return parts


def _noting(found: list[Layer], name: str):  # type: ignore[no-untyped-def]  # torch's hook type
    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        parameters = sum(value.numel() for value in module.parameters())
        found.append(Layer(name, _kind(module), tuple(output.shape[1:]), parameters))

    return note


def _kind(module: nn.Module) -> str:
    if isinstance(module, _CONV):
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        return f"conv {module.kernel_size[0]}×{module.kernel_size[1]}{stride}"
    if isinstance(module, nn.MaxPool2d):
        return f"max-pool {module.kernel_size}"
    if isinstance(module, nn.Linear):
        return f"dense, {module.in_features:,} inputs"
    if isinstance(module, nn.Dropout | nn.Dropout2d):
        return f"dropout {module.p:g}"
    if isinstance(module, nn.GroupNorm):
        return f"group norm, {module.num_groups} groups"
    return "residual block, 2 × conv 3×3"
