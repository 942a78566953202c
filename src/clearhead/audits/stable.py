"""Does the map hold still: changes of the picture that no reader would see, and what the map does.

Each picture is moved by a few pixels (and its map moved back), made noisy, encoded again, made a
little brighter or darker. Maps before and after are compared, beside how far the probability of
the class called moves. Source: Alvarez-Melis and Jaakkola, "On the robustness of interpretability
methods", 2018; Arun et al., Radiology: Artificial Intelligence 2021 (repeatability).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.exhibits import Exhibits, Judged, figure, lines_of, moved
from clearhead.audits.phrases import counted, interval, percent_of
from clearhead.audits.section import Cell, Dots, Section, Table
from clearhead.audits.subject import BATCH, predict
from clearhead.measure.likeness import overlap, spearman
from clearhead.measure.scores import Score
from clearhead.types import Finding

LIMIT = 0.7
"""A rank correlation below this, interval and all, is a warning: the hot places are others."""


@dataclass(frozen=True)
class Change:
    """A change that no reader would see; `apply` takes squares (B, S, S) and their rows."""

    name: str
    kind: str
    """`shift`, `noise`, `encoding` or `brightness`: one finding each for the first three."""
    apply: Callable[[NDArray[np.uint8], NDArray[np.int64], int], NDArray[np.uint8]]
    shift: tuple[int, int] = (0, 0)


def _shift(down: int, across: int) -> Change:
    return Change(
        f"moved {down:+d}, {across:+d} px",
        "shift",
        lambda squares, rows, seed: moved(squares, (down, across)),
        (down, across),
    )


def _noise(sigma: float) -> Change:
    def apply(squares: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        size = squares.shape[1:]
        drawn = [np.random.default_rng((seed, int(row))).normal(0, sigma, size) for row in rows]
        return _grey(squares + np.stack(drawn))

    return Change(f"noise of {sigma:g} grey levels", "noise", apply)


def _jpeg(quality: int) -> Change:
    def apply(squares: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        return np.stack([_encoded(square, quality) for square in squares])

    return Change(f"JPEG of quality {quality}", "encoding", apply)


def _brightness(factor: float) -> Change:
    return Change(
        f"brightness × {factor:g}",
        "brightness",
        lambda squares, rows, seed: _grey(squares * factor),
    )


def _encoded(square: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    held = BytesIO()
    Image.fromarray(square).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held))


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return grey


CHANGES = (
    _shift(2, 0),
    _shift(0, -2),
    _shift(-4, 0),
    _shift(0, 4),
    _noise(2.0),
    _noise(5.0),
    _jpeg(75),
    _jpeg(50),
    _brightness(1.05),
    _brightness(0.95),
)
"""What is done to every picture, one after the other."""

KINDS = {
    "shift": "moved by 2 or 4 pixels",
    "noise": "given noise of 2 or 5 grey levels",
    "encoding": "encoded as JPEG of quality 75 or 50",
    "brightness": "made brighter or darker by 5 %",
}
"""What happened to the pictures, by kind of change."""


@dataclass(frozen=True)
class Held:
    """What one change did. Shapes: (N,) each; `ranks` and `tops` by method.

    `probability` is the absolute change of that of the class called, `calls` whether that class is
    still called.
    """

    ranks: dict[str, NDArray[np.float64]]
    tops: dict[str, NDArray[np.float64]]
    probability: NDArray[np.float64]
    calls: NDArray[np.bool_]


def stable(exhibits: Exhibits) -> Judged:
    """Likeness of maps before and after every change, beside the change of the probability."""
    held = {change.name: _held(exhibits, change) for change in CHANGES}
    by_kind = {kind: _mean_ranks(exhibits, held, kind) for kind in KINDS}
    every = {
        name: exhibits.score_of(np.mean([ranks[name] for ranks in by_kind.values()], 0))
        for name in exhibits.names
    }
    chance = exhibits.heats[exhibits.chosen]
    usual = exhibits.score_of(spearman(chance, chance[exhibits.strangers]))
    section = Section(
        "stable",
        "Does the map hold still?",
        tuple(_finding(exhibits, held, by_kind[kind], kind, usual) for kind in KINDS),
        tables=(_changes_table(exhibits, held), _methods_table(exhibits, by_kind)),
        dots=(_dots(exhibits, every, usual),),
    )
    return Judged(section, {"Alike after small changes": every})


def _held(exhibits: Exhibits, change: Change) -> Held:
    subject = exhibits.subject
    squares = np.empty(subject.squares.shape, np.uint8)
    logits = np.empty(subject.logits.shape, np.float32)
    for start in range(0, len(exhibits), BATCH):
        rows = np.arange(start, min(start + BATCH, len(exhibits)))
        squares[rows] = change.apply(subject.squares[rows], rows, subject.seed)
        logits[rows] = predict(exhibits.classifier, squares[rows])
    there = exhibits.heats_of(exhibits.classifier, squares, shift=change.shift, label=change.name)
    told = (
        exhibits.classifier.probabilities(
            torch.from_numpy(logits).to(exhibits.classifier.mean.device)
        )
        .cpu()
        .numpy()
    )
    mine = np.arange(len(exhibits)), subject.calls
    return Held(
        {name: spearman(heat, there[name]) for name, heat in exhibits.heats.items()},
        {name: overlap(heat, there[name]) for name, heat in exhibits.heats.items()},
        np.abs(told[mine] - subject.probabilities[mine]).astype(np.float64),
        told.argmax(1) == subject.calls,
    )


def _mean_ranks(
    exhibits: Exhibits, held: Mapping[str, Held], kind: str
) -> dict[str, NDArray[np.float64]]:
    """Mean rank correlation over the changes of one kind, by method, (N,)."""
    some = [held[change.name] for change in CHANGES if change.kind == kind]
    return {name: np.mean([each.ranks[name] for each in some], 0) for name in exhibits.names}


def _finding(
    exhibits: Exhibits,
    held: Mapping[str, Held],
    ranks: Mapping[str, NDArray[np.float64]],
    kind: str,
    usual: Score,
) -> Finding:
    some = [held[change.name] for change in CHANGES if change.kind == kind]
    alike = exhibits.score_of(ranks[exhibits.chosen])
    moves = exhibits.score_of(np.mean([each.probability for each in some], 0))
    calls = exhibits.score_of(np.mean([each.calls for each in some], 0))
    loose = alike.high is not None and alike.high < LIMIT
    return Finding(
        f"stable.{kind}",
        "warn" if loose else "info",
        f"When pictures are {KINDS[kind]}, maps of {exhibits.chosen} keep a rank correlation of "
        f"{figure(alike)} (maps of two pictures have {figure(usual)}); the probability of the "
        f"class called moves by {percent_of(moves)} on average, and {percent_of(calls)} of the "
        f"calls stay."
        + (" A reader sees the same picture, and would be shown another map." if loose else ""),
        alike.value,
        interval(alike),
        limit=LIMIT,
        figure="changes",
    )


def _changes_table(exhibits: Exhibits, held: Mapping[str, Held]) -> Table:
    name = exhibits.chosen
    rows: list[tuple[Cell, ...]] = []
    for change, each in held.items():
        calls = exhibits.score_of(each.calls.astype(np.float64))
        figures = (each.ranks[name], each.tops[name])
        rows.append(
            (
                change,
                *(figure(exhibits.score_of(one)) for one in figures),
                percent_of(exhibits.score_of(each.probability)),
                percent_of(calls),
            )
        )
    return Table(
        "changes",
        f"Maps of {name} before and after each change",
        (
            "Change",
            "Rank correlation",
            "Overlap of the hottest tenths",
            "Probability moves by",
            "Calls that stay",
        ),
        tuple(rows),
        note=f"{counted(len(exhibits), 'picture')}, on the square that the net sees "
        f"({exhibits.subject.squares.shape[1]} px); shifts are down and across, and the map is "
        "moved back before it is compared.",
    )


def _methods_table(
    exhibits: Exhibits, by_kind: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.names:
        told = f"{name} (control)" if name in exhibits.controls else name
        each = (figure(exhibits.score_of(ranks[name])) for ranks in by_kind.values())
        rows.append((told, *each))
    return Table(
        "methods",
        "Rank correlation before and after, by method",
        ("Method", *(kind.capitalize() for kind in by_kind)),
        tuple(rows),
    )


def _dots(exhibits: Exhibits, every: Mapping[str, Score], usual: Score) -> Dots:
    known = () if usual.value is None else ((f"two pictures, {exhibits.chosen}", usual.value),)
    return Dots(
        "stability",
        "Rank correlation of maps before and after small changes, mean over the kinds",
        "rank correlation",
        (-0.5, 1.0),
        lines_of(every, exhibits.controls),
        references=(*known, ("warning", LIMIT)),
    )
