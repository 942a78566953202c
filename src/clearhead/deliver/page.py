"""The run page: one HTML file that tells how good a run is, what it looks at, and how it was made.

Everything is inside the file (styles, figures as data URIs); it runs no script and its own policy
forbids the browser to load anything, so it opens offline and can be sent by post. Names of classes
and files come from users: the template escapes each.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
from PIL import Image

from clearhead.deliver import triage_words, verdict
from clearhead.types import Finding, Recipe

if TYPE_CHECKING:
    from clearhead.measure.scores import Evaluation, Score, Scores

CSS_DPI = 96
"""Pixels that a browser draws per inch: figures are shown in the size they were drawn for."""
MOST_SOURCES = 5
"""Sources that a finding lists; the rest are counted."""

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, mean over classes",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC (average precision)",
    "f1": "F1",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
}
"""Heading of each score, in the order of the table; a score that isn't named here is left out."""
LEVELS = {"info": "note", "warn": "doubt", "fail": "bad"}


# --- What a page holds ------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A figure for the page."""

    title: str
    caption: str
    png: bytes
    alt: str = ""
    """What a reader who can't see it should know; title and caption where empty."""


@dataclass(frozen=True)
class Origin:
    """How a run was made."""

    name: str
    when: datetime | None = None
    seconds: float | None = None
    device: str | None = None
    command: str | None = None
    pretrained: str | None = None
    """The run whose weights it began with."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSummary:
    """What a run was trained and scored on; None where it isn't known."""

    files: Mapping[str, Mapping[str, int]]
    """Files per split and class: `{"train": {"Brain Tumor": 1759, …}, …}`."""
    unreadable: int | None = None
    distinct: int | None = None
    """Distinct pictures, copies counted once."""
    mirrored: int | None = None
    """Copies that are mirrored or turned."""
    contradicting: int | None = None
    """Groups of copies whose labels contradict each other."""
    protocol: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Page:
    """The content of a run page; what is absent is left out of it."""

    title: str
    origin: Origin
    recipe: Recipe | None = None
    data: DataSummary | None = None
    evaluation: Evaluation | None = None
    figures: Sequence[Picture] = ()
    findings: Sequence[Finding] = ()
    warnings: Sequence[str] = ()


def render_page(page: Page) -> str:
    """The page as one HTML document; the same content gives the same text."""
    template = environment().get_template("report.html.jinja")
    return template.render(
        page=page,
        figures=[_figure(figure) for figure in page.figures],
        recipe=[] if page.recipe is None else _recipe_rows(page.recipe),
        data=None if page.data is None else _data_table(page.data),
        facts=[] if page.data is None else _data_facts(page.data),
        scores=None if page.evaluation is None else _score_rows(page.evaluation),
        origin=_origin_facts(page.origin),
        verdict=verdict,
        trust=() if page.evaluation is None else triage_words.statements(page.evaluation),
        findings=[_finding(finding) for finding in page.findings],
    )


