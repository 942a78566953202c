"""Does the classifier need what a reader thinks it needs? Take it away, and ask again.

A heatmap says where evidence was found; erasing says whether the score depends on it. What is
erased is filled in three ways (`data.fills`), because a fill can be a cue itself: a finding wants
`AGREE` of them to say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.audits.areas import HOTTEST
from clearhead.audits.need_figures import charts, examples, tables
from clearhead.audits.phrases import counted, interval, listed, percent_of
from clearhead.audits.reactions import WORDS, Chance, Reactions, Test, chance, react
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.measure.change import Change, telling
from clearhead.measure.scores import Score
from clearhead.types import Finding

AGREE = 2
"""Fills under which a finding must hold."""
SURVIVES, SLIGHT = 0.60, 0.55
"""ROC-AUC without the brain that the interval must lie beyond to fail, to warn."""
OUTLINE, OUTLINE_SLIGHT = 0.75, 0.60
"""ROC-AUC of the outline alone that the interval must lie beyond to fail, to warn."""
LEVEL = 0.02
"""Cost in ROC-AUC of taking off the level of maps that the interval must lie above to warn."""
REMAINS = 0.75
"""ROC-AUC without the tumours that the interval must lie beyond to warn."""
FLIPS = 0.05
"""Share of calls changed by swapping left and right that the interval must lie above to warn."""
FALL = 0.05
"""Loss of balanced accuracy by a mild change that the interval must lie above to warn."""


def need(subject: Subject) -> Section:
    """What happens to the score when part of each picture is erased, or the picture is changed.

    Up to `reactions.MOST` pictures, drawn evenly over the groups. Every figure counts each group
    once and has an interval by drawing groups; differences are paired.
    """
    reactions = react(subject)
    known = chance(reactions)
    findings = _findings(reactions, known)
    return Section(
        "need",
        "Does it need what it should need?",
        findings,
        tables=tables(reactions, known),
        dots=charts(reactions, known, findings),
        maps=examples(reactions),
    )


def _findings(reactions: Reactions, known: Chance) -> tuple[Finding, ...]:
    if reactions.unchanged.before["roc_auc"].value is None:
        return (
            Finding(
                "need.brain",
                "info",
                "The held-out pictures are all of one class, so what the score depends on can't be "
                "told: audit a split that holds both.",
            ),
        )
    found = (
        _brain(reactions, known),
        _elsewhere_than_brain(reactions, "rim"),
        _elsewhere_than_brain(reactions, "background"),
        _tumour(reactions),
        _hottest(reactions),
        _level(reactions),
        _outline(reactions),
        _flip(reactions),
        _mild(reactions, "need.blur", "blur-1", "blur-2"),
        _mild(reactions, "need.resample", "half", "quarter"),
    )
    return tuple(finding for finding in found if finding is not None)


# --- Brain, rim, background -----------------------------------------------------------------


def _brain(reactions: Reactions, known: Chance) -> Finding:
    """Whether the classes are still told apart without the brain."""
    left = {test: telling(change.after["roc_auc"]) for test, change in _of(reactions, "brain")}
    ranked = sorted(_defined(left).items(), key=lambda pair: -(pair[1].value or 0.0))
    if not ranked:
        return _untold("need.brain", "the brain")
    # What AGREE fills reach; inpainting alone may carry a bright scalp into the brain.
    test, agreed = ranked[min(AGREE, len(ranked)) - 1]
    level = "fail" if _clear(left.values(), SURVIVES) >= AGREE else "info"
    if level == "info" and _clear(left.values(), SLIGHT) >= AGREE:
        level = "warn"
    limit = SLIGHT if level == "warn" else SURVIVES
    change = reactions.changes[test]
    said = {
        "fail": "Without the brain the classifier still tells the classes apart",
        "warn": "Without the brain the classifier may still tell the classes apart",
        "info": "Without the brain little or nothing of the score can be shown to be left",
    }[level]
    message = (
        f"{said}: {min(AGREE, len(ranked))} of {len(ranked)} fills leave a ROC-AUC of at least "
        f"{_auc(agreed)} ({test[1]}; balanced accuracy "
        f"{percent_of(change.after['balanced_accuracy'])}), the worst {_auc(ranked[0][1])} "
        f"({ranked[0][0][1]}); with the brain {_plain(change.before['roc_auc'])}; chance is 0.5."
        f"{_facts(known)}{_turned(change)}"
    )
    return Finding(
        "need.brain", level, message, agreed.value, interval(agreed), limit, figure="need-auc"
    )


def _turned(change: Change) -> str:
    """A word where the ranking is clearly the wrong way round."""
    auc = change.after["roc_auc"]
    if auc.high is None or auc.high >= 0.5:
        return ""
    return f" The ranking is turned round ({_auc(auc)}), which tells the classes all the same."


def _facts(known: Chance) -> str:
    if not known.facts or known.facts["roc_auc"].value is None:
        return ""
    return f" File facts alone reach {known.facts['roc_auc'].value:.2f}."


def _elsewhere_than_brain(reactions: Reactions, name: str) -> Finding | None:
    """Whether rim or background is worth clearly more than the brain."""
    after = _of(reactions, name)
    costs = {
        test: reactions.compared(reactions.after["brain", test[1]], reactions.after[test])
        for test, _ in after
        if ("brain", test[1]) in reactions.after
    }
    more = {test: cost.drop["roc_auc"] for test, cost in costs.items()}
    test, least = _lowest({test: change.after["roc_auc"] for test, change in after})
    if test is None or least.value is None or not more:
        return _untold(f"need.{name}", f"the {name}")
    clearly = _clear(more.values(), 0.0) >= AGREE
    change = reactions.changes[test]
    said = (
        f"Erasing the {name} costs more than erasing the brain"
        if clearly
        else f"Erasing the {name} costs no more than erasing the brain, as it should be"
    )
    message = (
        f"{said}: ROC-AUC goes from {_plain(change.before['roc_auc'])} to {_auc(least)} "
        f"({test[1]}, the worst fill); on the same pictures it is "
        f"{_plain(costs[test].before['roc_auc'])} without the brain."
    )
    drop = change.drop["roc_auc"]
    level = "warn" if clearly else "info"
    return Finding(f"need.{name}", level, message, drop.value, interval(drop), figure="need-auc")


def _untold(check: str, place: str) -> Finding:
    return Finding(
        check,
        "info",
        f"In too few pictures it can be told where {place} is, so that it can't be erased.",
    )


# --- Tumour and hottest places --------------------------------------------------------------


def _tumour(reactions: Reactions) -> Finding:
    """Whether the tumour is worth more than as large a piece of brain, and how much hangs on it."""
    if not reactions.tests("elsewhere"):
        return Finding(
            "need.tumour",
            "info",
            "Without tumour masks it can't be asked whether the tumour itself is needed.",
        )
    tumours = reactions.ill
    gains = _gains(reactions, "tumour", "elsewhere", reactions.labels, tumours)
    test, least = _lowest(gains)
    if test is None or least.value is None:
        return _untold("need.tumour", "tumour and brain")
    needed = _clear(gains.values(), 0.0) >= AGREE
    right = tumours & (reactions.before.argmax(1) == reactions.labels)
    lost, moved = (
        reactions.mean(np.where(right, reactions.flipped((name, test[1])), np.nan))
        for name in ("tumour", "elsewhere")
    )
    change = reactions.changes[test]
    left = [each.after["roc_auc"] for _, each in _of(reactions, "tumour")]
    spared = _clear(left, REMAINS) >= AGREE
    if not needed:
        said = "Erasing the tumour matters no more than erasing another piece of brain"
    elif spared:
        said = "The tumour counts, but the classes are told apart without it"
    else:
        said = "The tumour is needed"
    falls = _falls(reactions, test, "elsewhere", reactions.labels, tumours)
    message = (
        f"{said}: erased, the margin of the true class falls by {falls[0]} logits, with the same "
        f"shape erased elsewhere in the brain by {falls[1]}; difference {_signed(least)} "
        f"({test[1]}, the fill that shows least). Of the right calls of tumours "
        f"{percent_of(lost)} change, elsewhere {percent_of(moved)}. With such a shape erased from "
        "every picture ROC-AUC is "
        f"{_auc(change.after['roc_auc'])}, before {_plain(change.before['roc_auc'])}: what is left "
        "comes from outside the tumour's outline."
    )
    level = "info" if needed and not spared else "warn"
    return Finding(
        "need.tumour", level, message, least.value, interval(least), 0.0, figure="need-tests"
    )


def _hottest(reactions: Reactions) -> Finding:
    """Whether the hottest places are worth more than random ones."""
    calls = reactions.before.argmax(1)
    every = np.ones(len(calls), bool)
    gains = _gains(reactions, "hottest", "blobs", calls, every)
    test, least = _lowest(gains)
    if test is None or least.value is None:
        return Finding(
            "need.hottest",
            "info",
            "No picture has positive evidence for its call, so there is no hottest place to erase.",
        )
    shows = _clear(gains.values(), 0.0) >= AGREE
    share = f"{100 * HOTTEST:.0f} %"
    said = (
        f"The map shows what the call depends on: erasing the hottest {share} of the head"
        if shows
        else "The map does not show what the call depends on: erasing the hottest "
        f"{share} of the head"
    )
    flips = (
        percent_of(reactions.mean(reactions.flipped((name, test[1]))))
        for name in ("hottest", "blobs")
    )
    blank = int(np.count_nonzero(np.isnan(reactions.after[test][:, 0])))
    falls = _falls(reactions, test, "blobs", calls, every)
    message = (
        f"{said} lowers the margin of the called class by {falls[0]} logits, erasing as much in "
        f"random blobs by {falls[1]}; difference {_signed(least)} ({test[1]}, the fill that shows "
        f"least). {next(flips)} of the calls change, with random blobs {next(flips)}."
    )
    message += _by_call(reactions, test, calls)
    if blank:
        message += f" {counted(blank, 'picture')} without positive evidence took no part."
    level = "info" if shows else "warn"
    return Finding(
        "need.hottest", level, message, least.value, interval(least), 0.0, figure="need-tests"
    )


def _by_call(reactions: Reactions, test: Test, calls: NDArray[np.int64]) -> str:
    """The difference in the calls of each class: absence has no natural place."""
    parts = []
    for label, name in enumerate(reactions.subject.classes):
        gain = _gains(reactions, "hottest", "blobs", calls, calls == label)[test]
        if gain.value is not None:
            parts.append(f"{_signed(gain)} in calls of {name}")
    return f" The difference is {listed(parts)}." if parts else ""


def _gains(
    reactions: Reactions,
    name: str,
    control: str,
    targets: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> dict[Test, Score]:
    """By fill, how much more `name` lowers the margin of a class than its control does."""
    return {
        test: reactions.mean(
            np.where(
                keep,
                reactions.fell(test, targets) - reactions.fell((control, test[1]), targets),
                np.nan,
            )
        )
        for test in reactions.tests(name)
        if (control, test[1]) in reactions.after
    }


def _falls(
    reactions: Reactions,
    test: Test,
    control: str,
    targets: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> tuple[str, str]:
    """How far a test and its control lower the margin of a class on average, in words."""
    means = (
        reactions.mean(np.where(keep, reactions.fell(one, targets), np.nan))
        for one in (test, (control, test[1]))
    )
    first, second = (_signed(Score(mean.value)) for mean in means)
    return first, second


# --- The whole map ------------------------------------------------------------------------------


def _level(reactions: Reactions) -> Finding | None:
    """How much of the ranking is said of all places of a picture alike; of maps of evidence."""
    change = reactions.changes.get(("level", ""))
    if change is None:
        return None
    drop = change.drop["roc_auc"]
    clearly = drop.low is not None and drop.low > LEVEL
    said = (
        "Part of the score is evidence of no place"
        if clearly
        else "What the map says of all places alike is worth little or nothing"
    )
    message = (
        f"{said}: with the level of every map taken off (the mean of the cells that rank between "
        f"15 and 35 %), ROC-AUC goes from {_plain(change.before['roc_auc'])} to "
        f"{_auc(change.after['roc_auc'])}, a difference of {_auc(drop)}."
    )
    if clearly:
        message += (
            " The maps of one class are higher everywhere, as pictures of another scanner, format "
            "or preparation are; no place on a heatmap shows that part."
        )
    level = "warn" if clearly else "info"
    return Finding(
        "need.level", level, message, drop.value, interval(drop), LEVEL, figure="need-auc"
    )


# --- The whole picture ----------------------------------------------------------------------


def _outline(reactions: Reactions) -> Finding | None:
    """What the head's outline alone tells the classifier."""
    for test, change in _of(reactions, "outline"):
        auc = telling(change.after["roc_auc"])
        if auc.value is None:
            continue
        clear = [limit for limit in (OUTLINE, OUTLINE_SLIGHT) if _clear([auc], limit)]
        level = {2: "fail", 1: "warn"}.get(len(clear), "info")
        said = (
            "The classifier tells the classes by the outline of the head alone"
            if clear
            else "The outline of the head alone tells the classifier little or nothing"
        )
        message = (
            f"{said}: ROC-AUC {_auc(auc)} when every head is filled with one grey, "
            f"{_plain(change.before['roc_auc'])} as it is; chance is 0.5.{_turned(change)}"
        )
        limit = clear[0] if clear else OUTLINE_SLIGHT
        return Finding(
            f"need.{test[0]}", level, message, auc.value, interval(auc), limit, figure="need-auc"
        )
    return _untold("need.outline", "the head")


