"""The gate: fitted on generated heads, it turns away what is no head."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

from clearhead.data.canvas import draw, place
from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.model.classifier import Classifier, build
from clearhead.model.gate import VIEW, Gate, traits_of, watched
from clearhead.model.gate_fitting import SHRINKAGE, fit_gate
from clearhead.model.nets import CompactNet, stages_of
from clearhead.types import Facts, Recipe, Scan

SIDE = 64


def square_of(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    facts = Facts("PNG", "L", pixels.shape[0], pixels.shape[1], pixels.size)
    scan = Scan(np.ascontiguousarray(pixels, np.float32), "made", "", facts)
    return draw(scan, place(scan, fit="canvas", size_px=SIDE))


@cache
def heads(count: int, seed: int) -> Tensor:
    made = (head((seed, n), label=(HEALTHY, TUMOUR)[n % 2], size_px=96) for n in range(count))
    return torch.from_numpy(np.stack([square_of(one.pixels.astype(np.float32)) for one in made]))


@cache
def classifier_of(net: str) -> Classifier:
    torch.manual_seed(0)
    return build(Recipe(net=net, size_px=SIDE), 2, absent=1).eval()


@cache
def fitted(net: str = "compact", share: float = 0.05) -> Gate:
    classifier = classifier_of(net)
    return fit_gate(
        classifier, heads(160, 1), torch.arange(160), heads(60, 2), torch.arange(60), share=share
    )


@torch.inference_mode()
def away_of(squares: Tensor, gate: Gate, net: str = "compact") -> Tensor:
    return cast(Tensor, classifier_of(net).judged(squares.unsqueeze(1), gate)[1])


def told(squares: Tensor, net: str = "compact") -> NDArray[np.bool_]:
    gate = fitted(net)
    return gate.turns_away(away_of(squares, gate, net)).numpy()


# --- Strangers ------------------------------------------------------------------------------


def page(random: np.random.Generator) -> NDArray[np.float32]:
    image = Image.new("L", (160, 160), 255)
    words = ["".join(random.choice(list("abcdefgh nopr"), 26)) for _ in range(13)]
    ImageDraw.Draw(image).multiline_text((4, 4), "\n".join(words), fill=0)
    return np.asarray(image, np.float32)


def scene(random: np.random.Generator) -> NDArray[np.float32]:
    """A sky that gets darker upwards over textured ground, and things that stand before them."""
    image = np.linspace(255, 90, 160)[:, None] * np.ones((160, 160))
    image[100:] = 70 + random.normal(0, 18, (60, 160))
    for _ in range(6):
        top, left = random.integers(20, 110), random.integers(0, 130)
        image[top : top + 45, left : left + random.integers(8, 40)] = random.uniform(0, 255)
    return np.clip(image, 0, 255).astype(np.float32)


STRANGERS = {
    "noise": lambda random: random.uniform(0, 255, (160, 160)).astype(np.float32),
    "gradient": lambda random: np.add.outer(
        np.linspace(0, random.uniform(20, 99), 160), np.linspace(0, random.uniform(20, 99), 160)
    ).astype(np.float32),
    "blank": lambda random: np.full((160, 160), random.uniform(0, 255), np.float32),
    "page": page,
    "scene": scene,
}


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("net", ["compact", "evidence"])
def test_what_shows_no_head_is_turned_away(net: str, kind: str) -> None:
    random = np.random.default_rng(3)
    pictures = np.stack([square_of(STRANGERS[kind](random)) for _ in range(12)])
    assert told(torch.from_numpy(pictures), net).all()


@pytest.mark.parametrize("net", ["compact", "evidence", "report"])
def test_heads_that_it_has_not_seen_pass(net: str) -> None:
    assert told(heads(80, 4), net).mean() <= 0.15  # 5 % asked of 60; 4 of 80 expected


# --- The line -------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_no_more_than_the_share_of_calibration_groups_lies_above(share: float) -> None:
    classifier, squares = classifier_of("compact"), heads(60, 2)
    groups = torch.arange(60) // 3
    gate = fit_gate(classifier, heads(160, 1), torch.arange(160), squares, groups, share=share)
    away = gate.turns_away(away_of(squares, gate)).float()
    turned = torch.stack([away[groups == group].mean() for group in range(20)]).mean()
    assert turned <= share + 1e-6
    assert turned >= share - 1 / 20  # and the line is no higher than it must be


def test_until_it_is_fitted_nothing_is_strange() -> None:
    gate = Gate(2 * 128 + VIEW**2)
    away = away_of(heads(60, 2)[:4], gate)
    assert not gate.turns_away(away).any()


# --- The distance ---------------------------------------------------------------------------


def test_the_distance_is_mahalanobis() -> None:
    """The same by the textbook: the covariance of standardised traits, shrunk, inverted."""
    classifier, squares = classifier_of("compact"), heads(160, 1)
    gate = fitted()
    centre = gate.centre.double().numpy()
    inverse = gate.whitening.double().numpy() @ gate.whitening.double().numpy().T
    with torch.inference_mode():
        maps = classifier.net.features(classifier.normalise(squares[:5].unsqueeze(1)))
        found = gate(squares[:5].unsqueeze(1), maps).numpy()
        traits = traits_of(squares[:5].unsqueeze(1), maps).double().numpy()
    literal = [row @ inverse @ row / len(row) for row in traits - centre]
    assert found == pytest.approx(literal, rel=1e-3)


def test_what_it_was_fitted_on_lies_about_one_from_the_centre() -> None:
    away = away_of(heads(160, 1), fitted())
    assert 0.5 < float(away.mean()) < 1 / (1 - SHRINKAGE) + 0.5


def test_traits_are_means_deviations_and_the_view() -> None:
    random = torch.Generator().manual_seed(0)
    squares = torch.randint(0, 256, (2, 1, 8, 8), generator=random)
    maps = torch.rand(2, 3, 5, 7, generator=random)
    found = traits_of(squares, maps)
    assert found.shape == (2, 2 * 3 + VIEW**2)
    for row in range(2):
        for place_ in range(3):
            values = maps[row, place_].numpy()
            assert found[row, place_].item() == pytest.approx(values.mean(), rel=1e-5)
            assert found[row, 3 + place_].item() == pytest.approx(values.std(), rel=1e-4)
        cell = squares[row, 0, 2:4, 4:6].float().mean().item() / 255
        assert found[row, 6 + VIEW + 2].item() == pytest.approx(cell, rel=1e-5)


def test_logits_come_along_unchanged() -> None:
    for net in ("compact", "evidence"):
        classifier, squares = classifier_of(net), heads(60, 2)[:6].unsqueeze(1)
        with torch.inference_mode():
            logits = classifier.judged(squares, fitted(net))[0]
            torch.testing.assert_close(logits, classifier(squares))


@pytest.mark.parametrize("net", ["compact", "evidence"])
def test_an_explanation_finds_strangeness_in_the_same_pass(net: str) -> None:
    from clearhead.heat.evidence import evidence

    classifier, squares = classifier_of(net), heads(60, 2)[:6].unsqueeze(1)
    without = evidence(classifier, squares, score="margin")
    classifier.gate = fitted(net)
    truth = classifier.judged(squares)[1]
    stem = cast(CompactNet, classifier.net).stem
    passes: list[object] = []
    handle = stem.register_forward_hook(lambda *_: passes.append(1))
    found = evidence(classifier, squares, score="margin")
    handle.remove()
    assert len(passes) == 1
    torch.testing.assert_close(found.strangeness, truth)
    torch.testing.assert_close(found.maps, without.maps)
    torch.testing.assert_close(found.logits, without.logits)
    assert without.strangeness is None
    assert evidence(classifier, squares, stage="stem").strangeness is None


def test_it_looks_at_features_not_at_evidence() -> None:
    evidence, compact = classifier_of("evidence").net, classifier_of("compact").net
    assert watched(evidence).name == stages_of(evidence)[-2].name
    assert watched(compact).name == stages_of(compact)[-1].name


# --- As a module ----------------------------------------------------------------------------


def test_a_gate_comes_back_from_its_file(tmp_path: Path) -> None:
    gate = fitted()
    save_file(gate.state_dict(), tmp_path / "gate.safetensors")
    assert (tmp_path / "gate.safetensors").stat().st_size < 1 << 20
    state = load_file(tmp_path / "gate.safetensors")
    again = Gate(len(state["centre"]))
    again.load_state_dict(state)
    assert torch.equal(away_of(heads(60, 2), again), away_of(heads(60, 2), gate))
    assert torch.equal(again.threshold, gate.threshold)


def test_the_same_pictures_make_the_same_gate() -> None:
    arguments = (heads(160, 1), torch.arange(160), heads(60, 2), torch.arange(60))
    one = fit_gate(classifier_of("compact"), *arguments)
    other = fit_gate(classifier_of("compact"), *arguments)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_copies_of_a_picture_hardly_move_the_centre() -> None:
    often = torch.cat([torch.arange(160), torch.zeros(200, dtype=torch.long)])
    squares = heads(160, 1)
    gate = fit_gate(classifier_of("compact"), squares[often], often, heads(60, 2), torch.arange(60))
    moved = (gate.centre - fitted().centre).abs() / fitted().centre.abs().clamp(min=0.05)
    assert float(moved.max()) < 0.1


def test_there_are_no_parameters_to_train() -> None:
    assert not list(fitted().parameters())


# --- In a run -------------------------------------------------------------------------------


def test_a_run_keeps_its_gate_and_explanations_say_who_is_a_stranger(tmp_path: Path) -> None:
    from clearhead.heat.explain import explain
    from clearhead.model.run import load_weights, save_weights
    from clearhead.model.train import train
    from oracles import disc_folder

    recipe = Recipe(size_px=SIDE, epochs=1, batch=8, augment=False)
    run = train(disc_folder(tmp_path / "discs"), recipe, tmp_path / "run", device="cpu")
    classifier = run.classifier()
    assert classifier.gate is not None
    assert torch.isfinite(classifier.gate.threshold)
    squares = heads(60, 2)[:4].unsqueeze(1)
    with torch.inference_mode():
        logits, away = classifier.judged(squares)
        torch.testing.assert_close(logits, classifier(squares))
    assert away is not None
    noise = STRANGERS["noise"](np.random.default_rng(0)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    discs = sorted((tmp_path / "discs" / "plain").glob("*.png"))[:2]
    told = [one.prediction for _, one in explain(run, [tmp_path / "noise.png", *discs])]
    assert [said.stranger for said in told] == [True, False, False]
    classifier.gate = None  # a run from before there were gates
    save_weights(classifier, tmp_path / "old.safetensors")
    older = run.classifier()
    load_weights(older, tmp_path / "old.safetensors")
    assert older.gate is None
    assert older.judged(squares)[1] is None
