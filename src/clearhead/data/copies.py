"""Which files show the same picture: re-encoded, rescaled, mirrored, turned, brightened.

Two pictures are copies where the *local contrast* of their thumbnails agrees: each thumbnail pixel
minus the mean of its neighbourhood, over the neighbourhood's spread. Brightness, contrast, gamma
and clipping barely move it, while the next slice of the same head does. Copies are searched with a
nearest-neighbour index over the lowest frequencies of that picture, in all 8 flips and quarter
turns, and decided by the normalised correlation of the whole. What is left is searched once more
with the head drawn over the whole thumbnail, which finds copies whose border was cut or widened.
See `docs/concepts/copies-and-groups.md` and `docs/decisions/copy-search.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from clearhead.data.contrast import TURNS, UNDONE, agreement, local_contrast, turned
from clearhead.data.framing import boxes_of, fitted, framed
from clearhead.data.thumbnail import SIDE, cosines
from clearhead.errors import ManifestError
from clearhead.types import Manifest, Progress, silent

THRESHOLD = 0.85
"""Correlation of local contrast from which two pictures are copies."""

CROPPED = 0.90
"""The same for pictures whose heads are drawn over the whole and fitted to each other.

Fitting brings neighbouring slices closer too: they reach 0.89, copies go down to 0.90.
"""

DRIFT = 0.70
"""Least correlation with the group's centre for a picture that reaches it through other copies."""

SLACK = 0.10
"""How far below the threshold the low frequencies of a pair may correlate and still be tested."""

CROPPED_SLACK = 0.20
"""The same for heads, which aren't fitted yet when their frequencies are compared."""

FLAT_LEVELS = 2.0
"""Standard deviation, in stored levels, under which there is too little contrast to compare."""

FLAT_PIXELS = 128.0
"""Fewest thumbnail pixels that must carry a picture's contrast for it to be comparable."""

FREQUENCIES = 16
"""Lowest frequencies per axis in the descriptor that is searched: 16·16 − 1 = 255 numbers."""

NEIGHBOURS = 32
"""Nearest neighbours looked at per picture and turn."""

PROBES = 8
"""Cells of the index visited per query."""

BLOCK = 1024
"""Pictures or pairs worked on at a time: what bounds the memory."""

FITTED = 256
"""Pairs fitted to each other at a time."""


# --- What is searched -----------------------------------------------------------------------


def _descriptors(contrast: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lowest frequencies of local contrast, (n, 64, 64) → (n, 16, 16), of unit length."""
    basis = cosines(SIDE)[:FREQUENCIES].astype(np.float32)
    low = basis @ contrast @ basis.T
    low[:, 0, 0] = 0.0
    length = np.sqrt(np.square(low).sum(axis=(1, 2), keepdims=True))
    unit: NDArray[np.float32] = low / np.maximum(length, 1e-6)
    return unit


def _turned_descriptors(descriptors: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """The descriptors of the turned pictures: a mirror changes the sign of odd frequencies."""
    sign = np.where(np.arange(FREQUENCIES) % 2, -1.0, 1.0).astype(np.float32)
    if turn & 4:
        descriptors = descriptors.swapaxes(1, 2)
    if turn & 1:
        descriptors = descriptors * sign
    if turn & 2:
        descriptors = descriptors * sign[:, None]
    return descriptors


# --- Candidates -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pairs:
    """Pairs of pictures: picture `first` under `turn` looks like picture `second`; each (n,)."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    turn: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: NDArray[Any]) -> _Pairs:
        return _Pairs(self.first[rows], self.second[rows], self.turn[rows])


def _candidates(descriptors: NDArray[np.float32], bound: float, progress: Progress) -> _Pairs:
    """Pairs whose descriptors correlate by `bound` or more in one of the 8 turns."""
    index = _index(descriptors)
    found: list[_Pairs] = []
    starts = range(0, len(descriptors), BLOCK)
    for start in progress(starts, total=len(starts), label="Searching copies"):
        block = descriptors[start : start + BLOCK]
        found += [_near(index, block, start, turn, bound) for turn in range(TURNS)]
    return _once(_joined(found))


def _index(descriptors: NDArray[np.float32]) -> Any:
    """An inverted file over the descriptors, its cells centred on evenly chosen pictures.

    About 4·√n cells of √n/4 pictures: the cost of a query grows with √n. Centres are taken and not
    trained, so that the same pictures always give the same cells.
    """
    import faiss

    rows = descriptors.reshape(len(descriptors), -1)
    cells = int(np.clip(4 * np.sqrt(len(rows)), 1, len(rows)))
    centres = faiss.IndexFlatIP(rows.shape[1])
    centres.add(rows[np.linspace(0, len(rows) - 1, cells).astype(np.int64)])
    index = faiss.IndexIVFFlat(centres, rows.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = PROBES
    index.train(rows)
    index.add(rows)
    return index


def _near(
    index: Any, descriptors: NDArray[np.float32], start: int, turn: int, bound: float
) -> _Pairs:
    queries = _turned_descriptors(descriptors, turn).reshape(len(descriptors), -1)
    scores, places = index.search(np.ascontiguousarray(queries), NEIGHBOURS)
    row, rank = np.nonzero((scores >= bound) & (places >= 0))
    first, second = row + start, places[row, rank].astype(np.int64)
    # A picture is no copy of its own mirror image.
    other = first != second
    return _upward(_Pairs(first[other], second[other], np.full(other.sum(), turn, dtype=np.int8)))


def _upward(pairs: _Pairs) -> _Pairs:
    """The same pairs with `first` < `second`: where they change places, the turn is undone."""
    swap = pairs.first > pairs.second
    return _Pairs(
        np.where(swap, pairs.second, pairs.first),
        np.where(swap, pairs.first, pairs.second),
        np.where(swap, np.array(UNDONE, dtype=np.int8)[pairs.turn], pairs.turn),
    )


def _joined(parts: list[_Pairs]) -> _Pairs:
    return _Pairs(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.turn for part in parts]),
    )


