"""What a bench judges: pictures, one of every group, and the heat of every method in them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.audits.patches import Patches
from clearhead.audits.phrases import interval
from clearhead.audits.section import Line, Mark, Section
from clearhead.audits.subject import BATCH, Subject
from clearhead.data.canvas import Grid
from clearhead.heat.cams import CAMS
from clearhead.heat.controls import CONTROLS, Ground
from clearhead.heat.evidence import evidences
from clearhead.measure.groupwise import mean
from clearhead.measure.scores import Score
from clearhead.model.classifier import Classifier
from clearhead.model.run import Run

Heats = dict[str, NDArray[np.float32]]
"""Heat ≥ 0 on patches, (N, P, P), by the name of its method or control."""

CHEAP = tuple(CAMS)
"""Methods that cost a forward pass, all of them together."""

RANDOM = "uniform"
"""The control that is the same everywhere: as an order of patches, a random one."""


@dataclass(frozen=True)
class Judged:
    """What one bench has to say, and its figures by measure and method for the summary."""

    section: Section
    measures: Mapping[str, Mapping[str, Score]]


@dataclass(frozen=True)
class Exhibits:
    """N pictures of different groups, explained for the class called, by M methods.

    Controls are treated as methods: they stand in every table, as what chance gives. `score` is
    what the maps explain; `seeds` are trainings that differ in the seed alone, `shuffled` one on
    labels dealt out at random.
    """

    subject: Subject
    methods: tuple[str, ...]
    score: str = "logit"
    seeds: tuple[Run, ...] = ()
    shuffled: Run | None = None
    controls: tuple[str, ...] = tuple(CONTROLS)

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def names(self) -> tuple[str, ...]:
        """Methods, then controls."""
        return (*self.methods, *self.controls)

    @property
    def chosen(self) -> str:
        """The method that findings speak of: the subject's, where it is on the bench."""
        return self.subject.method if self.subject.method in self.methods else self.methods[0]

    @cached_property
    def patches(self) -> Patches:
        return Patches.of(self.subject.grid, self.subject.squares.shape[1])

    @cached_property
    def classifier(self) -> Classifier:
        """A copy in evaluation mode: whatever is done here, the caller's stays as it is."""
        return copy.deepcopy(self.subject.classifier).eval()

    @cached_property
    def strangers(self) -> NDArray[np.int64]:
        """For every row another one, (N,): the picture whose map is the measure of chance."""
        order = np.random.default_rng((self.subject.seed, 1)).permutation(len(self))
        found = np.empty_like(order)
        found[order] = np.roll(order, 1)
        return found

    @cached_property
    def heats(self) -> Heats:
        """Heat of every method and control in the pictures as they are."""
        return self.heats_of(self.classifier, self.subject.squares, label="maps")

    def first(self, count: int) -> Exhibits:
        """The first `count` pictures alone."""
        if count >= len(self):
            return self
        return replace(self, subject=_rows_of(self.subject, np.arange(count)))

    def heats_of(
        self,
        classifier: Classifier,
        squares: NDArray[np.uint8],
        *,
        shift: tuple[int, int] = (0, 0),
        methods: Sequence[str] | None = None,
        label: str = "",
    ) -> Heats:
        """Heat of every method and control in squares (N, S, S), row by row as the subject's.

        `classifier` may be another one of the same grid. The class explained stays the one that
        the subject calls. With a `shift` the squares have been moved, and the heat is moved back.
        With `methods`, those alone and the controls; `other` is then of the first of them.
        """
        methods = self.methods if methods is None else methods
        every = np.arange(len(self))
        starts = every[::BATCH]
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in methods}
        for start in self.subject.progress(starts, total=len(starts), label=label):
            rows = every[start : start + BATCH]
            targets = self.subject.calls[rows]
            maps = evidence_of(classifier, squares[rows], targets, methods, self.score)
            for name, (values, grid) in maps.items():
                found[name].append(self.patches.of_maps(np.maximum(values, 0), grid, shift))
        heats = {name: np.concatenate(parts) for name, parts in found.items()}
        same = squares is self.subject.squares and not any(shift)
        known = self._as_they_are if same else self._controls(squares, shift)
        if "other" in self.controls:
            habit = heats[self.chosen if self.chosen in heats else methods[0]]
            known = {**known, "other": habit[self.strangers]}
        return {**heats, **{name: known[name] for name in self.controls}}

    @cached_property
    def _as_they_are(self) -> Heats:
        return self._controls(self.subject.squares, (0, 0))

    def _controls(self, squares: NDArray[np.uint8], shift: tuple[int, int]) -> Heats:
        """Heat of the controls that see the picture alone; where it has moved, regions do too."""
        seers = [name for name in self.controls if name != "other"]
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in seers}
        for start in range(0, len(self), BATCH):
            rows = np.arange(start, min(start + BATCH, len(self)))
            none = np.zeros(squares[rows].shape, np.float32)
            regions = moved(self.subject.regions[rows], shift)
            ground = Ground(squares[rows], regions, none, rows, self.subject.seed)
            for name in seers:
                found[name].append(self.patches.of_squares(CONTROLS[name](ground), shift))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def score_of(self, values: NDArray[np.float64]) -> Score:
        """The mean of values (N,), every group counting once, with its interval."""
        subject = self.subject
        return mean(values, subject.groups, resamples=subject.resamples, seed=subject.seed)

    def scores_of(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, Score]:
        """The mean of each of several lists of values (N,)."""
        return {name: self.score_of(each) for name, each in values.items()}


