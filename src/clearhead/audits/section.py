"""What an audit says: sections of findings, with tables, charts and sheets of pictures.

Plain values that `deliver` draws; nothing here knows how a page looks. A finding's `figure` is
the `name` of the table, chart or sheet of its section that shows it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clearhead.audits.material import Against
from clearhead.audits.phrases import interval
from clearhead.measure.scores import Score
from clearhead.types import Finding, Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clearhead.audits.subject import Subject

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
    """One picture of a sheet: the row of the manifest or subject that holds it, and a caption."""

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
    plain: bool = False
    """Whether its pictures carry no heat: then no key stands above them."""


@dataclass(frozen=True)
class Panel:
    """One map of `Maps`. Shapes: `values` and `outline` (H, W).

    Lines are drawn where the values of `outline` change: a mask, or a map of regions.
    """

    caption: str
    values: NDArray[np.float32]
    outline: NDArray[np.bool_] | NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Maps:
    """Small maps side by side, all on one colour scale from 0 to `scale`.

    `grey` says that they are pictures: shown as such, without a key.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    scale: float
    unit: str
    note: str = ""
    grey: bool = False


@dataclass(frozen=True)
class Curve:
    """One line of `Curves`; `low` and `high` are the ends of its interval at each place."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    tone: str = ""
    """`control` for a line that knows nothing; it stays in the background."""


@dataclass(frozen=True)
class Curves:
    """Lines over a common axis."""

    name: str
    title: str
    x_axis: str
    y_axis: str
    lines: tuple[Curve, ...]
    span: tuple[float, float] | None = None
    """Ends of the upright axis; those of the lines where left out."""
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
    maps: tuple[Maps, ...] = ()
    curves: tuple[Curves, ...] = ()


class Audit:
    """What an audit said, section by section, and how it was made."""

    sections: tuple[Section, ...]
    made: Mapping[str, Any]

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


@dataclass(frozen=True)
class DataAudit(Audit):
    """What the checks said of a data set."""

    manifest: Manifest
    sections: tuple[Section, ...]
    against: tuple[Against, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvidenceAudit(Audit):
    """What the checks said of a classifier's evidence, or of its explanations.

    The tiles of its sheets are rows of the subject, drawn as the net sees them, heat on top.
    """

    subject: Subject
    sections: tuple[Section, ...]
    made: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PooledAudit(Audit):
    """What several runs say together; its tiles, where there are some, are drawn by the caller."""

    sections: tuple[Section, ...]
    made: Mapping[str, Any] = field(default_factory=dict)


def _without_findings(section: Section) -> dict[str, Any]:
    """Plain values of a section; the pixels of its maps stay out."""
    values = dataclasses.asdict(dataclasses.replace(section, maps=()))
    values["findings"] = [finding.check for finding in section.findings]
    values["maps"] = [{"name": maps.name, "title": maps.title} for maps in section.maps]
    plain: dict[str, Any] = _plain(values)
    return plain


def _plain(value: Any) -> Any:
    """A value with None for every float that is no number, as JSON can't hold them."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