def _once(pairs: _Pairs) -> _Pairs:
    keys = np.stack([pairs.first, pairs.second, pairs.turn.astype(np.int64)])
    first, second, turn = np.unique(keys, axis=1)
    return _Pairs(first, second, turn.astype(np.int8))


# --- The deciding test ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Album:
    """Thumbnails of the different pictures, left where they are until a block is asked for.

    With `boxes` (n, 2, 2) each is seen as what lies in its box, drawn over the whole.
    """

    thumbnails: NDArray[np.uint8]
    rows: NDArray[np.int64]
    boxes: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, pictures: NDArray[np.int64]) -> _Album:
        boxes = None if self.boxes is None else self.boxes[pictures]
        return _Album(self.thumbnails, self.rows[pictures], boxes)

    def framed(self, progress: Progress = silent) -> _Album:
        """The same pictures with the head of each drawn over the whole."""
        boxes = np.empty((len(self), 2, 2), dtype=np.float32)
        starts = range(0, len(self), BLOCK)
        for start in progress(starts, total=len(starts), label="Framing heads"):
            part = slice(start, start + BLOCK)
            boxes[part] = boxes_of(np.asarray(self.thumbnails[self.rows[part]]))
        return _Album(self.thumbnails, self.rows, boxes)

    def seen(self, pictures: NDArray[np.int64]) -> NDArray[Any]:
        """Some of the thumbnails, (k, 64, 64) of 0…255."""
        thumbnails = np.asarray(self.thumbnails[self.rows[pictures]])
        return thumbnails if self.boxes is None else framed(thumbnails, self.boxes[pictures])

    def contrast(self, pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        return local_contrast(self.seen(pictures))


def _described(
    album: _Album, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Descriptors (n, 16, 16), and how many pixels carry each picture's contrast, (n,).

    The latter is 1/Σz⁴ for contrast z of unit length: 4096 where all take part alike, 1 where one
    pixel is all there is.
    """
    descriptors = np.empty((len(album), FREQUENCIES, FREQUENCIES), dtype=np.float32)
    carriers = np.empty(len(album), dtype=np.float32)
    starts = range(0, len(album), BLOCK)
    for start in progress(starts, total=len(starts), label="Describing pictures"):
        part = slice(start, start + BLOCK)
        contrast = album.contrast(np.arange(len(album))[part])
        descriptors[part] = _descriptors(contrast)
        carriers[part] = 1.0 / np.maximum(np.square(np.square(contrast)).sum(axis=(1, 2)), 1e-6)
    # Without any contrast the sum is 0 and nothing carries it.
    carriers[carriers > SIDE * SIDE * 1.01] = 0.0
    return descriptors, carriers


def _correlations(album: _Album, pairs: _Pairs) -> NDArray[np.float32]:
    """Normalised correlation of local contrast of each pair in its turn, (n,)."""
    scores = np.empty(len(pairs), dtype=np.float32)
    for part, first, second in _compared(album, pairs.first, pairs.second):
        for turn in range(TURNS):
            rows = np.flatnonzero(pairs.turn[part] == turn)
            scores[part][rows] = agreement(first[rows], second[rows], turn)
    return scores


def _fits(album: _Album, pairs: _Pairs) -> NDArray[np.float32]:
    """The same where the first of each pair is moved to where both agree best, (n,)."""
    scores = np.empty(len(pairs), dtype=np.float32)
    for turn in range(TURNS):
        rows = np.flatnonzero(pairs.turn == turn)
        for some in (rows[start : start + FITTED] for start in range(0, len(rows), FITTED)):
            first, second = album.seen(pairs.first[some]), album.seen(pairs.second[some])
            scores[some] = fitted(turned(first, turn), second)
    return scores


def _best_turns(
    album: _Album, members: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.int8]:
    """The turn in which each member agrees best with its target, (n,)."""
    scores = np.empty((TURNS, len(members)), dtype=np.float32)
    for part, member, target in _compared(album, members, targets):
        for turn in range(TURNS):
            scores[turn, part] = agreement(member, target, turn)
    best = scores.max(axis=0)
    # Of equals within rounding, the lowest: a symmetric picture counts as not turned.
    turns: NDArray[np.int8] = np.argmax(scores >= best - 1e-4, axis=0).astype(np.int8)
    return turns


def _compared(
    album: _Album, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
    """The local contrast of both sides of many pairs, block by block."""
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        # Copies come in groups: a block of pairs holds far fewer pictures than pairs.
        pictures, places = np.unique(np.stack([first[part], second[part]]), return_inverse=True)
        contrast = album.contrast(pictures)
        left, right = places.reshape(2, -1)
        yield part, contrast[left], contrast[right]


Compared = Callable[[_Album, _Pairs], NDArray[np.float32]]
"""A way to compare the pictures of each pair, (n,)."""


# --- Groups ---------------------------------------------------------------------------------


def _settled(
    album: _Album, pairs: _Pairs, threshold: float, compared: Compared
) -> NDArray[np.int64]:
    """Centre of each picture's group, (n,): pictures chained together, never far from the centre.

    The centre of a chain is its picture with most copies. Members that agree with it by
    `DRIFT` or more stay with it; the others form chains of their own, and so on.
    """
    settled = np.arange(len(album), dtype=np.int64)
    while len(pairs):
        centre = _centres(len(album), pairs)
        members = np.unique(np.concatenate([pairs.first, pairs.second]))
        turns = _best_turns(album, members, centre[members])
        scores = compared(album, _Pairs(members, centre[members], turns))
        near = (scores >= min(DRIFT, threshold)) | (centre[members] == members)
        settled[members[near]] = centre[members[near]]
        away = np.zeros(len(album), dtype=np.bool_)
        away[members[~near]] = True
        pairs = pairs.take(away[pairs.first] & away[pairs.second])
    return settled


def _centres(count: int, pairs: _Pairs) -> NDArray[np.int64]:
    """For each picture, the one of its chain that has most copies; of equals the first, (n,)."""
    chain = _components(count, pairs.first, pairs.second)
    degree = np.bincount(np.concatenate([pairs.first, pairs.second]), minlength=count)
    order = np.lexsort((-degree, chain))
    _, place, inverse = np.unique(chain[order], return_index=True, return_inverse=True)
    centres = np.empty(count, dtype=np.int64)
    centres[order] = order[place[inverse]]
    return centres


def _turns(album: _Album, centres: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.int8]:
    """The turn that maps each picture onto the first of its group, (n,).

    `near` are the centres of pictures that are copies as they are: others are compared as heads.
    """
    _, first, inverse = np.unique(centres, return_index=True, return_inverse=True)
    target = first[inverse]
    turns = np.zeros(len(album), dtype=np.int8)
    alike = near == near[target]
    members = np.flatnonzero(alike & (target != np.arange(len(album))))
    turns[members] = _best_turns(album, members, target[members])
    members = np.flatnonzero(~alike)
    both = album.take(np.concatenate([members, target[members]])).framed()
    place = np.arange(len(members))
    turns[members] = _best_turns(both, place, len(members) + place)
    return turns


def _components(
    count: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    labels: NDArray[np.int64] = part.astype(np.int64)
    return labels


def _numbered(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups renumbered 0, 1, 2… by first appearance, (n,)."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: NDArray[np.int64] = rank[inverse]
    return numbers


# --- The verb -------------------------------------------------------------------------------


def find_copies(
    manifest: Manifest,
    thumbnails: NDArray[np.uint8],
    *,
    threshold: float = THRESHOLD,
    progress: Progress = silent,
) -> Manifest:
    """Fill the columns `copy`, `turn` and `group`: which rows show the same picture.

    Rows whose pixels are identical are copies. So are rows whose local contrast correlates by
    `threshold` or more in one of the 8 flips and quarter turns, or by `CROPPED` once their heads
    are drawn over the whole and fitted to each other, and rows chained to them that still agree
    with the group's centre by `DRIFT`. A picture of too little contrast has no copies
    but those of identical pixels; an unreadable row has none. `turn` maps a row onto the first
    picture of its group, first by source. `group` unites copies and patients. Numbers count up by
    source, so the order of rows does not matter.

    Shapes: `thumbnails` (N, 64, 64) uint8, row by row as the manifest; a memory map will do.
    Errors: `ManifestError` where the shapes differ or the threshold isn't in (0, 1].
    """
    _check(manifest, thumbnails, threshold)
    order = np.argsort(manifest.column("source"), kind="stable")
    rows = manifest.take(order)
    picture, first = _pictures(rows)
    centres = np.arange(len(first), dtype=np.int64)
    turns = np.zeros(len(first), dtype=np.int8)
    lively = np.flatnonzero(_lively(rows)[first])
    album = _Album(thumbnails, order[first[lively]])
    found = _search(album, threshold, progress)
    centres[lively] = lively[found.centres]
    turns[lively] = found.turns
    copy = _numbered(centres[picture])
    back = np.argsort(order, kind="stable")
    return manifest.with_columns(
        copy=copy[back],
        turn=turns[picture][back],
        group=_united(copy, rows.column("patient"))[back],
    ).with_notes(
        copies={
            "threshold": threshold,
            "cropped": max(threshold, CROPPED),
            "drift": DRIFT,
            "pairs_tested": found.pairs_tested,
        }
    )


def is_current(manifest: Manifest) -> bool:
    """Whether copies were searched in a manifest, and the way that this version searches them."""
    missing = manifest.table.column("copy").null_count
    return not missing and "cropped" in manifest.notes.get("copies", {})


@dataclass(frozen=True)
class _Found:
    """What the search says of each picture of an album."""

    centres: NDArray[np.int64]
    turns: NDArray[np.int8]
    pairs_tested: int


def _search(album: _Album, threshold: float, progress: Progress) -> _Found:
    """Copies as the thumbnails are, then, among what is left, by the heads in them."""
    near, tested = _grouped(album, _correlations, threshold, threshold - SLACK, progress)
    left = np.unique(near)
    heads = album.take(left).framed(progress)
    cropped = max(threshold, CROPPED)
    joined, fits = _grouped(heads, _fits, cropped, cropped - CROPPED_SLACK, progress)
    centres = left[joined][np.searchsorted(left, near)]
    return _Found(centres, _turns(album, centres, near), tested + fits)


def _grouped(
    album: _Album,
    compared: Compared,
    threshold: float,
    bound: float,
    progress: Progress,
) -> tuple[NDArray[np.int64], int]:
    """Centre of each picture's group, (n,), by one way to compare pairs; and how many it took.

    Compared are those whose low frequencies correlate by `bound` or more.
    """
    descriptors, carriers = _described(album, progress)
    centres = np.arange(len(album), dtype=np.int64)
    # Where few pixels carry the contrast, two pictures agree by chance.
    places = np.flatnonzero(carriers >= FLAT_PIXELS)
    if not len(places):
        return centres, 0
    clear = album.take(places)
    candidates = _candidates(descriptors[places], bound, progress)
    copied = candidates.take(compared(clear, candidates) >= threshold)
    centres[places] = places[_settled(clear, copied, threshold, compared)]
    return centres, len(candidates)


def _check(manifest: Manifest, thumbnails: NDArray[np.uint8], threshold: float) -> None:
    expected = (len(manifest), SIDE, SIDE)
    if thumbnails.shape != expected or thumbnails.dtype != np.uint8:
        raise ManifestError(
            f"the thumbnails are {thumbnails.shape} {thumbnails.dtype}: expected {expected} uint8, "
            "one for each row of the manifest; index the folder again"
        )
    if not 0 < threshold <= 1:
        raise ManifestError(
            f"the threshold for copies is {threshold}: expected a correlation above 0 and up to 1"
        )


def _pictures(rows: Manifest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the picture in each row, (N,), and first row of each picture, (n,).

    Rows of identical pixels show one picture; a row that could not be read is one of its own.
    """
    number: dict[str, int] = {}
    hashes = zip(rows.column("pixel_hash"), rows.column("error"), strict=True)
    keys = (
        pixels if pixels and error is None else f"row {row}"
        for row, (pixels, error) in enumerate(hashes)
    )
    picture = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
    return picture, np.unique(picture, return_index=True)[1].astype(np.int64)


def _lively(rows: Manifest) -> NDArray[np.bool_]:
    """Whether a row can be read and holds more than the noise of its last stored level, (N,)."""
    readable = rows.column("error") == None  # noqa: E711  elementwise on objects
    in_levels = ~np.isin(rows.column("mode").astype(str), ("1", "F"))
    flat = in_levels & (rows.column("std") < FLAT_LEVELS)
    lively: NDArray[np.bool_] = readable & ~flat
    return lively


def _united(copy: NDArray[np.int64], patient: NDArray[Any]) -> NDArray[np.int64]:
    """Groups of rows that share a copy number or a patient, through any chain of both, (N,)."""
    known = np.flatnonzero(patient != None)  # noqa: E711  elementwise on objects
    _, person = np.unique(patient[known].astype(str), return_inverse=True)
    copies = int(copy.max(initial=-1)) + 1
    count = copies + int(person.max(initial=-1)) + 1
    return _numbered(_components(count, copy[known], copies + person)[copy])


# --- What was found -------------------------------------------------------------------------


@dataclass(frozen=True)
class CopyReport:
    """How many files show how many pictures."""

    files: int
    """Files that could be read."""
    distinct: int
    """Different pictures among them."""
    mirrored: int
    """Files whose picture is a mirrored or turned copy of its group's first."""
    contradicting: int
    """Groups of copies that hold more than one label."""
    largest: int
    """Files in the largest group of copies."""
    unreadable: int
    """Files that could not be read and are counted nowhere else."""

    def __str__(self) -> str:
        return (
            f"{self.files} files, {self.distinct} distinct pictures, {self.mirrored} of the copies "
            f"mirrored, {self.contradicting} groups with contradicting labels"
        )


@dataclass(frozen=True)
class CopyGroup:
    """The files that show one picture, by source; `turns` map each onto the first."""

    copy: int
    sources: tuple[str, ...]
    labels: tuple[str | None, ...]
    turns: tuple[int, ...]

    @property
    def contradicting(self) -> bool:
        """Whether the files hold more than one label; an unknown label contradicts none."""
        return len(set(self.labels) - {None}) > 1


def copy_report(manifest: Manifest) -> CopyReport:
    """Count files, pictures, mirrored copies and contradictions; `find_copies` comes first.

    Errors: `ManifestError` where copies were not searched.
    """
    copy = _searched(manifest)
    seen = manifest.readable()
    return CopyReport(
        files=len(seen),
        distinct=len(np.unique(seen.column("copy"))),
        mirrored=int(np.count_nonzero(seen.column("turn"))),
        contradicting=sum(group.contradicting for group in copy_groups(seen)),
        largest=int(np.bincount(seen.column("copy")).max(initial=0)),
        unreadable=len(copy) - len(seen),
    )


def copy_groups(manifest: Manifest) -> Iterator[CopyGroup]:
    """Groups of two or more files that show one picture, in the order of their numbers.

    Errors: `ManifestError` where copies were not searched.
    """
    copy = _searched(manifest)
    source, label, turn = (manifest.column(name) for name in ("source", "label", "turn"))
    order = np.argsort(source, kind="stable")
    by_copy = order[np.argsort(copy[order], kind="stable")]
    for members in np.split(by_copy, np.flatnonzero(np.diff(copy[by_copy])) + 1):
        if len(members) > 1:
            yield CopyGroup(
                int(copy[members[0]]),
                tuple(source[members]),
                tuple(label[members]),
                tuple(int(value) for value in turn[members]),
            )


def _searched(manifest: Manifest) -> NDArray[np.int64]:
    if manifest.table.column("copy").null_count:
        raise ManifestError(
            "copies were not searched in this manifest: run `clearhead copies` on it first"
        )
    copy: NDArray[np.int64] = manifest.column("copy")
    return copy