@cache
def environment() -> jinja2.Environment:
    """Where the templates of every page come from: whatever they are given is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("clearhead.deliver"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(percent=verdict.percent, ends=verdict.interval_words)
    return made


# --- Parts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Figure:
    picture: Picture
    uri: str
    width: int
    """Width and height in CSS pixels: the size in inches that it was drawn for."""
    height: int

    @property
    def alt(self) -> str:
        return self.picture.alt or f"{self.picture.title}. {self.picture.caption}"


def _figure(picture: Picture) -> _Figure:
    with Image.open(io.BytesIO(picture.png)) as image:
        dpi = float(image.info.get("dpi", (CSS_DPI, CSS_DPI))[0])
        width, height = (max(1, round(side * CSS_DPI / dpi)) for side in image.size)
    data = base64.b64encode(picture.png).decode("ascii")
    return _Figure(picture, f"data:image/png;base64,{data}", width, height)


@dataclass(frozen=True)
class _Setting:
    name: str
    value: str
    help: str
    changed: bool
    """Whether it differs from the default."""


def _recipe_rows(recipe: Recipe) -> list[_Setting]:
    return [
        _Setting(
            item.name.replace("_", " "),
            _plain(getattr(recipe, item.name)),
            item.metadata.get("help", ""),
            getattr(recipe, item.name) != item.default,
        )
        for item in dataclasses.fields(recipe)
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Table:
    columns: list[str]
    rows: list[tuple[str, list[int]]]


def _data_table(data: DataSummary) -> _Table:
    """Files by split (rows) and class (columns), with the sums of both."""
    classes = list(dict.fromkeys(name for counts in data.files.values() for name in counts))
    rows = [
        (split, [counts.get(name, 0) for name in classes]) for split, counts in data.files.items()
    ]
    if len(rows) > 1:
        rows.append(
            ("all", [sum(column) for column in zip(*(row for _, row in rows), strict=True)])
        )
    return _Table([*classes, "all"], [(split, [*row, sum(row)]) for split, row in rows])


def _data_facts(data: DataSummary) -> list[tuple[str, str]]:
    facts = {
        "Distinct pictures": data.distinct,
        "Mirrored or turned copies": data.mirrored,
        "Groups of copies with contradicting labels": data.contradicting,
        "Unreadable files": data.unreadable,
        "Split protocol": data.protocol,
        "Seed of the split": None if data.seed is None else str(data.seed),
    }
    return [
        (name, f"{value:,}" if isinstance(value, int) else value)
        for name, value in facts.items()
        if value is not None
    ]


def _origin_facts(origin: Origin) -> list[tuple[str, str]]:
    facts = {
        "Run": origin.name,
        "Made": None if origin.when is None else _moment(origin.when),
        "Took": None if origin.seconds is None else duration(origin.seconds),
        "Device": origin.device,
        "Command": origin.command,
        "Began with the weights of": origin.pretrained,
        **origin.versions,
    }
    return [(name, value) for name, value in facts.items() if value]


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def duration(seconds: float) -> str:
    """A time span as it is said: `42 s`, `12 min 30 s`, `3 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass(frozen=True)
class _Line:
    name: str
    label: str | None
    """The class, for the first of whose lines `span` is set."""
    span: int
    cells: list[tuple[str, str]]


def _score_rows(evaluation: Evaluation) -> list[_Line]:
    """Every score, per file and (where groups differ from files) per group."""
    sides = [evaluation.per_file]
    if verdict.counts_groups(evaluation):
        sides.append(evaluation.per_group)
    lines = []
    for name, title in TITLES.items():
        labels = _labels(sides[0], name)
        for place, label in enumerate(labels):
            cells = [_cell(_one(side, name, label), name.endswith("_auc")) for side in sides]
            lines.append(_Line(title, label, len(labels) if place == 0 else 0, cells))
    return lines


def _labels(scores: Scores, name: str) -> list[str | None]:
    value = getattr(scores, name)
    return list(value) if isinstance(value, Mapping) else [None]


def _one(scores: Scores, name: str, label: str | None) -> Score:
    value = getattr(scores, name)
    score: Score = value if label is None else value[label]
    return score


def _cell(score: Score, area: bool) -> tuple[str, str]:
    """Value and interval: in per cent, or as a fraction for an area under a curve."""
    if not area:
        return verdict.percent(score.value), verdict.interval_words(score)
    value = "undefined" if score.value is None else f"{score.value:.3f}"
    if score.low is None or score.high is None:
        return value, ""
    return value, f"{score.low:.3f}–{score.high:.3f}"


@dataclass(frozen=True)
class _FindingRow:
    finding: Finding
    tone: str
    sources: list[str]
    more: int
    """Sources that aren't listed."""


def _finding(finding: Finding) -> _FindingRow:
    return _FindingRow(
        finding,
        LEVELS.get(finding.level, "note"),
        list(finding.sources[:MOST_SOURCES]),
        max(len(finding.sources) - MOST_SOURCES, 0),
    )
