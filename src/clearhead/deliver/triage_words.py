"""What calibration and triage come to, in plain careful sentences for page and terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clearhead.deliver.verdict import NBSP, Statement, count, interval_words, percent

if TYPE_CHECKING:
    from clearhead.measure.scores import Calibration, Evaluation, Score, Triage


def calibrated(calibration: Calibration, classes: tuple[str, ...]) -> tuple[str, ...]:
    """What was fitted, a line for temperature and bias and one for each class."""
    said = f"temperature {calibration.temperature:.3g}"
    if any(calibration.bias):
        most = max(range(len(classes)), key=calibration.bias.__getitem__)
        said += f" and a bias of {calibration.bias[most]:+.2g} logits for {classes[most]}"
    lines = [f"{said}, fitted on {calibration.on} pictures"]
    for name, least, groups in zip(
        classes, calibration.thresholds, calibration.groups, strict=True
    ):
        short = _too_few(calibration, name, groups)
        lines.append(short or f"{name} is ruled out below {_chance(least)} ({_pictures(groups)})")
    return tuple(lines)


def statements(evaluation: Evaluation) -> tuple[Statement, ...]:
    """What a reader must know of the probabilities and of what triage decides."""
    return (*_reliability(evaluation), *_triage(evaluation))


def _reliability(evaluation: Evaluation) -> Iterator[Statement]:
    told = evaluation.reliability
    if told is None:
        return
    off = f"Probabilities are off by {percent(told.error)} on average"
    brier = "undefined" if told.brier.value is None else f"{told.brier.value:.3f}"
    chance = told.chance
    if chance.value is None or chance.high is None:
        yield Statement("plain", f"{off} (Brier score {brier}).")
        return
    usual = f"chance alone would show {percent(chance.value)} ({interval_words(chance)})"
    if told.error > chance.high:
        yield Statement(
            "doubt", f"{off}, and {usual}: they can't be taken at their word (Brier score {brier})."
        )
    else:
        yield Statement("good", f"{off}; were they all true, {usual} (Brier score {brier}).")


def _triage(evaluation: Evaluation) -> Iterator[Statement]:
    found = evaluation.triage
    if found is None:
        yield Statement("doubt", "There is no triage: this run's weights were never calibrated.")
        return
    yield Statement(
        "plain",
        f"Triage leaves {_with_ends(found.uncertain)} of distinct pictures undecided"
        f"{_unlike(found)}; of {evaluation.positive} among the decided, "
        f"{_with_ends(found.missed)} {'is' if found.missed.value is None else 'are'} missed.",
    )
    if evaluation.split == found.calibration.on:
        yield Statement(
            "doubt", "The thresholds were fitted on these very pictures: this is no test of them."
        )
    if not found.calibration.exact:
        what = "epoch that was kept" if len(found.classes) == 2 else "epoch or the temperature"
        yield Statement(
            "plain",
            f"The {found.calibration.on} pictures also had a say in the {what}: what is promised "
            "holds nearly, not exactly.",
        )
    yield from _promises(found)


def _unlike(found: Triage) -> str:
    none = found.unlike.value
    return f" ({percent(none)} because no class fits)" if none else ""


def _promises(found: Triage) -> Iterator[Statement]:
    """The promise beside what came of it, for each class that can be ruled out."""
    calibration = found.calibration
    promised = f"at most {percent(calibration.error)}"
    for (name, outcome), groups in zip(found.classes.items(), calibration.groups, strict=True):
        short = _too_few(calibration, name, groups)
        if short:
            yield Statement("doubt", f"{short}.")
        elif outcome.ruled_out.value is not None:
            seen = f"{name} is ruled out for {_with_ends(outcome.ruled_out)} of its own pictures"
            fits = f"promised is {promised}, chance explains up to {percent(outcome.limit)}"
            if outcome.broken:
                yield Statement(
                    "bad",
                    f"{seen}; {fits}: these are not like the {calibration.on} pictures that it was "
                    "calibrated on.",
                )
            else:
                yield Statement("good", f"{seen}; {fits}.")


def _too_few(calibration: Calibration, name: str, groups: int) -> str:
    """That a class is never ruled out, and why; nothing where it can be."""
    from clearhead.measure.triage import needed

    least = needed(calibration.error)
    if groups >= least:
        return ""
    verb = "is" if groups == 1 else "are"
    return (
        f"{name} is never ruled out: {_pictures(groups)} {verb} too few to promise "
        f"{percent(calibration.error)}, which takes {least}"
    )


def table(evaluation: Evaluation) -> tuple[str, ...]:
    """What becomes of each class, as aligned lines; none without triage."""
    found = evaluation.triage
    if found is None:
        return ()
    rows: list[tuple[str, ...]] = [
        ("triage", "decided rightly", "wrongly", "uncertain", "true class ruled out")
    ]
    for name, one in found.classes.items():
        shares = (one.right, one.wrong, one.uncertain, one.ruled_out)
        rows.append((name, *(_with_ends(share) for share in shares)))
    wide = [max(len(row[column]) for row in rows) for column in range(5)]
    return tuple(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip()
        for row in rows
    )


def _pictures(groups: int) -> str:
    return count(groups, "distinct picture")


def _chance(value: float) -> str:
    """A threshold in per cent: as many digits as tell it from 0 and from 100 %."""
    return f"{100 * value:.3g}{NBSP}%"


def _with_ends(score: Score) -> str:
    ends = interval_words(score)
    return percent(score.value) + (f" ({ends})" if ends else "")
