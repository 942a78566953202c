"""What every method must do: leave the net alone, explain a picture alone, never say NaN."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.errors import MissingExtra, RecipeError
from clearhead.heat.cams import CAMS
from clearhead.heat.evidence import class_evidence, coincide, evidence, evidences
from clearhead.heat.methods import METHODS
from clearhead.heat.seen import SCORES, look
from clearhead.model.classifier import Classifier, build
from clearhead.model.nets import CompactNet, stages_of
from clearhead.types import Recipe
from small_nets import SIDE, Small, small_classifier, small_squares

EVERY = pytest.mark.parametrize("method", list(METHODS))

LINEAR = (
    "grad_cam",
    "hires_cam",
    "xgrad_cam",
    "ablation_cam",
    "occlusion",
    "rise",
    "integrated_gradients",
    "smooth_grad",
)
"""Methods whose map for a sum of scores is the sum of their maps."""


def close(one: Tensor, other: Tensor, share: float = 1e-4) -> None:
    """The same up to a share of the largest value of each picture."""
    scale = other.abs().amax((-2, -1), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=share)


@EVERY
def test_a_picture_is_explained_alone(method: str) -> None:
    classifier, squares = small_classifier(), small_squares(5)
    together = evidence(classifier, squares, method=method)
    assert len(set(together.targets.tolist())) > 1  # the pictures are called differently
    for row in range(len(squares)):
        alone = evidence(classifier, squares[row : row + 1], method=method)
        assert int(alone.targets) == int(together.targets[row])
        close(alone.maps[0], together.maps[row])
    brighter = squares.clone()
    brighter[1:] = 255
    close(evidence(classifier, brighter, method=method).maps[0], together.maps[0])


@EVERY
@pytest.mark.parametrize("score", ["logit", "margin"])
def test_all_classes_at_once_are_each_class_by_itself(method: str, score: str) -> None:
    classifier, squares = small_classifier(), small_squares(2)
    every = class_evidence(classifier, squares, method=method, score=score)
    assert every.maps.shape[:2] == (2, 3)
    assert every.maps.dtype == torch.float32
    for target in range(3):
        one = evidence(classifier, squares, target=target, method=method, score=score)
        close(one.maps, every.maps[:, target])
        assert (one.grid, one.unit) == (every.grid, every.unit)
    called = evidence(classifier, squares, method=method, score=score)
    named = evidence(classifier, squares, target=called.targets, method=method, score=score)
    assert torch.equal(called.targets, called.logits.argmax(1))
    close(named.maps, called.maps)


def test_several_methods_at_once_are_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, squares = small_classifier(), small_squares(3)
    target = torch.tensor([2, 0, 1])
    passes: list[int] = []
    features = Small.features

    def watched(self: Small, x: Tensor) -> Tensor:
        passes.append(len(x))
        return features(self, x)

    monkeypatch.setattr(Small, "features", watched)
    together = evidences(classifier, squares, METHODS, target=target, score="margin")
    evidences(classifier, squares, CAMS)
    assert passes[0] == passes[-1] == 3
    assert passes.count(3) == 2  # the backbone once for all methods of maps
    assert list(together) == list(METHODS)
    for method, found in together.items():
        alone = evidence(classifier, squares, method=method, target=target, score="margin")
        close(found.maps, alone.maps)
        assert (found.grid, found.unit) == (alone.grid, alone.unit)
    mixed = evidences(classifier, squares, ("grad_cam", "occlusion"), stage="early")
    assert mixed["grad_cam"].grid == Grid(0.0, 2.0)
    close(mixed["occlusion"].maps, evidence(classifier, squares, method="occlusion").maps)


@pytest.mark.parametrize("method", LINEAR)
def test_the_margins_map_is_that_of_its_logits(method: str) -> None:
    classifier, squares = small_classifier(), small_squares(2)
    logits = class_evidence(classifier, squares, method=method).maps
    margins = class_evidence(classifier, squares, method=method, score="margin").maps
    for target in range(3):
        others = [logits[:, k] for k in range(3) if k != target]
        close(margins[:, target], logits[:, target] - (others[0] + others[1]) / 2, 1e-3)


@EVERY
def test_a_margin_does_not_change_with_what_no_probability_shows(method: str) -> None:
    """One vector added to the weights of every logit: the same classifier, other logits."""
    classifier, squares = small_classifier(), small_squares(2)
    same = small_classifier()
    with torch.no_grad():
        cast(Small, same.net).out.weight.add_(torch.tensor([3.0, -2.0, 1.0, 2.0, -1.0, 2.0]))
    found = [
        {score: class_evidence(net, squares, method=method, score=score) for score in SCORES}
        for net in (classifier, same)
    ]
    torch.testing.assert_close(
        found[0]["logit"].logits.softmax(1), found[1]["logit"].logits.softmax(1)
    )
    close(found[1]["margin"].maps, found[0]["margin"].maps, 1e-3)
    if method != "eigen_cam":  # knows no score
        assert not torch.allclose(found[0]["logit"].maps, found[1]["logit"].maps, rtol=0.05)


def hooks_of(module: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(part, kind)) for part in module.modules() for kind in kinds)


def state_of(classifier: Classifier) -> list[Any]:
    return [
        [part.training for part in classifier.modules()],
        [value.requires_grad for value in classifier.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in classifier.parameters()],
        {name: value.tolist() for name, value in classifier.state_dict().items()},
        hooks_of(classifier),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    ]


@EVERY
@pytest.mark.parametrize("breaks", [False, True])
def test_the_classifier_is_left_as_it_was(method: str, breaks: bool) -> None:
    classifier, squares = small_classifier().train(), small_squares(2)
    cast(Small, classifier.net).second.eval()  # a mixed mode, as a frozen backbone has
    cast(Small, classifier.net).second.requires_grad_(False)
    classifier(squares).sum().backward()  # the user's own gradients
    before, kept = state_of(classifier), squares.clone()
    if breaks:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Small, "head", broken)
            with pytest.raises(ValueError, match="broken head"):
                evidence(classifier, squares, method=method)
    else:
        evidence(classifier, squares, method=method)
    assert state_of(classifier) == before
    assert torch.equal(squares, kept)


@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam", "smooth_grad"])
def test_a_net_in_training_is_explained_as_it_predicts(method: str) -> None:
    torch.manual_seed(0)
    classifier = build(Recipe.preset("compact", size_px=48, dropout=0.9), 3)
    squares = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    training = evidence(classifier.train(), squares, target=0, method=method)
    assert classifier.training
    predicting = evidence(classifier.eval(), squares, target=0, method=method)
    assert torch.equal(training.logits, predicting.logits)
    close(training.maps, predicting.maps)


def test_values_given_to_a_net_that_works_in_place_stay_as_they_are() -> None:
    classifier = small_classifier(in_place=True)
    stage = stages_of(classifier.net)[0]
    with torch.no_grad():
        seen = look(classifier, small_squares(2), stage, "logit", lambda _: _, graph=False)
        for given, score in ((seen.maps, seen.scores_of_maps), (seen.x - 1, seen.scores_of_inputs)):
            kept = given.clone()
            score(given)
            assert float(given.min()) < 0  # there is something to rectify
            assert torch.equal(given, kept)


def broken(self: object, maps: Tensor) -> Tensor:
    raise ValueError("broken head")


@EVERY
@pytest.mark.parametrize("stage", ["early", "late"])
def test_frozen_nets_that_rectify_in_place_give_the_same_map(method: str, stage: str) -> None:
    squares = small_squares(2)
    place = stage if METHODS[method].staged else None
    plain = evidence(small_classifier(), squares, method=method, stage=place)
    frozen = small_classifier(in_place=True).requires_grad_(False)
    with torch.no_grad():
        close(evidence(frozen, squares, method=method, stage=place).maps, plain.maps)
    with torch.inference_mode():
        close(evidence(frozen, squares, method=method, stage=place).maps, plain.maps)


@EVERY
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_works(method: str, kind: torch.dtype) -> None:
    squares = small_squares(3)
    exact = class_evidence(small_classifier(), squares, method=method).maps
    half = class_evidence(small_classifier().to(kind), squares, method=method).maps
    assert half.dtype == torch.float32
    assert torch.isfinite(half).all()
    pairs = torch.stack([half.flatten(), exact.flatten()])
    assert float(torch.corrcoef(pairs)[0, 1]) > (0.9 if kind is torch.bfloat16 else 0.99)


@EVERY
@pytest.mark.parametrize("score", SCORES)
def test_nothing_is_zero_and_never_nan(method: str, score: str) -> None:
    classifier = small_classifier()
    black, grey = torch.zeros(1, 1, SIDE, SIDE), torch.full((1, 1, SIDE, SIDE), 90.0)
    blank = torch.cat([black, grey]).to(torch.uint8)
    assert torch.isfinite(class_evidence(classifier, blank, method=method, score=score).maps).all()
    deaf = small_classifier()
    with torch.no_grad():
        cast(Small, deaf.net).out.weight.zero_()
    found = class_evidence(deaf, small_squares(2), method=method, score=score).maps
    assert torch.isfinite(found).all()
    if method not in ("eigen_cam", "score_cam"):  # these see maps where the score hears none
        assert float(found.abs().max()) < 1e-6


@EVERY
def test_a_saturated_softmax_is_no_evidence_rather_than_nan(method: str) -> None:
    classifier = small_classifier()
    with torch.no_grad():
        cast(Small, classifier.net).out.weight.mul_(1e4)
    found = evidence(classifier, small_squares(2), method=method, score="probability")
    assert torch.isfinite(found.maps).all()


@EVERY
def test_the_grid_spans_the_square(method: str) -> None:
    found = evidence(small_classifier(), small_squares(1), method=method)
    rows, columns = found.maps.shape[1:]
    assert rows == columns
    last = found.grid.offset_px + (rows - 1) * found.grid.stride_px
    half = found.grid.stride_px
    assert -half <= found.grid.offset_px <= half
    assert SIDE - 1 - half <= last <= SIDE - 1 + half


def test_units_say_what_a_number_is() -> None:
    def unit(method: str, score: str) -> str:
        return evidence(small_classifier(), small_squares(1), method=method, score=score).unit

    assert unit("grad_cam", "logit") == "logit"
    assert unit("grad_cam", "probability") == "probability"
    assert unit("occlusion", "margin") == "logit margin"
    assert unit("eigen_cam", "logit") == unit("score_cam", "logit") == "activation"
    assert unit("ablation_cam", "logit") == "logit × activation"
    assert unit("integrated_gradients", "logit") == "logit per pixel"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"score": "loss"}, "score is 'loss': expected logit, probability, margin"),
        ({"method": "guess"}, "method is 'guess': expected grad_cam, "),
        ({"target": 3}, "target is 3: expected classes from 0 to 2"),
        ({"target": -1}, "target is -1"),
        ({"stage": "conv9"}, "the net has no stage 'conv9': expected early, late"),
        ({"stage": "early", "method": "rise"}, "rise looks at the picture and at no stage"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        evidence(small_classifier(), small_squares(1), **wrong)
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


def test_a_net_without_a_seam_is_told_what_it_lacks() -> None:
    with pytest.raises(RecipeError, match="Linear has no 'features'"):
        evidence(Classifier(nn.Linear(4, 2)), small_squares(1))


@pytest.mark.parametrize("method", ["integrated_gradients", "smooth_grad"])
def test_without_captum_the_extra_is_named(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("captum"):
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.startswith("captum")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'clearhead\[captum\]'"):
        evidence(small_classifier(), small_squares(1), method=method)


class Linear(nn.Module):
    """A dense layer on the maps: linear, and not pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, 4, 1)
        self.out = nn.Linear(4 * 36, 3)
        self.grid = Grid(0.0, 4.0)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.out(maps.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def strong(preset: str, side: int = 64) -> Classifier:
    """A net of ours with weights as large as training makes them."""
    torch.manual_seed(1)
    classifier = build(Recipe.preset(preset, size_px=side), 3).eval()
    with torch.no_grad():
        for value in classifier.parameters():
            value.add_(0.2 * torch.randn_like(value) * value.abs().mean().clamp(min=0.05))
        cast(CompactNet, classifier.net).out.weight.mul_(20)
    return classifier


def test_for_a_pooled_linear_head_the_map_is_the_logit_picture_by_picture() -> None:
    """Class activation mapping as first published: the last weights times the maps."""
    classifier = strong("compact")
    net = cast(CompactNet, classifier.net)
    squares = torch.randint(0, 256, (6, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        maps = net.features(classifier.normalise(squares))
        cam = torch.einsum("kc,bchw->bkhw", net.out.weight, maps)
    for method in ("grad_cam", "hires_cam", "xgrad_cam"):
        found = class_evidence(classifier, squares, method=method)
        close(found.maps, cam)
        for row in range(len(squares)):
            logits = found.maps[row].mean((1, 2)) + net.out.bias
            torch.testing.assert_close(logits, found.logits[row], rtol=1e-4, atol=1e-3)


def test_methods_that_are_one_map_are_one_witness() -> None:
    squares = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    for score in SCORES:
        groups = coincide(strong("compact"), squares, score=score)
        assert groups[0] == ("grad_cam", "hires_cam", "xgrad_cam")
        assert len(groups) == 1 + len(CAMS) - 3
    assert coincide(strong("report"), squares) == tuple((name,) for name in CAMS)


def test_a_linear_head_that_is_not_pooled_keeps_its_methods_apart() -> None:
    torch.manual_seed(0)
    classifier = Classifier(Linear()).eval()
    groups = coincide(classifier, small_squares(3), ("grad_cam", "hires_cam", "xgrad_cam"))
    assert groups == (("grad_cam",), ("hires_cam",), ("xgrad_cam",))
    with torch.no_grad():  # two times one map is not that map; a copy of it is
        assert coincide(classifier, small_squares(3), ("rise", "occlusion", "rise")) == (
            ("rise", "rise"),
            ("occlusion",),
        )


def test_a_map_off_by_a_factor_is_another_map() -> None:
    """Ablation-CAM of a pooled linear head weighs each map by its own mean besides."""
    squares = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    assert len(coincide(strong("compact"), squares, ("grad_cam", "ablation_cam"))) == 2
