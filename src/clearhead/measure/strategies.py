"""Where in the head a classifier looks: heatmaps in one frame, and the few kinds they come in.

A heatmap is treated as a distribution: how a picture's heat divides over places of the head. How
much heat there is (the peak) is another question and takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from clearhead.measure.groupwise import weights
from clearhead.types import BACKGROUND

FRAME_PX = 32
"""Side of the common frame, in cells."""

AIR = 0.125
"""Air around the head in the frame, as a share of the frame's side, on each side."""

BLUR = 0.04
"""Width (sigma) of the blur before maps are compared, as a share of the frame's side."""

STRENGTH = 0.8
"""Least prediction strength at which so many clusters are believed (Tibshirani and Walther)."""

SPLITS = 10
"""Halvings of the groups over which the prediction strength is averaged."""

MOST_FITTED = 3000
"""Rows on which clusters are found; the others join the nearest."""

AT_ONCE = 1000
"""Maps taken into memory at a time."""

COMPONENTS = 32
"""Most principal components of the maps in which clusters are found."""

NULLS = 19
"""Draws without clusters that a number of kinds must beat: one time in twenty by luck."""

MOST_COMPARED = 1000
"""Rows on which silhouettes are computed: the work grows with their square."""

LEAST_GROUPS = 10
"""With fewer groups there is one cluster: halves of them say nothing."""

FEWEST = 5
"""Groups that a kind holds at least: of fewer it can't be said that they return."""

STARTS = 3
"""Starts of k-means, of which the best is kept."""


# --- One frame ------------------------------------------------------------------------------


def frames(regions: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The frame of each head: (B, 4) top, left, bottom, right in pixels, from regions (B, S, S).

    The head is all that isn't background; the frame is its bounding box with `AIR` around. Each
    axis has its own scale, so heads of other proportions lie on each other; nothing is turned.
    Where there is no head the whole square takes its place.
    """
    size = regions.shape[1]
    head = regions != BACKGROUND
    top, bottom = _ends(head.any(2), size)
    left, right = _ends(head.any(1), size)
    air_down = (bottom - top) * AIR / (1 - 2 * AIR)
    air_across = (right - left) * AIR / (1 - 2 * AIR)
    return np.stack(
        [top - air_down, left - air_across, bottom + air_down, right + air_across], axis=1
    )


def _ends(
    occupied: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First occupied place and the one after the last, (B,) each; 0 and `size` where none is."""
    some = occupied.any(1)
    first = np.where(some, occupied.argmax(1), 0)
    last = np.where(some, size - occupied[:, ::-1].argmax(1), size)
    return first.astype(np.float64), last.astype(np.float64)


def pooled(
    values: NDArray[Any], boxes: NDArray[np.float64], out_px: int = FRAME_PX
) -> NDArray[np.float32]:
    """What of `values` (B, S, S) falls into each cell of its frame, (B, out_px, out_px).

    Every pixel is divided over the cells that it touches by area, and what lies beyond the frame
    goes to its outermost cells, so the sum of each map is kept. `boxes` (B, 4) as `frames` gives.
    """
    size = values.shape[1]
    down = _overlaps(boxes[:, 0], boxes[:, 2], size, out_px)
    across = _overlaps(boxes[:, 1], boxes[:, 3], size, out_px)
    found: NDArray[np.float32] = down @ values.astype(np.float32) @ across.transpose(0, 2, 1)
    return found


def _overlaps(
    low: NDArray[np.float64], high: NDArray[np.float64], size: int, cells: int
) -> NDArray[np.float32]:
    """Share of pixel s that lies in cell c of the frame from `low` to `high`, (B, c, s)."""
    edges = (np.arange(size + 1) - low[:, None]) * (cells / (high - low))[:, None]
    edges = np.clip(edges, 0, cells)
    start, end = edges[:, None, :-1], edges[:, None, 1:]
    cell = np.arange(cells)[None, :, None]
    covered = np.clip(np.minimum(end, cell + 1) - np.maximum(start, cell), 0, None)
    # A pixel beyond the frame has both edges on its border: it belongs to the outermost cell.
    beyond = (end == start) & (cell == np.minimum(start, cells - 1))
    width = np.where(end > start, end - start, 1)
    shares: NDArray[np.float32] = np.where(beyond, 1, covered / width).astype(np.float32)
    return shares


def head_coordinates(
    heats: NDArray[np.float32], regions: NDArray[np.uint8], out_px: int = FRAME_PX
) -> NDArray[np.float32]:
    """How the heat of each picture divides over its head: (B, out_px, out_px), each of sum 1.

    `heats` (B, S, S) ≥ 0, `regions` (B, S, S) of `types.REGIONS`. A blank map stays all 0.
    """
    maps = pooled(heats, frames(regions), out_px)
    sums = maps.sum((1, 2), keepdims=True)
    shares: NDArray[np.float32] = np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0)
    return shares


