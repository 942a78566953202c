"""What a net says of all places of a picture alike: the level of its map, and the score without it.

A map of evidence is higher everywhere in some pictures than in others, for their scanner, sharpness
or preparation. That is no evidence of any place, but it is pooled into the score with the rest.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.audits.subject import Subject
from clearhead.model.calibrate import usual_level
from clearhead.model.nets import EVIDENCE, level_of, stages_of


def level_of_rows(subject: Subject, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """The usual level of each map over some rows, (F,), see `calibrate.usual_level`.

    None where the maps of the net aren't evidence, so that a level of theirs means nothing.
    """
    net = subject.classifier.net
    if stages_of(net)[-1].name != EVIDENCE or not len(rows):
        return None
    return usual_level(subject.classifier, net, subject.squares[rows], subject.groups[rows])


def without_level(
    subject: Subject, rows: NDArray[np.int64], usual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logits (B, K) of some rows whose maps are shifted as a whole to the `usual` level (F,)."""
    classifier = subject.classifier
    squares = torch.from_numpy(subject.squares[rows]).unsqueeze(1).to(classifier.mean.device)
    with torch.inference_mode():
        maps = classifier.seen(squares)[0].float()
        shift = torch.from_numpy(usual).to(maps.device) - level_of(maps.flatten(2))
        logits = classifier.net.head(maps + shift[:, :, None, None]) + classifier.bias
        said: NDArray[np.float32] = logits.float().cpu().numpy()
    return said
