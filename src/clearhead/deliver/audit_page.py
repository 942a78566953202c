"""The page of an audit: one HTML file that tells what can't be believed.

Everything is inside the file, as in the run page; charts are tables whose rows hold a drawing
beside its numbers, so that nothing is told by the drawing alone. `render` draws any audit behind a
`Cover`; what is particular to the audit of a data set stands here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from clearhead.audits.section import (
    LEVELS,
    Audit,
    Curves,
    DataAudit,
    Dots,
    Maps,
    Section,
    Shares,
    Sheet,
    Table,
)
from clearhead.deliver import audit_words, charts, panels, tiles
from clearhead.deliver.page import duration, environment
from clearhead.files import write_json, write_text
from clearhead.types import Finding, Progress, silent

OPEN_ROWS = 3
"""Findings of one section and level that the summary shows at once where there are many."""
MOST_SOURCES = 100
"""File names under a finding; the rest are counted."""
FOLD_ROWS = 25
"""A table with more rows than this is folded."""
OPEN_TILES = 18
"""Pictures of a strip that are seen at once: two rows on a wide screen; the rest are folded."""

TONES = {"fail": "bad", "warn": "doubt", "info": "note"}
LEVEL_WORDS = {"fail": "failed", "warn": "warning", "info": "note"}

MADE_WORDS = {
    "seconds": "Checks took",
    "when": "Made",
    "version": "clearhead",
    "pretrained": "Began with the weights of",
}
"""What the page calls a fact of how it was made; the others by their own name."""

UNSEEN = (
    "A shortcut that no check looks for. “No check failed” is not “the data is fine”.",
    "Wrong diagnoses: labels are compared between copies, never with the truth.",
    "Patients, where the manifest names none: neighbouring slices of one patient then count as "
    "distinct pictures, and intervals come out too narrow.",
    "Copies cut through the head, turned by a few degrees, or changed so much that their "
    "thumbnails no longer agree.",
    "Whether a readable place is a fault: a tumour may reach the skull or change the outline of a "
    "head. That the label can be read there is measured; why, is for a reader to judge.",
    "Whether these pictures stand for the patients on whom a model would be used.",
)
"""What the audit is blind to, whatever it found."""

FOOTER = (
    "Research tool, not a medical device: nothing here is a diagnosis. The page holds pictures and "
    "file names of the data set: pass it on only where the data may go."
)


def save_audit(audit: DataAudit, folder: Path, *, progress: Progress = silent) -> Path:
    """Write `findings.json` and `check.html` in `folder`; the path of the page."""
    page = render_audit(audit, progress=progress)
    write_json(folder / "findings.json", audit.to_json())
    write_text(folder / "check.html", page)
    return folder / "check.html"


def render_audit(audit: DataAudit, *, progress: Progress = silent) -> str:
    """The page as one HTML document; the same audit gives the same text.

    Reads the pictures of the sheets from disk; one that can't be read is a placeholder.
    """
    sheets = [sheet for section in audit.sections for sheet in section.sheets]
    others = {other.name: other.manifest for other in audit.against}
    cover = Cover(
        title=f"Data audit of {audit.manifest.root.name or audit.manifest.root}",
        headline=audit_words.headline(audit),
        about=audit_words.data_words(audit.manifest),
        calm="That is no proof that the data can be believed",
        unseen=UNSEEN,
        footer=FOOTER,
    )
    return render(
        audit, cover, tiles.draw_sheets(sheets, audit.manifest, others, progress=progress)
    )


@dataclass(frozen=True)
class Cover:
    """What a page says around the sections of its audit."""

    title: str
    headline: str
    about: str
    """What was audited, in one line."""
    calm: str
    """What is said where nothing failed."""
    unseen: tuple[str, ...]
    """What the audit is blind to."""
    footer: str
    verdict: str = ""
    """A paragraph under the headline."""
    key: panels.Key | None = None
    """What the colours of the sheets mean; None for plain pictures."""


def render(audit: Audit, cover: Cover, strips: Iterable[tuple[tiles.Row, ...]]) -> str:
    """The page of any audit; `strips` are those of every sheet, drawn, in their order."""
    names = _Names()
    drawn = iter(strips)
    parts = [_part(section, names, drawn) for section in audit.sections]
    clumps = list(_summary(audit, parts))
    return (
        environment()
        .get_template("audit.html.jinja")
        .render(
            cover=cover,
            failed=audit.failed,
            loud=[clump for clump in clumps if clump.level != "info"],
            notes=[row for clump in clumps if clump.level == "info" for row in clump.open],
            parts=parts,
            facts=list(_facts(audit.made)),
            level_words=LEVEL_WORDS,
            open_tiles=OPEN_TILES,
        )
    )


# --- Anchors --------------------------------------------------------------------------------


class _Names:
    """Gives out ids that are safe in HTML and never twice the same."""

    def __init__(self) -> None:
        self._taken = {"summary", "made", "unseen"}

    def new(self, *words: str) -> str:
        plain = re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-") or "part"
        free = plain[:60]
        number = 2
        while free in self._taken:
            free = f"{plain[:60]}-{number}"
            number += 1
        self._taken.add(free)
        return free


# --- Sections -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Figure:
    """A chart, table, map or sheet with its anchor and what the template draws it from."""

    kind: str
    id: str
    content: Dots | Shares | Table | Sheet | Maps | Curves
    layout: Any
    folded: bool = False


@dataclass(frozen=True)
class _Row:
    """A finding with the place that shows it."""

    finding: Finding
    id: str
    tone: str
    target: str
    """The anchor of its figure, else its own."""
    target_title: str
    first: str
    """The first sentence of its message, for the summary."""
    numbers: str
    sources: tuple[str, ...]
    hidden: int


@dataclass(frozen=True)
class _Part:
    section: Section
    id: str
    level: str
    rows: tuple[_Row, ...]
    figures: tuple[_Figure, ...]


def _part(section: Section, names: _Names, drawn: Iterator[tuple[tiles.Row, ...]]) -> _Part:
    own = names.new(section.name)
    figures = tuple(_figures(section, names, drawn))
    rows = tuple(_row(finding, section, figures, names) for finding in section.findings)
    levels = [finding.level for finding in section.findings]
    worst = next((level for level in LEVELS if level in levels), "")
    return _Part(section, own, worst, _worst_first(rows), figures)


def _figures(
    section: Section, names: _Names, drawn: Iterator[tuple[tiles.Row, ...]]
) -> Iterator[_Figure]:
    for dots in section.dots:
        yield _Figure("dots", names.new(section.name, dots.name), dots, charts.forest(dots))
    for shares in section.shares:
        yield _Figure("shares", names.new(section.name, shares.name), shares, charts.mix(shares))
    for curves in section.curves:
        plot = charts.plot(curves)
        yield _Figure("curves", names.new(section.name, curves.name), curves, plot)
    for maps in section.maps:
        yield _Figure("maps", names.new(section.name, maps.name), maps, panels.draw(maps))
    for table in section.tables:
        own = names.new(section.name, table.name)
        folded = len(table.rows) > FOLD_ROWS
        yield _Figure("table", own, table, charts.grid(table), folded)
    for sheet, strips in zip(section.sheets, islice(drawn, len(section.sheets)), strict=True):
        yield _Figure("sheet", names.new(section.name, sheet.name), sheet, strips)


def _row(finding: Finding, section: Section, figures: Sequence[_Figure], names: _Names) -> _Row:
    own = names.new("finding", finding.check)
    shown = next((each for each in figures if each.content.name == finding.figure), None)
    return _Row(
        finding,
        own,
        TONES.get(finding.level, "note"),
        shown.id if shown else own,
        shown.content.title if shown else section.title,
        audit_words.first_sentence(finding.message),
        _numbers(finding),
        finding.sources[:MOST_SOURCES],
        max(len(finding.sources) - MOST_SOURCES, 0),
    )


def _numbers(finding: Finding) -> str:
    words = []
    if finding.value is not None:
        words.append(f"value {_plain(finding.value)}")
    if finding.interval is not None:
        words.append(f"interval {_plain(finding.interval[0])}–{_plain(finding.interval[1])}")
    if finding.limit is not None:
        words.append(f"limit {_plain(finding.limit)}")
    return ", ".join(words)


def _worst_first(rows: Iterable[_Row]) -> tuple[_Row, ...]:
    place = {level: index for index, level in enumerate(LEVELS)}
    return tuple(sorted(rows, key=lambda row: place.get(row.finding.level, len(place))))


@dataclass(frozen=True)
class _Clump:
    """Findings of one section and level, as the summary shows them."""

    level: str
    title: str
    open: tuple[_Row, ...]
    folded: tuple[_Row, ...]


def _summary(audit: Audit, parts: Sequence[_Part]) -> Iterator[_Clump]:
    """All findings in the order of the audit: worst first, then by section."""
    rows = {id(row.finding): (part, row) for part in parts for row in part.rows}
    found = [rows[id(finding)] for finding in audit.findings]
    for (level, _), each in groupby(found, key=lambda pair: (pair[1].finding.level, pair[0].id)):
        pairs = list(each)
        alike = tuple(row for _, row in pairs)
        open_rows = OPEN_ROWS if len(alike) > OPEN_ROWS + 1 and level != "info" else len(alike)
        title = pairs[0][0].section.title
        yield _Clump(level, title, alike[:open_rows], alike[open_rows:])


# --- How it was made ------------------------------------------------------------------------


def _facts(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in made.items():
        if isinstance(value, Mapping):
            yield from _facts(value)
        elif value is not None and value != [] and value != ():
            yield MADE_WORDS.get(name, name.replace("_", " ").capitalize()), _told(name, value)


def _told(name: str, value: Any) -> str:
    if name == "seconds":
        return duration(float(value))
    if name == "when":
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
        return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
