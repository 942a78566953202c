"""Defects that other tools are known for, and that ours must not have.

Hooks, modes, gradients of the user, frozen nets, half precision and blank maps are tested in
`test_heat.py`, `test_cams.py` and `test_evidence.py`; here is the rest. The same defects are
measured in the other tools by `benchmarks/known_defects.py`.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.heat.cams import CAMS, grad_cam_plus_plus
from clearhead.heat.evidence import evidence
from clearhead.measure.localisation import distances, pointing
from clearhead.model.classifier import Classifier

SIDE, CHANNELS, CLASSES = 32, 8, 4


class Plain(nn.Module):
    """A convolution with ReLU, and a head."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, CHANNELS, 3, 4, 1), nn.ReLU(inplace=True))
        self.last = head
        self.grid = Grid(offset_px=0.0, stride_px=4.0)

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.first(x))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.last(maps))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def dense(*before: nn.Module) -> nn.Sequential:
    """A head that bends: every picture has gradients of its own."""
    places = CHANNELS * (SIDE // 4) ** 2
    layers = (nn.Flatten(), nn.Linear(places, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    return nn.Sequential(*before, *layers)


def pooled(weight: float) -> nn.Sequential:
    """A pooled linear head that weighs every channel of every class alike, without bias."""
    linear = nn.Linear(CHANNELS, CLASSES, bias=False)
    nn.init.constant_(linear.weight, weight)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def classifier_of(head: nn.Module, *, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(Plain(head)).eval()


def squares_of(count: int, *, side: int = SIDE) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8, generator=random)


# --- Maps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(CAMS))
def test_pictures_called_differently_keep_their_own_class_and_map(method: str) -> None:
    squares = squares_of(6)
    with torch.no_grad():  # so that the classes called depend on the picture
        torch.manual_seed(0)
        last = cast(nn.Linear, (head := dense())[3])
        classifier = classifier_of(head)
        last.weight.mul_(10)
        last.bias.sub_(classifier(squares).mean(0))
        calls = classifier(squares).argmax(1)
    assert len(calls.unique()) >= 3
    together = evidence(classifier, squares, method=method)
    assert torch.equal(together.targets, calls)
    for row, call in enumerate(calls.tolist()):
        alone = evidence(classifier, squares[row : row + 1], target=call, method=method)
        torch.testing.assert_close(together.maps[row], alone.maps[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-4, 0.5, 3.0])
def test_a_map_is_as_strong_as_its_evidence(factor: float) -> None:
    strong, weak = classifier_of(pooled(1.0)), classifier_of(pooled(factor))
    squares = squares_of(2)
    expected = factor * evidence(strong, squares, target=0).maps
    torch.testing.assert_close(evidence(weak, squares, target=0).maps, expected)


def test_evidence_against_a_class_is_told_from_none() -> None:
    against, nothing = classifier_of(pooled(-1.0)), classifier_of(pooled(0.0))
    assert float(evidence(against, squares_of(2), target=0).maps.amax()) < 0
    assert not evidence(nothing, squares_of(2), target=0).maps.any()


# --- Grad-CAM++ -----------------------------------------------------------------------------


def test_grad_cam_plus_plus_by_hand_where_channels_compete() -> None:
    """Weights 4 / (8 + 8·4) · 2 = 0.2 and 2 · 1 / (2 + 2) = 0.5: the left is twice the right.

    Without the denominators the weights are 8 and 2, and the right would be twice the left.
    """
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    gradients = torch.tensor([[[[2.0, -1.0]], [[1.0, 1.0]]]])
    torch.testing.assert_close(grad_cam_plus_plus(maps, gradients), torch.tensor([[[1.2, 0.6]]]))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-8])
def test_grad_cam_plus_plus_holds_for_small_gradients(scale: float) -> None:
    """No constant stands in the denominator to drown it; float64 is the oracle."""
    random = torch.Generator().manual_seed(3)
    maps = torch.rand(1, 5, 6, 7, generator=random)
    gradients = scale * torch.randn(1, 5, 6, 7, generator=random)
    exact = torch.zeros(6, 7, dtype=torch.float64)
    for plane, slope in zip(maps[0].double(), gradients[0].double(), strict=True):
        alpha = slope**2 / (2 * slope**2 + slope**3 * plane.sum())
        exact += (alpha * slope.clamp(min=0)).sum() * plane
    found = grad_cam_plus_plus(maps, gradients)[0].double()
    torch.testing.assert_close(found / scale, exact / scale, rtol=1e-4, atol=1e-5)


# --- What is done to the net ----------------------------------------------------------------


@pytest.mark.parametrize("method", list(CAMS))
def test_no_gradient_runs_through_the_backbone(method: str) -> None:
    classifier = classifier_of(dense())
    graphs = []
    first = cast(Plain, classifier.net).first
    first.register_forward_hook(lambda module, inputs, output: graphs.append(output.grad_fn))
    evidence(classifier, squares_of(2), method=method)
    assert graphs == [None]


@pytest.mark.parametrize("method", list(CAMS))
def test_dropout_sleeps_while_a_net_in_training_is_explained(method: str) -> None:
    classifier = classifier_of(dense(nn.Dropout(0.5))).train()
    squares = squares_of(2)
    first, second = (evidence(classifier, squares, target=0, method=method) for _ in range(2))
    assert torch.equal(first.maps, second.maps)
    assert torch.equal(first.logits, second.logits)
    assert all(part.training for part in classifier.modules())


def test_layers_in_place_stay_so() -> None:
    classifier = classifier_of(dense(nn.ReLU(inplace=True)))
    evidence(classifier, squares_of(2))
    net = cast(Plain, classifier.net)
    rectifiers = [net.first[1], cast(nn.Sequential, net.last)[0]]
    assert all(cast(nn.ReLU, each).inplace for each in rectifiers)


@pytest.mark.parametrize("error", [IndexError, RuntimeError, ValueError])
def test_an_error_of_the_net_reaches_the_caller(error: type[Exception]) -> None:
    class Fails(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            raise error("broken")

    with pytest.raises(error, match="broken"):
        evidence(classifier_of(Fails()), squares_of(2))


# --- Pointing game --------------------------------------------------------------------------


def test_nothing_is_no_hit_and_pointing_nowhere_is_chance() -> None:
    """Blank, flat, and pointed heats beside each other; then the same for an empty mask."""
    mask = np.zeros((8, 8), bool)
    mask[3:5, 3:5] = True
    outside, inside = np.zeros((2, 8, 8), np.float32)
    outside[0, 0], inside[3, 4] = 1, 1
    heats = np.stack([np.zeros_like(inside), np.ones_like(inside), outside, inside])
    masks = np.repeat(mask[None], len(heats), 0)
    assert pointing(heats, distances(masks))[:, 0].tolist() == [0, mask.mean(), 0, 1]
    assert np.isnan(pointing(heats, distances(masks & False))).all()


def test_a_pictures_score_does_not_depend_on_the_others() -> None:
    random = np.random.default_rng(0)
    heats = random.random((5, 8, 8), np.float32)
    heats[2] *= 1e-6
    masks = random.random((5, 8, 8)) < 0.2
    together = pointing(heats, distances(masks))
    alone = [pointing(heats[row : row + 1], distances(masks[row : row + 1]))[0] for row in range(5)]
    np.testing.assert_array_equal(together, np.array(alone))
