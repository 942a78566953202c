"""The run page and its verdict: what it says, that it is one file, and that names can't harm it."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from clearhead.deliver import verdict
from clearhead.deliver.page import (
    DataSummary,
    Origin,
    Page,
    Picture,
    duration,
    render_page,
)
from clearhead.measure.scores import (
    Baseline,
    Calibration,
    Evaluation,
    Outcome,
    Reliability,
    Score,
    Scores,
    Triage,
)
from clearhead.types import Finding, Recipe

ATTACK = "<script>alert('x')</script>\"><img src=https://evil.example/x.png>"
VOID = {"meta", "link", "img", "br", "hr", "input", "rect"}


# --- Reading HTML ---------------------------------------------------------------------------


class Reader(HTMLParser):
    """Tags with their attributes, text by tag, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# --- Content --------------------------------------------------------------------------------


def png(width: int = 300, height: int = 200, dpi: int = 150) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, format="PNG", dpi=(dpi, dpi))
    return stream.getvalue()


def make_scores(accuracy: Score, classes: tuple[str, ...]) -> Scores:
    each = {name: Score(0.8, 0.75, 0.85) for name in classes}
    undefined = {name: Score(None) for name in classes}
    return Scores(
        accuracy=accuracy,
        balanced_accuracy=Score(0.871, 0.85, 0.89),
        f1_macro=Score(0.862),
        f1=each,
        sensitivity=each,
        specificity=each,
        precision=undefined,
        roc_auc=Score(0.9441, 0.93, 0.95),
        pr_auc=Score(0.9512, 0.94, 0.96),
        confusion=((1.0, 0.0), (0.0, 1.0)),
    )


def make_evaluation(
    model: Score | None = None,
    facts: Score | None = None,
    *,
    classes: tuple[str, ...] = ("Brain Tumor", "Healthy"),
    groups: int = 477,
    majority: Score | None = None,
) -> Evaluation:
    model, facts = model or Score(0.9, 0.88, 0.92), facts or Score(0.85, 0.83, 0.87)
    majority = majority or Score(0.546, 0.52, 0.57)
    known = Baseline(
        facts=("format", "mode", "width", "height"),
        per_file=make_scores(facts, classes),
        per_group=make_scores(facts, classes),
        majority=classes[0],
        majority_per_file=majority,
        majority_per_group=majority,
    )
    return Evaluation(
        split="test",
        classes=classes,
        positive=classes[0],
        files=1380,
        groups=groups,
        level=0.95,
        resamples=1000,
        seed=0,
        per_file=make_scores(model, classes),
        per_group=make_scores(model, classes),
        baseline=known,
        copies_in_training=(621, 1380),
        reliability=Reliability(
            classes[0], Score(0.05, 0.04, 0.06), 0.03, Score(0.02, 0.01, 0.04), ()
        ),
        triage=make_triage(classes),
    )


def make_triage(classes: tuple[str, ...]) -> Triage:
    kept = Outcome(300, Score(0.85, 0.8, 0.9), Score(0.01), Score(0.14), Score(0.04), limit=0.08)
    broken = dataclasses.replace(kept, groups=177, ruled_out=Score(0.2, 0.15, 0.25))
    return Triage(
        Calibration(0.05, 1.1, (0.3, 0.1), (150, 40)),
        dict(zip(classes, (kept, broken), strict=True)),
        uncertain=Score(0.14, 0.1, 0.18),
        unlike=Score(0.02),
        missed=Score(0.011),
        curve=(),
    )


def make_page(name: str = "Healthy") -> Page:
    return Page(
        title=f"Run of {name}",
        origin=Origin(
            name=name,
            when=datetime(2026, 5, 4, 3, 2, tzinfo=UTC),
            seconds=3754.2,
            device="CPU",
            command=f"clearhead train {name}",
            versions={"torch": "2.13.0", name: name},
        ),
        recipe=Recipe.preset("report"),
        data=DataSummary(
            files={
                "train": {"Brain Tumor": 1495, name: 1242},
                "validation": {name: 219},
                "test": {"Brain Tumor": 754, name: 626},
            },
            unreadable=0,
            distinct=1534,
            mirrored=611,
            contradicting=2,
            protocol="report",
            seed=0,
        ),
        evaluation=make_evaluation(classes=("Brain Tumor", name)),
        figures=[
            Picture("Curves", f"of {name}", png()),
            Picture(name, "wide", png(1600, 300), alt=f"two rows of {name}"),
        ],
        findings=[
            Finding("copies", "fail", f"{name} leaks", 0.45, (0.42, 0.48), 0.0, (name,) * 7, name),
            Finding("metadata", "info", "agrees"),
        ],
        warnings=[f"{name} was stopped by hand"],
    )


def texts(evaluation: Evaluation) -> str:
    return " ".join(each.text for each in verdict.statements(evaluation)).replace("\u00a0", " ")


# --- The page -------------------------------------------------------------------------------


