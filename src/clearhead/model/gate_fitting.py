"""Fitting a gate: what the training pictures look like to the net, and where the line lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.measure.groupwise import weights
from clearhead.measure.strangers import line
from clearhead.model.augment import draw_variation, seed_of, vary
from clearhead.model.classifier import Classifier
from clearhead.model.gate import Gate, traits_of, watched

SHRINKAGE = 0.05
"""Share of the identity in the correlation of the traits: few groups don't fill all directions."""
SHARE = 0.01
"""Share of real pictures that the gate turns away, unless said otherwise."""
FILES = 2
"""Files of a group that are fitted on: copies say little more."""
MOST = 4000
"""Pictures that are fitted on at most, of a set however large."""
AS_THEY_ARE = 2.0
"""What a picture as it is counts beside itself varied."""
CHUNK = 32
"""Pictures per pass through the net."""
GATE = 4
"""What the seed of the variations is for (`lessons.ORDER` and its neighbours are 0 to 3)."""


def fit_gate(
    classifier: Classifier,
    squares: Tensor,
    groups: Tensor,
    validation: Tensor,
    validation_groups: Tensor,
    *,
    share: float = SHARE,
    seed: int = 0,
) -> Gate:
    """The gate of a classifier: centre and spread from training squares, the line from others.

    Shapes: `squares` (N, S, S) and `validation` (M, S, S) uint8 with groups (N,) and (M,), each
    group counting once. Fitted on the pictures as they are and once varied as in training, so that
    a head a little turned is none the stranger. At most `share` of the validation pictures lie
    above the line. Errors: `RecipeError` without validation pictures or for an impossible share.
    """
    place = groups.cpu().numpy()
    rows = chosen(place, seed)
    plain = _traits(classifier, squares, torch.from_numpy(rows), lambda some, _: some)
    varied = _traits(classifier, squares, torch.from_numpy(rows), _varied(seed))
    each = np.concatenate([AS_THEY_ARE * weights(place[rows]), weights(place[rows])])
    centre, whitening = spread(np.concatenate([plain, varied]), each / each.sum())
    gate = Gate(len(centre)).to(squares.device)
    gate.centre.copy_(torch.from_numpy(centre))
    gate.whitening.copy_(torch.from_numpy(whitening))
    seen = _strangeness(classifier, gate, validation)
    gate.threshold.fill_(line(seen, validation_groups.cpu().numpy(), share))
    return gate.eval()


def chosen(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows to fit on: `FILES` of each group, and `MOST` in all, drawn by seed."""
    random = np.random.default_rng(seed_of(seed, GATE))
    order = random.permutation(len(groups))
    grouped = order[np.argsort(groups[order], kind="stable")]
    _, first, sizes = np.unique(groups[grouped], return_index=True, return_counts=True)
    rank = np.arange(len(groups)) - np.repeat(first, sizes)
    kept = grouped[rank < FILES]
    return np.sort(random.permutation(kept)[:MOST])


def _varied(seed: int) -> Callable[[Tensor, int], Tensor]:
    """Each chunk as a training would show it; the varied pixels are pure in seed and place."""
    return lambda some, start: vary(some, draw_variation(len(some), seed_of(seed, GATE, start)))


@torch.inference_mode()
def _traits(
    classifier: Classifier, squares: Tensor, rows: Tensor, seen: Callable[[Tensor, int], Tensor]
) -> NDArray[np.float64]:
    """Traits (R, D) of some squares (N, S, S), each chunk as `seen` shows it."""
    stage, found = watched(classifier.net), []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK].to(squares.device)
        some = seen(squares[chunk].unsqueeze(1), start)
        found.append(traits_of(some, stage.features(classifier.normalise(some))).cpu())
    return torch.cat(found).double().numpy()


def spread(
    traits: NDArray[np.float64], each: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre (D,) and whitening (D, D) of traits (N, D) that count by `each` (N,), which sum to 1.

    A trait that never varies has the deviation 1, so that any change of it counts.
    """
    centre = each @ traits
    away = traits - centre
    deviation = np.sqrt(each @ away**2)
    deviation[deviation < 1e-6] = 1.0
    away = away / deviation
    correlation = (1 - SHRINKAGE) * (away.T * each) @ away + SHRINKAGE * np.eye(len(centre))
    values, vectors = np.linalg.eigh(correlation)
    whitening: NDArray[np.float64] = (vectors / np.sqrt(values)) / deviation[:, None]
    return centre, whitening


@torch.inference_mode()
def _strangeness(classifier: Classifier, gate: Gate, squares: Tensor) -> NDArray[np.float32]:
    chunks = torch.split(squares.unsqueeze(1), CHUNK)
    found = [cast(Tensor, classifier.judged(some, gate)[1]) for some in chunks]
    return torch.cat(found).cpu().numpy()
