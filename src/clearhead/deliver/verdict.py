"""What an evaluation comes to, in plain careful sentences.

The accuracy stands beside the score to beat (what file facts alone give away) and the majority. A
lead counts as one only where the intervals keep apart; the unit that decides is the group: copies
of one picture, and pictures of one patient, count once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clearhead.types import SPLITS

if TYPE_CHECKING:
    from clearhead.measure.scores import Evaluation, Score

NBSP = "\u00a0"
FEW = 30
"""Below so many groups, percentiles of a bootstrap say too little to rely on."""


@dataclass(frozen=True)
class Statement:
    """One sentence and its tone: `good`, `plain`, `doubt` or `bad`."""

    tone: str
    text: str


@dataclass(frozen=True)
class Row:
    """One line of the comparison: who scores, and the accuracy by file and by group."""

    name: str
    note: str
    per_file: Score
    per_group: Score


def percent(value: float | None) -> str:
    """A share in per cent with one decimal; `undefined` for None."""
    return "undefined" if value is None else f"{100 * value:.1f}{NBSP}%"


def interval_words(score: Score) -> str:
    """The ends of a score's interval in per cent, or nothing."""
    if score.low is None or score.high is None:
        return ""
    return f"{100 * score.low:.1f}–{100 * score.high:.1f}{NBSP}%"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 file`, `1,380 files`."""
    return f"{number:,}{NBSP}{noun if number == 1 else plural or noun + 's'}"


def comparison(evaluation: Evaluation) -> tuple[Row, ...]:
    """Accuracy of the model, of file facts alone, and of always calling the majority."""
    model = Row("This model", "", evaluation.per_file.accuracy, evaluation.per_group.accuracy)
    known = evaluation.baseline
    if known is None:
        return (model,)
    facts = Row(
        "File facts alone: the score to beat",
        f"trees that see {_listed(known.facts)}, never the picture",
        known.per_file.accuracy,
        known.per_group.accuracy,
    )
    majority = Row(
        f"Always “{known.majority}”",
        "the most frequent class in training",
        known.majority_per_file,
        known.majority_per_group,
    )
    return model, facts, majority


def headline(evaluation: Evaluation) -> str:
    """The result in one sentence, with the score to beat in the same breath."""
    by_group = counts_groups(evaluation)
    accuracy = (evaluation.per_group if by_group else evaluation.per_file).accuracy
    unit = f"distinct {evaluation.split} pictures" if by_group else f"{evaluation.split} files"
    if accuracy.value is None:
        return f"The accuracy on {unit} is undefined."
    words = f"Right on {percent(accuracy.value)} of {unit}"
    known = evaluation.baseline
    beat = None if known is None else (known.per_group if by_group else known.per_file).accuracy
    if beat is None or beat.value is None:
        return f"{words}."
    return f"{words}; file facts alone reach {percent(beat.value)}."


def name_of_set(evaluation: Evaluation) -> str:
    """What the pictures of an evaluation are called in a sentence."""
    kind = "split" if evaluation.split in SPLITS else "set"
    return f"the {evaluation.split} {kind}"


def counts_groups(evaluation: Evaluation) -> bool:
    """Whether counting groups differs from counting files."""
    return evaluation.groups < evaluation.files


def statements(evaluation: Evaluation) -> tuple[Statement, ...]:
    """What a reader must know before believing the accuracy, the gravest matters included."""
    return (
        _accuracy(evaluation),
        *_absent(evaluation),
        *_too_few(evaluation),
        *_against_facts(evaluation),
        *_against_majority(evaluation),
        _copies(evaluation),
    )


def _accuracy(evaluation: Evaluation) -> Statement:
    files = _with_interval(evaluation.per_file.accuracy, evaluation.level)
    text = f"Of {count(evaluation.files, f'{evaluation.split} file')}, {files} are called correctly"
    if not counts_groups(evaluation):
        return Statement("plain", f"{text}.")
    groups = _with_interval(evaluation.per_group.accuracy, evaluation.level)
    return Statement(
        "plain",
        f"{text}; counting each of the {count(evaluation.groups, 'distinct picture')} once, "
        f"{groups}.",
    )


def _absent(evaluation: Evaluation) -> Iterator[Statement]:
    """That a class has no pictures here, so that half of what matters isn't measured."""
    for name, found in evaluation.per_file.sensitivity.items():
        if found.value is None:
            yield Statement(
                "doubt", f"None of them is “{name}”: how often it is called rightly isn't known."
            )


def _with_interval(score: Score, level: float) -> str:
    ends = interval_words(score)
    return percent(score.value) + (f" ({100 * level:g}{NBSP}% interval {ends})" if ends else "")


def _too_few(evaluation: Evaluation) -> Iterator[Statement]:
    if evaluation.groups < FEW:
        pictures = count(evaluation.groups, "distinct picture")
        yield Statement(
            "doubt",
            f"Only {pictures}: with so few, any score may be luck, and intervals are too narrow.",
        )


def _against_facts(evaluation: Evaluation) -> Iterator[Statement]:
    known = evaluation.baseline
    if known is None:
        yield Statement("doubt", "It was not compared with what file facts alone give away.")
        return
    by_group = _standing(evaluation.per_group.accuracy, known.per_group.accuracy)
    by_file = _standing(evaluation.per_file.accuracy, known.per_file.accuracy)
    yield _SENTENCES[by_group](_listed(known.facts))
    if by_file != by_group:
        yield Statement(_TONES[by_file], f"Counted per file, it is {_STANDINGS[by_file]}.")


def _standing(score: Score, beat: Score) -> str:
    """Where a score lies against the one to beat: a key of `_TONES`."""
    if score.value is None or beat.value is None:
        return "unknown"
    if score.value <= beat.value:
        return "below"
    if score.low is None or beat.high is None:
        return "unsure"
    return "above" if score.low > beat.high else "unclear"


_TONES = {
    "above": "good",
    "unclear": "doubt",
    "unsure": "doubt",
    "below": "bad",
    "unknown": "doubt",
}
_STANDINGS = {
    "above": "above the score to beat",
    "unclear": "above the score to beat, but the intervals overlap",
    "unsure": "above the score to beat, without an interval to judge by",
    "below": "not above the score to beat",
    "unknown": "not comparable with the score to beat",
}
_SENTENCES = {
    "above": lambda facts: Statement(
        "good", f"It beats what file facts alone ({facts}) give away, and the intervals keep apart."
    ),
    "unclear": lambda facts: Statement(
        "doubt",
        f"It is above what file facts alone ({facts}) give away, but the intervals overlap: "
        "the lead may be chance.",
    ),
    "unsure": lambda facts: Statement(
        "doubt",
        f"It is above what file facts alone ({facts}) give away, but there is no interval to tell "
        "whether by chance.",
    ),
    "below": lambda facts: Statement(
        "bad",
        f"It does not beat what file facts alone ({facts}) give away: this accuracy is no evidence "
        "that the model reads the pictures.",
    ),
    "unknown": lambda facts: Statement(
        "doubt", f"Its accuracy can't be compared with that of file facts alone ({facts})."
    ),
}


def _against_majority(evaluation: Evaluation) -> Iterator[Statement]:
    known = evaluation.baseline
    if known is None:
        return
    standing = _standing(evaluation.per_group.accuracy, known.majority_per_group)
    if standing == "below":
        yield Statement("bad", f"It is no better than always calling “{known.majority}”.")
    elif standing == "unclear":
        yield Statement(
            "doubt", f"It is not clearly better than always calling “{known.majority}”."
        )


def _copies(evaluation: Evaluation) -> Statement:
    if evaluation.copies_in_training is None and evaluation.split not in SPLITS:
        return Statement(
            "doubt",
            "Whether they have copies in training was not looked at: `clearhead check --against` "
            "does.",
        )
    if evaluation.copies_in_training is None:
        return Statement(
            "doubt",
            "Copies were never searched: nobody knows how many of these pictures are in training.",
        )
    copied, files = evaluation.copies_in_training
    if not copied:
        return Statement("good", f"No {evaluation.split} file has a copy in training.")
    verb = "has" if copied == 1 else "have"
    return Statement(
        "bad",
        f"{copied:,} of {count(files, f'{evaluation.split} file')} ({percent(copied / files)}) "
        f"{verb} a copy in training: part of the accuracy may be memory, expect less on new heads.",
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + (" and " if names[:-1] else "") + names[-1] if names else "none"


def table(evaluation: Evaluation) -> tuple[str, ...]:
    """The scores as aligned lines, per file and per distinct picture, the score to beat last."""
    files, groups, positive = evaluation.per_file, evaluation.per_group, evaluation.positive
    rows = [("", "per file", "per picture" if counts_groups(evaluation) else "per group")]
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "pr_auc"):
        words = name.replace("_", " ").replace("roc auc", "ROC-AUC").replace("pr auc", "PR-AUC")
        rows.append((words, str(getattr(files, name)), str(getattr(groups, name))))
    for name in ("sensitivity", "specificity"):
        pair = (getattr(files, name)[positive], getattr(groups, name)[positive])
        rows.append((f"{name} for {positive}", str(pair[0]), str(pair[1])))
    for label in evaluation.classes:
        rows.append((f"F1 {label}", str(files.f1[label]), str(groups.f1[label])))
    rows += [
        (row.name, str(row.per_file), str(row.per_group)) for row in comparison(evaluation)[1:]
    ]
    wide = [max(len(row[column]) for row in rows) for column in range(2)]
    return tuple(
        f"{name:{wide[0]}}  {one:{wide[1]}}  {other}".rstrip() for name, one, other in rows
    )
