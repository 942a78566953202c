"""Class activation maps as functions of the seam's maps and the gradient of the head.

Each takes maps A and gradients G = ∂y/∂A, both (B, C, h, w), and returns the evidence before the
final ReLU, (B, h, w). The ReLU belongs to whoever shows the map: unrectified, the evidence of a
pooled linear head sums to its logit. For such a head `grad_cam`, `hires_cam` and `xgrad_cam` are
one map, and agreement among them proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def grad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k α_k A_k with α_k the mean of G_k over the plane.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2 (without the outer ReLU).
    """
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1)


def hires_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k G_k ⊙ A_k: every place weighs by its own gradient.

    For any head that is linear in A, the plane sums to y without its bias. Source: Draelos and
    Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", arXiv 2011.08891.
    """
    return (gradients * maps).sum(1)


def xgrad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k α_k A_k with α_k = Σ_ij A_kij G_kij / Σ_ij A_kij; 0 for a channel that sums to 0.

    The plane sums to Σ A ⊙ G, as that of `hires_cam` does. Source: Fu et al., "Axiom-based
    Grad-CAM", BMVC 2020.
    """
    total = maps.sum((2, 3), keepdim=True)
    alpha = _ratio((maps * gradients).sum((2, 3), keepdim=True), total)
    return (alpha * maps).sum(1)


def grad_cam_plus_plus(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k w_k A_k with w_k = Σ_ij α_kij ReLU(G_kij), α = G² / (2 G² + G³ Σ_ab A_kab).

    α is 0 where its denominator is. The score whose second and third derivatives this closed form
    holds for is exp(y), the factor of which drops out of α. Source: Chattopadhay et al.,
    "Grad-CAM++", WACV 2018, section 3.
    """
    square = gradients.square()
    total = maps.sum((2, 3), keepdim=True)
    alpha = _ratio(square, 2 * square + square * gradients * total)
    weights = (alpha * gradients.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * maps).sum(1)


def layer_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k ReLU(G_k) ⊙ A_k: places alone whose increase raises the score.

    Source: Jiang et al., "LayerCAM", IEEE Transactions on Image
    Processing 2021 (without the outer ReLU).
    """
    return (gradients.clamp(min=0) * maps).sum(1)


def eigen_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Projection of A on its first right singular vector: where the maps vary together.

    Knows neither class nor gradient, so it is a control as much as a method. The vector's sign,
    which its definition leaves open, is that which makes the plane's sum positive. Source:
    Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020.
    """
    batch, channels, height, width = maps.shape
    plane = maps.reshape(batch, channels, height * width).transpose(1, 2)
    _, _, vectors = torch.linalg.svd(plane, full_matrices=False)
    projected = (plane @ vectors[:, 0, :, None]).squeeze(2)
    sign = torch.where(projected.sum(1, keepdim=True) < 0, -1.0, 1.0)
    heat: Tensor = (sign * projected).reshape(batch, height, width)
    return heat


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    """`over` / `under`, 0 where `under` is 0."""
    none = under == 0
    return torch.where(none, 0.0, over / torch.where(none, 1.0, under))


CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": grad_cam,
    "hires_cam": hires_cam,
    "xgrad_cam": xgrad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "layer_cam": layer_cam,
    "eigen_cam": eigen_cam,
}
"""Every method by its name."""

UNITS = {"eigen_cam": "activation", "grad_cam_plus_plus": "weighted activation"}
"""What the maps of a method are counted in, where it isn't the score explained.

The weights of Grad-CAM++ are sums over the plane of terms that its equation scales freely.
"""
