"""Labels dealt out at random: a training on them is a control that must learn nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dealt(labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The labels of N rows, permuted over their groups, (N,).

    Every group gets the label of one group, so copies still agree and as many groups as before
    have each label. A group whose rows disagree has the label of most of them. Source of the
    control: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, section 4.2.
    """
    _, place = np.unique(groups, return_inverse=True)
    votes = np.zeros((place.max(initial=-1) + 1, labels.max(initial=0) + 1), np.int64)
    np.add.at(votes, (place, labels), 1)
    given = np.random.default_rng(seed).permutation(votes.argmax(1))
    shuffled: NDArray[np.int64] = given[place]
    return shuffled
