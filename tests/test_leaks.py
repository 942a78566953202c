"""Leaks: what is planted in a place is read there, named and put into words; else all is quiet."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.audits import leaks as module
from clearhead.audits import probes
from clearhead.audits.leak_figures import ROWS
from clearhead.audits.leaks import leaks
from clearhead.audits.material import Material
from clearhead.audits.probes import PROBES
from clearhead.audits.section import Section
from clearhead.data.traits import PLACES, TRAITS, VIEWS
from clearhead.measure import probe
from clearhead.types import Finding
from oracles import manifest_of

TWO = ("healthy", "tumour")


@pytest.fixture(autouse=True)
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TREES", 5)
    monkeypatch.setattr(probe, "ROUNDS", 5)
    monkeypatch.setattr(module, "RULED", ("shape",))


def noise(count: int, seed: int = 0) -> Any:
    """Traits that know nothing of the class."""
    rng = np.random.default_rng(seed)
    traits = np.zeros(count, TRAITS)
    traits["seen"] = True
    traits["file"]["quality"] = 90
    traits["file"]["dpi"] = np.nan
    for view in VIEWS:
        for place, names in PLACES.items():
            traits[view][place] = rng.normal(50, 10, (count, len(names)))
    return traits


def columns(count: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "source": [f"{number}.png" for number in range(count)],
        "label": [TWO[number % 2] for number in range(count)],
        "format": ["PNG"] * count,
        "mode": ["L"] * count,
        "height": [256] * count,
        "width": [256] * count,
        "bytes": rng.integers(20_000, 40_000, count).tolist(),
        "group": list(range(count)),
    }


def material(
    traits: Any, facts: dict[str, Any], classes: tuple[str, ...] = TWO, **settings: Any
) -> Material:
    return Material(
        manifest_of(Path(), classes, **facts),
        np.zeros((len(traits), 64, 64), np.uint8),
        traits,
        **{"resamples": 40, "permutations": 200, **settings},
    )


def finding(section: Section, check: str) -> Finding:
    (found,) = [found for found in section.findings if found.check == check]
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only three places, so that a test is quick."""
    chosen = {name: PROBES[name] for name in ("facts", "border", "thumbnail")}
    monkeypatch.setattr(probes, "PROBES", chosen)


def test_a_clean_set_is_quiet_and_every_place_has_its_word() -> None:
    section = leaks(material(noise(120), columns(120)))
    assert [found.level for found in section.findings] == ["info"] * (len(PROBES) + 2)
    assert {found.check for found in section.findings} == {
        "leak.score",
        "leak.telling",
        *(f"leak.{name}" for name in PROBES),
    }


@pytest.mark.parametrize("place", ["border", "shape", "rim"])
def test_a_planted_place_fails_by_name(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PROBES", {name: PROBES[name] for name in (place, "silhouette")})
    traits = noise(160)
    traits["stretch"][place][1::2, 1] += 60
    section = leaks(material(traits, columns(160)))
    found = finding(section, f"leak.{place}")
    assert found.level == "fail"
    assert found.value is not None
    assert found.value > 0.8
    assert found.interval is not None
    assert found.limit == PROBES[place].limit < found.interval[0]
    assert "This alone gives" in found.message
    assert ", on the canvas 0." in found.message
    score = section.findings[0]
    assert score.check == "leak.score"
    assert "A model must beat" in score.message
    assert (score.level == "fail") is (place != "rim")  # tissue shows at the rim
    assert finding(section, "leak.silhouette").level == "info"


def test_burned_in_letters_are_read_from_oddness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PROBES", {"text": PROBES["text"]})
    traits = noise(160)
    traits["odd"]["text_components"][1::2] = 3
    section = leaks(material(traits, columns(160)))
    assert finding(section, "leak.text").level == "fail"
    assert "with number of letters" in finding(section, "leak.telling").message


@pytest.mark.parametrize(
    ("fact", "values"),
    [("format", ("PNG", "TIFF")), ("width", (256, 512)), ("mode", ("L", "RGB"))],
)
@pytest.mark.usefixtures("few")
def test_a_fact_of_the_manifest_fails(fact: str, values: tuple[Any, Any]) -> None:
    facts = columns(160)
    facts[fact] = [values[number % 2] for number in range(160)]
    section = leaks(material(noise(160), facts))
    assert section.findings[0].level == "fail"
    assert finding(section, "leak.facts").level == "fail"
    assert finding(section, "leak.border").level == "info"


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("quality", "JPEG quality"),
        ("quantisation", "JPEG quantisation table"),
        ("dpi", "dpi 1"),
        ("exif", "EXIF"),
    ],
)
@pytest.mark.usefixtures("few")
def test_a_fact_of_the_header_fails(fact: str, words: str) -> None:
    traits = noise(160)
    traits["file"][fact][1::2] = 1
    section = leaks(material(traits, columns(160)))
    assert finding(section, "leak.facts").level == "fail"
    assert words in finding(section, "leak.telling").message


@pytest.mark.usefixtures("few")
def test_the_extension_is_a_fact() -> None:
    facts = columns(160)
    facts["source"] = [f"{n}.{('png', 'PNG2')[n % 2]}" for n in range(160)]
    assert finding(leaks(material(noise(160), facts)), "leak.facts").level == "fail"


