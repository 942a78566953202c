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
    one, so that map and call can't disagree. While it learns, each member makes a map and a call of
    its own, and learns as if it were alone: `features` are then the maps of all, one member's batch
    after the other's, (M·B, F, h, w). M times the work, M times the weights.

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
        return self._together([member.features(x) for member in self])

    def _together(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps) if self.training else torch.stack(maps).mean(0)

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
            parts = maps.chunk(len(seams), 1)
            return self._together([each(part) for each, part in zip(seams, parts, strict=True)])

        return Stage(stages[0].name, features, lambda x: self.head(seam(x)), stages[0].grid, seam)
