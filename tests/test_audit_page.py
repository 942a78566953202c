"""The page of a data audit: its words, drawings that tell the numbers, and that it is one file."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearhead.audits.material import Against
from clearhead.audits.section import (
    DataAudit,
    Dots,
    Line,
    Mark,
    Section,
    Shares,
    Sheet,
    Strip,
    Table,
    Tile,
)
from clearhead.deliver import audit_words, charts
from clearhead.deliver.audit_page import (
    FOLD_ROWS,
    LEVEL_WORDS,
    MOST_SOURCES,
    OPEN_ROWS,
    OPEN_TILES,
    UNSEEN,
    render_audit,
)
from clearhead.deliver.audit_words import first_sentence
from clearhead.deliver.tiles import MOST_TILES
from clearhead.types import Finding, Manifest
from oracles import manifest_of
from test_page import ATTACK, Reader, luminance

Attributes = dict[str, str | None]


# --- Content --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        shade = np.full((20, 10 + 10 * number), 60 * number, np.uint8)
        Image.fromarray(shade).save(tmp_path / f"{number}.png")
    return tmp_path


def rows_of(folder: Path, name: str = "healthy") -> Manifest:
    return manifest_of(
        folder,
        ("tumour", name),
        source=["0.png", "1.png", "2.png", "3.png", f"{name[:40]}.png"],
        label=["tumour", "tumour", name, name, name],
        copy=[0, 0, 1, 2, 3],
        group=[0, 0, 1, 2, 3],
    )


def probes(name: str = "healthy") -> Dots:
    lines = (
        Line(
            "File facts",
            (Mark("stretched", 0.94, 0.91, 0.96), Mark("canvas", 0.7, 0.66, 0.73)),
            f"of {name}",
            "fail",
        ),
        Line(f"Border of {name}", (Mark("stretched", 0.61, 0.58, 0.64), Mark("canvas", 0.5))),
        Line("Text", (Mark("canvas", 0.55, 0.52, 0.59),), tone="warn"),
    )
    references = (("chance", 0.5), ("majority", 0.546))
    return Dots("probes", f"Probes of {name}", "ROC-AUC", (0.45, 1.0), lines, references, "Note.")


def make_audit(folder: Path, name: str = "healthy") -> DataAudit:
    manifest = rows_of(folder, name)
    files = tuple(f"{name} {number}.png" for number in range(MOST_SOURCES + 7))
    leaks = Section(
        "leaks",
        f"Where {name} can be read",
        (
            Finding(
                "leak.facts",
                "fail",
                f"Facts tell {name}.",
                0.94,
                (0.91, 0.96),
                0.6,
                files,
                "probes",
            ),
            Finding("leak.border", "info", "Border tells little.", figure="probes"),
            Finding("leak.telling", "warn", "512×512 is tumour.", 0.98, figure="sizes"),
        ),
        dots=(probes(name),),
        shares=(
            Shares(
                "sizes",
                "Sizes",
                ("tumour", name),
                (("512×512", (864, 21)), (name, (1, 300)), ("rest", (635, 679)), ("none", (0, 0))),
            ),
        ),
    )
    copies = Section(
        "copies",
        "Copies",
        (
            Finding("copies.across", "fail", "45 % have a copy.", 0.45, None, 0.0, (), "largest"),
            Finding("copies.distinct", "info", "4 distinct pictures.", 4.0, figure="counts"),
        ),
        tables=(
            Table("counts", "Counts", (name, "n", "share"), ((name, 1234, 0.5), ("b", 7, None))),
            Table("long", "Long", ("n",), tuple((n,) for n in range(FOLD_ROWS + 1)), "folded"),
        ),
        sheets=(
            Sheet(
                "largest",
                "Largest",
                (
                    Strip(f"files of {name}", tuple(Tile(row, f"a{name}") for row in range(5))),
                    Strip("the other", (Tile(0), Tile(1, against=name))),
                ),
                "Each strip is one picture.",
            ),
        ),
    )
    against = Against(name, manifest, np.zeros((5, 64, 64), np.uint8))
    made = {
        "manifest": f"{name}.parquet",
        "seconds": 83.2,
        "version": "0.2.0",
        "seed": 3,
        "when": "2026-05-04T03:02:00+00:00",
        "checks": ["leaks", name],
        "nested": {"resamples": 1000},
    }
    return DataAudit(manifest, (leaks, copies), (against,), made)


class Tree(Reader):
    """As `Reader`, and for every tag the tags around it, with their attributes."""

    def __init__(self, text: str) -> None:
        self.around: list[tuple[str, Attributes, tuple[tuple[str, Attributes], ...]]] = []
        self.path: list[tuple[str, Attributes]] = []
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.around.append((tag, dict(attrs), tuple(self.path)))
        depth = len(self.open)
        super().handle_starttag(tag, attrs)
        if len(self.open) > depth:
            self.path.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.around.append((tag, dict(attrs), tuple(self.path)))
        super().handle_startendtag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        self.path.pop()

    def inside(self, own: str) -> list[tuple[str, Attributes, tuple[tuple[str, Attributes], ...]]]:
        """What lies in the element whose id is `own`."""
        return [each for each in self.around if any(up.get("id") == own for _, up in each[2])]


def per_cent(value: str | None) -> float:
    assert value is not None
    assert value.endswith("%")
    return float(value[:-1])


# --- What it says ---------------------------------------------------------------------------


def test_page_opens_with_the_verdict_and_ends_with_how_it_was_made(folder: Path) -> None:
    audit = make_audit(folder)
    reader = Reader(render_audit(audit))
    text = reader.text
    assert len(reader.all("h1")) == len(reader.all("main")) == len(reader.all("footer")) == 1
    order = [
        audit_words.headline(audit),
        "5 files (tumour 2, healthy 3), 4 distinct pictures",
        "45 % have a copy.",
        "Probes of healthy",
        UNSEEN[0],
        "Manifest healthy.parquet",
        "Research tool, not a medical device",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    for words in (
        "Checks took 1 min 23 s",
        "clearhead 0.2.0",
        "Seed 3",
        "Resamples 1,000",
        "Made 2026-05-04 03:02 UTC",
    ):
        assert words in text


def test_every_finding_stands_once_in_the_summary_and_once_in_its_section(folder: Path) -> None:
    audit = make_audit(folder)
    page = render_audit(audit)
    summary, sections = (Reader(f"<p>{part}</p>").text for part in _halves(page))
    for finding in audit.findings:
        assert summary.count(finding.message) == 1, finding
        assert sections.count(finding.message) == 1, finding
        assert sections.count(f"{finding.check} ") == 1
    places = [summary.index(finding.message) for finding in audit.findings]
    assert places == sorted(places)


def _halves(page: str) -> tuple[str, str]:
    main = page.partition("<main>")[2].partition("</main>")[0]
    summary, heading, sections = main.partition('<section aria-labelledby="leaks">')
    return summary, heading + sections


def test_the_summary_gives_first_sentences_and_sections_the_rest(folder: Path) -> None:
    message = "4.5 % of a.png are copies. Split again with `clearhead split`. It’s easy."
    section = Section("leaks", "S", (Finding("copies.across", "fail", message),))
    page = render_audit(DataAudit(rows_of(folder), (section,)))
    summary, sections = _halves(page)
    assert "4.5 % of a.png are copies." in summary
    assert "Split again" not in summary
    assert "Split again with <code>clearhead split</code>. It’s easy." in sections
    odd = Section("s", "S", (Finding("junk.names", "fail", "a`b.png is odd"),))
    assert "a`b.png is odd" in render_audit(DataAudit(rows_of(folder), (odd,)))


@pytest.mark.parametrize(
    ("message", "first"),
    [
        ("All.", "All."),
        ("In 0.5 is chance. A model", "In 0.5 is chance."),
        ("Is it? Yes.", "Is it?"),
        ("case 7.PNG and 8.TIF are odd", "case 7.PNG and 8.TIF are odd"),
        ("About 3. and 4. of five", "About 3. and 4. of five"),
        ("", ""),
    ],
)
def test_where_the_first_sentence_ends(message: str, first: str) -> None:
    assert first_sentence(message) == first


def test_notes_are_folded_unless_there_is_nothing_worse(folder: Path) -> None:
    reader = Tree(render_audit(make_audit(folder)))
    folds = [each for each in reader.around if each[0] == "details"]
    assert "open" not in folds[0][1]
    quiet = Section("s", "S", (Finding("copies.distinct", "info", "All is said."),))
    manifest = rows_of(folder)
    reader = Tree(render_audit(DataAudit(manifest, (quiet,))))
    assert "open" in next(each for each in reader.around if each[0] == "details")[1]
    assert "No check failed." in reader.text
    assert "is not “the data is fine”" in reader.text
    assert "no proof that the data can be believed" in reader.text
    assert "no proof that" not in Reader(render_audit(make_audit(folder))).text


def test_many_findings_alike_are_folded_in_the_summary(folder: Path) -> None:
    alike = tuple(Finding(f"leak.{n}", "fail", f"Fault {n}.") for n in range(OPEN_ROWS + 3))
    few = tuple(Finding(f"junk.{n}", "fail", f"Oddity {n}.") for n in range(OPEN_ROWS + 1))
    sections = Section("a", "Leaks", alike), Section("b", "Junk", few)
    page = render_audit(DataAudit(rows_of(folder), sections))
    tree = Tree(page.partition("</section>")[0] + "</section></main></body></html>")
    statements = [
        each for each in tree.around if each[0] == "a" and each[1].get("class") == "small"
    ]
    folded = [any(up == "details" for up, _ in each[2]) for each in statements]
    assert folded == [False] * OPEN_ROWS + [True] * 3 + [False] * (OPEN_ROWS + 1)
    assert "3 more like these: Leaks" in tree.text


def test_charts_of_figures_stand_before_the_words(folder: Path) -> None:
    page = render_audit(make_audit(folder))
    places = [
        page.index(f'id="{own}"') for own in ("leaks-probes", "finding-leak-facts", "leaks-sizes")
    ]
    assert places == sorted(places)


def test_levels_are_words(folder: Path) -> None:
    text = Reader(render_audit(make_audit(folder))).text
    assert f"{LEVEL_WORDS['fail']} 45 % have a copy." in text
    assert f"{LEVEL_WORDS['warn']} 512×512 is tumour." in text
    assert f"File facts {LEVEL_WORDS['fail']} of healthy" in text


def test_numbers_and_files_of_a_finding_are_told_and_bounded(folder: Path) -> None:
    text = Reader(render_audit(make_audit(folder))).text
    assert "leak.facts · value 0.94, interval 0.91–0.96, limit 0.6" in text
    assert f"{MOST_SOURCES + 7} files" in text
    assert f"healthy {MOST_SOURCES - 1}.png and 7 more, in findings.json" in text
    assert f"healthy {MOST_SOURCES}.png" not in text


def test_an_audit_without_sections_is_a_page(folder: Path) -> None:
    text = Reader(render_audit(DataAudit(rows_of(folder), ()))).text
    assert "Nothing was checked." in text
    assert "None" not in text


# --- Links ----------------------------------------------------------------------------------


def test_links_lead_to_parts_that_exist(folder: Path) -> None:
    for name in ("healthy", ATTACK):
        reader = Reader(render_audit(make_audit(folder, name)))
        names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(names) == len(set(names))
        links = [link["href"] or "" for link in reader.all("a")]
        assert {link[0] for link in links} == {"#"}
        assert {link[1:] for link in links} <= set(names)
        for _, attributes in reader.tags:
            assert attributes.get("aria-labelledby", names[0]) in names


def test_a_finding_leads_to_the_figure_that_shows_it(folder: Path) -> None:
    reader = Tree(render_audit(make_audit(folder)))
    figures = {attributes["id"] for attributes in reader.all("figure")}
    for finding in make_audit(folder).findings:
        own = "finding-" + finding.check.replace(".", "-")
        links = [each[1]["href"] for each in reader.inside(own) if each[0] == "a"]
        assert len(links) == 1
        assert (links[0] or "#")[1:] in figures
        assert (links[0] or "").endswith(str(finding.figure))


def test_names_that_collide_still_get_anchors_of_their_own(folder: Path) -> None:
    section = make_audit(folder).sections[0]
    strange = dataclasses.replace(section, name="!!!", title="Strange")
    audit = DataAudit(rows_of(folder), (section, section, strange, strange))
    reader = Reader(render_audit(audit))
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]+", name or "") for name in names)


# --- Charts ---------------------------------------------------------------------------------


def marks(page: str) -> list[tuple[int, float, float]]:
    """Series, place and height of each mark that is drawn, from the SVG alone."""
    found = []
    for tag, attributes, around in Tree(page).around:
        shape = re.fullmatch(r"mark m(\d)", attributes.get("class") or "")
        up = around[-1][1] if around else {}
        if tag in ("circle", "path", "rect") and shape and up.get("class") == "point":
            found.append((int(shape[1]), per_cent(up.get("x")), float(up["y"] or 0)))
    return found


def test_marks_stand_where_their_values_are(folder: Path) -> None:
    chart = probes()
    drawn = marks(render_audit(make_audit(folder)))
    series = ("stretched", "canvas")
    values = [(series.index(m.series), m.value) for line in chart.lines for m in line.marks]
    assert [each[0] for each in drawn] == [index for index, _ in values]
    line = np.polyfit([value for _, value in values], [place for _, place, _ in drawn], 1)
    assert line[0] == pytest.approx(100 / 0.55, abs=0.02)
    for (_, value), (_, place, _) in zip(values, drawn, strict=True):
        assert place == pytest.approx(np.polyval(line, value), abs=2e-3)
        assert place == pytest.approx(100 * (value - 0.45) / 0.55, abs=1e-3)
    assert {index: {y for one, _, y in drawn if one == index} for index in (0, 1)} == {
        0: {-7.0},
        1: {7.0},
    }


def test_intervals_ticks_and_references_share_the_axis(folder: Path) -> None:
    around = Tree(render_audit(make_audit(folder))).around

    def lines(kind: str) -> list[tuple[float, float]]:
        return [
            (per_cent(each["x1"]), per_cent(each["x2"]))
            for tag, each, _ in around
            if tag == "line" and (each.get("class") or "").startswith(kind)
        ]

    def scale(value: float) -> float:
        return 100 * (value - 0.45) / 0.55

    known = [m for line in probes().lines for m in line.marks if m.low is not None]
    for (left, right), mark in zip(lines("span "), known, strict=True):
        assert mark.low is not None
        assert mark.high is not None
        assert (left, right) == pytest.approx((scale(mark.low), scale(mark.high)), abs=1e-3)
    assert {round(left, 2) for left, _ in lines("reference ")} == {
        round(scale(0.5), 2),
        round(scale(0.546), 2),
    }
    assert all(left == right for left, right in lines("reference ") + lines("grid"))
    assert {round(left, 2) for left, _ in lines("grid")} == {
        round(scale(value), 2) for value in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }


def test_a_chart_tells_its_numbers_in_words_too(folder: Path) -> None:
    text = Reader(render_audit(make_audit(folder))).text
    assert "0.940 0.910–0.960 0.700 0.660–0.730" in text
    assert "Border of healthy 0.610 0.580–0.640 0.500" in text
    assert "Text warning – 0.550 0.520–0.590" in text
    assert "Chart of ROC-AUC; line: chance 0.5; line: majority 0.546" in text


@pytest.mark.parametrize(
    ("value", "beyond", "where"),
    [(-0.2, "left", 0.0), (0.0, "", 0.0), (1.0, "", 100.0), (1.3, "right", 100.0)],
)
def test_a_value_off_the_axis_is_marked_as_such(value: float, beyond: str, where: float) -> None:
    chart = Dots("d", "D", "x", (0.0, 1.0), (Line("a", (Mark("s", value, -5.0, 5.0),)),))
    (point,) = charts.forest(chart).lines[0].points
    assert (point.place, point.beyond, point.low, point.high) == (where, beyond, 0.0, 100.0)


def test_a_reference_off_the_axis_has_words_but_no_line(folder: Path) -> None:
    chart = dataclasses.replace(probes(), references=(("chance", 0.1), ("majority", 0.6)))
    section = Section("s", "S", (), dots=(chart,))
    around = Tree(page := render_audit(DataAudit(rows_of(folder), (section,)))).around
    drawn = {each["x1"] for _, each, _ in around if (each.get("class") or "")[:10] == "reference "}
    assert drawn == {"27.273%"}
    assert "← chance 0.1" in page


def test_a_value_that_is_no_number_has_no_mark() -> None:
    chart = Dots(
        "d",
        "D",
        "x",
        (0, 1),
        (
            Line(
                "a",
                (Mark("s", float("nan")), Mark("t", 0.5)),
            ),
        ),
    )
    (line,) = charts.forest(chart).lines
    assert [point.series for point in line.points] == [1]
    assert line.cells == (("–", ""), ("0.500", ""))


@pytest.mark.parametrize(
    "span", [(0.0, 1.0), (0.45, 1.0), (0.0, 100.0), (-3.0, 7.0), (0.001, 0.004), (0.0, 123456.0)]
)
def test_ticks_are_round_even_and_inside(span: tuple[float, float]) -> None:
    found = charts.ticks(span)
    values = [value for value, _ in found]
    assert 3 <= len(found) <= 8
    assert span[0] - 1e-9 <= values[0]
    assert values[-1] <= span[1] * (1 + 1e-9)
    gaps = {round(b - a, 9) for a, b in pairwise(values)}
    assert len(gaps) == 1
    assert f"{gaps.pop():e}"[0] in "125"
    for value, words in found:
        told = float(words.replace(",", "").replace("−", "-"))
        assert told == pytest.approx(value, abs=1e-9)


def test_bars_are_as_long_as_their_files(folder: Path) -> None:
    around = Tree(render_audit(make_audit(folder))).around
    rects = [each for tag, each, _ in around if tag == "rect"]
    drawn = [
        (per_cent(each["x"]), per_cent(each["width"]))
        for each in rects
        if (each.get("class") or "").startswith("class ")
    ]
    counts = [(864, 21), (1, 300), (635, 679), (1500, 1000)]
    expected = [
        bar
        for a, b in counts
        for bar in ((0, 100 * a / (a + b)), (100 * a / (a + b), 100 * b / (a + b)))
    ]
    assert np.array(drawn) == pytest.approx(np.array(expected), abs=1e-3)
    sizes = [per_cent(each["width"]) for each in rects if "class" not in each and each["y"] == "0"]
    assert sizes == pytest.approx([100 * n / 1314 for n in (885, 301, 1314, 0)], abs=1e-3)
    rule = [each for tag, each, _ in around if tag == "line" and each.get("class") == "rule"]
    assert {each["x1"] for each in rule} == {"60.000%"}


def test_shares_never_round_to_all_or_none() -> None:
    chart = Shares("s", "S", ("a", "b"), (("x", (9999, 1)), ("y", (5, 0)), ("z", (1, 2))))
    told = [
        [share.replace("\u00a0", " ") for _, share in kind.cells]
        for kind in charts.mix(chart).kinds
    ]
    assert told == [["99.9 %", "0.1 %"], ["100 %", "0 %"], ["33 %", "67 %"]]


def test_tables_keep_one_number_of_decimals_per_column(folder: Path) -> None:
    rows = (("x", 1234, 0.5, 12.25, "73 %", "1–2"), ("y", 7, None, 1e-5, "−0.5 %", "2"))
    told = charts.grid(Table("t", "T", tuple("abcdef"), rows))
    assert told.numeric == (False, True, True, True, True, False)
    assert told.rows[0] == ("x", "1,234", "0.500", "12.2", "73 %", "1–2")
    assert told.rows[1] == ("y", "7", "–", "1e−05", "−0.5 %", "2")
    tree = Tree(render_audit(make_audit(folder)))
    tags = [(each[0], each[1].get("class")) for each in tree.inside("copies-counts")]
    assert tags.count(("td", "number")) == 4
    assert tags.count(("td", "brief")) == 2
    assert "details" in [each[0] for each in tree.inside("copies-long")]
    assert "details" not in [each[0] for each in tree.inside("copies-counts")]


# --- Pictures -------------------------------------------------------------------------------


def test_pictures_are_shown_in_their_own_shape_and_named(folder: Path) -> None:
    images = Reader(render_audit(make_audit(folder))).all("img")
    assert [(each["width"], each["height"]) for each in images] == [
        ("10", "20"), ("20", "20"), ("30", "20"), ("40", "20"), ("10", "20"), ("20", "20"),
    ]  # fmt: skip
    assert [each["alt"] for each in images[:4]] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(each["title"] == each["alt"] for each in images)


def test_a_missing_picture_is_a_placeholder(folder: Path) -> None:
    (folder / "1.png").unlink()
    reader = Reader(render_audit(make_audit(folder)))
    gone = [each for each in reader.all("span") if each.get("class") == "placeholder"]
    assert len(gone) == 3
    assert gone[0]["aria-label"] == "1.png: can't be shown"
    assert "there is no such file" in (gone[0]["title"] or "")


def test_long_strips_are_folded(folder: Path) -> None:
    strip = Strip("many", tuple(Tile(0) for _ in range(OPEN_TILES + 3)))
    section = Section("s", "S", (), sheets=(Sheet("x", "X", (strip,)),))
    tree = Tree(render_audit(DataAudit(rows_of(folder), (section,))))
    folded = [any(up == "details" for up, _ in each[2]) for each in tree.around if each[0] == "img"]
    assert folded == [False] * OPEN_TILES + [True] * 3
    assert "3 more" in tree.text


def test_the_page_stays_small_whatever_is_asked_of_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (130, 130), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    manifest = manifest_of(tmp_path, ("a", "b"), source=["noise.png"], label=["a"])
    strips = tuple(Strip(str(n), tuple(Tile(0, "noise") for _ in range(90))) for n in range(10))
    files = tuple(f"{'long' * 20} {n}.png" for n in range(20_000))
    findings = tuple(Finding(f"junk.{n}", "warn", "many", sources=files) for n in range(20))
    table = Table("t", "T", ("name", "n"), tuple((name, 1) for name in files))
    sheets = (Sheet("x", "X", strips),)
    sections = tuple(
        Section(f"s{n}", "S", findings[2 * n : 2 * n + 2], (table,), sheets=sheets)
        for n in range(10)
    )
    page = render_audit(DataAudit(manifest, sections))
    assert len(page.encode()) < 6_000_000
    assert page.count("<img ") == MOST_TILES
    assert "that this page leaves out" in page


# --- One file, harmless, legible ------------------------------------------------------------


def test_names_from_users_are_escaped_everywhere(folder: Path) -> None:
    page = render_audit(make_audit(folder, ATTACK))
    assert "<script" not in page
    assert "<img src=https" not in page
    reader = Reader(page)
    assert ATTACK in " ".join(reader.words)
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert len(reader.all("img")) == 6


def test_nothing_is_loaded_from_elsewhere(folder: Path) -> None:
    page = render_audit(make_audit(folder))
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "use"} & {
        tag for tag, _ in reader.tags
    }
    for _, attributes in reader.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), value
    assert "url(" not in page
    assert "@import" not in page
    assert "http:" not in page
    assert "https:" not in page
    policy = [each for each in reader.all("meta") if each.get("http-equiv")]
    assert policy[0]["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_same_audit_gives_the_same_text(folder: Path) -> None:
    assert render_audit(make_audit(folder)) == render_audit(make_audit(folder))


def test_keyboard_reaches_what_scrolls(folder: Path) -> None:
    divs = Reader(render_audit(make_audit(folder))).all("div")
    scrolled = [each for each in divs if each.get("class") == "scroll"]
    assert len(scrolled) == 3
    for each in scrolled:
        assert (each["tabindex"], each["role"]) == ("0", "region")
        assert each["aria-label"]


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#\w+);", block))


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)))[::-1]
    return (light + 0.05) / (dark + 0.05)


def test_marks_and_classes_are_told_apart_in_light_dark_and_print(folder: Path) -> None:
    page = render_audit(make_audit(folder))
    roots = [colours(each) for each in re.findall(r":root \{(.*?)\}", page, re.DOTALL)]
    blocks: list[dict[str, Any]] = [
        found for each in re.findall(r"body \{(.*?)\}", page, re.DOTALL) if (found := colours(each))
    ]
    assert len(roots) == len(blocks) == 3
    for root, own in zip(roots, blocks, strict=True):
        for series in range(4):
            assert contrast(own[f"m{series}"], root["paper"]) >= 4.5
        for index in range(6):
            beside = own[f"c{(index + 1) % 6}"]
            assert contrast(own[f"c{index}"], beside) >= 1.6, (index, own)
