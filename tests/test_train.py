"""The loop: repeatable, resumable bit for bit, the same on two processes as on one."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from safetensors.torch import load_file
from scipy.special import softmax

from clearhead.data.manifest import save_manifest
from clearhead.errors import ManifestError, RecipeError, RunError
from clearhead.measure.calibration import temperature
from clearhead.model.evaluate import predict
from clearhead.model.launch import launch, reckons_halves
from clearhead.model.lessons import Part, batches, side_of
from clearhead.model.nets import Backbone
from clearhead.model.run import load_state, open_run, save_state
from clearhead.model.stopping import Interrupted
from clearhead.model.train import Training, learning_rate, resume, train
from clearhead.types import Bar, Manifest, Recipe, silent
from oracles import disc_folder

T = TypeVar("T")


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return disc_folder(tmp_path_factory.mktemp("discs"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))


def small(preset: str = "compact", **changes: object) -> Recipe:
    return Recipe.preset(preset, **{"size_px": 64, "epochs": 2, "batch": 8, **changes})


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / "weights" / f"{name}.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class StopAfter:
    """A progress that presses Ctrl-C after so many steps of the training."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
        return silent(self._counted(items) if label.startswith("epoch") else items)

    def _counted(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            yield item


@pytest.mark.parametrize("preset", ["compact", "evidence", "report"])
def test_two_runs_give_identical_weights_and_another_seed_others(
    discs: Manifest, tmp_path: Path, preset: str
) -> None:
    recipe = small(preset, epochs=1)
    for name in ("one", "two"):
        train(discs, recipe, tmp_path / name)
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    train(discs, dataclasses.replace(recipe, seed=1), tmp_path / "other")
    ours, theirs = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("preset", "steps"), [("compact", 2), ("compact", 5), ("evidence", 3)])