def moved(squares: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.uint8]:
    """Squares (B, S, S) moved down and across by so many pixels; the edge fills what comes in."""
    side = np.arange(squares.shape[1])
    down, across = (np.clip(side - pixels, 0, len(side) - 1) for pixels in shift)
    return squares[:, down[:, None], across]


def evidence_of(
    classifier: Classifier,
    squares: NDArray[np.uint8],
    targets: NDArray[np.int64],
    methods: Sequence[str],
    score: str,
) -> dict[str, tuple[NDArray[np.float32], Grid]]:
    """Evidence (B, h, w) of every method for a class of each picture's own, `targets` (B,).

    Class activation maps share one pass through the net and one gradient of its head.
    """
    there = torch.from_numpy(np.ascontiguousarray(squares)).unsqueeze(1)
    there = there.to(classifier.mean.device)
    wanted = torch.from_numpy(targets).to(there.device)
    found = evidences(classifier, there, methods, target=wanted, score=score)
    return {name: (one.maps.cpu().numpy(), one.grid) for name, one in found.items()}


def _rows_of(subject: Subject, rows: NDArray[np.int64]) -> Subject:
    """The subject of some rows alone."""
    seen = subject.drawn
    return replace(
        subject,
        rows=subject.rows.take(rows),
        squares=subject.squares[rows],
        drawn=replace(
            seen,
            placements=tuple(seen.placements[row] for row in rows),
            masks=seen.masks[rows],
            masked=seen.masked[rows],
            spacing_mm=seen.spacing_mm[rows],
        ),
        regions=subject.regions[rows],
        told=subject.told[rows],
        evidence=subject.evidence[rows],
        logits=subject.logits[rows],
        probabilities=subject.probabilities[rows],
    )


def twins(heats: Mapping[str, NDArray[np.float32]]) -> dict[str, str]:
    """For every name the first one whose heat is the same up to a factor, in every picture."""
    scaled = {name: _to_peak(heat) for name, heat in heats.items()}
    found: dict[str, str] = {}
    for name, heat in scaled.items():
        firsts = dict.fromkeys(found.values())
        same = (first for first in firsts if np.allclose(scaled[first], heat, rtol=0, atol=1e-3))
        found[name] = next(same, name)
    return found


def _to_peak(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    peak = heat.max((1, 2), keepdims=True)
    return (heat / np.where(peak > 0, peak, 1)).astype(np.float32)


def lines_of(
    scores: Mapping[str, Score], controls: Sequence[str], series: str = ""
) -> tuple[Line, ...]:
    """A row of a chart for every method that has a figure; controls say what they are."""
    return tuple(
        Line(
            name,
            (Mark(series, score.value, *(interval(score) or ())),),
            remark="control" if name in controls else "",
        )
        for name, score in scores.items()
        if score.value is not None
    )


def figure(score: Score) -> str:
    """`0.42 (0.38–0.46)`; `–` where it is undefined."""
    if score.value is None:
        return "–"
    ends = interval(score)
    return f"{score.value:.2f}" + ("" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})")


def blanks(heat: NDArray[np.float32]) -> int:
    """How many of the maps (N, P, P) hold no heat at all."""
    return int(np.count_nonzero(heat.max((1, 2)) <= 0))
