"""Which records come from one source: clusters of rows of categories, as many as there are.

A cluster is a product of categorical distributions, one per attribute, under Dirichlet priors.
With the distributions integrated out a partition has a probability in closed form; clusters are
joined as long as that rises. So nothing is drawn at random, and their number is a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

SEEDS = 400
"""Most distinct records that start as clusters of their own: the work grows with their square."""

TINY = 1e-9
"""A weight above 0 where there is none, so that logarithms exist."""

PASSES = 20
"""Most passes in which records move to the cluster that foretells them best."""


@dataclass(frozen=True)
class _Attributes:
    """Categories of all attributes side by side in C columns: where each starts and ends."""

    start: NDArray[np.int64]
    size: NDArray[np.int64]

    @property
    def prior(self) -> NDArray[np.float64]:
        """Dirichlet weight of each category, (C,): those of an attribute add up to 1."""
        prior: NDArray[np.float64] = np.repeat(1.0 / self.size, self.size)
        return prior

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the categories of each attribute, (…, C) → (…, A)."""
        summed: NDArray[np.float64] = np.add.reduceat(values, self.start, axis=-1)
        return summed


def clusters(
    records: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    least: float = 0.0,
    concentration: float = 1.0,
) -> NDArray[np.int64]:
    """Cluster of each distinct record, (S,): 0 for the heaviest, and so on down.

    Shapes: `records` (S, A), each attribute coded 0, 1, 2… with -1 where it isn't known, which
    speaks for no cluster; `weights` (S,) ≥ 0, how often each is seen (a record of weight 0 joins
    the cluster that foretells it best and forms none). Clusters lighter than `least` are put into
    one, or, where that is still lighter, given to the others. `concentration` > 0 is that of the
    Chinese-restaurant prior over partitions: larger, more clusters.

    Source: the evidence of a cluster is the Dirichlet-multinomial of its counts; joining the best
    pair first is the agglomeration of Heller and Ghahramani, *Bayesian hierarchical clustering*
    (2005), with the partition's probability in place of their tree's.
    """
    if not len(records):
        return np.zeros(0, dtype=np.int64)
    attributes = _attributes(records)
    one = _one_hot(records, attributes)
    order = np.lexsort((np.arange(len(weights)), -weights))
    seeds = order[: max(1, min(SEEDS, int(np.count_nonzero(weights > 0))))]
    member = np.full(len(records), -1, dtype=np.int64)
    member[seeds] = _joined(one[seeds], weights[seeds], attributes, concentration)
    member = _settled(member, one, weights, attributes)
    return _by_weight(_pooled(member, one, weights, attributes, least), weights)


def _attributes(records: NDArray[np.int64]) -> _Attributes:
    size = np.maximum(records.max(axis=0) + 1, 1)
    return _Attributes(np.concatenate([[0], np.cumsum(size)[:-1]]), size)


def _one_hot(records: NDArray[np.int64], attributes: _Attributes) -> NDArray[np.float64]:
    """One column per category of each attribute, 1 where a record has it, (S, C)."""
    one = np.zeros((len(records), int(attributes.size.sum())))
    row, attribute = np.nonzero(records >= 0)
    one[row, attributes.start[attribute] + records[row, attribute]] = 1.0
    return one


# --- Joining --------------------------------------------------------------------------------


def evidence(
    counts: NDArray[np.float64], weight: NDArray[np.float64], attributes: _Attributes
) -> NDArray[np.float64]:
    """Log-probability of clusters' counts, and of so many records in each; (…, C), (…) → (…)."""
    prior = attributes.prior
    seen = (gammaln(counts + prior) - gammaln(prior)).sum(axis=-1)
    known = gammaln(attributes.sums(counts) + 1.0).sum(axis=-1)
    total: NDArray[np.float64] = seen - known + gammaln(np.maximum(weight, TINY))
    return total


