"""What an audit says: sections of findings, with tables, charts and sheets of pictures.

Plain values that `deliver` draws; nothing here knows how a page looks. A finding's `figure` is
the `name` of the table, chart or sheet of its section that shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clearhead.audit.material import Against
from clearhead.audit.phrases import interval
from clearhead.measure.scores import Score
from clearhead.types import Finding, Manifest

Cell = str | int | float | None

LEVELS = ("fail", "warn", "info")
"""Levels of a finding, worst first."""


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """One figure with its interval, of one of a chart's series."""

    series: str
    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, series: str, share: Score) -> Mark:
        """The mark of a score on an axis in percent; 0 where the score is undefined."""
        ends = interval(share) or ()
        return cls(series, 100 * (share.value or 0.0), *(100 * end for end in ends))


@dataclass(frozen=True)
class Line:
    """A row of a `Dots` chart: its name, a remark, and a mark per series."""

    name: str
    marks: tuple[Mark, ...]
    remark: str = ""
    tone: str = ""
    """`info`, `warn` or `fail`, where the row stands for a finding."""


@dataclass(frozen=True)
class Dots:
    """Figures with intervals on one common axis, beside lines that mean something."""

    name: str
    title: str
    axis: str
    """What the axis measures, with its unit: `ROC-AUC`, `accuracy per distinct picture, %`."""
    span: tuple[float, float]
    lines: tuple[Line, ...]
    references: tuple[tuple[str, float], ...] = ()
    """Upright lines: what each means (`majority`, `chance`) and where it stands."""
    note: str = ""
    series: tuple[str, ...] = ()
    """The series in the order in which they are told apart; as they appear where left out."""


@dataclass(frozen=True)
class Shares:
    """How each of several kinds of files divides into classes."""

    name: str
    title: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """A kind (`512×512`) and its files per class, in the order of `classes`."""
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet: the row of the manifest that holds it, and a caption."""

    row: int
    caption: str = ""
    against: str | None = None
    """The name of the other manifest that `row` counts in; None for the one under audit."""


@dataclass(frozen=True)
class Strip:
    """Pictures that belong together, beside what they have in common."""

    label: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Sheet:
    """Pictures to look at, strip by strip."""

    name: str
    title: str
    strips: tuple[Strip, ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """What one check has to say."""

    name: str
    title: str
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = ()
    dots: tuple[Dots, ...] = ()
    shares: tuple[Shares, ...] = ()
    sheets: tuple[Sheet, ...] = ()


@dataclass(frozen=True)
class DataAudit:
    """What the checks said of a data set, and how they were run."""

    manifest: Manifest
    sections: tuple[Section, ...]
    against: tuple[Against, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, worst first; of one level in the order of the sections."""
        every = [finding for section in self.sections for finding in section.findings]
        return tuple(sorted(every, key=lambda finding: LEVELS.index(finding.level)))

    @property
    def failed(self) -> bool:
        """Whether a check fails."""
        return any(finding.level == "fail" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; findings worst first, then the sections with their figures."""
        return {
            "made": dict(self.made),
            "failed": self.failed,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "sections": [_without_findings(section) for section in self.sections],
        }


def _without_findings(section: Section) -> dict[str, Any]:
    values = dataclasses.asdict(section)
    values["findings"] = [finding.check for finding in section.findings]
    return values