def test_page_is_well_formed_and_says_the_verdict_first() -> None:
    reader = Reader(render_page(make_page()))
    assert reader.all("html")[0]["lang"] == "en-GB"
    assert len(reader.all("h1")) == len(reader.all("main")) == len(reader.all("footer")) == 1
    text = reader.text
    headline = "Right on 90.0 % of distinct test pictures; file facts alone reach 85.0 %."
    assert text.index(headline) < text.index("Curves")
    assert text.index("have a copy in training") < text.index("Curves")
    assert "Research tool, not a medical device" in text


def test_first_table_sets_the_model_beside_the_score_to_beat_and_the_majority() -> None:
    text = Reader(render_page(make_page())).text
    order = ["This model", "File facts alone: the score to beat", "Always “Brain Tumor”"]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    for value in ("90.0 % 88.0–92.0 %", "85.0 % 83.0–87.0 %", "54.6 % 52.0–57.0 %"):
        assert text.count(value) >= 2, value
    assert "Every file counts: 1,380 files" in text
    assert "Every distinct picture counts once: 477" in text


def test_groups_are_not_shown_twice_where_they_are_the_files() -> None:
    page = dataclasses.replace(make_page(), evaluation=make_evaluation(groups=1380))
    text = Reader(render_page(page)).text
    assert "distinct picture counts once" not in text
    assert "Right on 90.0 % of test files" in text


def test_tables_hold_scores_data_recipe_and_origin() -> None:
    text = Reader(render_page(make_page())).text
    assert "ROC-AUC 0.944 0.930–0.950" in text
    assert "Balanced accuracy 87.1 % 85.0–89.0 %" in text
    assert "Precision Brain Tumor undefined" in text
    assert "train 1,495 1,242 2,737" in text
    assert "validation 0 219 219" in text
    assert "all 2,249 2,087 4,336" in text
    for words in ("Distinct pictures 1,534", "Unreadable files 0", "Seed of the split 0"):
        assert words in text
    for words in ("size px 256", "learning rate 0.001", "augment no", "passes over the training"):
        assert words in text
    for words in ("Made 2026-05-04 03:02 UTC", "Took 1 h 02 min", "torch 2.13.0"):
        assert words in text


def test_findings_are_told_with_their_numbers_and_not_all_their_files() -> None:
    text = Reader(render_page(make_page())).text
    assert "copies failed Healthy leaks value 0.45 (0.42–0.48), limit 0" in text
    assert "and 2 more" in text
    assert "metadata note agrees" in text


def test_triage_is_told_with_its_promise_and_a_broken_one_is_a_caution() -> None:
    text = Reader(render_page(make_page())).text
    assert "Probabilities are off by 3.0 % on average" in text
    assert "Triage leaves 14.0 % (10.0–18.0 %) of distinct pictures undecided (2.0 %" in text
    assert "Brain Tumor 300 85.0 % 80.0–90.0 % 1.0 % 14.0 % 4.0 %" in text
    assert "Caution. Healthy is ruled out for 20.0 % (15.0–25.0 %) of its own pictures" in text
    assert "for at most 5.0 % of new pictures like the validation pictures" in text
    bare = dataclasses.replace(make_evaluation(), triage=None, reliability=None)
    text = Reader(render_page(Page("x", Origin("x"), evaluation=bare))).text
    assert "never calibrated" in text
    assert "ruled out" not in text


def test_whose_weights_a_run_began_with_is_told() -> None:
    told = Page("x", Origin("x", pretrained="before (0123)"))
    assert "Began with the weights of before (0123)" in Reader(render_page(told)).text
    assert "Began" not in Reader(render_page(Page("x", Origin("x")))).text


def test_settings_apart_from_the_default_are_marked() -> None:
    changed = Page("x", Origin("x"), recipe=Recipe(epochs=3))
    reader = Reader(render_page(changed))
    assert sum(row.get("class") == "changed" for row in reader.all("tr")) == 1


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = render_page(make_page())
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {t for t, _ in reader.tags}
    for _, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), value
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page
    assert "@import" not in page
    policy = [each for each in reader.all("meta") if each.get("http-equiv")]
    assert "default-src 'none'" in (policy[0]["content"] or "")


def test_names_from_users_are_escaped_everywhere() -> None:
    page = render_page(make_page(ATTACK))
    assert "<script" not in page
    assert "<img src=https" not in page
    reader = Reader(page)
    assert ATTACK in " ".join(reader.words)
    assert len(reader.all("img")) == 2
    assert reader.all("img")[1]["alt"] == f"two rows of {ATTACK}"


def test_images_are_inside_and_shown_in_the_size_they_were_drawn_for() -> None:
    page = make_page()
    images = Reader(render_page(page)).all("img")
    for image, figure in zip(images, page.figures, strict=True):
        data = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
        assert data == figure.png
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
        assert image["alt"]
    assert (images[0]["width"], images[0]["height"]) == ("192", "128")
    assert images[0]["alt"] == "Curves. of Healthy"


