"""Does the map explain this model: what is left of it when the weights, or the labels, are random.

A map that stays as it is while the net forgets what it learnt shows the picture, not the net. What
two maps of different pictures have in common is the measure of chance. Source: Adebayo et al.,
"Sanity checks for saliency maps", NeurIPS 2018.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clearhead.audits.exhibits import CHEAP, Exhibits, Heats, Judged, figure, lines_of
from clearhead.audits.phrases import counted, interval, listed, percent_of
from clearhead.audits.section import Cell, Curve, Curves, Dots, Section, Table
from clearhead.audits.subject import BATCH, predict
from clearhead.errors import RunError
from clearhead.measure.complexity import half_area
from clearhead.measure.likeness import spearman, ssim
from clearhead.measure.scores import Score
from clearhead.model.classifier import Classifier
from clearhead.model.run import Run
from clearhead.types import Finding

PICTURES = 64
"""Pictures at most: they are explained once for every stage, way and draw."""

STAGES = 12
"""Stages at most; of a deeper net several layers are randomised at a time."""

DRAWS = 2
"""Random nets per stage; figures are means over them."""

LIMIT = 0.5
"""A rank correlation over this, and over chance, with a net of random weights is a warning."""

UNMOVED = 0.99
"""A rank correlation over this: the maps are the same."""

WAYS = ("cascading", "independent")


@dataclass(frozen=True)
class Kept:
    """What is left of the maps of each method, by stage; the stage before the first is the net.

    Shapes: `ranks` and `structure` hold (2, L, N) per method: cascading and independent, L stages.
    """

    stages: tuple[str, ...]
    ranks: dict[str, NDArray[np.float64]]
    structure: dict[str, NDArray[np.float64]]


def randomised(exhibits: Exhibits) -> Judged:
    """Maps of the net with random weights against its own, and of a net of random labels."""
    some = exhibits.first(PICTURES)
    kept, chance = cascade(some), chances(some)
    ends = some.scores_of({name: each[0, -1] for name, each in kept.ranks.items()})
    findings = [_model_finding(some, kept, chance)]
    tables = [_model_table(some, kept, chance), _stages_table(some, kept)]
    if exhibits.shuffled is None:
        findings.append(_no_labels())
        measures = {"Left in a random net": ends}
    else:
        found, table, left = _labels(exhibits, exhibits.shuffled)
        findings.append(found)
        tables.append(table)
        measures = {"Left in a random net": ends, "Left with random labels": left}
    section = Section(
        "randomised",
        "Does the map explain this model?",
        tuple(findings),
        tables=tuple(tables),
        dots=(_dots(some, ends, chance),),
        curves=tuple(_curves(some, kept, chance, way) for way in (0, 1)),
    )
    return Judged(section, measures)


# --- Random weights ---------------------------------------------------------------------------


def layers_of(classifier: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Layers with weights, from the last to the first, as (name, modules).

    The order is that of `named_modules`, which is the order in which the net was written down. A
    layer with vectors alone (a normalisation) goes with the layer before it. More than `STAGES`
    are joined evenly.
    """
    layers: list[tuple[str, list[nn.Module]]] = []
    for name, module in classifier.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        if layers and all(value.ndim < 2 for value in own):
            layers[-1][1].append(module)
        else:
            layers.append((name.removeprefix("_net."), [module]))
    layers.reverse()
    cuts = np.array_split(np.arange(len(layers)), min(STAGES, len(layers)))
    return [
        (layers[cut[-1]][0], [part for place in cut for part in layers[place][1]]) for cut in cuts
    ]


def random_net(classifier: Classifier, stages: Iterable[int], seed: int) -> Classifier:
    """A copy whose weights are random in some of the stages of `layers_of`.

    The entries of each tensor of weights change places among themselves: every layer keeps the
    scale and the distribution that it learnt, and forgets the rest. The classifier is not touched.
    """
    changed = copy.deepcopy(classifier)
    every = layers_of(changed)
    with torch.no_grad():
        for stage in stages:
            random = torch.Generator().manual_seed(1_000 * seed + stage)
            for module in every[stage][1]:
                for values in module.parameters(recurse=False):
                    order = torch.randperm(values.numel(), generator=random)
                    shuffled = values.detach().cpu().flatten()[order].reshape(values.shape)
                    values.copy_(shuffled)
    return changed


