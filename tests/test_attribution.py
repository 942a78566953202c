"""Integrated gradients and SmoothGrad: completeness, literal integrals, nets that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.heat.attribution import NOISE
from clearhead.heat.evidence import class_evidence, evidence
from clearhead.heat.seen import SCORES, scores_of
from clearhead.model.classifier import Classifier
from small_nets import SIDE, small_classifier, small_squares


@pytest.mark.parametrize("score", SCORES)
def test_integrated_gradients_add_up_to_the_score_gained_over_black(score: str) -> None:
    classifier, squares = small_classifier(), small_squares(4)
    found = class_evidence(classifier, squares, method="integrated_gradients", score=score)
    assert found.maps.shape == (4, 3, SIDE, SIDE)
    assert found.grid == Grid(0.0, 1.0)
    with torch.no_grad():
        here, black = (
            scores_of(classifier, classifier(each), score)
            for each in (squares, torch.zeros_like(squares))
        )
    torch.testing.assert_close(found.maps.sum((2, 3)), here - black, rtol=0.02, atol=0.005)
    assert float(found.maps.min()) < 0 < float(found.maps.max())  # unrectified


def test_integrated_gradients_are_their_integral_step_by_step() -> None:
    classifier, squares = small_classifier().double(), small_squares(1)
    found = evidence(classifier, squares, target=1, method="integrated_gradients").maps[0]
    x, steps = classifier.normalise(squares), 2000
    total = torch.zeros_like(x)
    for step in range(steps):
        between = (x * (step + 0.5) / steps).requires_grad_()
        total += torch.autograd.grad(classifier.net(between)[0, 1], between)[0] / steps
    expected = (x * total)[0, 0]
    worst = float((found - expected).abs().max() / expected.abs().max())
    assert worst < 0.02


class Known(nn.Module):
    """y = Σ (a x + b x²), so its gradient by x is a + 2 b x."""

    grid = Grid(0.0, 1.0)

    def __init__(self, square: float) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.slope = nn.Parameter(torch.randn(SIDE, SIDE, generator=random))
        self.square = square

    def features(self, x: Tensor) -> Tensor:
        return self.slope * x + self.square * x * x

    def head(self, maps: Tensor) -> Tensor:
        total = maps.sum((1, 2, 3))
        return torch.stack([-total, total], 1)


def test_smooth_grad_of_a_linear_net_is_its_slope_per_grey_level() -> None:
    net = Known(0.0)
    classifier = Classifier(net, mean=0.25, std=0.5)
    found = evidence(classifier, small_squares(2), target=1, method="smooth_grad").maps
    for heat in found:
        torch.testing.assert_close(heat, net.slope.detach() / (255 * 0.5), rtol=1e-4, atol=1e-6)


def test_smooth_grad_averages_the_gradient_over_noise_of_the_stated_size() -> None:
    net, squares = Known(10.0), small_squares(1)
    found = evidence(Classifier(net), squares, target=1, method="smooth_grad").maps[0] * 255
    x = squares[0, 0] / 255
    expected = net.slope.detach() + 20 * x
    noise = ((found - expected) / 20).numpy()
    spread = NOISE * float(x.max() - x.min()) / np.sqrt(32)
    assert noise.std() == pytest.approx(spread, rel=0.15)
    assert abs(noise.mean()) < 3 * spread / SIDE * 2


def test_noise_is_the_same_for_every_picture_and_the_callers_is_untouched() -> None:
    classifier, squares = small_classifier(), small_squares(3)
    torch.manual_seed(5)
    following = torch.rand(1)
    torch.manual_seed(5)
    first = evidence(classifier, squares, target=0, method="smooth_grad").maps
    assert torch.equal(torch.rand(1), following)
    again = evidence(classifier, squares.flip(0), target=0, method="smooth_grad").maps
    torch.testing.assert_close(again.flip(0), first)