# --- Clusters -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strategies:
    """Kinds of heatmaps. Shapes: K kinds of N maps in d cells; kinds of largest share first.

    `labels` (N,) kind of each map; `centres` (K, d) the mean map of each, of sum 1; `shares` (K,)
    of the groups, each of which counts once; `distances` (N,) Hellinger distance of each map to
    its centre, 0…1. `strengths` holds the prediction strength of 1, 2, 3… kinds, as far as tried.
    """

    labels: NDArray[np.int64]
    centres: NDArray[np.float64]
    shares: NDArray[np.float64]
    distances: NDArray[np.float64]
    strengths: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.centres)


def strategies(
    maps: NDArray[np.float32], groups: NDArray[Any], *, seed: int = 0, most: int = 8
) -> Strategies:
    """The kinds that maps (N, d) come in; each a square frame whose cells sum to 1.

    Maps are compared by Hellinger distance after a blur: it is bounded, a cell without heat does
    no harm (as it would in Kullback-Leibler divergence), a single hot cell doesn't decide (as it
    would in Euclidean distance), and on square roots it is Euclidean, so k-means applies. The blur
    makes heat in neighbouring cells nearly the same place; without it any two maps that don't
    overlap would be equally far apart.

    The number of kinds is the largest of 1…`most` for which both hold. They return in other
    pictures: the prediction strength reaches `STRENGTH` (groups are halved, both halves are
    clustered, and of the pairs that one half puts together the share is taken that the other
    half's centres put together too, in the cluster where it is least; the mean over `SPLITS`
    halvings; copies of a picture never stand on both sides). And they are apart: their silhouette
    is higher than in `NULLS` clouds of one normal distribution with the same variances, since a
    long cloud without gaps is halved alike every time; and each kind holds `FEWEST` groups. (A very
    long band of places, all equally frequent, may still be cut in two.) One kind is a possible
    answer: the places are one, or shade into each other. (Tibshirani and Walther, *Cluster
    validation by prediction strength*, J. Comput. Graph. Stat. 14, 2005; Liu et al., *Statistical
    significance of clustering for high-dimension, low-sample size data*, JASA 103, 2008, for the
    null.)

    Every group has the same weight. Kinds are found on at most `MOST_FITTED` maps, spread evenly
    over the groups. Errors: `ValueError` where a map is blank or there is none.
    """
    if not len(maps) or not all((maps[part].sum(1) > 0).all() for part in _parts(len(maps))):
        raise ValueError("strategies need at least one map, and none that is blank")
    random = np.random.default_rng(seed)
    chosen = _spread(groups, random)
    if len(np.unique(maps[chosen].round(6), axis=0)) == 1:
        return _ordered(maps, groups, np.zeros(len(maps), np.int64), (1.0,))
    with threadpool_limits(1):  # the order of sums, and so the last digit, would vary with threads
        roots = _roots(maps[chosen])
        space = _space(roots, seed)
        places = space.transform(roots).astype(np.float64)
        strengths = _strengths(places, groups[chosen], most, random)
        count = _believed(places, weights(groups[chosen]), strengths, seed)
        found = _kmeans(places, weights(groups[chosen]), count, seed)
        labels = np.concatenate(
            [found.predict(_placed(space, maps[part])) for part in _parts(len(maps))]
        )
    return _ordered(maps, groups, labels.astype(np.int64), strengths)


def hellinger(maps: NDArray[Any], centre: NDArray[Any]) -> NDArray[np.float64]:
    """Hellinger distance of distributions (…, d) to one (d,) or as many, 0…1.

    √(1 - Σ √(p q)): 0 where they are the same, 1 where they share no place.
    """
    overlap = np.sqrt(maps.astype(np.float64) * centre).sum(-1)
    distances: NDArray[np.float64] = np.sqrt(np.clip(1 - overlap, 0, 1))
    return distances


def _spread(groups: NDArray[Any], random: np.random.Generator) -> NDArray[np.int64]:
    """At most `MOST_FITTED` rows: the first of every group, then the second…; in random order."""
    order = random.permutation(len(groups))
    if len(order) <= MOST_FITTED:
        return np.arange(len(groups))
    _, place = np.unique(groups[order], return_inverse=True)
    sorted_places = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[sorted_places], place[sorted_places])
    rank = np.empty(len(order), np.int64)
    rank[sorted_places] = np.arange(len(order)) - starts
    kept = order[np.argsort(rank, kind="stable")[:MOST_FITTED]]
    return np.sort(kept)


