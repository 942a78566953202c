"""What the maps are: whether they add up to the score, how often they are blank, how they peak.

All of it is about the evidence for the class that is called, on the map's own grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from clearhead.audits.phrases import counted, interval, listed, percent, percent_of
from clearhead.audits.pictures import evenly
from clearhead.audits.section import Cell, Section, Table
from clearhead.audits.subject import Subject
from clearhead.heat.cams import CAMS
from clearhead.heat.evidence import coincide
from clearhead.measure.groupwise import mean
from clearhead.model.nets import TOP
from clearhead.types import Finding

Floats = NDArray[np.float64]

EXACT = 1e-4
"""Largest deviation from the score, relative to the largest score, of maps that add up to it."""
FEWEST = 3
"""Pictures from which it can be seen whether maps add up: a single one always does."""
BLANK = 0.1
"""Share of blank maps from which it is warned."""
SAMPLE = 16
"""Pictures on which methods are compared."""
WITNESSES = tuple(name for name in CAMS if name != "eigen_cam")
"""Methods whose agreement is looked at; Eigen-CAM knows no class."""

SCORES = {"logit": "logit", "logit margin": "margin"}
"""The score behind a unit of evidence, where it is linear in the logits."""

FIGURE = "maps-peaks"


def maps(subject: Subject) -> Section:
    """Exactness, blank maps, peaks by class and call, and methods that are one and the same."""
    peaks = called_peaks(subject)
    return Section(
        "maps",
        "What the maps are",
        (_exact(subject), _blank(subject, peaks), _one_witness(subject)),
        tables=(_table(subject, peaks),),
    )


def called_peaks(subject: Subject) -> NDArray[np.float32]:
    """Highest evidence for the called class, (N,), in the subject's unit; 0 or less is blank."""
    peaks = np.empty(len(subject), np.float32)
    for rows in subject.batches(np.arange(len(subject)), "peaks of the maps"):
        peaks[rows] = subject.evidence[rows, subject.calls[rows]].max((1, 2))
    return peaks


# --- Exactness ------------------------------------------------------------------------------


def deviation(subject: Subject) -> float | None:
    """How far maps are from adding up to their scores, relative to the largest score.

    A pooled linear head gives every class maps whose mean is the score but for one number, its
    bias, the same in every picture. This is the largest departure from that over all pictures and
    classes. None where the evidence isn't counted in the score, or pictures are too few to tell.
    """
    scores = _scores(subject)
    if scores is None or len(subject) < FEWEST:
        return None
    rest = np.empty(scores.shape)
    for rows in subject.batches(np.arange(len(subject)), "sums of the maps"):
        rest[rows] = scores[rows] - subject.evidence[rows].mean((2, 3), dtype=np.float64)
    largest = float(np.abs(scores).max()) or 1.0
    return float(np.abs(rest - np.median(rest, 0)).max()) / largest


POOLED: dict[str, Callable[[Floats], Floats]] = {
    "log-mean-exp": lambda cells: logsumexp(cells, 1) - np.log(cells.shape[1]),
    "mean of the highest hundredth": lambda cells: highest(cells).mean(1),
}
"""Ways to make a score (B,) of the cells of maps (B, N), by their name."""


def highest(cells: Floats) -> Floats:
    """The highest hundredth of the cells of each map, (B, n), of (B, N)."""
    count = max(1, round(TOP * cells.shape[1]))
    found: Floats = np.partition(cells, -count, axis=1)[:, -count:]
    return found


def deviation_pooled(subject: Subject, pooling: str) -> float | None:
    """The same for a net of two classes that pools its evidence in one of the ways of `POOLED`.

    With evidence e of the positive class and its margin z it asks for z = pool(e); logits
    that sum to 0 are half of the margin, and so is the evidence for them. A bias of calibration is
    one number more, the same in every picture.
    """
    scores = _scores(subject)
    if scores is None or len(subject) < FEWEST or len(subject.classes) != 2:
        return None
    factor = 1.0 if subject.unit == "logit margin" else 2.0
    own = factor * scores[:, subject.positive]
    rest = np.empty(len(own))
    for rows in subject.batches(np.arange(len(subject)), "sums of the maps"):
        values = factor * subject.evidence[rows, subject.positive].astype(np.float64)
        rest[rows] = own[rows] - POOLED[pooling](values.reshape(len(rows), -1))
    return float(np.abs(rest - np.median(rest)).max()) / (float(np.abs(own).max()) or 1.0)


def add_up(subject: Subject) -> bool:
    """Whether every map adds up to its score, so that heat anywhere is a part of the score."""
    found = deviation(subject)
    return found is not None and found <= EXACT


def _scores(subject: Subject) -> NDArray[np.float64] | None:
    """What the evidence explains, (N, K): the logits, or each less the mean of the others."""
    logits = subject.logits.astype(np.float64)
    score = SCORES.get(subject.unit)
    if score != "margin":
        return None if score is None else logits
    classes = logits.shape[1]
    margins: NDArray[np.float64] = logits - (logits.sum(1, keepdims=True) - logits) / max(
        classes - 1, 1
    )
    return margins


