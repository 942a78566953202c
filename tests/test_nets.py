"""Nets: published size, exact seams, exact geometry."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from clearhead.model.classifier import build
from clearhead.model.nets import (
    NETS,
    CompactNet,
    EvidenceNet,
    GreyConv2d,
    GroupNorm,
    HalvingMaxPool2d,
    Net,
    ReportNet,
    StandardConv2d,
)
from clearhead.types import Recipe


def count(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_report_net_has_the_published_number_of_parameters() -> None:
    assert count(ReportNet(2)) == 14_839_234
    assert count(ReportNet(5)) == 14_839_234 + 3 * (128 + 1)


def test_compact_net_has_about_a_million_parameters_and_stride_8() -> None:
    net = CompactNet(2)
    assert 0.8e6 < count(net) < 1.2e6
    assert net.features(torch.zeros(1, 1, 192, 192)).shape == (1, 128, 24, 24)


def test_report_net_equals_its_literal_layers_on_rgb() -> None:
    torch.manual_seed(0)
    net = ReportNet(2, size_px=64).eval()
    grey = torch.rand(3, 1, 64, 64)
    x = grey.expand(3, 3, 64, 64)
    for conv in (net.conv1, net.conv2, net.conv3):
        x = nn.functional.max_pool2d(torch.relu(nn.Conv2d.forward(conv, x)), 2)
    flat = x.permute(0, 2, 3, 1).reshape(3, -1)
    literal = net.out(torch.relu(net.dense(flat)))
    torch.testing.assert_close(net(grey), literal, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_grey_convolution_has_the_gradients_of_three_equal_channels(training: bool) -> None:
    torch.manual_seed(0)
    conv = GreyConv2d(3, 4, 3).double().train(training)
    grey = torch.rand(2, 1, 9, 8, dtype=torch.float64, requires_grad=True)
    assert conv.bias is not None
    wanted = (conv.weight, conv.bias, grey)
    ours = torch.autograd.grad(conv(grey).pow(2).sum(), wanted)
    colour = nn.Conv2d.forward(conv, grey.expand(2, 3, 9, 8))
    theirs = torch.autograd.grad(colour.pow(2).sum(), wanted)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("stored", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [8, 9])
def test_halving_keeps_the_values_and_gradients_of_max_pooling(
    side: int, stored: torch.memory_format
) -> None:
    torch.manual_seed(0)
    pool = HalvingMaxPool2d().train()
    # Few levels: many windows have two highest values, of which one alone is answered for.
    x = torch.randint(0, 3, (2, 5, side, 7)).float().contiguous(memory_format=stored)
    slope = torch.randn(2, 5, side // 2, 3)
    results = []
    for way in (pool, nn.MaxPool2d(2)):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = way(leaf)
        (gradient,) = torch.autograd.grad(out, leaf, slope)
        results.append((out.detach(), gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("count", [1, 5])
def test_report_net_learns_the_same_from_a_few_pictures_at_a_time(count: int) -> None:
    """In training, slice by slice through its own layers; in evaluation, as torch has them."""
    torch.manual_seed(0)
    net = ReportNet(2, size_px=64, dropout=0.0)
    x = torch.rand(count, 1, 64, 64)
    gradients = []
    for training in (True, False):
        net.train(training).zero_grad()
        net(x).logsumexp(1).sum().backward()
        gradients.append([value.grad for value in net.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_forward_is_head_of_features(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name](3, size_px=96, dropout=0.5).eval()
    x = torch.rand(2, 1, 96, 96)
    seam = cast(Net, net)
    torch.testing.assert_close(net(x), seam.head(seam.features(x)))


@pytest.mark.parametrize("name", NETS)
def test_no_picture_depends_on_its_batch(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name](2, size_px=96, dropout=0.5).eval()
    x = torch.rand(5, 1, 96, 96)
    alone = torch.cat([net(one[None]) for one in x])
    torch.testing.assert_close(net(x), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_narrow_groups_have_the_gradient_of_torch(
    layout: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(8, 24)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(3, 24, 7, 5).to(dtype, memory_format=layout).requires_grad_()
    slope = torch.randn(3, 24, 7, 5).to(dtype, memory_format=layout)
    fast = norm(x)
    assert type(fast.grad_fn).__name__ == "_NarrowNormBackward"
    right = x.detach().double().requires_grad_()
    weight, bias = norm.weight.double(), norm.bias.double()
    truth = torch.nn.functional.group_norm(right, 8, weight, bias, norm.eps)
    rtol, atol = (1e-4, 1e-5) if dtype == torch.float32 else (0.03, 0.1)
    torch.testing.assert_close(fast.double(), truth, rtol=rtol, atol=atol)
    ours = torch.autograd.grad(fast, (x, norm.weight, norm.bias), slope)
    theirs = torch.autograd.grad(truth, (right, norm.weight, norm.bias), slope.double())
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.double(), other.double(), rtol=rtol, atol=atol)
    assert ours[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("inputs", [1, 5])
def test_standardised_filters_are_those_of_the_literal_formula(inputs: int) -> None:
    torch.manual_seed(0)
    conv = StandardConv2d(inputs, 4, 3, 2)
    with torch.no_grad():
        conv.gain.normal_()
        conv.bias.normal_()
    x = torch.rand(2, inputs, 9, 11)
    right = torch.empty_like(conv(x))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    for channel, row in enumerate(conv.weight):
        own = row.view(3, 3, inputs).permute(2, 0, 1)
        filter_ = own - own.mean() if inputs > 1 else own
        filter_ = (
            (2 / (1 - 1 / math.pi)) ** 0.5
            * conv.gain[channel]
            * filter_
            / (filter_.norm() ** 2 + 1e-4).sqrt()
        )
        for down in range(right.shape[2]):
            for across in range(right.shape[3]):
                seen = padded[:, :, 2 * down : 2 * down + 3, 2 * across : 2 * across + 3]
                value = (seen * filter_).sum((1, 2, 3)) + conv.bias[channel]
                right[:, channel, down, across] = value
    torch.testing.assert_close(conv(x), right, rtol=1e-4, atol=1e-5)


def test_standardised_filters_keep_the_spread_of_rectified_maps() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 64, 24, 24)
    for _ in range(4):
        x = StandardConv2d(64, 64, 3)(torch.relu(x))[:, :, 1:-1, 1:-1]
        assert float(x.detach().std()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("norm", "knows"), [("group", True), ("weight", False)])
def test_what_a_place_knows_of_far_ones(norm: str, knows: bool) -> None:
    torch.manual_seed(0)
    net = EvidenceNet(2, absent=1, norm=norm).eval()
    for value in net.parameters():
        nn.init.normal_(value, 0.3, 0.3)  # as they are made, residual blocks say nothing
    x = torch.rand(1, 1, 192, 192)
    changed = x.clone()
    changed[:, :, :20] = 0
    before, after = (net.features(each)[0, 0, 24:] for each in (x, changed))
    assert bool((before != after).any()) == knows


@pytest.mark.parametrize("name", ["compact", "evidence"])
def test_nets_without_normalised_maps_have_the_same_seam(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name](3, size_px=96, dropout=0.5, norm="weight").eval()
    x = torch.rand(2, 1, 96, 96)
    seam = cast(Net, net)
    torch.testing.assert_close(net(x), seam.head(seam.features(x)))
    assert count(net) == count(NETS[name](3, size_px=96))


@pytest.mark.parametrize("name", NETS)
def test_grid_says_where_cells_lie(name: str) -> None:
    """The input gradient of a cell is centred on offset + stride·cell, measured by its moments."""
    torch.manual_seed(0)
    net = cast(Net, NETS[name](2, size_px=192, dropout=0.0))
    with torch.no_grad():  # positive weights everywhere keep every path of the cell open
        for part in cast(nn.Module, net).modules():
            if isinstance(part, nn.Conv2d):
                part.weight.fill_(0.01)
            if isinstance(part, nn.GroupNorm):
                part.weight.fill_(0.0)
                part.bias.fill_(1.0)
    linear = _without_normalisation(cast(nn.Module, net))
    x = torch.ones(1, 1, 192, 192) + 1e-3 * torch.rand(1, 1, 192, 192)
    x.requires_grad_()
    maps = cast(Net, linear).features(x)
    row, column = maps.shape[2] // 2, maps.shape[3] // 2 - 2
    (gradient,) = torch.autograd.grad(maps[0, :, row, column].sum(), x)
    weight = gradient[0, 0].abs()
    place = torch.arange(192.0)
    centre_y = float((weight.sum(1) * place).sum() / weight.sum())
    centre_x = float((weight.sum(0) * place).sum() / weight.sum())
    # Max-pooling routes each gradient to one of two pixels, so half a cell of play is left there.
    play = 1.5 if name == "report" else 0.05
    assert abs(centre_y - (net.grid.offset_px + net.grid.stride_px * row)) < play
    assert abs(centre_x - (net.grid.offset_px + net.grid.stride_px * column)) < play


def test_levelled_maps_know_nothing_of_what_is_said_of_all_places() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = EvidenceNet(3, absent=1, levelled=True).eval()
        other = EvidenceNet(3, absent=1).eval()
    other.load_state_dict({k: v for k, v in net.state_dict().items() if k != "usual"})
    x = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    plain = other.features(x)
    assert torch.equal(net.features(x), plain)  # as long as no level is known
    assert net.usual is not None
    net.usual.copy_(torch.tensor([-3.0, 0.5]))
    found = net.features(x)
    # The literal level: of 576 cells those of rank 86 to 201 from the highest.
    cells = np.sort(found.detach().flatten(2).numpy(), axis=2)[:, :, ::-1]
    assert cells[:, :, 86:202].mean(2) == pytest.approx(np.tile([-3.0, 0.5], (4, 1)), abs=1e-5)
    shift = (found - plain).flatten(2)
    torch.testing.assert_close(shift, shift[:, :, :1].expand_as(shift), atol=1e-5, rtol=0)
    assert shift[:, 0, 0].std() > 1e-4  # of each picture its own
    assert net.out.bias is not None
    with torch.no_grad():
        net.out.bias += torch.tensor([7.0, -2.0])
    torch.testing.assert_close(net.features(x), found, atol=1e-5, rtol=0)
    stage = net.stages()[1]
    torch.testing.assert_close(stage.head(stage.features(x)), net(x))
    torch.testing.assert_close(net(x), net.head(found), atol=1e-5, rtol=0)
    net.train()
    net.dropout.p = 0.0
    torch.testing.assert_close(net.features(x), plain + torch.tensor([7.0, -2.0])[:, None, None])


def _without_normalisation(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, nn.Identity())
        else:
            _without_normalisation(child)
    return module


@pytest.mark.parametrize("preset", ["report", "compact"])
def test_classifier_normalises_and_scales(preset: str) -> None:
    recipe = Recipe.preset(preset, size_px=64)
    torch.manual_seed(0)
    classifier = build(recipe, 2).eval()
    squares = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    x = (squares.float() / 255 - classifier.mean) / classifier.std
    torch.testing.assert_close(classifier(squares), classifier.net(x))
    logits = classifier(squares)
    classifier.temperature.fill_(2.0)
    torch.testing.assert_close(classifier.probabilities(logits), torch.softmax(logits / 2, 1))
    assert {"mean", "std", "temperature", "thresholds"} <= set(classifier.state_dict())