@pytest.mark.usefixtures("few")
def test_the_most_telling_fact_names_its_files() -> None:
    facts = columns(200)
    rng = np.random.default_rng(0)
    big = np.array([label == "tumour" for label in facts["label"]]) & (rng.random(200) < 0.8)
    facts["width"] = np.where(big, 512, 256).tolist()
    facts["height"] = facts["width"]
    telling = finding(leaks(material(noise(200), facts)), "leak.telling")
    assert telling.level == "fail"
    assert "size 512×512 are tumour" in telling.message
    assert set(telling.sources) == {facts["source"][row] for row in np.flatnonzero(big)}


@pytest.mark.usefixtures("few")
def test_tissue_may_tell_more_before_it_fails() -> None:
    """A thumbnail may carry the disease: what fails a border doesn't fail it."""
    traits = noise(400)
    rng = np.random.default_rng(1)
    for place in ("border", "thumbnail"):
        traits["stretch"][place][1::2, 0] += rng.normal(14, 1, 200)
    section = leaks(material(traits, columns(400)))
    assert finding(section, "leak.border").level == "fail"
    assert finding(section, "leak.thumbnail").level != "fail"


@pytest.mark.usefixtures("few")
def test_figures_hold_what_findings_say() -> None:
    traits = noise(160)
    traits["stretch"]["border"][1::2] += 60
    section = leaks(material(traits, columns(160)))
    parts: list[Any] = [*section.tables, *section.dots, *section.shares, *section.sheets]
    names = {part.name for part in parts}
    assert {found.figure for found in section.findings if found.figure} <= names
    aucs, accuracies = section.dots
    assert aucs.lines[0].name == PROBES["border"].words
    assert aucs.lines[0].remark == "leak.border"
    assert aucs.lines[0].tone == "fail"
    assert {mark.series for mark in aucs.lines[0].marks} == {"stretched", "canvas"}
    assert aucs.lines[0].marks[0].value == finding(section, "leak.border").value
    assert "the canvas removes: border" in aucs.note
    assert dict(accuracies.references)["majority, files"] == pytest.approx(50)
    beat = finding(section, "leak.score")
    assert beat.value == pytest.approx(accuracies.lines[0].marks[0].value / 100)
    for line in accuracies.lines:
        for mark in line.marks:
            assert accuracies.span[0] <= (mark.low or 0) <= mark.value <= 100


@pytest.mark.usefixtures("few")
def test_sizes_are_counted_by_class_with_a_rest() -> None:
    facts = columns(160)
    facts["width"] = [200 + number // 2 % 20 for number in range(160)]
    sizes = leaks(material(noise(160), facts)).shares[0]
    assert len(sizes.rows) == ROWS + 1
    assert np.sum([counts for _, counts in sizes.rows], axis=0).tolist() == [80, 80]
    assert sizes.rows[-1][0] == "8 others"


@pytest.mark.usefixtures("few")
def test_three_classes() -> None:
    facts = columns(180)
    names = ("a", "b", "c")
    facts["label"] = [names[number % 3] for number in range(180)]
    facts["format"] = [("PNG", "JPEG", "TIFF")[number % 3] for number in range(180)]
    section = leaks(material(noise(180), facts, names))
    assert finding(section, "leak.facts").level == "fail"
    assert section.shares[0].classes == names


@pytest.mark.usefixtures("few")
def test_rows_without_label_set_aside_or_unreadable_take_no_part() -> None:
    facts, traits = columns(200), noise(200)
    facts["label"][160:] = [None] * 40
    facts["aside"] = [None] * 150 + ["junk"] * 10 + [None] * 40
    facts["format"] = ["PNG"] * 150 + ["TIFF"] * 50
    section = leaks(material(traits, facts))
    only = leaks(material(traits[:150], {name: own[:150] for name, own in columns(200).items()}))
    assert finding(section, "leak.facts") == finding(only, "leak.facts")
    assert section.shares[1].rows == (("PNG", (75, 75)),)


@pytest.mark.usefixtures("few")
def test_pictures_that_were_not_seen_take_no_part_in_places() -> None:
    """Files of one class that are gone must not leak by being gone."""
    traits = noise(160)
    traits["seen"][1:81:2] = False
    traits["stretch"]["border"][1:81:2] = np.nan
    assert finding(leaks(material(traits, columns(160))), "leak.border").level == "info"


@pytest.mark.parametrize("count", [2, 12])
@pytest.mark.usefixtures("few")
def test_too_little_data_says_so(count: int) -> None:
    section = leaks(material(noise(count), columns(count)))
    assert {found.level for found in section.findings} == {"info"}
    (only,) = section.findings
    assert "Can't tell what gives the label away" in only.message


@pytest.mark.usefixtures("few")
def test_no_usable_row() -> None:
    facts = columns(4)
    facts["label"] = [None] * 4
    assert {found.level for found in leaks(material(noise(4), facts)).findings} == {"info"}


@pytest.mark.usefixtures("few")
def test_same_seed_same_findings() -> None:
    here = material(noise(80), columns(80))
    assert leaks(here) == leaks(dataclasses.replace(here))


@pytest.mark.usefixtures("few")
def test_no_more_pictures_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_GROUPS", 100)
    facts = columns(160)
    facts["format"] = ["PNG", "TIFF"] * 80
    section = leaks(material(noise(160), facts))
    assert section.dots[0].note.startswith("100 distinct pictures, drawn from 160;")
    assert len(finding(section, "leak.telling").sources) == 80  # every file that fulfils the rule


@pytest.mark.usefixtures("few")
def test_findings_are_plain_values() -> None:
    traits = noise(80)
    traits["stretch"]["border"][1::2] += 60
    section = leaks(material(traits, columns(80)))
    assert json.loads(json.dumps(dataclasses.asdict(section), allow_nan=False))["findings"]