def _exact(subject: Subject) -> Finding:
    """Whether the mean of a map is the score that it explains."""
    found = deviation(subject)
    said = f"The maps of {subject.method} are counted in {subject.unit}"
    if found is None:
        return Finding("maps.exact", "info", f"{said}, {_untold(subject)}.")
    if found <= EXACT:
        verdict = (
            "; the mean of a map and the class's bias make its score exactly (largest deviation "
            f"{_small(found)} of the largest score, in {counted(len(subject), 'picture')}). Heat "
            "in a cell of the map is what that cell adds to the score; the cell itself sees more "
            "of the picture than the place it lies over."
        )
    elif (read := _read_off(subject)) is not None:
        how, found = read
        verdict = (
            f"; the {how} of the map of {subject.classes[subject.positive]} is its score "
            f"exactly (largest deviation {_small(found)} of the largest score, in "
            f"{counted(len(subject), 'picture')}): the call is read off the map, and map and call "
            "can't disagree. A cell sees more of the picture than the place it lies over."
        )
    else:
        verdict = (
            f"; they don't add up to the score (largest deviation {percent_of(found)} of the "
            "largest score), as the net's head is not a linear one on pooled maps. A map is then "
            "an approximation, and heat can lie where the score gets nothing: the causal tests "
            "decide."
        )
    return Finding("maps.exact", "info", said + verdict, found, limit=EXACT)


def _read_off(subject: Subject) -> tuple[str, float] | None:
    """How scores are read off the maps, and the largest deviation; None where they aren't."""
    found = {how: deviation_pooled(subject, how) for how in POOLED}
    exact = {how: value for how, value in found.items() if value is not None and value <= EXACT}
    return min(exact.items(), key=lambda item: item[1], default=None)


def _untold(subject: Subject) -> str:
    """Why it isn't known whether the maps add up to the score."""
    if subject.unit in SCORES:
        return "and there are too few pictures to tell whether they add up to the score"
    return (
        "which doesn't add up to the score: they rank places, and say nothing of how much of the "
        "score lies there"
    )


def _small(number: float) -> str:
    return f"{number:.0e}".replace("e-0", "e-")


# --- Blank maps -----------------------------------------------------------------------------


def _blank(subject: Subject, peaks: NDArray[np.float32]) -> Finding:
    """How many calls have no evidence for them anywhere."""
    blank = peaks <= 0
    share = mean(
        blank.astype(np.float64), subject.groups, resamples=subject.resamples, seed=subject.seed
    )
    if not blank.any():
        message = (
            f"No map is blank: each of {counted(len(subject), 'picture')} has positive evidence "
            "for the class that is called."
        )
        return Finding("maps.blank", "info", message, 0.0, limit=BLANK, figure=FIGURE)
    parts = [
        f"{int((blank & keep).sum()):,} of {int(keep.sum()):,} {name}"
        for name, keep in _kinds(subject)
        if (blank & keep).any()
    ]
    many = share.low is not None and share.low > BLANK
    advice = (
        " The calls rest on what speaks against other classes, or on the bias: explain the margin "
        "between the classes (`--score margin`)."
    )
    return Finding(
        "maps.blank",
        "warn" if many else "info",
        f"{percent(float(blank.sum()), len(subject))} of the maps are blank, without positive "
        f"evidence for the class that is called: {listed(parts)}. They take no part in shares of "
        "heat, and miss in the pointing game." + advice * many,
        share.value,
        interval(share),
        BLANK,
        figure=FIGURE,
    )


def _kinds(subject: Subject) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Pictures by true class and by right or wrong call, those that occur."""
    for k, name in enumerate(subject.classes):
        for word, chosen in (("right", subject.right), ("wrong", ~subject.right)):
            if (keep := chosen & (subject.labels == k)).any():
                yield f"{name} called {word}", keep


def _table(subject: Subject, peaks: NDArray[np.float32]) -> Table:
    kinds = [*_kinds(subject), ("every picture", np.ones(len(subject), bool))]
    return Table(
        FIGURE,
        "Peaks of the maps for the class that is called",
        ("Pictures", "Files", "Blank", "Median peak", "90th percentile"),
        tuple(_row(name, peaks[keep]) for name, keep in kinds),
        note=f"Peaks in {subject.unit}, every file counting once; blank maps count as 0.",
    )


def _row(name: str, peaks: NDArray[np.float32]) -> tuple[Cell, ...]:
    median, high = np.percentile(np.maximum(peaks, 0), (50, 90))
    return name, len(peaks), int((peaks <= 0).sum()), f"{median:.3g}", f"{high:.3g}"


# --- One witness ----------------------------------------------------------------------------


def _one_witness(subject: Subject) -> Finding:
    """Which methods give one and the same map in this net."""
    chosen = evenly(np.arange(len(subject)), SAMPLE)
    squares = torch.from_numpy(subject.squares[chosen]).unsqueeze(1)
    groups = coincide(
        subject.classifier,
        squares.to(subject.classifier.mean.device),
        WITNESSES,
        score=SCORES.get(subject.unit, "logit"),
    )
    same = [listed(group) for group in groups if len(group) > 1]
    most = max(len(group) for group in groups)
    checked = f"(looked at in {counted(len(chosen), 'picture')}, every class)"
    message = (
        f"{'; '.join(same)} give one and the same map in this net {checked}: their agreement "
        "says something of the net's last layers and nothing of where the evidence lies. They "
        "are one witness."
        if same
        else f"No two of {listed(WITNESSES)} give the same map in this net {checked}."
    )
    return Finding("maps.one-witness", "info", message, float(most))