def cascade(exhibits: Exhibits) -> Kept:
    """Rank correlation and structural similarity with the net's own maps, stage by stage.

    Methods that need many passes of each picture are compared with all weights random alone, in
    one draw: elsewhere they are NaN.
    """
    own = exhibits.heats
    names = tuple(name for name, _ in layers_of(exhibits.classifier))
    shape = (DRAWS, 2, len(names), len(exhibits))
    ranks = {name: np.full(shape, np.nan) for name in own}
    structure = {name: np.full(shape, np.nan) for name in own}
    last = len(names) - 1
    for draw, way, stage in product(range(DRAWS), (0, 1), range(len(names))):
        methods = exhibits.methods if (draw, way, stage) == (0, 0, last) else _cheap(exhibits)
        if not methods:
            continue
        stages = range(stage + 1) if way == 0 else [stage]
        changed = random_net(exhibits.classifier, stages, exhibits.subject.seed + draw)
        label = f"random weights, {WAYS[way]}, {names[stage]}"
        there = exhibits.heats_of(changed, exhibits.subject.squares, methods=methods, label=label)
        for name, heat in there.items():
            ranks[name][draw, way, stage] = spearman(own[name], heat)
            structure[name][draw, way, stage] = ssim(own[name], heat)
    return Kept(names, _over_draws(ranks), _over_draws(structure))


def _cheap(exhibits: Exhibits) -> tuple[str, ...]:
    return tuple(name for name in exhibits.methods if name in CHEAP)


