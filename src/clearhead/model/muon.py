"""Orthogonal steps for matrices of filters, in float32 throughout.

Torch's own makes them in bfloat16, which many processors reckon in software, a hundred times as
slowly, and with products of the whole matrix, most of which are spared here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
"""Share of the running mean of slopes that stays in a step; the step looks ahead (Nesterov)."""

SPREAD = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵ in each of `TIMES` passes, which bring values of 0…1 towards 1."""
TIMES = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose steps have all directions alike, and the length of AdamW's; decoupled decay.

    For parameters of two dimensions. Names its state as `torch.optim.Muon` does.
    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the
    length: Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982.
    """

    def __init__(self, filters: Sequence[Tensor], *, lr: float, weight_decay: float) -> None:
        super().__init__(filters, {"lr": lr, "weight_decay": weight_decay})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every matrix that has a slope; what `closure` returns, where one is given."""
        found = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        self._move(matrix, matrix.grad, group["lr"], group["weight_decay"])
        return found

    def _move(self, matrix: Tensor, slope: Tensor, rate: float, decay: float) -> None:
        kept = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
        kept.lerp_(slope, 1 - MOMENTUM)
        ahead = orthogonal(slope.lerp(kept, MOMENTUM))
        matrix.mul_(1 - rate * decay)
        matrix.add_(ahead, alpha=-rate * 0.2 * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (R, C) with its singular values brought near 1 (0.7 to 1.2), float32.

    Newton–Schulz passes X ← aX + bXXᵀX + c(XXᵀ)²X. All that they multiply X by are polynomials in
    XXᵀ, which commute; so they run on that small square, and X is multiplied once.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonal(matrix.T).T
    x = matrix.float()
    x = x / x.norm().clamp(min=1e-7)
    square = x @ x.T
    whole = torch.eye(len(x), device=x.device)
    one, three, five = SPREAD
    for _ in range(TIMES):
        factor = torch.addmm(square, square, square, beta=three, alpha=five)
        factor.diagonal().add_(one)
        whole = factor @ whole
        square = factor @ square @ factor
    found: Tensor = whole @ x
    return found
