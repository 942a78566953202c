"""Orthogonal steps: against torch's own, and against the passes written out in float64."""

from __future__ import annotations

import pytest
import torch

from clearhead.model.muon import SPREAD, TIMES, Muon, orthogonal

SHAPES = [(128, 1152), (64, 64), (96, 24), (1, 7)]


def literal(matrix: torch.Tensor) -> torch.Tensor:
    """Newton–Schulz passes on the whole matrix."""
    x: torch.Tensor = matrix.double()
    x = x / x.norm()
    one, three, five = SPREAD
    for _ in range(TIMES):
        square = x @ x.T
        x = one * x + three * square @ x + five * square @ square @ x
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_the_passes_are_those_of_the_whole_matrix(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(1)
    left, right = (torch.randn(n, n, generator=random) for n in shape)
    steep = torch.logspace(0, -4, min(shape))  # singular values from 1 to 10⁻⁴ of the largest
    u, v = torch.linalg.qr(left)[0], torch.linalg.qr(right)[0]
    matrix = 300 * (u[:, : min(shape)] * steep) @ v[: min(shape)]
    found = orthogonal(matrix)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), literal(matrix), rtol=0, atol=2e-4)
    spread = torch.linalg.svdvals(orthogonal(left[:, : shape[1]]))
    assert spread.max() < 1.25
    assert spread.median() > 0.6


def test_a_slope_of_nothing_moves_nothing() -> None:
    assert not orthogonal(torch.zeros(8, 20)).any()


def test_its_steps_are_torchs() -> None:
    random = torch.Generator().manual_seed(2)
    starts = [torch.randn(shape, generator=random) for shape in SHAPES]
    ours = [torch.nn.Parameter(start.clone()) for start in starts]
    theirs = [torch.nn.Parameter(start.clone()) for start in starts]
    unmoved = torch.nn.Parameter(torch.ones(2, 2))  # has no slope
    mine = Muon([*ours, unmoved], lr=0.01, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    both: tuple[torch.optim.Optimizer, ...] = (mine, torchs)
    for _ in range(4):
        for own, other in zip(ours, theirs, strict=True):
            own.grad = torch.randn(own.shape, generator=random)
            other.grad = own.grad.clone()
        for optimiser in both:
            optimiser.step()
    for own, other, start in zip(ours, theirs, starts, strict=True):
        step, known = own.detach() - start, other.detach() - start
        # Torch's is reckoned in bfloat16, which has three digits.
        assert float((step - known).norm() / known.norm()) < 0.03
        buffers = mine.state[own]["momentum_buffer"], torchs.state[other]["momentum_buffer"]
        torch.testing.assert_close(*buffers)
    assert torch.equal(unmoved.detach(), torch.ones(2, 2))
