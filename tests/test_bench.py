"""The bench: curves and likeness against slow versions, and planted explanations that fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from clearhead.audits import exhibits as exhibits_module
from clearhead.audits.agreement import agreement, witnesses
from clearhead.audits.bench import bench, judge, one_per_group
from clearhead.audits.exhibits import CHEAP, Exhibits, evidence_of, moved, twins
from clearhead.audits.faithful import STEPS, blurred, faithful, removals
from clearhead.audits.patches import Patches
from clearhead.audits.randomised import STAGES, cascade, layers_of, random_net, randomised
from clearhead.audits.repeatable import repeatable
from clearhead.audits.section import Cell, Section, Table
from clearhead.audits.stable import CHANGES, stable
from clearhead.audits.subject import predict
from clearhead.data.canvas import Grid, on_square
from clearhead.errors import RunError
from clearhead.heat.evidence import evidence
from clearhead.measure.likeness import spearman
from clearhead.model.classifier import Classifier, build
from clearhead.model.run import Run
from clearhead.model.train import train
from clearhead.types import Finding, Recipe
from oracles import disc_folder, manifest_of
from subjects import planted_subject

FEW = ("grad_cam", "grad_cam_plus_plus", "eigen_cam")


class SmallNet(nn.Module):
    """Two convolutions with a normalisation, pooled and linear: enough layers to randomise."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.GroupNorm(2, 6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.out = nn.Linear(8, 2)
        self.grid = Grid(offset_px=0.0, stride_px=4.0)

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.second(self.first(x)))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.out(maps.mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def planted(*, methods: tuple[str, ...] = FEW, count: int = 24, odd: int = 0) -> Exhibits:
    """A net that reads the tumour and nothing else; every picture is its own group."""
    return Exhibits(planted_subject(count=count, odd=odd, groups=range(count)), methods)


def small(count: int = 12) -> Exhibits:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        classifier = Classifier(SmallNet()).eval()
    return Exhibits(planted_subject(count=count, groups=range(count), classifier=classifier), FEW)


def with_heat(exhibits: Exhibits, name: str, heat: NDArray[np.float32]) -> Exhibits:
    """Exhibits whose maps of one method are these."""
    changed = dataclasses.replace(exhibits)
    changed.__dict__["heats"] = {**exhibits.heats, name: heat}
    return changed


def finding(section: Section, check: str) -> Finding:
    return next(each for each in section.findings if each.check == check)


def table(section: Section, name: str) -> Table:
    return next(each for each in section.tables if each.name == name)


def row(section: Section, name: str, first: str) -> tuple[Cell, ...]:
    return next(each for each in table(section, name).rows if each[0] == first)


# --- Patches and exhibits -----------------------------------------------------------------------


@pytest.mark.parametrize("side_px", [4, 5, 7])
def test_patches_are_means_of_the_map_as_it_is_shown(side_px: int) -> None:
    random = np.random.default_rng(0)
    maps, grid = random.random((3, 6, 6), np.float32), Grid(2.5, 6.0)
    patches = Patches(36, side_px)
    shown = on_square(maps, grid, 36)
    found = patches.of_maps(maps, grid)
    assert found.shape[1] == patches.count == -(-36 // side_px)
    for down in range(patches.count):
        for across in range(patches.count):
            rows = slice(down * side_px, (down + 1) * side_px)
            columns = slice(across * side_px, (across + 1) * side_px)
            expected = shown[:, rows, columns].mean((1, 2))
            assert found[:, down, across] == pytest.approx(expected, abs=1e-6)
    assert patches.of_squares(shown) == pytest.approx(found, abs=1e-6)
    spread = patches.spread(np.arange(patches.count**2).reshape(1, patches.count, -1))
    assert spread[0, 0, -1] == patches.count - 1


@pytest.mark.parametrize("shift", [(2, 0), (0, -3), (-4, 4)])
def test_what_moved_is_moved_back(shift: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    squares = random.integers(0, 255, (2, 40, 40)).astype(np.uint8)
    patches = Patches(40, 4)
    there = moved(squares, shift)
    assert there[0, 20 + shift[0], 20 + shift[1]] == squares[0, 20, 20]
    back = patches.of_squares(there.astype(np.float32), shift)
    expected = patches.of_squares(squares.astype(np.float32))
    assert back[:, 1:-1, 1:-1] == pytest.approx(expected[:, 1:-1, 1:-1], rel=1e-5)


@pytest.mark.parametrize("score", ["logit", "probability", "margin"])
def test_evidence_is_that_of_each_method_up_to_a_factor(score: str) -> None:
    subject = small().subject
    squares, targets = subject.squares[:4], np.array([0, 1, 1, 0])
    found = evidence_of(subject.classifier, squares, targets, (*CHEAP, "occlusion"), score)
    assert list(found) == [*CHEAP, "occlusion"]
    for name, (maps, grid) in found.items():
        one = evidence(
            subject.classifier,
            torch.from_numpy(squares).unsqueeze(1),
            target=torch.from_numpy(targets),
            score=score,
            method=name,
        )
        factor = one.maps.abs().amax().item() / np.abs(maps).max()
        assert maps * factor == pytest.approx(one.maps.numpy(), rel=1e-4, abs=1e-6)
        assert grid == one.grid


def test_every_picture_has_another_one_as_its_stranger() -> None:
    strangers = planted(count=9).strangers
    assert sorted(strangers.tolist()) == list(range(9))
    assert (strangers != np.arange(9)).all()


def test_the_other_control_is_the_map_of_the_stranger() -> None:
    exhibits = planted(count=8)
    heats = exhibits.heats
    assert np.array_equal(heats["other"], heats["grad_cam"][exhibits.strangers])


def test_twins_are_the_same_up_to_a_factor() -> None:
    random = np.random.default_rng(0)
    one = random.random((3, 5, 5), np.float32)
    other = one.copy()
    other[2, 1, 1] += 0.1
    assert twins({"a": one, "b": 4 * one, "c": other}) == {"a": "a", "b": "a", "c": "c"}


def test_one_picture_of_every_group_follows_the_seed() -> None:
    groups = [group for group in range(30) for _ in range(3)]
    rows = manifest_of(Path(), ("a",), source=[str(n) for n in range(90)], group=groups)
    drawn = one_per_group(rows, 20, seed=4)
    assert len(set(drawn.groups().tolist())) == len(drawn) == 20
    again, other = (one_per_group(rows, 20, seed=seed).column("source").tolist() for seed in (4, 5))
    assert drawn.column("source").tolist() == again != other
    assert len(one_per_group(rows, 500, seed=0)) == 30
    with pytest.raises(RunError, match="at least 2"):
        one_per_group(rows, 1, seed=0)
    with pytest.raises(RunError, match="single group"):
        one_per_group(rows.take([0, 1, 2]), 20, seed=0)


# --- Faithful -----------------------------------------------------------------------------------


def test_deletion_and_insertion_are_those_done_by_hand() -> None:
    exhibits = planted(methods=("grad_cam",), count=4)
    subject, patches = exhibits.subject, exhibits.patches
    found = removals(exhibits)["grad_cam"]
    picture = int(subject.calls.argmin())  # called a tumour: its heat is a spot
    heat = exhibits.heats["grad_cam"][picture]
    soft = blurred(subject.squares[[picture]])[0]
    hot = [tuple(place) for place in np.argwhere(heat > 0)]
    hot.sort(key=lambda place: -heat[place])
    step = next(
        step for step in range(STEPS) if len(hot) <= round(step / STEPS * heat.size)
    )  # all heat is gone; before, only part of it was
    gone = round((step - 1) / STEPS * heat.size) if step > 1 else 0
    for count, at in ((gone, step - 1),):
        changed, back = subject.squares[picture].copy(), soft.copy()
        for down, across in hot[:count]:
            area = np.s_[down * patches.side_px :, across * patches.side_px :]
            cell = np.s_[: patches.side_px, : patches.side_px]
            changed[area][cell] = soft[area][cell]
            back[area][cell] = subject.squares[picture][area][cell]
        for way, square in enumerate((changed, back)):
            logits = predict(subject.classifier, square[None])[0]
            call = subject.calls[picture]
            shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            assert found.probability[way, picture, at] == pytest.approx(shares[call], abs=1e-5)
            margin = logits[call] - logits[1 - call]
            assert found.margin[way, picture, at] == pytest.approx(margin, abs=1e-4)


def test_every_order_begins_and_ends_alike() -> None:
    exhibits = planted(count=6)
    found = removals(exhibits)
    whole = exhibits.subject.probabilities.max(1)
    for each in found.values():
        assert each.probability[0, :, 0] == pytest.approx(whole, abs=1e-6)
        assert each.probability[1, :, -1] == pytest.approx(whole, abs=1e-6)
        assert each.probability[0, :, -1] == pytest.approx(each.probability[1, :, 0], abs=1e-6)


def test_heat_on_what_the_net_reads_beats_random_order_and_cold_heat_does_not() -> None:
    exhibits = planted()
    said = faithful(exhibits)
    good = finding(said.section, "faithful.deletion")
    assert good.level == "info"
    assert good.interval is not None
    assert good.interval[0] > 0
    gains = said.measures["Gain in deletion"]
    still = np.count_nonzero(exhibits.subject.calls == 1)  # healthy, and healthy when blurred
    assert f"{still} pictures of {len(exhibits)} keep the probability" in good.message
    assert gains["grad_cam"].value is not None
    assert gains["blobs"].value is not None
    assert gains["grad_cam"].value > gains["blobs"].value + 0.05
    cold = exhibits.heats["grad_cam"].max() - exhibits.heats["grad_cam"]
    bad = faithful(with_heat(exhibits, "grad_cam", cold)).section
    assert {each.level for each in bad.findings} == {"warn"}
    assert "no better than chance" in finding(bad, "faithful.deletion").message


def test_a_control_that_does_better_is_named() -> None:
    exhibits = planted()
    flat = np.ones_like(exhibits.heats["grad_cam"])
    changed = with_heat(exhibits, "grad_cam", flat)
    changed.__dict__["heats"]["edges"] = exhibits.heats["grad_cam"]
    said = finding(faithful(changed).section, "faithful.deletion")
    assert said.level == "warn"
    assert "edges" in said.message.partition("does better:")[2]


# --- Randomised ---------------------------------------------------------------------------------


def test_layers_go_from_last_to_first_with_their_normalisations() -> None:
    classifier = build(Recipe(size_px=32), 2)
    names = [name for name, _ in layers_of(classifier)]
    assert names[0] == "out"
    assert names[-1] == "stem.0.0"
    assert len(names) == 10
    assert [name for name, _ in layers_of(small().classifier)] == ["out", "second.0", "first.0"]


def test_a_deep_net_is_cut_into_as_many_stages_as_allowed_and_none_is_lost() -> None:
    deep = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(40)))
    stages = layers_of(deep)
    assert len(stages) == STAGES
    parts = [part for _, modules in stages for part in modules]
    assert parts == list(deep)[::-1]


def test_weights_change_places_and_the_classifier_stays() -> None:
    exhibits = small()
    classifier = exhibits.subject.classifier
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    changed = random_net(classifier, [0], seed=1)
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    after = changed.state_dict()
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    assert "_net.out.weight" in differ
    assert differ <= {"_net.out.weight", "_net.out.bias"}
    assert torch.equal(
        before["_net.out.weight"].sort().values.flatten().sort().values,
        after["_net.out.weight"].flatten().sort().values,
    )
    again = random_net(classifier, [0], seed=1).state_dict()
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_edges_survive_random_weights_and_are_named() -> None:
    exhibits = small()
    kept = cascade(exhibits)
    assert kept.ranks["edges"] == pytest.approx(np.ones_like(kept.ranks["edges"]))
    assert np.nanmean(kept.ranks["grad_cam"][0, -1]) < 0.9
    said = finding(randomised(exhibits).section, "randomised.model")
    assert "never see the net stay too" in said.message
    assert "edges" in said.message
    assert kept.stages == ("out", "second.0", "first.0")


def test_a_method_that_shows_the_picture_alone_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bright(
        classifier: Classifier,
        squares: NDArray[np.uint8],
        targets: NDArray[np.int64],
        methods: tuple[str, ...],
        score: str,
    ) -> dict[str, tuple[NDArray[np.float32], Grid]]:
        return {name: (squares.astype(np.float32), Grid(0.0, 1.0)) for name in methods}

    monkeypatch.setattr(exhibits_module, "evidence_of", bright)
    exhibits = small()
    noise = np.random.default_rng(0).integers(0, 255, exhibits.subject.squares.shape)
    subject = dataclasses.replace(exhibits.subject, squares=noise.astype(np.uint8))
    said = finding(
        randomised(dataclasses.replace(exhibits, subject=subject)).section, "randomised.model"
    )
    assert said.level == "warn"
    assert "grad_cam, grad_cam_plus_plus and eigen_cam stay much as they were" in said.message


# --- Stable -------------------------------------------------------------------------------------


def test_changes_are_small_and_do_what_they_say() -> None:
    subject = planted(count=4).subject
    rows = np.arange(4)
    for change in CHANGES:
        changed = change.apply(subject.squares, rows, 0)
        assert changed.dtype == np.uint8
        assert changed.shape == subject.squares.shape
        away = changed.astype(float) - subject.squares
        if change.kind == "noise":
            sigma = float(change.name.split()[2])
            inner = away[(subject.squares > 30) & (subject.squares < 220)]
            assert inner.std() == pytest.approx(sigma, rel=0.06)
            assert np.array_equal(change.apply(subject.squares[2:], rows[2:], 0), changed[2:])
        elif change.kind != "shift":
            assert 0 < np.abs(away).mean() < 15


def test_maps_of_a_net_that_moves_with_the_picture_hold_still() -> None:
    said = stable(planted(methods=("grad_cam",), count=12)).section
    assert {each.level for each in said.findings} == {"info"}
    assert finding(said, "stable.noise").value == pytest.approx(1, abs=0.1)


def test_maps_drawn_at_random_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)

    def drawn(
        classifier: Classifier,
        squares: NDArray[np.uint8],
        targets: NDArray[np.int64],
        methods: tuple[str, ...],
        score: str,
    ) -> dict[str, tuple[NDArray[np.float32], Grid]]:
        maps = random.random((len(squares), 12, 12), np.float32)
        return {name: (maps, Grid(1.5, 4.0)) for name in methods}

    monkeypatch.setattr(exhibits_module, "evidence_of", drawn)
    said = stable(planted(methods=("grad_cam",), count=8)).section
    assert {each.level for each in said.findings} == {"warn"}
    assert row(said, "methods", "edges (control)")[2] != "–"