def _joined(
    one: NDArray[np.float64],
    weights: NDArray[np.float64],
    attributes: _Attributes,
    concentration: float,
) -> NDArray[np.int64]:
    """Cluster of each seed, (s,), joined pair by pair while the partition gains probability."""
    counts, weights = one * weights[:, None], weights.copy()
    member = np.arange(len(counts), dtype=np.int64)
    alive = np.ones(len(counts), dtype=np.bool_)
    own = evidence(counts, weights, attributes)
    gain = np.full((len(counts), len(counts)), -np.inf)
    for place in range(len(counts)):
        gain[place, :place] = _gains(place, np.arange(place), counts, weights, own, attributes)
    while alive.sum() > 1:
        first, second = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[first, second] <= np.log(concentration):
            break
        counts[second] += counts[first]
        weights[second] += weights[first]
        own[second] = evidence(counts[second], weights[second], attributes)
        member[member == first] = second
        alive[first] = False
        gain[first], gain[:, first] = -np.inf, -np.inf
        others = np.flatnonzero(alive & (np.arange(len(alive)) != second))
        fresh = _gains(int(second), others, counts, weights, own, attributes)
        below = others < second
        gain[second, others[below]] = fresh[below]
        gain[others[~below], second] = fresh[~below]
    return member


def _gains(
    place: int,
    others: NDArray[np.int64],
    counts: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.float64],
    attributes: _Attributes,
) -> NDArray[np.float64]:
    """What joining one cluster with each of others adds to the log-probability, (n,)."""
    joint = evidence(counts[place] + counts[others], weights[place] + weights[others], attributes)
    gains: NDArray[np.float64] = joint - own[place] - own[others]
    return gains


# --- Settling -------------------------------------------------------------------------------


def _settled(
    member: NDArray[np.int64],
    one: NDArray[np.float64],
    weights: NDArray[np.float64],
    attributes: _Attributes,
) -> NDArray[np.int64]:
    """Every record in the cluster that foretells it best, (S,), until none moves."""
    for _ in range(PASSES):
        best = foretold(one, *_totals(member, one, weights), attributes)
        if (best == member).all():
            break
        member = np.unique(best, return_inverse=True)[1]
    return member


def _pooled(
    member: NDArray[np.int64],
    one: NDArray[np.float64],
    weights: NDArray[np.float64],
    attributes: _Attributes,
    least: float,
) -> NDArray[np.int64]:
    """The light clusters as one, or spread over the others where they are light together."""
    sizes = np.bincount(member, weights=weights)
    light = sizes < least
    if not light.any() or light.all():
        return np.where(light.all(), 0, member)
    small = light[member]
    if sizes[light].sum() >= least:
        return np.where(small, len(sizes), member)
    heavy = np.unique(np.where(small, -1, member), return_inverse=True)[1] - 1
    best = foretold(one, *_totals(heavy, one, weights), attributes)
    return np.where(small, best, heavy)


def _totals(
    member: NDArray[np.int64], one: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts and weight of each cluster, (K, C) and (K,); records of cluster -1 count nowhere."""
    placed = member >= 0
    clusters = int(member.max()) + 1
    totals = np.zeros((clusters, one.shape[1]))
    np.add.at(totals, member[placed], one[placed] * weights[placed, None])
    sizes = np.zeros(clusters)
    np.add.at(sizes, member[placed], weights[placed])
    return totals, sizes


def foretold(
    one: NDArray[np.float64],
    totals: NDArray[np.float64],
    sizes: NDArray[np.float64],
    attributes: _Attributes,
) -> NDArray[np.int64]:
    """The cluster that gives each record the largest probability, (S,)."""
    known = np.repeat(attributes.sums(totals), attributes.size, axis=-1)
    size = np.log(np.maximum(sizes, TINY))
    chance = np.log((totals + attributes.prior) / (known + 1.0))
    best: NDArray[np.int64] = (one @ chance.T + size).argmax(axis=1).astype(np.int64)
    return best


def _by_weight(member: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Clusters renumbered 0, 1, 2… from the heaviest down; of equals, that of the first record."""
    _, first, inverse = np.unique(member, return_index=True, return_inverse=True)
    order = np.lexsort((first, -np.bincount(inverse, weights=weights)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    numbers: NDArray[np.int64] = rank[inverse]
    return numbers
