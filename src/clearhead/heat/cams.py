"""Class activation maps as functions of the seam's maps and the gradient of the head.

Each takes maps A and gradients dA = ∂y/∂A, both (B, C, h, w), and returns the evidence before the
final ReLU, (B, h, w). The ReLU belongs to whoever shows the map: unrectified, the evidence of a
pooled linear head sums to its logit.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def grad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Σ_k α_k A_k with α_k the mean of ∂y/∂A_k over the plane.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2 (without the outer ReLU).
    """
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1)


CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"grad_cam": grad_cam}
"""Every method by its name."""
