"""Processes and devices: the one place that knows how a training is spread."""

from __future__ import annotations

import logging
import os
import platform
from datetime import UTC, datetime
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

import clearhead
from clearhead.errors import RecipeError


def launch(*, device: str = "auto", precision: str = "32-true") -> Fabric:
    """One process, or all that `torchrun` started, on `auto`, `cpu` or `cuda`.

    Errors: `RecipeError` for an unknown or absent device, or a precision that it can't reckon in.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind not in ("cpu", "cuda"):
        raise RecipeError(f"device is {device!r}: expected auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device is cuda, but torch sees no GPU here: use --device cpu")
    if kind == "cpu" and precision != "32-true" and not reckons_halves():
        raise RecipeError(
            f"precision is {precision}, for which this processor has no instructions, so that a "
            "training would take a hundred times as long: use --precision 32-true"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces precision
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    fabric = Fabric(
        accelerator=kind,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=precision,
    )
    fabric.launch()
    return fabric


def reckons_halves() -> bool:
    """Whether this processor reckons in bfloat16, and doesn't only store it."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and bool(asked())


def rank() -> int:
    """This process' number among those that `torchrun` started; 0 without it."""
    return int(os.environ.get("RANK", 0))


def summed(fabric: Fabric, values: Tensor) -> Tensor:
    """`values` summed over the processes, on the CPU."""
    if fabric.world_size > 1:
        values = fabric.all_reduce(values, reduce_op="sum")
    return values.cpu()


def circumstances(fabric: Fabric) -> dict[str, Any]:
    """Where and with what a run was made; nothing of the user."""
    device = fabric.device
    return {
        "clearhead": clearhead.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "processes": fabric.world_size,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
