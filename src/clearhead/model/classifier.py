"""A net and everything between pixels and probability, as one module."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clearhead.model.ensemble import EvidenceNets
from clearhead.model.gate import Gate, watched
from clearhead.model.nets import NETS, Net
from clearhead.types import Recipe


class Classifier(nn.Module):
    """From drawn squares to logits and probabilities, with all that this takes inside.

    Training, evaluation, explanation and export call this one module, so they can't drift apart.
    Shapes: squares (B, 1, S, S), uint8 0…255; logits and probabilities (B, K); `bias` (K,), what
    calibration adds to the net's own logits, or a single 0 without; `thresholds` (K,),
    the smallest probability at which each class is not ruled out, or (0,) until it is calibrated,
    when nothing is ruled out and there is no triage.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor
    bias: Tensor
    thresholds: Tensor
    gate: Gate | None
    """Turns away what is not of the kind that was learnt from; None until it is fitted."""

    def __init__(self, net: nn.Module, *, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self._net = net
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("bias", torch.zeros(1))
        self.register_buffer("thresholds", torch.empty(0))
        self.gate = None

    @property
    def net(self) -> Net:
        """The net behind the normalisation, with its seam."""
        return cast(Net, self._net)

    def normalise(self, squares: Tensor) -> Tensor:
        """Squares of 0…255 as the net's input: scaled to [0, 1], then (x - mean) / std."""
        x = (squares.to(self.mean.dtype) / 255 - self.mean) / self.std
        return _channels_last(x.contiguous())

    def forward(self, squares: Tensor) -> Tensor:
        return self.net(self.normalise(squares)) + self.bias

    def seen(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        """The maps at the net's seam and the logits, from one pass."""
        maps = self.net.features(self.normalise(squares))
        return maps, self.net.head(maps) + self.bias

    def judged(self, squares: Tensor, gate: Gate | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K) and how strange the squares are to a gate, (B,), from one pass.

        The classifier's own gate unless another is given; None where there is neither.
        """
        gate = self.gate if gate is None else gate
        if gate is None:
            return self(squares), None
        stage = watched(self.net)
        maps = stage.features(self.normalise(squares))
        return stage.head(maps) + self.bias, gate(squares, maps)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax of the logits at the calibrated temperature (1 until calibrated)."""
        return torch.softmax(logits / self.temperature, dim=1)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take over bias and thresholds, of which there are none or one for each class."""
        # Weights made before there were any have none.
        for name, none in (("bias", torch.zeros(1)), ("thresholds", torch.empty(0))):
            value = state.setdefault(f"{prefix}{name}", none)
            setattr(self, name, torch.empty_like(value, device=self.mean.device))
        super()._load_from_state_dict(state, prefix, *rest)


def _channels_last(x: Tensor) -> Tensor:
    """Grey squares with the strides of channels-last memory.

    With one channel both layouts are the same bytes, and torch calls the ambiguous strides
    channels-first: the first convolution, the largest, and its pooling would then run in the
    slow layout.
    """
    _, channels, height, width = x.shape
    if channels != 1:
        return x.contiguous(memory_format=torch.channels_last)
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def build(recipe: Recipe, classes: int, *, absent: int | None = None) -> Classifier:
    """The untrained classifier of a recipe; its weights follow torch's current seed.

    `absent` is the class that means that nothing was found, for nets that give it no map.
    The report feeds [0, 1]; other nets get inputs around 0 (mean and spread of a drawn head).
    """
    more: dict[str, Any] = {} if recipe.net == "report" else {"norm": recipe.norm}
    made = NETS[recipe.net]
    if recipe.net == "evidence":
        more |= {"absent": absent, "pooling": recipe.pooling, "levelled": recipe.levelled}
    if recipe.members > 1:
        made, more = EvidenceNets, {**more, "members": recipe.members}
    net = made(classes, size_px=recipe.size_px, dropout=recipe.dropout, **more)
    spread = {"mean": 0.0, "std": 1.0} if recipe.net == "report" else {"mean": 0.25, "std": 0.25}
    classifier = Classifier(net, **spread)
    return classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
