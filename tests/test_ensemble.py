"""Members that learn side by side learn as they would alone, and speak with one voice."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from clearhead.data.cache import pictures
from clearhead.errors import RecipeError
from clearhead.heat.evidence import evidence
from clearhead.model import train as training_module
from clearhead.model.classifier import Classifier, build
from clearhead.model.ensemble import EvidenceNets
from clearhead.model.evaluate import evaluate, predict
from clearhead.model.gate import watched
from clearhead.model.launch import launch
from clearhead.model.lessons import batches, load_part, seed_for
from clearhead.model.nets import EvidenceNet, level_of, stages_of
from clearhead.model.train import Training, train
from clearhead.types import Manifest, Recipe, silent
from oracles import disc_folder

SIDE = 64


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return disc_folder(tmp_path_factory.mktemp("discs"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))


def small(**changes: object) -> Recipe:
    plain = {"size_px": SIDE, "epochs": 2, "batch": 8, "members": 2, "dropout": 0.0}
    return Recipe.preset("evidence", **{**plain, **changes})


def nets_of(members: int = 3, classes: int = 3) -> EvidenceNets:
    """An ensemble whose members say something: as they are made, residual blocks say nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = EvidenceNets(classes, members=members, absent=1, norm="weight", pooling="highest")
        for value in net.parameters():
            nn.init.normal_(value, 0.05, 0.3)
    return net.eval()


def squares(count: int = 4) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_the_map_is_the_mean_of_the_members_and_the_call_is_read_off_it() -> None:
    net, x = nets_of(), squares()
    maps = [member.features(x) for member in net]
    assert len(maps) == 3
    assert not torch.allclose(maps[0], maps[1])
    torch.testing.assert_close(net.features(x), sum(maps[1:], maps[0]) / 3)
    for member in net:
        torch.testing.assert_close(member.head(net.features(x)), net(x))


def test_while_they_learn_each_is_shown_pictures_of_its_own() -> None:
    net, x = nets_of().train(), squares(6)
    for member in net:
        member.dropout.p = 0.0
    alone = [member.features(x[2 * n : 2 * n + 2]) for n, member in enumerate(net)]
    torch.testing.assert_close(net.features(x), torch.cat(alone))
    calls = [member(x[2 * n : 2 * n + 2]) for n, member in enumerate(net)]
    torch.testing.assert_close(net(x), torch.cat(calls))
    assert net(x[:0]).shape == (0, 3)  # of several processes one may have none left


@pytest.mark.parametrize("name", ["stem", "joined", "evidence"])
def test_a_stage_is_the_whole_net_cut_in_two(name: str) -> None:
    net, x = nets_of(), squares()
    alone = {stage.name: stage for stage in net.first.stages()}
    stage = next(stage for stage in stages_of(net) if stage.name == name)
    torch.testing.assert_close(stage.head(stage.features(x)), net(x))
    assert stage.grid == alone[name].grid
    assert (stage.seam is None) == (name == "evidence")
    if stage.seam is not None:
        torch.testing.assert_close(stage.seam(stage.features(x)), net.features(x))
    assert [stage.name for stage in stages_of(net)] == list(alone)
    assert watched(net).name == "joined"


