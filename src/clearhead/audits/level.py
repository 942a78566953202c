"""What a net says of all places of a picture alike: the level of its map, and the score without it.

A map of evidence is higher everywhere in some pictures than in others, for their scanner, sharpness
or preparation. That is no evidence of any place, but it is pooled into the score with the rest.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.audits.subject import BATCH, Subject
from clearhead.measure.groupwise import group_means
from clearhead.model.nets import EVIDENCE, level_of, stages_of


def usual_level(subject: Subject, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """The mean level of each map over the groups of some rows, (F,).

    None where the maps of the net aren't evidence, so that a level of theirs means nothing.
    """
    if stages_of(subject.classifier.net)[-1].name != EVIDENCE or not len(rows):
        return None
    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with torch.inference_mode():
        found = [level_of(_maps(subject, part).flatten(2)).cpu().numpy() for part in parts]
    levels = np.concatenate(found)
    means = [group_means(each, subject.groups[rows]).mean() for each in levels.T]
    return np.array(means, np.float32)


def without_level(
    subject: Subject, rows: NDArray[np.int64], usual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logits (B, K) of some rows whose maps are shifted as a whole to the `usual` level (F,)."""
    classifier = subject.classifier
    with torch.inference_mode():
        maps = _maps(subject, rows)
        shift = torch.from_numpy(usual).to(maps.device) - level_of(maps.flatten(2))
        logits = classifier.net.head(maps + shift[:, :, None, None]) + classifier.bias
        said: NDArray[np.float32] = logits.float().cpu().numpy()
    return said


def _maps(subject: Subject, rows: NDArray[np.int64]) -> Tensor:
    squares = torch.from_numpy(subject.squares[rows]).unsqueeze(1)
    return subject.classifier.seen(squares.to(subject.classifier.mean.device))[0].float()