def _flip(reactions: Reactions) -> Finding:
    """How many calls depend on which side is left."""
    test = ("swapped", "")
    share = reactions.mean(reactions.flipped(test))
    moved = reactions.mean(
        np.abs(
            _probability(reactions, reactions.after[test])
            - _probability(reactions, reactions.before)
        )
    )
    change = reactions.changes[test]
    low = share.value if share.low is None else share.low
    level = "warn" if low is not None and low > FLIPS else "info"
    message = (
        f"Swapping left and right changes {percent_of(share)} of the calls and moves the "
        f"probability of {_positive(reactions)} by {percent_of(moved)} on average; balanced "
        f"accuracy goes from {percent_of(change.before['balanced_accuracy'])} to "
        f"{percent_of(change.after['balanced_accuracy'])}. Neither side is the side of tumours."
    )
    return Finding(
        "need.flip", level, message, share.value, interval(share), FLIPS, figure="need-tests"
    )


def _probability(reactions: Reactions, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Calibrated probability of the positive class, (M,)."""
    own = reactions.subject
    mean = own.classifier.mean
    with torch.inference_mode():
        table = own.classifier.probabilities(torch.from_numpy(logits).to(mean.device))
    found: NDArray[np.float64] = table[:, own.positive].double().cpu().numpy()
    return found


def _mild(reactions: Reactions, check: str, mild: str, strong: str) -> Finding:
    """Whether a change that leaves tumours visible costs clearly; the strong one for the record."""
    first, second = (reactions.changes[name, ""] for name in (mild, strong))
    drop = first.drop["balanced_accuracy"]
    falls = drop.low is not None and drop.low > FALL
    before, after, later = (
        percent_of(score)
        for score in (
            first.before["balanced_accuracy"],
            first.after["balanced_accuracy"],
            second.after["balanced_accuracy"],
        )
    )
    said = (
        "The calls hang on fine detail or sharpness"
        if falls
        else "A slight loss of detail is borne"
    )
    message = (
        f"{said}: {WORDS[mild]}, balanced accuracy goes from {before} to {after} "
        f"({WORDS[strong]}: {later}) and ROC-AUC from {_plain(first.before['roc_auc'])} to "
        f"{_plain(first.after['roc_auc'])} ({_plain(second.after['roc_auc'])}); "
        f"{_called(reactions, reactions.after[mild, ''])} of the pictures are called "
        f"{_positive(reactions)}, {_called(reactions, reactions.before)} as they are."
    )
    level = "warn" if falls else "info"
    return Finding(check, level, message, drop.value, interval(drop), FALL, figure="need-tests")


def _called(reactions: Reactions, logits: NDArray[np.float32]) -> str:
    """Share of the pictures that are called the positive class, in words."""
    called = logits.argmax(1) == reactions.subject.positive
    return percent_of(reactions.mean(called.astype(np.float64)))


# --- Scores ---------------------------------------------------------------------------------


def _of(reactions: Reactions, name: str) -> list[tuple[Test, Change]]:
    return [(test, reactions.changes[test]) for test in reactions.tests(name)]


def _clear(scores: Iterable[Score], limit: float) -> int:
    """How many scores have an interval above the limit."""
    return sum(score.low is not None and score.low > limit for score in scores)


def _defined(scores: Mapping[Test, Score]) -> dict[Test, Score]:
    return {test: score for test, score in scores.items() if score.value is not None}


def _lowest(scores: Mapping[Test, Score]) -> tuple[Test | None, Score]:
    known = _defined(scores)
    test = min(known, key=lambda test: known[test].value or 0.0, default=None)
    return test, Score(None) if test is None else known[test]


def _positive(reactions: Reactions) -> str:
    return reactions.subject.classes[reactions.subject.positive]


def _plain(score: Score) -> str:
    return "?" if score.value is None else f"{score.value:.2f}"


def _auc(score: Score) -> str:
    ends = interval(score)
    return _plain(score) + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")


def _signed(score: Score) -> str:
    return _auc(score).replace("-", "−")