# --- Agreement ----------------------------------------------------------------------------------


def test_a_pooled_linear_head_makes_three_methods_one_witness() -> None:
    exhibits = dataclasses.replace(small(), methods=CHEAP)
    assert witnesses(exhibits)[0] == ("grad_cam", "hires_cam", "xgrad_cam")
    said = finding(agreement(exhibits).section, "agreement.methods")
    assert f"6 methods give {len(witnesses(exhibits))} different maps" in said.message
    assert "grad_cam, hires_cam and xgrad_cam are one map for this net" in said.message
    assert "one witness, not 3" in said.message


def test_the_matrix_is_that_of_scipy() -> None:
    exhibits = small(count=6)
    one, other = exhibits.heats["grad_cam"], exhibits.heats["edges"]
    each = [
        stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(one, other, strict=True)
    ]
    found = row(agreement(exhibits).section, "matrix", "grad_cam")
    column = 1 + exhibits.names.index("edges")
    assert float(str(found[column])) == pytest.approx(np.nanmean(each), abs=0.006)


# --- The whole bench, on runs -------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run, one of another seed, one of dealt labels, and one of other settings."""
    root = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        manifest = disc_folder(root / "discs", counts=(16, 8, 12), side=48)
        recipe = Recipe(size_px=48, epochs=1, batch=8)
        made = {
            "run": recipe,
            "seed": dataclasses.replace(recipe, seed=1),
            "dealt": dataclasses.replace(recipe, random_labels=True),
            "other": dataclasses.replace(recipe, dropout=0.2),
        }
        found = {name: train(manifest, each, root / name) for name, each in made.items()}
        rows = manifest.take(range(30))
        found["rows"] = train(rows, recipe, root / "rows")
        return found


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))


