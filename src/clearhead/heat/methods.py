"""Every method of explanation by its name: how it is computed, and what it is counted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from clearhead.data.canvas import Grid
from clearhead.heat.attribution import integrated_gradients, smooth_grad
from clearhead.heat.cams import CAMS, UNITS
from clearhead.heat.masking import ablation_cam, occlusion, rise, score_cam
from clearhead.heat.seen import Seen

SCORE_UNITS = {"margin": "logit margin"}
"""What a score is counted in, where it isn't its own name."""


@dataclass(frozen=True)
class Method:
    """How evidence is computed.

    `maps` gives evidence (B, T, h, w), unrectified, for the targets of a `Seen`, and its grid.
    """

    maps: Callable[[Seen], tuple[Tensor, Grid]]
    counted_in: str = "{score}"
    graph: bool = False
    """Whether it needs the gradient of the score by the stage's maps."""
    staged: bool = True
    """Whether it looks at the maps of a stage; the others look at the picture."""

    def unit(self, score: str) -> str:
        """What a number in the map is counted in."""
        return self.counted_in.format(score=SCORE_UNITS.get(score, score))


def _weighed(name: str, seen: Seen) -> tuple[Tensor, Grid]:
    """A class activation map for each target, from one pass and a gradient per target.

    In the unit of the score it is multiplied by the number of cells: a value is then what the score
    would get if the whole plane were like that cell, and the mean over the plane what it does get.
    """
    maps, cam = seen.maps.detach().float(), CAMS[name]
    targets = seen.targets.shape[1]
    if name == "eigen_cam":  # knows no class
        return cam(maps, maps)[:, None].repeat(1, targets, 1, 1), seen.stage.grid
    cells = 1 if name in UNITS else maps.shape[2] * maps.shape[3]
    heats = [_each(cam, maps, seen.gradient(place).float()) * cells for place in range(targets)]
    return torch.stack(heats, 1), seen.stage.grid


def _each(cam: Callable[[Tensor, Tensor], Tensor], maps: Tensor, gradients: Tensor) -> Tensor:
    """The class activation map of each picture, (B, h, w), of maps and gradients (B, C, h, w).

    One picture after the other, what is multiplied and summed stays in a processor's cache.
    """
    if maps.device.type != "cpu" or not len(maps):
        return cam(maps, gradients)
    pairs = zip(torch.split(maps, 1), torch.split(gradients, 1), strict=True)
    return torch.cat([cam(*pair) for pair in pairs])


METHODS: dict[str, Method] = {
    **{
        name: Method(partial(_weighed, name), UNITS.get(name, "{score}"), graph=True)
        for name in CAMS
    },
    "score_cam": Method(score_cam, "activation"),
    "ablation_cam": Method(ablation_cam, "{score} × activation"),
    "occlusion": Method(occlusion, staged=False),
    "rise": Method(rise, staged=False),
    "integrated_gradients": Method(integrated_gradients, "{score} per pixel", staged=False),
    "smooth_grad": Method(smooth_grad, "{score} per grey level", staged=False),
}
"""Every method by its name."""
