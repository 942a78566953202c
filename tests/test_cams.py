"""Class activation maps against their equations, one number at a time, and exact identities."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.heat.cams import (
    CAMS,
    eigen_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    xgrad_cam,
)

Planes = NDArray[np.float64]
"""Maps or gradients of one picture, (C, h, w)."""


def literal_grad_cam(maps: Planes, gradients: Planes) -> Planes:
    heat = np.zeros(maps.shape[1:])
    for plane, gradient in zip(maps, gradients, strict=True):
        heat += sum(gradient.ravel().tolist()) / gradient.size * plane
    return heat


def literal_hires_cam(maps: Planes, gradients: Planes) -> Planes:
    heat = np.zeros(maps.shape[1:])
    for (_, row, column), value in np.ndenumerate(maps * gradients):
        heat[row, column] += value
    return heat


def literal_xgrad_cam(maps: Planes, gradients: Planes) -> Planes:
    heat = np.zeros(maps.shape[1:])
    for plane, gradient in zip(maps, gradients, strict=True):
        total = math.fsum(plane.ravel())
        if total:
            alpha = sum(a * g / total for a, g in zip(plane.ravel(), gradient.ravel(), strict=True))
            heat += alpha * plane
    return heat


def literal_grad_cam_plus_plus(maps: Planes, gradients: Planes) -> Planes:
    heat = np.zeros(maps.shape[1:])
    for plane, gradient in zip(maps, gradients, strict=True):
        total, weight = math.fsum(plane.ravel()), 0.0
        for g in gradient.ravel().tolist():
            under = 2 * g**2 + total * g**3
            weight += (g**2 / under if under else 0.0) * max(g, 0.0)
        heat += weight * plane
    return heat


def literal_layer_cam(maps: Planes, gradients: Planes) -> Planes:
    heat = np.zeros(maps.shape[1:])
    for (k, row, column), g in np.ndenumerate(gradients):
        if g > 0:
            heat[row, column] += g * maps[k, row, column]
    return heat


def literal_eigen_cam(maps: Planes, gradients: Planes) -> Planes:
    """The leading eigenvector of AᵀA by power iteration."""
    plane = maps.reshape(len(maps), -1).T
    vector = np.ones(plane.shape[1])
    for _ in range(5000):
        vector = plane.T @ (plane @ vector)
        vector /= np.linalg.norm(vector)
    heat = plane @ vector
    return (heat if heat.sum() >= 0 else -heat).reshape(maps.shape[1:])


LITERAL: dict[str, Callable[[Planes, Planes], Planes]] = {
    "grad_cam": literal_grad_cam,
    "hires_cam": literal_hires_cam,
    "xgrad_cam": literal_xgrad_cam,
    "grad_cam_plus_plus": literal_grad_cam_plus_plus,
    "layer_cam": literal_layer_cam,
    "eigen_cam": literal_eigen_cam,
}


def some(count: int = 3, *, relu: bool = True) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(4)
    maps = torch.randn(count, 5, 4, 3, generator=random, dtype=torch.float64)
    gradients = torch.randn(count, 5, 4, 3, generator=random, dtype=torch.float64)
    return (maps.relu() if relu else maps), gradients


@pytest.mark.parametrize("name", list(CAMS))
def test_every_method_is_its_equation(name: str) -> None:
    maps, gradients = some()
    maps[1, 2] = 0  # a silent channel
    gradients[2, 1] = 0  # a channel without influence
    heat = CAMS[name](maps, gradients)
    for row in range(len(maps)):
        expected = LITERAL[name](maps[row].numpy(), gradients[row].numpy())
        np.testing.assert_allclose(heat[row].numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(CAMS))
def test_a_picture_is_explained_alone(name: str) -> None:
    maps, gradients = some()
    heat = CAMS[name](maps, gradients)
    for row in range(len(maps)):
        alone = CAMS[name](maps[row : row + 1], gradients[row : row + 1])
        torch.testing.assert_close(heat[row : row + 1], alone)


@pytest.mark.parametrize("name", list(CAMS))
def test_nothing_gives_nothing_and_never_nan(name: str) -> None:
    maps, gradients = some()
    nothing = torch.zeros_like(maps)
    for pair in ((nothing, gradients), (nothing, nothing)):
        assert torch.equal(CAMS[name](*pair), torch.zeros(3, 4, 3, dtype=torch.float64))
    if name != "eigen_cam":
        assert torch.equal(CAMS[name](maps, nothing), torch.zeros(3, 4, 3, dtype=torch.float64))


def test_for_a_pooled_linear_head_three_methods_are_one() -> None:
    maps, _ = some()
    weights = torch.tensor([0.5, -2.0, 1.0, 0.0, 3.0], dtype=torch.float64)
    gradients = (weights / 12)[None, :, None, None].expand_as(maps)
    logit = (maps.mean((2, 3)) * weights).sum(1)
    for method in (grad_cam, hires_cam, xgrad_cam):
        heat = method(maps, gradients)
        torch.testing.assert_close(heat, grad_cam(maps, gradients))
        torch.testing.assert_close(heat.sum((1, 2)), logit)


def test_for_any_linear_head_hires_and_xgrad_sum_to_the_score() -> None:
    maps, gradients = some()
    score = (maps * gradients).sum((1, 2, 3))
    torch.testing.assert_close(hires_cam(maps, gradients).sum((1, 2)), score)
    torch.testing.assert_close(xgrad_cam(maps, gradients).sum((1, 2)), score)
    assert not torch.allclose(grad_cam(maps, gradients).sum((1, 2)), score)


def test_grad_cam_plus_plus_by_hand() -> None:
    """One channel, maps (1, 3), gradients (2, -1): α = 4 / (8 + 8·4) = 0.1 and 1 / (2 - 4)."""
    maps = torch.tensor([[[[1.0, 3.0]]]])
    gradients = torch.tensor([[[[2.0, -1.0]]]])
    heat = grad_cam_plus_plus(maps, gradients)
    torch.testing.assert_close(heat, torch.tensor([[[0.2, 0.6]]]))


def test_layer_cam_of_positive_gradients_is_hires_cam() -> None:
    maps, gradients = some()
    torch.testing.assert_close(layer_cam(maps, gradients.abs()), hires_cam(maps, gradients.abs()))


def test_eigen_cam_knows_no_class() -> None:
    maps, gradients = some(relu=False)
    assert torch.equal(eigen_cam(maps, gradients), eigen_cam(maps, -gradients))
    torch.testing.assert_close(eigen_cam(maps, gradients), eigen_cam(-maps, gradients))