def test_the_whole_bench_sets_every_method_against_every_measure(runs: dict[str, Run]) -> None:
    done = bench(
        runs["run"],
        seeds=[runs["seed"]],
        shuffled=runs["dealt"],
        methods=("grad_cam", "score_cam"),
        pictures=4,
        resamples=20,
    )
    names = [section.name for section in done.sections]
    assert names == ["summary", "faithful", "randomised", "repeatable", "stable", "agreement"]
    (summary,) = done.sections[0].tables
    assert [each[0] for each in summary.rows[:2]] == ["grad_cam", "score_cam"]
    assert len(summary.rows) == 8
    assert summary.columns[1:] == (
        "Gain in deletion",
        "Gain in insertion",
        "Left in a random net",
        "Left with random labels",
        "Alike across seeds",
        "Alike after small changes",
        "Area of half the heat",
    )
    for section in done.sections:
        figures = (section.tables, section.dots, section.curves)
        there = {each.name for kind in figures for each in kind}
        assert {each.figure for each in section.findings} <= there
    assert not done.failed
    assert done.made["checks"] == names[1:]
    assert done.made["seeds"] == ["seed"]


def test_the_same_seed_says_the_same(runs: dict[str, Run]) -> None:
    done = [bench(runs["run"], methods=FEW[:1], pictures=3, resamples=10, seed=2) for _ in range(2)]
    assert done[0].findings == done[1].findings
    assert done[0].to_json()["sections"] == done[1].to_json()["sections"]


