"""Evidence maps: literal oracle, captum, exact identities, and a classifier left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.errors import RecipeError
from clearhead.heat.cams import grad_cam
from clearhead.heat.evidence import evidence
from clearhead.model.classifier import Classifier, build
from clearhead.model.nets import CompactNet, ReportNet
from clearhead.types import Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import LayerGradCam

SIDE = 96


def classifier_of(preset: str, *, classes: int = 3) -> Classifier:
    torch.manual_seed(1)
    classifier = build(Recipe.preset(preset, size_px=SIDE), classes)
    with torch.no_grad():  # zero-initialised gains and biases would make identities trivial
        for value in classifier.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return classifier.eval()


def squares_of(count: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 1, SIDE, SIDE), dtype=torch.uint8, generator=random)


def literal_grad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Equations 1 and 2 of the paper, one number at a time."""
    batch, channels, height, width = maps.shape
    heat = torch.zeros(batch, height, width, dtype=torch.float64)
    for b in range(batch):
        for k in range(channels):
            alpha = 0.0
            for i in range(height):
                for j in range(width):
                    alpha += float(gradients[b, k, i, j]) / (height * width)
            for i in range(height):
                for j in range(width):
                    heat[b, i, j] += alpha * float(maps[b, k, i, j])
    return heat


def test_grad_cam_is_its_equation() -> None:
    torch.manual_seed(0)
    maps, gradients = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(
        grad_cam(maps, gradients).double(), literal_grad_cam(maps, gradients), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("preset", ["report", "compact"])
def test_grad_cam_agrees_with_captum(preset: str, score: str) -> None:
    classifier = classifier_of(preset)
    squares = squares_of(4)
    net = classifier.net
    last = net.relu if isinstance(net, ReportNet) else cast(CompactNet, net).body

    class Plain(nn.Module):
        """The same net with its layers called once each, in the textbook order."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Identity() if isinstance(net, ReportNet) else last

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(net, ReportNet):
                logits = net.head(self.last(net.features(x)))
            else:
                logits = net.head(self.last(cast(CompactNet, net).stem(x)))
            return logits if score == "logit" else classifier.probabilities(logits)

    plain = Plain()
    oracle = LayerGradCam(plain, plain.last)
    for target in range(3):
        theirs = oracle.attribute(
            classifier.normalise(squares), target=target, relu_attributions=True
        )[:, 0]
        found = evidence(classifier, squares, target=target, score=score).maps
        ours = found.clamp(min=0) / (found.shape[1] * found.shape[2])
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-6)


def test_mean_of_the_map_plus_bias_is_the_logit_of_a_pooled_linear_head() -> None:
    classifier = classifier_of("compact")
    bias = cast(CompactNet, classifier.net).out.bias
    for target in range(3):
        found = evidence(classifier, squares_of(3), target=target)
        torch.testing.assert_close(
            found.maps.mean((1, 2)) + bias[target], found.logits[:, target], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("preset", ["report", "compact"])
def test_one_picture_and_sixty_four_give_the_same_map(preset: str) -> None:
    classifier = classifier_of(preset)
    squares = squares_of(64)
    together = evidence(classifier, squares)
    alone = [evidence(classifier, one[None]) for one in squares[:6]]
    scale = float(together.maps.abs().max())
    for row, single in enumerate(alone):
        assert int(single.targets) == int(together.targets[row])
        torch.testing.assert_close(
            single.maps[0] / scale, together.maps[row] / scale, rtol=0, atol=1e-5
        )


def test_default_target_is_each_pictures_own_call() -> None:
    classifier = classifier_of("compact")
    found = evidence(classifier, squares_of(16))
    assert torch.equal(found.targets, found.logits.argmax(1))


def state_of(classifier: Classifier) -> tuple[list[bool], dict[str, Tensor], list[Tensor | None]]:
    modes = [part.training for part in classifier.modules()]
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in classifier.parameters()]
    return modes, weights, grads


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


@pytest.mark.parametrize("breaks", [False, True])
def test_the_classifier_is_left_as_it_was(breaks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of("compact").train()
    cast(CompactNet, classifier.net).body.eval()  # a mixed mode, as a frozen backbone has
    classifier(squares_of(2)).sum().backward()  # the user's own gradients
    requires = [value.requires_grad for value in classifier.parameters()]
    modes, weights, grads = state_of(classifier)
    if breaks:

        def broken(self: object, maps: Tensor) -> Tensor:
            raise ValueError("broken head")

        monkeypatch.setattr(CompactNet, "head", broken)
        with pytest.raises(ValueError, match="broken head"):
            evidence(classifier, squares_of(2))
    else:
        evidence(classifier, squares_of(2))
    modes_now, weights_now, grads_now = state_of(classifier)
    assert modes_now == modes
    assert all(torch.equal(weights[name], weights_now[name]) for name in weights)
    assert all(same(a, b) for a, b in zip(grads, grads_now, strict=True))
    assert [value.requires_grad for value in classifier.parameters()] == requires
    for part in classifier.modules():
        assert not part._forward_hooks
        assert not part._backward_hooks
        assert not part._forward_pre_hooks


class Bare(nn.Module):
    """A net whose head may do what heads in the wild do."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, 4)
        self._head = head
        self.grid = Grid(1.0, 4.0)

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(x))

    def head(self, maps: Tensor) -> Tensor:
        return self._head(maps)


def test_frozen_backbones_and_rectifying_in_place_work() -> None:
    torch.manual_seed(0)
    rectify = nn.ReLU(inplace=True)
    in_place = Classifier(Bare(lambda maps: rectify(maps).mean((2, 3))))
    plain = Classifier(Bare(lambda maps: torch.relu(maps).mean((2, 3))))
    plain.load_state_dict(in_place.state_dict())
    in_place.requires_grad_(False)
    torch.testing.assert_close(
        evidence(in_place, squares_of(2)).maps, evidence(plain, squares_of(2)).maps
    )


def test_no_positive_evidence_is_zero_and_never_nan() -> None:
    against = Classifier(Bare(lambda maps: -maps.abs().sum((2, 3))))
    found = evidence(against, squares_of(2))
    assert torch.isfinite(found.maps).all()
    flat = Classifier(Bare(lambda maps: 0 * maps.sum((2, 3))))
    found = evidence(flat, squares_of(2))
    assert float(found.maps.clamp(min=0).max()) == 0.0
    assert not np.isnan(found.maps.numpy()).any()


@pytest.mark.parametrize("wrong", [{"score": "loss"}, {"method": "guess"}])
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match="expected"):
        evidence(classifier_of("compact"), squares_of(1), **wrong)  # type: ignore[arg-type]
