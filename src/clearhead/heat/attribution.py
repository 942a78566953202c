"""Evidence pixel by pixel from the gradient of the whole net, through captum.

captum is optional (`pip install 'clearhead[captum]'`) and imported here alone. Each method takes a
`Seen` and gives signed evidence (B, T, S, S) for its targets. Pictures go through one by one, so
that the noise of one doesn't depend on its neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from clearhead.data.canvas import Grid
from clearhead.errors import MissingExtra
from clearhead.heat.masking import PIXELS
from clearhead.heat.seen import AT_ONCE, Seen

STEPS = 64
"""Points of `integrated_gradients` on the way from black to the picture (Gauss-Legendre)."""

SAMPLES = 32
"""Noisy copies of `smooth_grad`."""

NOISE = 0.15
"""Standard deviation of that noise as a share of the picture's range of grey levels."""


def integrated_gradients(seen: Seen, *, steps: int = STEPS) -> tuple[Tensor, Grid]:
    """(x − x′) ∫ ∂y/∂x (x′ + α (x − x′)) dα with x′ the black square; a cell is a pixel.

    The plane sums to y(x) − y(x′), up to the error of the integral. Source: Sundararajan, Taly and
    Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1.
    """
    method = _captum().IntegratedGradients(seen.scores_of_inputs)

    def one(x: Tensor, target: int) -> Tensor:
        found: Tensor = method.attribute(
            x,
            baselines=seen.black.expand_as(x),
            target=target,
            n_steps=steps,
            internal_batch_size=AT_ONCE,
        )
        return found

    return _each(seen, one), PIXELS


def smooth_grad(seen: Seen, *, samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Grid]:
    """∂y/∂grey level, averaged over noisy copies of the picture; a cell is a pixel.

    Signed: above 0, a brighter pixel raises the score. (The paper shows the absolute value where a
    class has no direction of its own.) The same noise for every picture. Source: Smilkov et al.,
    "SmoothGrad", arXiv 1706.03825, section 3.
    """
    captum = _captum()
    method = captum.NoiseTunnel(captum.Saliency(seen.scores_of_inputs))
    devices = [seen.x.device] if seen.x.device.type == "cuda" else []

    def one(x: Tensor, target: int) -> Tensor:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            found: Tensor = method.attribute(
                x,
                target=target,
                nt_type="smoothgrad",
                nt_samples=samples,
                nt_samples_batch_size=min(AT_ONCE, samples),
                stdevs=NOISE * float(x.max() - x.min()),
                abs=False,
            )
        return found / (255 * seen.classifier.std)

    return _each(seen, one), PIXELS


def _each(seen: Seen, one: Callable[[Tensor, int], Tensor]) -> Tensor:
    """`one` for every picture (1, 1, S, S) and target, as (B, T, S, S) float32."""
    pictures = []
    for x, targets in zip(torch.split(seen.x, 1), seen.targets.tolist(), strict=True):
        found = [one(x.detach().clone().requires_grad_(), target) for target in targets]
        pictures.append(torch.cat(found, 1)[0].detach().float())
    return torch.stack(pictures)


def _captum() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum imports what matplotlib and numpy retire
            from captum import attr
    except ImportError:
        raise MissingExtra("captum", "captum") from None
    found: ModuleType = attr
    return found