def test_without_other_runs_it_says_how_to_make_them(runs: dict[str, Run]) -> None:
    done = bench(runs["run"], pictures=4, resamples=10, only=("randomised", "repeatable"))
    told = {each.check: each for each in done.findings}
    assert "--random-labels" in told["randomised.labels"].message
    assert "--seed 1" in told["repeatable.seeds"].message
    assert {told[name].level for name in ("randomised.labels", "repeatable.seeds")} == {"info"}


def test_likeness_across_seeds_is_that_of_the_maps(runs: dict[str, Run]) -> None:
    done = bench(runs["run"], seeds=[runs["seed"]], pictures=6, resamples=10, only=("repeatable",))
    subject = done.subject
    exhibits = Exhibits(subject, CHEAP, seeds=(runs["seed"],))
    said = repeatable(exhibits)
    there = exhibits.heats_of(runs["seed"].classifier(), subject.squares)
    expected = np.nanmean(spearman(exhibits.heats["eigen_cam"], there["eigen_cam"]))
    assert said.measures["Alike across seeds"]["eigen_cam"].value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": ["run"]}, "same weights"),
        ({"seeds": ["seed", "seed"]}, "same weights"),
        ({"seeds": ["other"]}, "more than its seed"),
        ({"seeds": ["rows"]}, "other rows or splits"),
        ({"shuffled": "seed"}, "true labels"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    runs: dict[str, Run], arguments: dict[str, str | list[str]], message: str
) -> None:
    named = {
        key: runs[value] if isinstance(value, str) else [runs[each] for each in value]
        for key, value in arguments.items()
    }
    with pytest.raises(RunError, match=message):
        bench(runs["run"], **named)  # type: ignore[arg-type]  # by name, from parameters


def test_dealt_labels_with_other_settings_are_refused(runs: dict[str, Run]) -> None:
    recipe = dataclasses.replace(runs["dealt"].recipe, epochs=3)
    shuffled = dataclasses.replace(runs["dealt"], recipe=recipe)
    with pytest.raises(RunError, match="more than its labels"):
        bench(runs["run"], shuffled=shuffled)


@pytest.mark.parametrize(
    "arguments", [{"methods": ("grad_can",)}, {"methods": ()}, {"only": ("faithfull",)}]
)
def test_names_that_are_none_are_refused(
    runs: dict[str, Run], arguments: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(RunError, match="expected"):
        bench(runs["run"], **arguments)  # type: ignore[arg-type]  # by name, from parameters


def test_the_callers_classifier_keeps_its_mode_and_weights() -> None:
    exhibits = small(count=4)
    classifier = exhibits.subject.classifier.train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    judge(exhibits)
    assert classifier.training
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    assert all(value.grad is None for value in classifier.parameters())
