"""Stages: each is the whole net cut in two, and its cells lie where its grid says."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.heat.cams import CAMS
from clearhead.heat.evidence import class_evidence, evidence
from clearhead.model.classifier import Classifier
from clearhead.model.nets import NETS, SEAM, CompactNet, Net, ReportNet, Stage, stages_of

SIDE = 96

NAMES = {
    "report": ("conv1", "conv2", "conv3"),
    "compact": ("stem", "body", "block1", "block2", "block3"),
    "evidence": ("stem", "joined", "evidence"),
}

EACH = pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name, stages in NAMES.items() for stage in stages]
)


def net_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = NETS[name](3, size_px=SIDE).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return net


def stage_of(net: nn.Module, name: str) -> Stage:
    return next(stage for stage in stages_of(cast(Net, net)) if stage.name == name)


@pytest.mark.parametrize("name", list(NETS))
def test_the_stages_are_named_and_the_last_is_the_seam(name: str) -> None:
    net = net_of(name)
    stages = stages_of(cast(Net, net))
    assert tuple(stage.name for stage in stages) == NAMES[name]
    x = torch.rand(1, 1, SIDE, SIDE)
    assert torch.equal(stages[-1].features(x), cast(Net, net).features(x))
    assert stages[-1].grid == cast(Net, net).grid


@EACH
def test_a_stage_is_the_whole_net_cut_in_two(name: str, stage: str) -> None:
    net, x = net_of(name), torch.rand(2, 1, SIDE, SIDE)
    cut = stage_of(net, stage)
    torch.testing.assert_close(cut.head(cut.features(x)), net(x), rtol=1e-4, atol=1e-4)


def smoothed(name: str) -> nn.Module:
    """The net with positive symmetric kernels and means for maxima: the same geometry, linear."""
    net = net_of(name)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.fill_(1 / part.weight[0].numel())
                if part.bias is not None:
                    part.bias.zero_()
    if isinstance(net, ReportNet):
        net.pool = nn.AvgPool2d(2)  # type: ignore[assignment]
    for part in net.modules():
        for key, child in part.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(part, key, nn.Identity())
    return net


@EACH
def test_what_a_cell_sees_is_centred_where_the_grid_says(name: str, stage: str) -> None:
    """The gradient of one cell by the picture is its receptive field."""
    cut = stage_of(smoothed(name), stage)
    side = 160  # cells far from the border
    x = torch.ones(1, 1, side, side, requires_grad=True)
    maps = cut.features(x)
    row, column = maps.shape[2] // 2, maps.shape[3] // 2 - 1
    (field,) = torch.autograd.grad(maps[0, :, row, column].sum(), x)
    weight = field[0, 0] / field.sum()
    place = torch.arange(side, dtype=torch.float32)
    grid = cut.grid
    down, across = float((weight.sum(1) * place).sum()), float((weight.sum(0) * place).sum())
    assert down == pytest.approx(grid.offset_px + grid.stride_px * row, abs=0.02)
    assert across == pytest.approx(grid.offset_px + grid.stride_px * column, abs=0.02)


@pytest.mark.parametrize(
    ("name", "stage", "method"),
    [
        (name, stage, method)
        for name, stages in NAMES.items()
        for stage in stages
        for method in [*CAMS, "ablation_cam", "score_cam"]
        if method != "score_cam" or stage == "stem"
    ],
)
def test_every_method_of_maps_works_at_every_stage(name: str, stage: str, method: str) -> None:
    net = net_of(name)
    squares = torch.randint(0, 256, (1, 1, SIDE, SIDE), dtype=torch.uint8)
    found = evidence(Classifier(net), squares, target=1, method=method, stage=stage)
    cut = stage_of(net, stage)
    assert found.grid == cut.grid
    assert found.maps.shape[1:] == cut.features(torch.zeros(1, 1, SIDE, SIDE)).shape[2:]
    assert torch.isfinite(found.maps).all()
    assert float(found.maps.abs().max()) > 0


def test_the_last_stage_is_what_is_looked_at_unless_told() -> None:
    classifier = Classifier(net_of("compact"))
    squares = torch.randint(0, 256, (2, 1, SIDE, SIDE), dtype=torch.uint8)
    told = class_evidence(classifier, squares, stage="block3")
    assert torch.equal(class_evidence(classifier, squares).maps, told.maps)
    assert not torch.equal(class_evidence(classifier, squares, stage="block2").maps, told.maps)


def test_gradients_of_an_earlier_stage_are_the_whole_nets() -> None:
    net = cast(CompactNet, net_of("compact"))
    squares = torch.randint(0, 256, (2, 1, SIDE, SIDE), dtype=torch.uint8)
    found = evidence(Classifier(net), squares, target=2, method="hires_cam", stage="stem")
    classifier = Classifier(net)
    maps = net.stem(classifier.normalise(squares)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.head(net.body(maps))[:, 2].sum(), maps)
    literal = (maps * gradient).sum(1) * maps.shape[2] * maps.shape[3]
    torch.testing.assert_close(found.maps, literal.detach(), rtol=1e-4, atol=1e-3)


def test_a_net_that_tells_of_no_stages_has_its_seam() -> None:
    class Plain(nn.Module):
        grid = Grid(0.0, 1.0)

        def features(self, x: Tensor) -> Tensor:
            return x

        def head(self, maps: Tensor) -> Tensor:
            return maps.mean((2, 3))

    (only,) = stages_of(cast(Net, Plain()))
    assert only.name == SEAM
    squares = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8)
    found = evidence(Classifier(Plain()), squares, stage=SEAM)
    torch.testing.assert_close(found.maps[0], squares[0, 0] / 255)