@pytest.mark.parametrize(
    "changes",
    [{}, {"mask_weight": 0.0}, {"optimiser": "adamw", "norm": "group", "label_smoothing": 0.1}],
    ids=["masks", "labels alone", "adamw"],
)
def test_each_member_learns_as_it_would_alone(
    discs: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    recipe = small(**changes)
    both = training(discs, recipe, tmp_path / "both")
    alone = [training(discs, small(members=1, **changes), tmp_path / f"{i}") for i in (0, 1)]
    ensemble = cast(EvidenceNets, both.classifier.net)
    for one, member in zip(alone, ensemble, strict=True):
        cast(EvidenceNet, one.classifier.net).load_state_dict(member.state_dict())
    order = batches(both.parts["train"], recipe, 0)[:3]
    news = [steps(both, order)]
    for number, one in enumerate(alone):  # with the pictures and variations of that member
        monkeypatch.setattr(training_module, "seed_for", lambda _, *n, m=number: seed_for(m, *n))
        news.append(steps(one, [rows[number : number + 1] for rows in order]))
    torch.testing.assert_close(news[0], (news[1] + news[2]) / 2, rtol=1e-4, atol=1e-4)
    for one, member in zip(alone, ensemble, strict=True):
        theirs = cast(EvidenceNet, one.classifier.net).state_dict()
        for name, value in member.state_dict().items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)
    first, second = (member.state_dict()["out.weight"] for member in ensemble)
    assert not torch.allclose(first, second)


def training(manifest: Manifest, recipe: Recipe, out: Path) -> Training:
    return Training(launch(device="cpu", precision=recipe.precision), manifest, recipe, out, silent)


def steps(one: Training, order: list[Tensor]) -> Tensor:
    """Loss, correct calls and pictures of the first steps of an epoch, (steps, 3)."""
    one.model.train()
    with torch.random.fork_rng(devices=[]):
        told = [one.step(rows, epoch=0, number=n, steps=9) for n, rows in enumerate(order)]
    return torch.stack(told)


def test_members_go_through_the_pictures_in_orders_of_their_own(discs: Manifest) -> None:
    part = load_part(discs, "train", small())
    one, several = (torch.cat(batches(part, small(members=members), 4), 1) for members in (1, 3))
    assert one.shape[0] == 1
    assert several.shape == (3, one.shape[1])
    assert torch.equal(several[0], one[0])
    for rows in several[1:]:
        assert not torch.equal(rows, one[0])
        assert torch.equal(rows.sort().values, one[0].sort().values)  # each a group of its own
    assert not torch.equal(several[1], several[2])


def test_a_run_of_several_is_used_like_any_other(discs: Manifest, tmp_path: Path) -> None:
    recipe = small(levelled=True, progressive=0.5)
    run = train(discs, recipe, tmp_path / "run", device="cpu")
    assert run.calibration() is not None
    rows = run.manifest().part("validation")
    drawn = torch.from_numpy(pictures(rows, fit="canvas", size_px=SIDE)).unsqueeze(1)
    classifier = run.classifier()
    net = cast(EvidenceNets, classifier.net)
    usual = [float(cast(Tensor, member.usual)) for member in net]
    assert usual[0] != usual[1]
    x = classifier.normalise(drawn)
    with torch.inference_mode():
        for member, level in zip(net, usual, strict=True):
            found = level_of(member.features(x).flatten(2)).flatten().tolist()
            assert found == pytest.approx([level] * len(drawn), abs=1e-4)
        maps, logits = classifier.seen(drawn)
    torch.testing.assert_close(torch.from_numpy(predict(run, rows)[0]), logits)
    told = evidence(classifier, drawn, score="logit")
    torch.testing.assert_close(told.logits, logits)
    assert told.strangeness is not None
    assert maps.shape == (len(drawn), 1, SIDE // 4, SIDE // 4)
    assert evaluate(run, resamples=20).triage is not None


def test_a_recipe_of_one_makes_the_net_itself() -> None:
    classifier = build(small(members=1), 2, absent=1)
    assert isinstance(classifier.net, EvidenceNet)
    several = build(small(members=3), 2, absent=1)
    assert isinstance(several, Classifier)
    assert size(several) == 3 * size(classifier)


def size(classifier: Classifier) -> int:
    return sum(value.numel() for value in classifier.parameters())


def test_only_evidence_nets_are_averaged() -> None:
    with pytest.raises(RecipeError, match="members is 2 and net 'compact': only evidence nets can"):
        Recipe(members=2)
    with pytest.raises(RecipeError, match="members is 0: expected at least 1"):
        small(members=0)