def test_links_lead_to_parts_that_exist() -> None:
    for page in (make_page(), Page("bare", Origin("bare"))):
        reader = Reader(render_page(page))
        names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(names) == len(set(names))
        for link in reader.all("a"):
            assert (link["href"] or "")[1:] in names
        for _, attributes in reader.tags:
            assert attributes.get("aria-labelledby", names[0]) in names


def test_what_is_missing_is_absent() -> None:
    reader = Reader(render_page(Page("A bare run", Origin("bare"))))
    assert "This run has not been evaluated." in reader.text
    for absent in ("None", "Recipe", "Figures", "Findings", "Scores", "Took", "Made "):
        assert absent not in reader.text
    assert not reader.all("table")


def test_undefined_scores_and_absent_baseline_are_words() -> None:
    bare = dataclasses.replace(
        make_evaluation(), per_group=make_scores(Score(None), ("Brain Tumor", "Healthy"))
    )
    page = Page("x", Origin("x"), evaluation=bare)
    assert "Right on undefined" not in (text := Reader(render_page(page)).text)
    assert "None" not in text
    alone = dataclasses.replace(bare, baseline=None, copies_in_training=None)
    text = Reader(render_page(Page("x", Origin("x"), evaluation=alone))).text
    assert "not compared with what file facts alone give away" in text
    assert "Copies were never searched" in text


def test_the_same_content_gives_the_same_text() -> None:
    assert render_page(make_page()) == render_page(make_page())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0.4 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (750, "12 min 30 s"),
        (11_100, "3 h 05 min"),
    ],
)
def test_durations_are_said_plainly(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# --- The verdict ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "facts", "tone", "words"),
    [
        (Score(0.9, 0.88, 0.92), Score(0.85, 0.83, 0.87), "good", "the intervals keep apart"),
        (Score(0.9, 0.86, 0.92), Score(0.85, 0.83, 0.87), "doubt", "the lead may be chance"),
        (Score(0.85, 0.8, 0.9), Score(0.85, 0.8, 0.9), "bad", "It does not beat"),
        (Score(0.7, 0.6, 0.8), Score(0.85, 0.83, 0.87), "bad", "no evidence that the model reads"),
        (Score(None), Score(0.85, 0.83, 0.87), "doubt", "can't be compared"),
        (Score(0.9), Score(0.85), "doubt", "no interval"),
    ],
)
def test_a_lead_counts_only_where_intervals_keep_apart(
    model: Score, facts: Score, tone: str, words: str
) -> None:
    found = [
        each
        for each in verdict.statements(make_evaluation(model, facts))
        if "file facts alone" in each.text
    ]
    assert [each.tone for each in found] == [tone]
    assert words in found[0].text
    assert "format, mode, width and height" in found[0].text


def test_file_and_group_are_told_apart_where_they_disagree() -> None:
    evaluation = make_evaluation(Score(0.7, 0.68, 0.72), Score(0.85, 0.83, 0.87))
    by_group = make_evaluation().per_group
    text = texts(dataclasses.replace(evaluation, per_group=by_group))
    assert "It beats what file facts alone" in text
    assert "Counted per file, it is not above the score to beat." in text
    assert "Counted per file" not in texts(evaluation)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Score(0.5, 0.4, 0.6), "no better than always calling “Brain Tumor”"),
        (Score(0.58, 0.55, 0.61), "not clearly better than always calling “Brain Tumor”"),
        (Score(0.9, 0.88, 0.92), ""),
    ],
)
def test_the_majority_is_named_where_it_is_not_beaten(model: Score, words: str) -> None:
    text = texts(make_evaluation(model))
    assert (words in text) if words else ("always calling" not in text)


def test_few_pictures_are_a_doubt_of_their_own() -> None:
    assert "Only 8 distinct pictures: with so few" in texts(make_evaluation(groups=8))
    assert "with so few" not in texts(make_evaluation(groups=30))


@pytest.mark.parametrize(
    ("copies", "tone", "words"),
    [
        ((621, 1380), "bad", "621 of 1,380 test files (45.0 %) have a copy in training"),
        ((1, 1380), "bad", "1 of 1,380 test files (0.1 %) has a copy in training"),
        ((0, 1380), "good", "No test file has a copy in training."),
        (None, "doubt", "Copies were never searched"),
    ],
)
def test_copies_in_training_are_always_spoken_of(copies: Any, tone: str, words: str) -> None:
    last = verdict.statements(dataclasses.replace(make_evaluation(), copies_in_training=copies))[-1]
    assert last.tone == tone
    assert words in last.text.replace("\u00a0", " ")


# --- Legibility -----------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` or `#rgb` (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_in_light_dark_and_print() -> None:
    schemes = re.findall(r":root \{(.*?)\}", render_page(make_page()), re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        for words in ("ink", "quiet", "accent", "good", "doubt", "bad"):
            for ground in ("paper", "band"):
                light, dark = sorted((luminance(colours[words]), luminance(colours[ground])))[::-1]
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (words, ground, scheme)
