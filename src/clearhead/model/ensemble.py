"""Evidence nets that learn side by side and speak with one voice: their mean map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from clearhead.model.nets import EVIDENCE, EvidenceNet, Stage


class EvidenceNets(nn.Module):
    """Several evidence nets, each from first weights of its own, whose evidence is averaged.

    What all of them found stays, what each made up is divided by their number. In use it is a net
    like any other: `features` is the mean of the members' maps, (B, F, h, w), and `head` pools that
    one, so that map and call can't disagree. While it learns, each member learns as if it were
    alone: of x (M·B, 1, S, S) each is shown its own B pictures, one member's after the other's, and
    makes their maps. M times the work, M times the weights.

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles", NeurIPS 2017; maps are averaged here, not probabilities.
    """

    def __init__(self, classes: int, *, members: int, **how: Any) -> None:
        super().__init__()
        self._members = nn.ModuleList(EvidenceNet(classes, **how) for _ in range(members))
        self.grid = self.first.grid

    def __iter__(self) -> Iterator[EvidenceNet]:
        return iter(cast("list[EvidenceNet]", self._members))

    @property
    def first(self) -> EvidenceNet:
        """The member that pools the mean map; any other would pool it so."""
        return next(iter(self))

    def features(self, x: Tensor) -> Tensor:
        if self.training:
            parts = x.tensor_split(len(self._members))  # as many, of no picture too
            return torch.cat([one.features(part) for one, part in zip(self, parts, strict=True)])
        return torch.stack([member.features(x) for member in self]).mean(0)

    def head(self, maps: Tensor) -> Tensor:
        return self.first.head(maps)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def stages(self) -> tuple[Stage, ...]:
        """Those of one member, where the maps of all stand beside each other."""
        beside = zip(*(member.stages()[:-1] for member in self), strict=True)
        own = Stage(EVIDENCE, self.features, self.head, self.grid)
        return (*(self._beside(stages) for stages in beside), own)

    def _beside(self, stages: tuple[Stage, ...]) -> Stage:
        """The same stage of all members, with maps (B, M·C, h, w)."""
        seams = [stage.seam for stage in stages if stage.seam is not None]

        def features(x: Tensor) -> Tensor:
            return torch.cat([stage.features(x) for stage in stages], 1)

        def seam(maps: Tensor) -> Tensor:
            parts = zip(seams, maps.chunk(len(seams), 1), strict=True)
            return torch.stack([each(part) for each, part in parts]).mean(0)

        return Stage(stages[0].name, features, lambda x: self.head(seam(x)), stages[0].grid, seam)
