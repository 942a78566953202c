"""Junk of a data set: each fault under its own name and no other, and quiet without faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clearhead.audits.junk import TILES, junk, set_aside
from clearhead.audits.material import Material
from clearhead.audits.section import Section
from clearhead.data.heads import HEALTHY, TUMOUR, Head, head
from clearhead.data.index import index
from clearhead.data.oddness import ODDNESS, colour_share, oddness
from clearhead.data.plant import PLANTS
from clearhead.data.read import read
from clearhead.data.thumbnail import SIDE
from clearhead.data.traits import UNKNOWN, traits
from clearhead.types import Finding

CLASSES = (TUMOUR, HEALTHY)
COUNT = 40


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    """Forty heads, classes in turn."""
    kinds = [("axial", "T1-CE"), ("axial", "T2"), ("sagittal", "FLAIR"), ("coronal", "T1")]
    return [
        head([5, place], label=CLASSES[place % 2], plane=plane, contrast=contrast, size_px=160)
        for place in range(COUNT)
        for plane, contrast in [kinds[place // 2 % 4]]
    ]


@pytest.fixture
def folder(heads: list[Head], tmp_path: Path) -> Path:
    """The heads as PNG files in class folders."""
    root = tmp_path / "set"
    for place, drawn in enumerate(heads):
        path = root / drawn.label / f"case{place:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.pixels).save(path)
    return root


def material(root: Path) -> Material:
    """Index a folder and measure what is odd, as the traits do."""
    manifest = index(root, workers=1)
    thumbnails = np.zeros((len(manifest), SIDE, SIDE), np.uint8)
    found = np.full(len(manifest), UNKNOWN)
    for row in np.flatnonzero(manifest.table.column("error").is_null().to_numpy()):
        path = root / manifest.column("source")[row]
        scan = read(path)
        found["seen"][row] = True
        found["odd"][row] = oddness(scan.pixels, scan.depth)
        found["odd"]["colour"][row] = colour_share(path)
    return Material(manifest, thumbnails, found)


def of(section: Section, check: str) -> list[Finding]:
    return [finding for finding in section.findings if finding.check == check]


def only(section: Section, check: str) -> Finding:
    """The one finding of a section, which must be of that check."""
    assert [finding.check for finding in section.findings] == [check]
    return section.findings[0]


def case(root: Path, place: int) -> Path:
    return root / CLASSES[place % 2] / f"case{place:03d}.png"


# --- One fault at a time --------------------------------------------------------------------


def test_a_clean_set_is_quiet(folder: Path) -> None:
    found = material(folder)
    section = junk(found)
    assert section.findings == ()
    assert section.sheets == ()
    assert section.tables[0].rows == (("are in the set", COUNT, COUNT // 2, COUNT // 2),)
    assert set_aside(found) == {}


def test_unreadable_files_are_grouped_by_reason(folder: Path) -> None:
    for place in (0, 2):
        case(folder, place).write_bytes(b"")
    case(folder, 4).write_bytes(case(folder, 4).read_bytes()[:500])
    found = material(folder)
    section = junk(found)
    finding = only(section, "junk.unreadable")
    assert finding.value == 3
    assert finding.figure == "junk.unreadable"
    reasons = next(table for table in section.tables if table.name == "junk.unreadable").rows
    assert [row[0] for row in reasons] == [2, 1]
    assert not any("case" in str(row[1]) for row in reasons)
    assert set_aside(found) == {}


def test_files_that_changed_or_went_since_the_index(folder: Path) -> None:
    manifest = index(folder, workers=1)
    case(folder, 1).unlink()
    case(folder, 3).write_bytes(case(folder, 5).read_bytes())
    thumbnails = np.zeros((len(manifest), SIDE, SIDE), np.uint8)
    found = Material(manifest, thumbnails, traits(manifest, workers=1))
    finding = only(junk(found), "junk.changed")
    assert set(finding.sources) == {f"{HEALTHY}/case001.png", f"{HEALTHY}/case003.png"}
    assert "1 is gone" in finding.message


def test_a_wrong_extension_is_told_with_the_format_inside(folder: Path) -> None:
    for place in (1, 2):
        case(folder, place).rename(case(folder, place).with_suffix(".jpg"))
    finding = only(junk(material(folder)), "junk.extension")
    assert set(finding.sources) == {f"{HEALTHY}/case001.jpg", f"{TUMOUR}/case002.jpg"}
    assert "2 .jpg hold PNG" in finding.message


@pytest.mark.parametrize(("suffix", "format"), [("JPG", "JPEG"), ("jpeg", "JPEG"), ("tif", "TIFF")])
def test_every_spelling_of_an_extension_is_right(folder: Path, suffix: str, format: str) -> None:
    with Image.open(case(folder, 1)) as image:
        image.save(case(folder, 1).with_suffix(f".{suffix}"), format)
    case(folder, 1).unlink()
    assert junk(material(folder)).findings == ()


def test_names_that_differ_by_extension_or_case_alone(folder: Path, heads: list[Head]) -> None:
    Image.fromarray(heads[0].pixels).save(case(folder, 2).with_suffix(".bmp"))
    Image.fromarray(heads[0].pixels).save(case(folder, 4).with_name("CASE004.tif"))
    finding = only(junk(material(folder)), "junk.names")
    names = {source.split("/")[1] for source in finding.sources}
    assert names == {"case002.bmp", "case002.png", "case004.png", "CASE004.tif"}


def test_names_that_few_files_share_across_classes(folder: Path, tmp_path: Path) -> None:
    case(folder, 1).rename(folder / HEALTHY / "case000.png")
    finding = only(junk(material(folder)), "junk.names")
    assert set(finding.sources) == {f"{HEALTHY}/case000.png", f"{TUMOUR}/case000.png"}


def test_numbered_sets_share_their_names_and_nothing_is_said(folder: Path) -> None:
    for place in range(1, COUNT, 2):
        case(folder, place).rename(folder / HEALTHY / f"case{place - 1:03d}.png")
    assert junk(material(folder)).findings == ()


def test_blank_pictures_are_found_and_set_aside(folder: Path) -> None:
    Image.new("L", (160, 160), 40).save(case(folder, 6))
    found = material(folder)
    finding = only(junk(found), "junk.blank")
    assert finding.sources == (f"{TUMOUR}/case006.png",)
    aside = set_aside(found)
    assert [found.manifest.column("source")[row] for row in aside] == list(finding.sources)
    assert list(aside.values()) == ["the picture is blank"]


def sheet(heads: list[Head]) -> NDArray[Any]:
    return np.block([[heads[0].pixels, heads[1].pixels], [heads[2].pixels, heads[3].pixels]])


def tomogram(heads: list[Head]) -> NDArray[Any]:
    """Bone at the top of the range around a dull brain."""
    rows, columns = np.mgrid[:160, :160] - 80.0
    distance = np.hypot(rows / 68, columns / 56)
    dull = 90 + np.random.default_rng(0).normal(0, 8, distance.shape)
    inner = np.where(distance < 0.98, np.where(distance > 0.86, 255, dull), 0)
    return inner.clip(0, 255).astype(np.uint8)


def noise(heads: list[Head]) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 256, (160, 160)).astype(np.uint8)


@pytest.mark.parametrize(("draw", "word"), [(sheet, "several"), (tomogram, "CT"), (noise, "noise")])
def test_what_is_no_head_is_named_and_set_aside(
    folder: Path, heads: list[Head], draw: Callable[[list[Head]], NDArray[Any]], word: str
) -> None:
    Image.fromarray(draw(heads)).save(case(folder, 9))
    found = material(folder)
    finding = only(junk(found), "junk.not-head")
    assert finding.sources == (f"{HEALTHY}/case009.png",)
    assert word in finding.message
    (reason,) = set_aside(found).values()
    assert word in reason
    assert "not look like one head in MRI" in reason


@pytest.mark.parametrize(
    ("size", "word"), [((40, 40), "tiny"), ((160, 560), "square"), ((4100, 2100), "huge")]
)
def test_sizes_beyond_reason(folder: Path, heads: list[Head], size: Any, word: str) -> None:
    picture = Image.fromarray(heads[9].pixels)
    if word == "square":  # a head in a wide field, not a stretched one
        wide = Image.new("L", (size[1], size[0]))
        wide.paste(picture, (200, 0))
        wide.save(case(folder, 9))
    else:
        picture.resize(size).save(case(folder, 9))
    finding = only(junk(material(folder)), "junk.geometry")
    assert finding.sources == (f"{HEALTHY}/case009.png",)
    assert word in finding.message


@pytest.mark.parametrize(
    ("plant", "check"), [("text", "junk.text"), ("border", "junk.frame"), ("corner", "junk.text")]
)
def test_a_mark_on_one_class_is_told_with_that_class(
    folder: Path, heads: list[Head], plant: str, check: str
) -> None:
    for place in range(0, COUNT, 2):
        marked = PLANTS[plant](heads[place], np.random.default_rng(place))
        Image.fromarray(marked.pixels).save(case(folder, place))
    found = material(folder)
    section = junk(found)
    finding = only(section, check)
    assert finding.level == "warn"
    assert len(finding.sources) >= 19
    assert all(source.startswith(TUMOUR) for source in finding.sources)
    assert f"of {COUNT // 2} {TUMOUR}" in finding.message
    assert f"and 0 % of {HEALTHY}" in finding.message or f"0 % of {HEALTHY} and" in finding.message
    assert "mark" in finding.message if plant == "corner" else "mark beside" not in finding.message
    assert set_aside(found) == {}
    (shown,) = section.sheets
    assert shown.name == finding.figure
    tiles = [tile.row for strip in shown.strips for tile in strip.tiles]
    assert len(tiles) == len(set(tiles)) == TILES
    assert {found.manifest.column("source")[row] for row in tiles} <= set(finding.sources)


def test_a_mark_that_every_class_has_alike_gives_nothing_away(
    folder: Path, heads: list[Head]
) -> None:
    for place in range(COUNT):
        Image.fromarray(PLANTS["border"](heads[place], np.random.default_rng(0)).pixels).save(
            case(folder, place)
        )
    finding = only(junk(material(folder)), "junk.frame")
    assert "a net can learn" not in finding.message
    assert "all four sides" in finding.message


@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 255)])
def test_a_box_over_the_head_is_a_drawing(
    folder: Path, heads: list[Head], colour: tuple[int, int, int]
) -> None:
    image = Image.fromarray(heads[9].pixels).convert("RGB")
    ImageDraw.Draw(image).rectangle((64, 60, 92, 90), outline=colour)
    image.save(case(folder, 9))
    assert only(junk(material(folder)), "junk.drawing").sources == (f"{HEALTHY}/case009.png",)


def test_metadata_that_contradicts_the_folders(folder: Path) -> None:
    rows = [(f"case{place:03d}.png", CLASSES[place % 2]) for place in range(COUNT)]
    rows[3] = (rows[3][0], TUMOUR)
    lines = ["image,class", *(f"{name},{label}" for name, label in rows)]
    (folder / "metadata.csv").write_text("\n".join(lines))
    finding = only(junk(material(folder)), "junk.metadata")
    assert finding.level == "warn"
    assert finding.sources == (f"{HEALTHY}/case003.png",)


def test_metadata_that_agrees_is_not_mentioned(folder: Path) -> None:
    lines = [f"case{place:03d}.png,{CLASSES[place % 2]}" for place in range(COUNT)]
    (folder / "metadata.csv").write_text("\n".join(["image,class", *lines]))
    assert junk(material(folder)).findings == ()


# --- All together ---------------------------------------------------------------------------


def test_many_faults_at_once_are_each_named_once(folder: Path, heads: list[Head]) -> None:
    Image.fromarray(sheet(heads)).save(case(folder, 1))
    case(folder, 2).write_bytes(b"nothing")
    Image.new("L", (160, 160)).save(case(folder, 3))
    case(folder, 5).rename(case(folder, 5).with_suffix(".jpg"))
    random = np.random.default_rng(0)
    Image.fromarray(PLANTS["text"](heads[6], random).pixels).save(case(folder, 6))
    found = material(folder)
    section = junk(found)
    expected = {
        "junk.not-head": "case001.png",
        "junk.unreadable": "case002.png",
        "junk.blank": "case003.png",
        "junk.extension": "case005.jpg",
        "junk.text": "case006.png",
    }
    named = {each.check: each.sources[0].split("/")[1] for each in section.findings}
    assert named == expected
    assert len(section.findings) == len(expected)
    levels = [finding.level for finding in section.findings]
    assert levels == sorted(levels, key="warn info".index)
    names = {table.name for table in section.tables} | {each.name for each in section.sheets}
    assert {each.figure for each in section.findings} - {None} <= names


def test_rows_set_aside_take_no_part(folder: Path) -> None:
    Image.new("L", (160, 160)).save(case(folder, 3))
    found = material(folder)
    reasons = set_aside(found)
    column = [reasons.get(row) for row in range(len(found.manifest))]
    cleaned = dataclasses.replace(found, manifest=found.manifest.with_columns(aside=column))
    assert junk(cleaned).findings == ()
    assert set_aside(cleaned) == {}


def test_nothing_is_named_fail_and_order_changes_nothing(folder: Path, heads: list[Head]) -> None:
    for place in (3, 7, 12):
        Image.fromarray(tomogram(heads)).save(case(folder, place))
    found = material(folder)
    order = np.random.default_rng(0).permutation(len(found.manifest))
    shuffled = dataclasses.replace(
        found, manifest=found.manifest.take(order), traits=np.asarray(found.traits)[order]
    )
    there, back = junk(found).findings, junk(shuffled).findings
    assert [each.message for each in there] == [each.message for each in back]
    assert {each.level for each in there} <= {"info", "warn"}
    assert {int(order[row]) for row in set_aside(shuffled)} == set(set_aside(found))


# --- Real pictures --------------------------------------------------------------------------


def records(paths: Sequence[Path]) -> NDArray[Any]:
    found = np.full(len(paths), UNKNOWN)
    found["seen"] = True
    for place, path in enumerate(paths):
        scan = read(path, colour="mean")
        found["odd"][place] = oddness(scan.pixels, scan.depth)
    assert found["odd"].dtype == ODDNESS
    return found


@pytest.mark.realdata
def test_the_kaggle_set_holds_png_under_other_names(realdata: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    signature, held = b"\x89PNG", 0
    for path in sorted((realdata / "kaggle4600").rglob("*Cancer*")):
        with path.open("rb") as file:
            png = file.read(4) == signature
        if png or path.name.endswith("00).jpg"):
            held += png
            place = root / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    assert held == 18
    manifest = index(root, workers=1)
    paths = [root / source for source in manifest.column("source")]
    found = Material(manifest, np.zeros((len(paths), SIDE, SIDE), np.uint8), records(paths))
    (finding,) = of(junk(found), "junk.extension")
    assert finding.value == 16
    assert "16 .jpg hold PNG" in finding.message
    assert of(junk(found), "junk.unreadable") == []
