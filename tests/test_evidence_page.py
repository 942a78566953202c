"""The page of an evidence audit: findings, tiles, maps and curves, in one safe file."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.section import (
    Curve,
    Curves,
    EvidenceAudit,
    Maps,
    Panel,
    Section,
    Sheet,
    Strip,
    Tile,
)
from clearhead.deliver import charts, panels
from clearhead.deliver.evidence_page import render_evidence_audit, save_evidence_audit
from clearhead.deliver.evidence_tiles import MOST_PX, blended, key_of, scale_of
from clearhead.deliver.evidence_words import FAULTS, UNSEEN, headline, summary, verdict
from clearhead.deliver.overlay import MASK_COLOUR, colourise
from clearhead.heat.scale import PERCENTILE
from clearhead.types import Finding
from subjects import SIDE, planted_subject
from test_audit_page import Tree
from test_page import ATTACK, Reader

NAN = float("nan")


def curves(name: str = "grad_cam") -> Curves:
    x = (0.0, 0.5, 1.0)
    return Curves(
        "deletion",
        f"Deletion of {name}",
        "share erased",
        "probability",
        (
            Curve(name, x, (0.9, 0.4, 0.1), (0.85, 0.3, 0.05), (0.95, 0.5, 0.15)),
            Curve("gap", (0.0, 0.25, 0.5, 1.0), (0.8, NAN, 0.6, 0.5)),
            Curve("random", x, (0.9, 0.7, 0.1), tone="control"),
        ),
        note="Lower is better.",
    )


def maps(name: str = "one") -> Maps:
    values = np.linspace(0, 3, 64, dtype=np.float32).reshape(8, 8)
    outline = np.zeros((8, 8), bool)
    outline[2:6, 2:6] = True
    panels = (Panel(f"kind {name}", values, outline), Panel("plain", values[:, ::-1].copy()))
    return Maps("kinds", f"Kinds of {name}", panels, 2.0, "times chance", "A note.")


def make_audit(name: str = "one") -> EvidenceAudit:
    subject = planted_subject(count=8, classes=("tumour", name), root=Path(f"set {name[:20]}"))
    sources = [f"{name} {row}.png" for row in range(len(subject))]
    subject = dataclasses.replace(subject, rows=subject.rows.with_columns(source=sources))
    need = Section(
        "need",
        f"Whether it needs {name}",
        (
            Finding(
                "need.brain",
                "fail",
                "With the brain erased the AUC is 0.81. More.",
                0.81,
                (0.77, 0.84),
                0.5,
                (f"{name}.png",),
                "deletion",
            ),
            Finding("where.brain", "warn", f"Heat in the brain of {name} is 0.9 times chance."),
        ),
        curves=(curves(name),),
    )
    looks = Section(
        "strategies",
        "What it looks at",
        (Finding("strategies.1", "info", "21 % look at the edge.", 0.21, None, figure="kinds"),),
        maps=(maps(name),),
        sheets=(
            Sheet(
                "typical",
                "Typical",
                (Strip(f"kind {name}", (Tile(0, f"caption {name}"), Tile(1), Tile(5))),),
                "A note.",
            ),
        ),
    )
    return EvidenceAudit(subject, (need, looks), {"run": name, "seconds": 83.2, "seed": 0})


def pixels(uri: str | None) -> NDArray[np.uint8]:
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


# --- What it says ---------------------------------------------------------------------------


def test_every_finding_is_in_the_summary_and_in_its_section() -> None:
    audit = make_audit()
    page = render_evidence_audit(audit)
    summary_part, _, rest = page.partition('<section aria-labelledby="need">')
    parts = _bodies(summary_part, rest)
    first, second = (" ".join(Reader(f"<p>{part}</p>").words) for part in parts)
    for finding in audit.findings:
        assert finding.message.split(" More.")[0] in first
        assert finding.message in second
        assert finding.check in second


def _bodies(first: str, second: str) -> tuple[str, str]:
    return first.partition("<main>")[2], f"<section>{second.partition('</main>')[0]}"


def test_the_page_opens_with_a_verdict_and_says_what_it_cannot_see() -> None:
    audit = make_audit()
    text = Reader(render_evidence_audit(audit)).text
    order = [
        "Evidence audit of set one",
        "can't be believed to come from the brain: its score survives without the brain.",
        "8 pictures of the test split (tumour 4, one 4)",
        "With the brain erased the AUC is 0.81. Heat in the brain of one is 0.9 times chance.",
        "A research tool, not a medical device.",
        UNSEEN["audit"][0],
        "Checks took 1 min 23 s",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "wrong" not in text
    bench = Reader(render_evidence_audit(audit, name="bench")).text
    assert "Benchmark of the explanations" in bench
    assert "can't be trusted" in bench
    assert UNSEEN["bench"][0] in bench


def test_the_headline_follows_levels_and_survives_any_finding() -> None:
    subject = make_audit().subject

    def of(*findings: Finding) -> EvidenceAudit:
        return EvidenceAudit(subject, (Section("s", "S", findings),))

    assert headline(EvidenceAudit(subject, ())) == "Nothing was checked."
    assert headline(of(Finding("odd.id", "info", "x."))) == "No check failed."
    assert headline(of(Finding("odd.id", "warn", "x."))) == (
        "No check failed; 1\u00a0finding wants a look."
    )
    assert "fail" not in headline(of(Finding("odd.id", "fail", "x.")))
    many = [Finding(check, "fail", "x.") for check in list(FAULTS)[:5]]
    assert headline(of(*many)).endswith("and 2 more.")
    assert "look outside the brain" in headline(of(Finding("strategies.2", "warn", "x.")))
    notes = [Finding(check, "info", f"{check} is told.") for check in ("maps.blank", "need.brain")]
    assert verdict(of(*notes)).startswith("need.brain is told. A research tool")
    assert verdict(of()) == "A research tool, not a medical device."


def test_lines_for_a_terminal() -> None:
    lines = summary(make_audit("evil\x1b[31m"), "audit.html")
    assert lines[0].startswith("Results of this classifier")
    assert lines[3] == "FAIL  need.brain: With the brain erased the AUC is 0.81."
    assert lines[4].startswith("warn  where.brain")
    assert lines[-1] == "Page: audit.html"
    assert all(line.replace("\u00a0", " ").isprintable() for line in lines)


# --- One safe file --------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere_and_names_are_escaped() -> None:
    for name in ("one", ATTACK):
        page = render_evidence_audit(make_audit(name))
        reader = Reader(page)
        assert not reader.all("script")
        assert not reader.all("link")
        for tag, attributes in reader.tags:
            for key in ("src", "href", "action"):
                value = attributes.get(key)
                assert value is None or value[0] == "#" or value.startswith("data:image/"), tag
        outside = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page)
        if name == "one":
            assert "http" not in outside.replace("http-equiv", "")
    assert ATTACK in reader.text


def test_images_have_words_and_anchors_lead_somewhere() -> None:
    reader = Reader(render_evidence_audit(make_audit(ATTACK)))
    assert len(reader.all("img")) == 3 + 2 + 2  # tiles, panels, a colour bar for each
    assert all(image.get("alt") for image in reader.all("img"))
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {(link["href"] or "#")[1:] for link in reader.all("a")} <= set(names)


def test_files_are_written_whole_and_the_same_twice(tmp_path: Path) -> None:
    audit = make_audit()
    page = save_evidence_audit(audit, tmp_path / "a")
    assert page == tmp_path / "a" / "audit.html"
    assert page.read_text() == render_evidence_audit(audit)
    assert str(tmp_path) not in page.read_text()
    said = json.loads((tmp_path / "a" / "findings.json").read_text())
    assert [one["check"] for one in said["findings"]] == [one.check for one in audit.findings]
    assert said["failed"] is True
    assert save_evidence_audit(audit, tmp_path / "b", name="bench").name == "bench.html"


# --- Tiles ----------------------------------------------------------------------------------


def test_tiles_say_label_call_peak_and_file() -> None:
    audit = make_audit()
    subject = audit.subject
    heat = subject.heat(np.array([0]), subject.calls[[0]])[0]
    text = Reader(render_evidence_audit(audit)).text
    assert f"tumour, called {subject.classes[subject.calls[0]]}" in text
    assert f"peak {heat.max():.3g}"[:8] in text
    assert "caption one" in text
    assert "one 0.png" in text


def test_a_blank_map_is_said_on_its_tile() -> None:
    audit = make_audit()
    evidence = audit.subject.evidence.copy()
    evidence[1] = -1
    blank = dataclasses.replace(
        audit, subject=dataclasses.replace(audit.subject, evidence=evidence)
    )
    tree = Tree(render_evidence_audit(blank))
    badges = [up for tag, attributes, up in tree.around if attributes.get("class") == "badge"]
    assert len(badges) == 1
    assert "no place speaks for" in tree.text


def test_no_heat_leaves_the_picture_grey_and_full_heat_has_the_colour_of_the_scale() -> None:
    random = np.random.default_rng(0)
    square = random.integers(0, 256, (40, 40)).astype(np.uint8)
    none = np.zeros((40, 40), bool)
    heat = np.zeros((40, 40), np.float32)
    assert (blended(square, heat, none, 2.0) == square[..., None]).all()
    heat[10:20, 10:20] = 5.0  # over the scale: saturates
    found = blended(square, heat, none, 2.0)
    colour = colourise(np.full((1, 1), 2.0, np.float32), scale=2.0)[0, 0].astype(float)
    opacity = colour[3] / 255
    mixed = square[10:20, 10:20, None] * (1 - opacity) + colour[:3] * opacity
    assert found[10:20, 10:20] == pytest.approx(np.rint(mixed), abs=1)
    assert (found[30:, 30:] == square[30:, 30:, None]).all()


def test_the_outline_runs_around_the_mask_and_leaves_its_inside_free() -> None:
    square = np.full((60, 60), 90, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[20:40, 25:45] = True
    found = blended(square, np.zeros((60, 60), np.float32), mask, 1.0)
    line = (found == MASK_COLOUR).all(-1)
    assert 60 < line.sum() < 100
    rows, columns = np.nonzero(line)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 39, 24, 44)
    assert (found[23:36, 28:41] == 90).all()
    assert (found[:17] == 90).all()


def test_large_squares_are_reduced() -> None:
    big = 2 * MOST_PX
    found = blended(
        np.zeros((big, big), np.uint8),
        np.ones((big, big), np.float32),
        np.zeros((big, big), bool),
        1.0,
    )
    assert found.shape == (MOST_PX, MOST_PX, 3)


def test_one_scale_for_all_tiles_from_the_peaks_of_the_calls() -> None:
    subject = planted_subject(count=12)
    peaks = [subject.evidence[row, subject.calls[row]].max() for row in range(12)]
    positive = [peak for peak in peaks if peak > 0]
    assert scale_of(subject) == pytest.approx(np.percentile(positive, PERCENTILE))
    blank = dataclasses.replace(subject, evidence=np.full_like(subject.evidence, -1))
    assert scale_of(blank) == 1.0
    key = key_of(subject, 12.345)
    assert key.top == "12.3"
    assert "logits" in key.words
    assert "tumour mask" in key.words
    unmasked = planted_subject(count=4, masks=np.zeros((4, SIDE, SIDE), bool))
    assert "tumour mask" not in key_of(unmasked, 1.0).words


# --- Maps -----------------------------------------------------------------------------------


def test_pictures_are_grey_and_have_no_key() -> None:
    ramp = np.linspace(0, 255, 16, dtype=np.float32).reshape(4, 4)
    drawn = panels.draw(Maps("one", "A picture", (Panel("", ramp),), 255.0, "", grey=True))
    assert drawn.key is None
    shown = pixels(drawn.panels[0].uri)
    assert (shown[..., :1] == shown).all()
    assert (shown.min(), shown.max()) == (0, 255)


def test_panels_are_on_one_scale_with_lines_where_the_outline_changes() -> None:
    drawn = panels.draw(maps())
    first, second = (pixels(panel.uri) for panel in drawn.panels)
    assert first.shape == second.shape == (panels.SIDE_PX, panels.SIDE_PX, 3)
    assert drawn.key is not None
    bar = pixels(drawn.key.uri)[0]
    assert (first[-1, -1] == bar[-1]).all()  # 3, beyond the scale of 2
    assert (second[0, -1] == bar[0]).all()
    assert (bar.astype(int).sum(1)[1:] >= bar.astype(int).sum(1)[:-1] - 12).all()
    white = (first == 255).all(-1)
    rows, columns = np.nonzero(white)
    quarter = panels.SIDE_PX / 4
    for places in (rows, columns):
        assert (places.min(), places.max()) == pytest.approx((quarter, 3 * quarter), abs=2)
    assert not white[
        int(1.2 * quarter) : int(2.8 * quarter), int(1.2 * quarter) : int(2.8 * quarter)
    ].any()
    assert not (second == 255).all(-1).any()
    text = Reader(render_evidence_audit(make_audit())).text
    assert "0 2.00 and more times chance" in text
    with pytest.raises(ValueError, match="scale"):
        panels.draw(dataclasses.replace(maps(), scale=0.0))


# --- Curves ---------------------------------------------------------------------------------


def path_points(path: str | None) -> list[tuple[float, float]]:
    found = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path or "")
    return [(float(x), float(y)) for x, y in found]


def test_lines_and_bands_stand_where_their_values_are() -> None:
    tree = Tree(render_evidence_audit(make_audit()))
    kinds = [(a.get("class") or "", a) for tag, a, _ in tree.around if tag == "path"]
    lines = [a for kind, a in kinds if kind.startswith("line")]
    drawn = [a for a in lines if a["d"] != "M-18 0H18"]
    assert len(drawn) == 3

    def place(x: float, y: float) -> tuple[float, float]:
        return 100 * x, 100 - 100 * (y - 0.05) / 0.9

    def close(found: list[tuple[float, float]], *expected: tuple[float, float]) -> bool:
        return bool(np.allclose(found, expected, atol=1e-2))

    assert close(path_points(drawn[0]["d"]), place(0, 0.9), place(0.5, 0.4), place(1, 0.1))
    assert (drawn[1]["d"] or "").count("M") == 2  # a gap lifts the pen
    (band,) = [a for kind, a in kinds if kind.startswith("band")]
    edges = path_points(band["d"])
    assert close(edges[:3], place(0, 0.95), place(0.5, 0.5), place(1, 0.15))
    assert close(edges[3:], place(1, 0.05), place(0.5, 0.3), place(0, 0.85))


def test_lines_are_told_apart_without_colour_and_controls_stay_back() -> None:
    x = (0.0, 1.0)
    many = tuple(Curve(str(n), x, (float(n), n + 1.0)) for n in range(16))
    blind = tuple(Curve(f"r{n}", x, (1.0, 1.0), tone="control") for n in range(6))
    plot = charts.plot(Curves("c", "C", "x", "y", (*many, *blind)))
    assert len({(line.look, line.shape) for line in plot.lines}) == 22
    first = [line.look.split()[1] for line in plot.lines[:4]]
    assert len(set(first)) == 4  # dashes alone tell four lines apart
    assert [line.control for line in plot.lines] == [False] * 16 + [True] * 6
    assert "control" in plot.lines[-1].look


def test_numbers_of_curves_are_in_a_table() -> None:
    text = Reader(render_evidence_audit(make_audit())).text
    assert "share erased one gap random" in text
    assert "0 0.900 (0.850–0.950) 0.800 0.900" in text
    assert "0.25 – – –" in text
    assert "0.5 0.400 (0.300–0.500) 0.600 0.700" in text


def test_an_interval_below_0_has_a_word_between_its_ends() -> None:
    line = Curve("a", (0.0, 1.0), (-0.4, 0.4), low=(-0.5, 0.3), high=(-0.3, 0.5))
    (first, second) = charts.plot(Curves("c", "C", "x", "y", (line,))).rows
    assert first[1] == "−0.400 (−0.500 to −0.300)"
    assert second[1] == "0.400 (0.300–0.500)"


@pytest.mark.parametrize("y", [(0.5, 0.5), (NAN, NAN)])
def test_flat_or_empty_curves_are_drawn(y: tuple[float, float]) -> None:
    plot = charts.plot(Curves("c", "C", "x", "y", (Curve("a", (0.0, 1.0), y),)))
    assert len(plot.down) > 1