def test_resume_equals_never_having_stopped(
    discs: Manifest, tmp_path: Path, preset: str, steps: int
) -> None:
    recipe = small(preset, dropout=0.3)  # dropout and augmentation both draw random numbers
    whole = train(discs, recipe, tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped in epoch"):
        train(discs, recipe, tmp_path / "broken", progress=StopAfter(steps))
    with pytest.raises(RunError, match="--resume"):
        open_run(tmp_path / "broken")
    again = resume(tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
    timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history()]
    assert timeless == [{k: v for k, v in row.items() if k != "seconds"} for row in again.history()]
    assert not (tmp_path / "broken" / "state.pt").exists()
    assert resume(tmp_path / "broken").made == again.made  # a finished run is left alone


def test_interrupting_twice_is_resumable_too(discs: Manifest, tmp_path: Path) -> None:
    recipe = small()
    train(discs, recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(discs, recipe, tmp_path / "broken", progress=StopAfter(1))
    with pytest.raises(Interrupted):
        resume(tmp_path / "broken", progress=StopAfter(3))
    resume(tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_a_run_begun_by_an_older_version_is_not_resumed(discs: Manifest, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(discs, small(), tmp_path / "run", progress=StopAfter(1))
    state = load_state(tmp_path / "run" / "state.pt")
    state["optimiser"] = state.pop("optimisers")[0]
    save_state(state, tmp_path / "run" / "state.pt")
    with pytest.raises(RunError, match="begun by an older clearhead"):
        resume(tmp_path / "run")


def test_a_run_stopped_before_its_first_step_starts_over(discs: Manifest, tmp_path: Path) -> None:
    recipe = small(epochs=1)
    train(discs, recipe, tmp_path / "whole")
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("recipe.json", "manifest.parquet"):
        (stopped / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    with pytest.raises(RunError, match="--resume"):
        open_run(stopped)
    resume(stopped)
    assert_same_weights(tmp_path / "whole", stopped)


def test_signal_handlers_and_random_state_are_left_alone(discs: Manifest, tmp_path: Path) -> None:
    handler, state = signal.getsignal(signal.SIGINT), torch.get_rng_state()
    train(discs, small(epochs=1), tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("compact", {"batch": 13, "class_weights": True, "dropout": 0.0}),
        ("report", {"batch": 24, "dropout": 0.0}),
        ("evidence", {"batch": 13, "dropout": 0.0, "members": 2}),
    ],
)
def test_two_processes_compute_the_gradient_of_one(
    discs: Manifest, tmp_path: Path, preset: str, changes: dict[str, object]
) -> None:
    save_manifest(discs, tmp_path / "manifest.parquet")
    recipe = small(preset, **changes)
    (tmp_path / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe)))
    inputs = [tmp_path / "manifest.parquet", tmp_path / "recipe.json"]
    succeed(gloo_step([*inputs, tmp_path / "one.pt"]))
    meeting = tmp_path / "meeting"
    succeed(*(gloo_step([*inputs, tmp_path / "two.pt", meeting], rank=rank) for rank in (0, 1)))
    one = torch.load(tmp_path / "one.pt", weights_only=True)
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    torch.testing.assert_close(one["news"], two["news"], rtol=1e-5, atol=1e-5)
    for name, gradient in one["gradients"].items():
        scale = float(gradient.abs().max()) + 1e-12
        torch.testing.assert_close(
            two["gradients"][name] / scale, gradient / scale, rtol=0, atol=1e-4
        )


def gloo_step(arguments: list[Path], rank: int | None = None) -> subprocess.Popen[str]:
    """The step alone or, with a rank, as one of two processes under the variables of `torchrun`.

    They meet in a file and talk over the loopback: no port to race for, no host name to resolve.
    """
    place = {} if rank is None else {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    pair = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
        "TORCHELASTIC_RUN_ID": "none",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("gloo_step.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **place, **(pair if place else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def succeed(*processes: subprocess.Popen[str]) -> None:
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(said)


def test_a_terminated_process_leaves_a_resumable_run(discs: Manifest, tmp_path: Path) -> None:
    save_manifest(discs, tmp_path / "manifest.parquet")
    script = (
        "import sys; from pathlib import Path\n"
        "from clearhead.data.manifest import load_manifest\n"
        "from clearhead.model.train import train\n"
        "from clearhead.types import Recipe\n"
        "recipe = Recipe.preset('compact', size_px=64, epochs=400, batch=8)\n"
        "train(load_manifest(Path(sys.argv[1])), recipe, Path(sys.argv[2]))\n"
    )
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "manifest.parquet"), str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Interrupted" in errors
    assert load_state(out / "state.pt")["position"]["epoch"] >= 1


def test_it_learns_and_keeps_the_best(discs: Manifest, tmp_path: Path) -> None:
    run = train(discs, small(epochs=8), tmp_path / "run")
    history = run.history()
    assert len(history) == 8
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    best = min(history, key=lambda row: row["validation_loss"])
    assert best["validation_accuracy"] >= 0.75
    assert run.made["best_epoch"] == best["epoch"]
    loaded = run.classifier().state_dict()
    kept = weights(tmp_path / "run", "best")
    assert all(torch.equal(loaded[name], kept[name]) for name in kept)


@pytest.mark.skipif(not reckons_halves(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("preset", ["compact", "evidence"])
def test_mixed_precision_trains_float32_weights(
    discs: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str], preset: str
) -> None:
    run = train(discs, small(preset, precision="bf16-mixed", epochs=4), tmp_path / "run")
    assert {value.dtype for value in weights(tmp_path / "run").values()} == {torch.float32}
    history = run.history()
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert capfd.readouterr().err == ""


def test_a_processor_without_bfloat16_says_so_at_once(
    discs: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearhead.model.launch.reckons_halves", lambda: False)
    with pytest.raises(RecipeError, match="precision is bf16-mixed, for which this processor has"):
        train(discs, small(precision="bf16-mixed"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_temperature_is_that_of_the_validation_rows(discs: Manifest, tmp_path: Path) -> None:
    run = train(discs, small(epochs=2), tmp_path / "run")
    rows = run.manifest().part("validation")
    logits, probabilities = predict(run, rows)
    fitted = temperature(logits, rows.labels(), rows.groups())
    assert fitted != 1.0
    assert float(run.classifier().temperature) == pytest.approx(fitted, rel=1e-4)
    assert probabilities == pytest.approx(softmax(logits / fitted, 1), abs=1e-5)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("preset", ["compact", "evidence"])
def test_a_progressive_training_sees_smaller_pictures_first(
    discs: Manifest, tmp_path: Path, preset: str, augment: bool
) -> None:
    recipe = small(preset, epochs=5, progressive=0.5, augment=augment)
    sides = [side_of(recipe, epoch) for epoch in range(5)]
    assert sides == [40, 40, 64, 64, 64]
    assert side_of(dataclasses.replace(recipe, epochs=1), 0) == 64
    assert side_of(dataclasses.replace(recipe, progressive=0.0), 0) == 64
    training = Training(launch(device="cpu"), discs, recipe, tmp_path, silent)
    shown: list[int] = []
    assert isinstance(training.classifier.net, Backbone)
    training.classifier.net.stem.register_forward_pre_hook(
        lambda _, given: shown.append(given[0].shape[-1])
    )
    for epoch, side in enumerate(sides):
        rows = batches(training.parts["train"], recipe, epoch)[0]
        shown.clear()
        news = training.step(rows, epoch=epoch, number=0, steps=1)
        assert set(shown) == {side}
        assert news[0].isfinite()


def test_the_reports_net_has_one_size() -> None:
    with pytest.raises(RecipeError, match="its dense layer takes pictures of one size alone"):
        small("report", progressive=0.5)
    with pytest.raises(RecipeError, match="which normalises nothing"):
        small("report", norm="weight")


def test_muon_takes_steps_of_adamws_length_that_are_orthogonal(
    discs: Manifest, tmp_path: Path
) -> None:
    recipe = small("evidence", weight_decay=0.0, progressive=0.0, warmup=0.0)
    training = Training(launch(device="cpu"), discs, recipe, tmp_path, silent)
    named = dict(training.classifier.named_parameters())
    taken = [
        {id(value) for group in each.param_groups for value in group["params"]}
        for each in training.optimisers
    ]
    assert not taken[0] & taken[1]
    assert taken[0] | taken[1] == {id(value) for value in named.values()}
    filters = {name: value for name, value in named.items() if id(value) in taken[1]}
    assert {"_net.stem.2.weight", "_net.body.0.weight", "_net.fine.weight"} <= filters.keys()
    assert "_net.stem.0.weight" not in filters  # it reads the picture
    before = {name: value.detach().clone() for name, value in filters.items()}
    gradients: dict[str, torch.Tensor] = {}

    def keep(*_: object) -> None:
        for name, value in filters.items():
            assert value.grad is not None
            gradients[name] = value.grad.clone()

    told = training.optimisers[1].register_step_pre_hook(keep)
    training.step(batches(training.parts["train"], recipe, 0)[0], epoch=0, number=0, steps=1)
    told.remove()
    for name, value in filters.items():
        step = (before[name] - value.detach()) / recipe.learning_rate
        gradient = gradients[name]
        if not gradient.any():  # behind a gain of 0 nothing is learnt yet
            continue
        spread = torch.linalg.svdvals(step) / (0.2 * max(step.shape) ** 0.5)
        left, strength, right = torch.linalg.svd(gradient, full_matrices=False)
        strong = strength > 0.05 * strength[0]  # weaker ones are brought to 1 in part alone
        assert 0.5 < spread.max() < 1.3
        along = torch.einsum("or,oi,ri->r", left, step, right) / (0.2 * max(step.shape) ** 0.5)
        assert along[strong].min() > 0.5
        # As long as a step of Adam's, which is 0.2 a weight in the long run.
        assert 0.05 < float(step.square().mean().sqrt()) < 0.3


def test_only_maps_of_evidence_are_pooled_in_a_way_of_choice() -> None:
    with pytest.raises(RecipeError, match="only the evidence net ends in a map that is pooled so"):
        small("compact", pooling="highest")


def test_muon_is_for_normalised_filters() -> None:
    with pytest.raises(RecipeError, match="optimiser is 'muon' and norm 'group'"):
        small("evidence", norm="group")
    with pytest.raises(RecipeError, match="optimiser is 'muon' and norm 'group'"):
        small("compact", optimiser="muon")


def test_early_stop_ends_when_nothing_improves(discs: Manifest, tmp_path: Path) -> None:
    recipe = small(epochs=30, early_stop=1, learning_rate=0.0)
    assert train(discs, recipe, tmp_path / "run").made["epochs"] == 2


def test_class_weights_make_classes_count_the_same(tmp_path: Path) -> None:
    manifest = disc_folder(tmp_path / "discs")
    rare = manifest.take([row for row in range(len(manifest)) if row % 2 or row % 4 == 0])
    recipe = small(class_weights=True, epochs=1)
    from clearhead.model.train import Training

    training = Training(launch(device="cpu"), rare, recipe, tmp_path / "run", silent)
    labels = training.parts["train"].labels
    assert training.weight is not None
    per_class = [float((training.weight[labels] * (labels == k)).sum()) for k in range(2)]
    assert per_class[0] == pytest.approx(per_class[1])
    assert float(training.weight[labels].mean()) == pytest.approx(1.0)


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    recipe = small(batch=7)
    part = rows_of([0, 1] * 15, range(30))
    first, second = (torch.cat(batches(part, recipe, epoch), 1)[0] for epoch in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(30))
    assert first.tolist() != second.tolist()
    assert [rows.shape for rows in batches(part, recipe, 0)] == [*[(1, 7)] * 4, (1, 2)]


def test_pictures_and_classes_count_alike_where_asked() -> None:
    """5 groups of class 0 with 1 to 9 files, and one of class 1 with 4: 6 groups, 3 of each."""
    sizes = (1, 3, 9, 2, 4, 4)
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    part = rows_of([int(group == 5) for group in groups], groups)
    recipe = Recipe(batch=4, sampling="pictures")
    drawn = []
    for epoch in range(200):
        rows = torch.cat(batches(part, recipe, epoch), 1)[0]
        chosen = part.groups[rows].tolist()
        assert len(chosen) == 6
        assert chosen.count(5) == 3
        assert len(set(chosen)) == 4
        drawn += rows.tolist()
    counts = torch.bincount(part.groups[torch.tensor(drawn)], minlength=6)
    assert counts[:5].tolist() == pytest.approx([120] * 5, abs=35)
    files = torch.bincount(torch.tensor(drawn), minlength=len(groups))[4:13]
    assert files.min() > 0  # every file of the largest group has its turn
    again, same = (torch.cat(batches(part, recipe, 7), 1) for _ in range(2))
    assert torch.equal(again, same)


def rows_of(labels: Iterable[int], groups: Iterable[int]) -> Part:
    known = torch.tensor(list(labels))
    return Part(torch.zeros(len(known), 4, 4, dtype=torch.uint8), known, torch.tensor(list(groups)))


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = small(schedule="cosine", warmup=0.1, learning_rate=1.0)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
    constant = Recipe.preset("report")
    assert {learning_rate(constant, step, 50) for step in range(50)} == {1e-3}


def test_refusals_leave_nothing_behind(discs: Manifest, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        train(discs, small(), used)
    assert [path.name for path in used.iterdir()] == ["notes.txt"]
    with pytest.raises(ManifestError, match="clearhead split"):
        train(discs.with_columns(split=[None] * len(discs)), small(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunError, match="no interrupted training"):
        resume(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="device is 'tpu'"):
        train(discs, small(), tmp_path / "new", device="tpu")
    assert not (tmp_path / "new").exists()


def test_a_loss_that_explodes_is_said_so(discs: Manifest, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not finite"):
        train(discs, small("report", learning_rate=1e30, epochs=2), tmp_path / "run")


def test_a_training_over_pictures_is_validated_by_one_file_of_each(
    discs: Manifest, tmp_path: Path
) -> None:
    fabric = launch(device="cpu", precision="32-true")
    discs = discs.with_columns(group=[row // 4 * 2 + row % 2 for row in range(len(discs))])
    groups = discs.part("validation").groups()
    assert len(set(groups)) == len(groups) // 2
    for sampling, count in (("files", len(groups)), ("pictures", len(set(groups)))):
        recipe = Recipe(size_px=32, epochs=1, batch=8, sampling=sampling)
        training = Training(fabric, discs, recipe, tmp_path / sampling, silent)
        assert len({int(groups[row]) for row in training.judges}) == len(set(groups))
        assert len(training.judges) == count
        part = training.parts["validation"]
        with torch.inference_mode():
            training.classifier.eval()
            logits = training.classifier(part.squares[training.judges].unsqueeze(1))
        right = (logits.argmax(1) == part.labels[training.judges]).float().mean()
        assert training._validate()[1] == pytest.approx(float(right))