def _roots(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots of the blurred maps (N, d), each of sum 1 before the root."""
    side = round(maps.shape[1] ** 0.5)
    sigma = BLUR * side
    smooth = ndimage.gaussian_filter(
        maps.reshape(-1, side, side), (0, sigma, sigma), mode="nearest"
    ).reshape(len(maps), -1)
    roots: NDArray[np.float32] = np.sqrt(smooth / smooth.sum(1, keepdims=True))
    return roots


def _parts(count: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]


def _space(roots: NDArray[np.float32], seed: int) -> Any:
    """The principal components in which most of what tells the maps apart lies."""
    components = min(COMPONENTS, *roots.shape)
    return PCA(components, svd_solver="full" if len(roots) < 200 else "covariance_eigh").fit(roots)


def _placed(space: Any, maps: NDArray[np.float32]) -> NDArray[np.float64]:
    placed: NDArray[np.float64] = space.transform(_roots(maps)).astype(np.float64)
    return placed


def _kmeans(places: NDArray[Any], each: NDArray[np.float64], count: int, seed: int) -> Any:
    made = KMeans(count, n_init=STARTS, random_state=seed)
    return made.fit(places, sample_weight=each)


# --- How many -------------------------------------------------------------------------------


def _strengths(
    places: NDArray[Any], groups: NDArray[Any], most: int, random: np.random.Generator
) -> tuple[float, ...]:
    """Prediction strength of 1…`most` clusters; 1 for one."""
    names = np.unique(groups)
    if len(names) < LEAST_GROUPS:
        return (1.0,)
    halves = [np.isin(groups, random.permutation(names)[::2]) for _ in range(SPLITS)]
    room = min(min(_distinct(places[half]), _distinct(places[~half])) for half in halves) // 2
    strengths = [1.0]
    for count in range(2, min(most, room) + 1):
        each = [_strength(places, groups, half, count, seed) for seed, half in enumerate(halves)]
        strengths.append(float(np.mean(each)))
    return tuple(strengths)


def _distinct(places: NDArray[Any]) -> int:
    """How many different maps there are: k-means can't find more clusters than that."""
    return len(np.unique(places.round(5), axis=0))


def _strength(
    places: NDArray[Any], groups: NDArray[Any], half: NDArray[np.bool_], count: int, seed: int
) -> float:
    """How well clusters of one half of the groups foretell those of the other, 0…1."""
    train, test = places[half], places[~half]
    each = weights(groups[~half])
    foretold = _kmeans(train, weights(groups[half]), count, seed).predict(test)
    own = _kmeans(test, each, count, seed).labels_
    return prediction_strength(own, foretold, each)


def prediction_strength(
    own: NDArray[Any], foretold: NDArray[Any], each: NDArray[np.float64]
) -> float:
    """Of two partitions (N,) of weighted rows: the least share of pairs kept together, 0…1.

    For each cluster of `own`, the weight of the pairs of its rows that `foretold` puts into one
    cluster, of all its pairs; a row is also its own pair, so that a cluster of one row is kept.
    """
    table = np.zeros((own.max() + 1, foretold.max() + 1))
    np.add.at(table, (own, foretold), each)
    sizes = table.sum(1)
    kept = (table**2).sum(1)[sizes > 0] / sizes[sizes > 0] ** 2
    return float(kept.min())


def _believed(
    places: NDArray[Any], each: NDArray[np.float64], strengths: tuple[float, ...], seed: int
) -> int:
    """The largest number of kinds that return in other pictures and are apart."""
    returning = [index + 1 for index, one in enumerate(strengths) if one >= STRENGTH]
    return next(count for count in returning[::-1] if _apart(places, each, count, seed))


def _apart(places: NDArray[Any], each: NDArray[np.float64], count: int, seed: int) -> bool:
    """Whether so many clusters are more apart than in clouds that have none."""
    if count == 1:
        return True
    random = np.random.default_rng(seed)
    spread = np.sqrt(np.average((places - np.average(places, 0, each)) ** 2, 0, each))
    nulls = (random.normal(size=places.shape) * spread for _ in range(NULLS))
    sizes = np.bincount(_kmeans(places, each, count, seed).labels_, weights=each, minlength=count)
    if sizes.min() < FEWEST:
        return False
    own = _silhouette(places, each, count, seed)
    return all(_silhouette(null, each, count, seed) < own for null in nulls)


def _silhouette(places: NDArray[Any], each: NDArray[np.float64], count: int, seed: int) -> float:
    labels = _kmeans(places, each, count, seed).labels_
    some = np.random.default_rng(seed).permutation(len(places))[:MOST_COMPARED]
    if len(np.unique(labels[some])) < 2:
        return -1.0  # all but a few in one cluster: as bad as can be
    return float(silhouette_score(places[some], labels[some]))


def _ordered(
    maps: NDArray[np.float32],
    groups: NDArray[Any],
    labels: NDArray[np.int64],
    strengths: tuple[float, ...],
) -> Strategies:
    """Kinds by falling share, with their centres."""
    each = weights(groups)
    names, labels = np.unique(labels, return_inverse=True)
    shares = np.bincount(labels, weights=each) / each.sum()
    order = np.argsort(-shares, kind="stable")
    labels = np.argsort(order)[labels]
    centres = np.zeros((len(names), maps.shape[1]))
    for part in _parts(len(maps)):  # one at a time: there may be more maps than memory
        belongs = (labels[part] == np.arange(len(names))[:, None]) * each[part]
        centres += belongs @ maps[part]
    centres /= np.bincount(labels, weights=each)[:, None]
    distances = np.concatenate(
        [hellinger(maps[part], centres[labels[part]]) for part in _parts(len(maps))]
    )
    return Strategies(labels, centres, shares[order], distances, strengths)