def _over_draws(values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Means over draws, NaN where a draw left no heat in every one of them."""
    found = {}
    for name, each in values.items():
        count = np.isfinite(each).sum(0)
        found[name] = np.where(count, np.nansum(each, 0) / np.maximum(count, 1), np.nan)
    return found


def chances(exhibits: Exhibits) -> dict[str, NDArray[np.float64]]:
    """Rank correlation of each picture's map with another picture's, by method, (N,)."""
    return {name: spearman(heat, heat[exhibits.strangers]) for name, heat in exhibits.heats.items()}


def _model_finding(
    exhibits: Exhibits, kept: Kept, chance: Mapping[str, NDArray[np.float64]]
) -> Finding:
    name = exhibits.chosen
    left, usual = (exhibits.score_of(each) for each in (kept.ranks[name][0, -1], chance[name]))
    stuck = [method for method in exhibits.methods if _stuck(exhibits, kept, chance, method)]
    still = [control for control in exhibits.controls if _unmoved(exhibits, kept, control, -1)]
    classless = [method for method in exhibits.methods if _unmoved(exhibits, kept, method, 0)]
    return Finding(
        "randomised.model",
        "warn" if stuck else "info",
        f"With all weights random, maps of {name} keep a rank correlation of {figure(left)} with "
        f"those of the trained net; maps of two pictures have {figure(usual)} in common."
        f"{_stuck_words(stuck)}{_classless_words(classless)}{_still_words(still)}",
        left.value,
        interval(left),
        limit=LIMIT,
        figure="cascading",
    )


def _stuck(
    exhibits: Exhibits, kept: Kept, chance: Mapping[str, NDArray[np.float64]], name: str
) -> bool:
    """Whether maps stay the same: over `LIMIT`, and over chance, with all weights random."""
    left = kept.ranks[name][0, -1]
    score, excess = exhibits.score_of(left), exhibits.score_of(left - chance[name])
    over = score.low if score.low is not None else score.value
    above = excess.low if excess.low is not None else excess.value
    if over is None or over <= LIMIT:
        return False
    return above is None or above > 0  # two maps of a control may be flat: no chance to compare


def _unmoved(exhibits: Exhibits, kept: Kept, name: str, stage: int) -> bool:
    """Whether maps are the same, as good as, with weights random up to a stage."""
    left = exhibits.score_of(kept.ranks[name][0, stage]).value
    return left is not None and left > UNMOVED


def _stuck_words(methods: Sequence[str]) -> str:
    if not methods:
        return ""
    return (
        f" Maps of {listed(methods)} stay much as they were: they show the picture more than what "
        "this net learnt of it."
    )


def _classless_words(methods: Sequence[str]) -> str:
    if not methods:
        return ""
    verb = "does" if len(methods) == 1 else "do"
    return f" {listed(methods)} {verb} not see the last layer, which tells the classes apart."


def _still_words(controls: Sequence[str]) -> str:
    if not controls:
        return ""
    return f" Controls that never see the net stay too, as they must: {listed(controls)}."


def _model_table(
    exhibits: Exhibits, kept: Kept, chance: Mapping[str, NDArray[np.float64]]
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.names:
        left, usual = kept.ranks[name][0, -1], chance[name]
        figures = (left, usual, left - usual, kept.structure[name][0, -1])
        told = f"{name} (control)" if name in exhibits.controls else name
        lost = int(np.isnan(left).sum())
        rows.append((told, *(figure(exhibits.score_of(each)) for each in figures), lost))
    return Table(
        "random_net",
        "What is left of the maps when all weights are random",
        (
            "Method",
            "Rank correlation",
            "Of two pictures (chance)",
            "Difference",
            "Structural similarity",
            "Maps without an order",
        ),
        tuple(rows),
        note=f"{counted(len(exhibits), 'picture')}, {DRAWS} random nets per stage. The entries of "
        "each tensor of weights change places, so a layer keeps its scale. Over "
        f"{LIMIT} and over chance a map explains the picture more than the net.",
    )


def _stages_table(exhibits: Exhibits, kept: Kept) -> Table:
    name = exhibits.chosen
    rows: list[tuple[Cell, ...]] = []
    for stage, label in enumerate(kept.stages):
        each = (
            values[name][way, stage] for way in (0, 1) for values in (kept.ranks, kept.structure)
        )
        rows.append((label, *(figure(exhibits.score_of(one)) for one in each)))
    return Table(
        "stages",
        f"Stage by stage, {name}",
        (
            "Random up to, or alone",
            "Rank correlation, cascading",
            "Structure, cascading",
            "Rank correlation, alone",
            "Structure, alone",
        ),
        tuple(rows),
    )


def _dots(
    exhibits: Exhibits,
    ends: dict[str, Score],
    chance: Mapping[str, NDArray[np.float64]],
) -> Dots:
    usual = exhibits.score_of(chance[exhibits.chosen]).value
    known = () if usual is None else ((f"two pictures, {exhibits.chosen}", usual),)
    return Dots(
        "random_net_left",
        "Rank correlation of maps before and after all weights are random",
        "rank correlation",
        (-0.5, 1.0),
        lines_of(ends, exhibits.controls),
        references=(*known, ("warning", LIMIT)),
    )


def _curves(
    exhibits: Exhibits, kept: Kept, chance: Mapping[str, NDArray[np.float64]], way: int
) -> Curves:
    steps = tuple(float(step) for step in range(len(kept.stages) + 1))
    lines = [_curve(exhibits, name, kept.ranks[name][way], steps) for name in exhibits.names]
    usual = exhibits.score_of(chance[exhibits.chosen]).value
    if usual is not None:
        lines.append(Curve("two pictures (chance)", steps, (usual,) * len(steps), tone="control"))
    return Curves(
        WAYS[way],
        ("Weights random from the last layer down to a stage", "Weights random in one stage alone")[
            way
        ],
        ("number of stages with random weights", "number of the stage with random weights")[way],
        "rank correlation with the maps of the trained net",
        tuple(line for line in lines if line.x),
        (-0.5, 1.0),
        note=f"Stages from the last: {', '.join(kept.stages)}.",
    )


def _curve(
    exhibits: Exhibits, name: str, values: NDArray[np.float64], steps: tuple[float, ...]
) -> Curve:
    """One method's line; stages in which no map has an order are left out."""
    found = [Score(1.0), *(exhibits.score_of(each) for each in values)]
    known = [(step, one.value) for step, one in zip(steps, found, strict=True)]
    told = [(step, value) for step, value in known if value is not None]
    if len(told) < 2:
        return Curve(name, (), ())
    x, y = zip(*told, strict=True)
    return Curve(name, x, y, tone="control" if name in exhibits.controls else "")


# --- Random labels ----------------------------------------------------------------------------


def _no_labels() -> Finding:
    return Finding(
        "randomised.labels",
        "info",
        "No run on labels dealt at random was given, so it isn't known what the maps of a net "
        "that learnt nothing would look like. `clearhead train MANIFEST RUN --random-labels`, with "
        "the other settings of this run, makes one; name it with --shuffled.",
    )


def check_shuffled(run: Run, shuffled: Run) -> None:
    """That a run is this one's recipe and rows with labels dealt at random; else `RunError`."""
    if not shuffled.recipe.random_labels:
        raise RunError(
            f"{shuffled.folder} was trained on the true labels: expected a run made with "
            "`clearhead train --random-labels`"
        )
    settings = replace(
        shuffled.recipe, random_labels=run.recipe.random_labels, seed=run.recipe.seed
    )
    if settings != run.recipe or shuffled.manifest_id != run.manifest_id:
        raise RunError(
            f"{shuffled.folder} differs from {run.folder} in more than its labels: train it with "
            "the same settings on the same manifest"
        )


def _labels(exhibits: Exhibits, shuffled: Run) -> tuple[Finding, Table, dict[str, Score]]:
    classifier = shuffled.classifier(exhibits.classifier.mean.device)
    there = exhibits.heats_of(classifier, exhibits.subject.squares, label="random labels")
    ranks = {name: spearman(heat, there[name]) for name, heat in exhibits.heats.items()}
    usual = chances(exhibits)
    left = exhibits.scores_of({name: ranks[name] for name in exhibits.methods})
    finding = _labels_finding(exhibits, classifier, ranks, usual, there)
    return finding, _labels_table(exhibits, ranks, usual, there), left


def _labels_finding(
    exhibits: Exhibits,
    classifier: Classifier,
    ranks: Mapping[str, NDArray[np.float64]],
    usual: Mapping[str, NDArray[np.float64]],
    there: Heats,
) -> Finding:
    name = exhibits.chosen
    left, chance = exhibits.score_of(ranks[name]), exhibits.score_of(usual[name])
    excess = exhibits.score_of(ranks[name] - usual[name])
    same = (left.low or 0.0) > LIMIT and (excess.low or 0.0) > 0
    right = exhibits.score_of(_right(exhibits, classifier).astype(np.float64))
    mine, other = (exhibits.score_of(half_area(heats[name])) for heats in (exhibits.heats, there))
    return Finding(
        "randomised.labels",
        "warn" if same else "info",
        f"A net trained on labels dealt at random calls {percent_of(right)} right; its {name} maps "
        f"have a rank correlation of {figure(left)} with this net's (two pictures: "
        f"{figure(chance)}), and half of their heat lies on {percent_of(other)} of the square, "
        f"here on {percent_of(mine)}."
        + (" So the maps show little of what the labels taught." if same else ""),
        left.value,
        interval(left),
        limit=LIMIT,
        figure="random_labels",
    )


def _right(exhibits: Exhibits, classifier: Classifier) -> NDArray[np.bool_]:
    subject = exhibits.subject
    calls = [
        predict(classifier, np.ascontiguousarray(subject.squares[start : start + BATCH])).argmax(1)
        for start in range(0, len(subject), BATCH)
    ]
    right: NDArray[np.bool_] = np.concatenate(calls) == subject.labels
    return right


def _labels_table(
    exhibits: Exhibits,
    ranks: Mapping[str, NDArray[np.float64]],
    usual: Mapping[str, NDArray[np.float64]],
    there: Heats,
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.methods:
        each = (
            ranks[name],
            usual[name],
            half_area(exhibits.heats[name]),
            half_area(there[name]),
            _inside(exhibits, exhibits.heats[name]),
            _inside(exhibits, there[name]),
        )
        rows.append((name, *(figure(exhibits.score_of(one)) for one in each)))
    return Table(
        "random_labels",
        "Maps of this net and of one trained on labels dealt at random",
        (
            "Method",
            "Rank correlation",
            "Of two pictures (chance)",
            "Area of half the heat, here",
            "Random labels",
            "Heat in the mask, here",
            "Random labels",
        ),
        tuple(rows),
        note="Areas and heat in the tumour mask (where there is one) are shares of the whole.",
    )


def _inside(exhibits: Exhibits, heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of each map's heat in the tumour's mask, (N,); NaN without a mask or without heat."""
    masks = exhibits.patches.of_squares(exhibits.subject.drawn.masks.astype(np.float32))
    total = heat.sum((1, 2), dtype=np.float64)
    known = exhibits.subject.drawn.masked & (total > 0)
    inside = (heat * masks).sum((1, 2)) / np.where(total > 0, total, 1)
    share: NDArray[np.float64] = np.where(known, inside, np.nan)
    return share
