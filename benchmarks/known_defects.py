"""Known defects of explanation tools, each measured in every library and in ours by one function.

Nothing is assumed: every cell of the table is a small experiment on a generated net whose right
answer is known, run on what is installed. *yes* is a library that shows the defect, with the figure
that says so; *n.a.* one that has no such part, or one that asks its user to decide. A peer that
isn't installed has a column that says so.

    python benchmarks/known_defects.py
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import clearhead
from clearhead.data.canvas import Grid
from clearhead.heat.cams import CAMS
from clearhead.heat.evidence import coincide
from clearhead.measure.localisation import distances, pointing
from clearhead.model.classifier import Classifier
from explanation_peers import PEERS, Peer, Target, installed, our_maps

SIDE, CHANNELS, CLASSES, BATCH = 32, 8, 4, 4

SAME = 1e-3
"""Maps that differ by no more than this share of the peak are the same."""


@dataclass(frozen=True)
class Verdict:
    """Whether a library shows a defect (None: can't be asked), and the figure that says so."""

    shows: bool | None
    figure: str = ""

    def __str__(self) -> str:
        word = {True: "**yes**", False: "no", None: "n.a."}[self.shows]
        return f"{word}: {self.figure}" if self.figure else word


# --- Nets whose right answer is known -------------------------------------------------------


class Case(nn.Module):
    """A net of one convolution and a tail; hooks go to `maps`."""

    def __init__(self, first: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.first, self.maps, self.tail = first, nn.Identity(), tail
        self.grid = Grid(offset_px=0.0, stride_px=4.0)

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.maps(self.first(x)))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.tail(maps))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Fails(nn.Module):
    """A tail that raises what it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, maps: Tensor) -> Tensor:
        raise self.error


class Tripwire(nn.Module):
    """Counts the gradients that pass on their way back through the net."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0

    def forward(self, maps: Tensor) -> Tensor:
        if maps.requires_grad:
            maps.register_hook(self._count)  # type: ignore[no-untyped-call]  # torch leaves it so
        return maps

    def _count(self, gradient: Tensor) -> None:
        self.passed += 1


def convolution(*more: nn.Module) -> nn.Sequential:
    """Maps ≥ 0, (B, 8, 8, 8)."""
    return nn.Sequential(nn.Conv2d(1, CHANNELS, 3, 4, 1), nn.ReLU(), *more)


def pooled() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))


def dense(*before: nn.Module) -> nn.Sequential:
    """A head that bends, so that every picture has gradients of its own."""
    places = CHANNELS * (SIDE // 4) ** 2
    layers = (nn.Flatten(), nn.Linear(places, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    return nn.Sequential(*before, *layers)


def seeded(make: Callable[[], nn.Module], *, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(make()).eval()


def squares_of(count: int = BATCH, *, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, SIDE, SIDE), dtype=torch.uint8, generator=random)


def weighing(weights: Tensor, factor: float = 1.0) -> Classifier:
    """The pooled net whose logits weigh the channels' means by (K, C)."""
    classifier = seeded(lambda: Case(convolution(), pooled()))
    with torch.no_grad():
        linear = cast(nn.Linear, cast(Case, classifier.net).tail[2])  # type: ignore[index]
        linear.weight.copy_(factor * weights)
        linear.bias.zero_()
    return classifier


NOTHING, AGAINST, FOR = 0, 1, 2
"""Classes of `telling`: no weight at all, negative weights alone, positive weights alone."""


def telling(factor: float = 1.0) -> Classifier:
    rows = [[0.0], [-1.0], [1.0], [0.5]]
    return weighing(torch.tensor(rows).expand(-1, CHANNELS), factor)


# --- The recipe -----------------------------------------------------------------------------


def recipe_raw(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    """The widely copied Keras recipe, in torch: the first picture's map, weights from the batch."""
    net = classifier.net
    maps = net.features(classifier.normalise(squares))
    logits = net.head(maps)
    chosen = int(logits[0].argmax()) if target is None else target
    (gradients,) = torch.autograd.grad(logits[:, chosen].sum(), maps)
    alpha = gradients.mean((0, 2, 3))
    return (alpha[:, None, None] * maps[0]).sum(0, keepdim=True).detach()


def recipe_shown(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    raw = recipe_raw(classifier, squares, target, method)
    return raw.clamp(min=0) / raw.max()


OURS = Peer("clearhead", "clearhead", our_maps, our_maps, {name: name for name in CAMS})
RECIPE = Peer("", "", recipe_shown, recipe_raw, {"grad_cam": "recipe"})


# --- How a library is tried -----------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """Maps, or what went wrong on the way to them, and what was said aloud."""

    maps: Tensor | None
    error: str = ""
    said: tuple[str, ...] = ()


def tried(call: Callable[[], Any]) -> Tried:
    with warnings.catch_warnings(record=True) as heard, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            maps = call()
        except Exception as error:  # whatever a foreign library throws
            return Tried(None, f"{type(error).__name__}: {_line(error)}")
    said = tuple(str(each.message).splitlines()[0] for each in heard)
    if maps is None:
        return Tried(None, "gives None", said)
    return Tried(maps.detach().float(), "", said)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:60]


def raw(peer: Peer, classifier: Classifier, squares: Tensor, target: Target = 0) -> Tried:
    return tried(lambda: peer.raw(classifier, squares, target, "grad_cam"))


def shown(peer: Peer, classifier: Classifier, squares: Tensor, target: Target = 0) -> Tried:
    return tried(lambda: peer.shown(classifier, squares, target, "grad_cam"))


def far(one: Tensor, other: Tensor) -> float:
    """Largest difference of rectified maps as a share of the larger peak."""
    one, other = one.clamp(min=0), other.clamp(min=0)
    return float((one - other).abs().max() / torch.maximum(one.max(), other.max()))


def differs(found: Tried, expected: Tried) -> Verdict:
    """Whether the maps fail to come out as expected."""
    if found.maps is None:
        return Verdict(True, found.error)
    assert expected.maps is not None
    distance = far(found.maps, expected.maps)
    return Verdict(not distance <= SAME, f"off by {distance:.1e}")


# --- Batches --------------------------------------------------------------------------------


def classes_mixed(peer: Peer) -> Verdict:
    """Default classes in a batch: each picture's map against the one it gets alone."""
    classifier, squares = called_differently()
    together = raw(peer, classifier, squares, None)
    if together.maps is None:
        return Verdict(None, "the class must be named")
    if len(together.maps) < len(squares):
        return Verdict(None, "one picture at a time")
    alone = [peer.raw(classifier, one[None], None, "grad_cam")[0] for one in squares]
    likeness = [correlation(*pair) for pair in zip(together.maps, alone, strict=True)]
    return Verdict(min(likeness) < 1 - SAME, "correlation " + ", ".join(_short(likeness)))


def _short(values: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def called_differently() -> tuple[Classifier, Tensor]:
    """A net, and four pictures of which it calls at least three different classes."""
    squares = squares_of()
    for seed in range(1000):
        classifier = seeded(lambda: Case(convolution(), dense()), seed=seed)
        with torch.no_grad():
            calls = classifier(squares).argmax(1)
        peaks = our_maps(classifier, squares, None, "grad_cam").amax((1, 2))
        if len(calls.unique()) >= 3 and float(peaks.min()) > 0:
            return classifier, squares
    raise AssertionError("no seed gives a net that calls the pictures differently")


def correlation(one: Tensor, other: Tensor) -> float:
    pair = torch.stack([one.flatten(), other.flatten()]).clamp(min=0).double()
    return float(torch.corrcoef(pair)[0, 1])


def neighbours_matter(peer: Peer) -> Verdict:
    """The map of a picture beside three others against its map alone, class named."""
    classifier = seeded(lambda: Case(convolution(), dense()))
    squares = squares_of()
    squares[1:] = squares[1:] // 8
    together, alone = (shown(peer, classifier, each, FOR) for each in (squares, squares[:1]))
    if together.maps is None:
        return Verdict(True, together.error)
    return differs(Tried(together.maps[:1]), alone)


def plus_plus_in_a_batch(peer: Peer) -> Verdict:
    """Grad-CAM++ of four pictures against each alone."""
    if "grad_cam_plus_plus" not in peer.methods:
        return Verdict(None)
    classifier, squares = seeded(lambda: Case(convolution(), dense())), squares_of()

    def maps(some: Tensor) -> Any:
        return peer.raw(classifier, some, 0, "grad_cam_plus_plus")

    together = tried(lambda: maps(squares))
    return differs(together, Tried(torch.cat([maps(one[None]) for one in squares])))


# --- Nothing to show ------------------------------------------------------------------------


def nan_at_nothing(peer: Peer) -> Verdict:
    """A class without any evidence: is the map a number?"""
    found = shown(peer, telling(), squares_of(1), NOTHING)
    if found.maps is None:
        return Verdict(True, found.error)
    bad = float((~torch.isfinite(found.maps)).float().mean())
    return Verdict(bad > 0, f"{bad:.0%} of the map NaN")


def blank_in_silence(peer: Peer) -> Verdict:
    """A class with evidence against it everywhere: does map or warning tell it from nothing?"""
    found = shown(peer, telling(), squares_of(1), AGAINST)
    assert found.maps is not None
    low, high = float(found.maps.min()), float(found.maps.max())
    return Verdict(low == high and not found.said, f"values {low:.3g} to {high:.3g}")


def weak_looks_strong(peer: Peer) -> Verdict:
    """The map of a net whose evidence is a thousandth, against the map of the net."""
    spans = []
    for factor in (1e-3, 1.0):
        found = shown(peer, telling(factor), squares_of(1), FOR)
        assert found.maps is not None
        spans.append(float(found.maps.max() - found.maps.min()))
    ratio = spans[0] / spans[1]
    return Verdict(ratio > 0.5, f"span {ratio:.3f} of the strong map's")


# --- Equations ------------------------------------------------------------------------------


def plus_plus_by_hand(peer: Peer) -> Verdict:
    """Grad-CAM++ of two places against the paper's equation worked out by hand.

    Channel 1: maps (1, 3), gradients (2, -1), α = 4 / (8 + 8·4) = 0.1 where the gradient is
    positive, weight 0.2. Channel 2: maps (2, 0), gradients (1, 1), α = 1 / (2 + 2) = 0.25, weight
    0.5. Map (1.2, 0.6): the left is twice the right. A factor for the whole map is left free.
    """
    if "grad_cam_plus_plus" not in peer.methods:
        return Verdict(None)
    found = tried(lambda: peer.raw(*by_hand(), 0, "grad_cam_plus_plus"))
    if found.maps is None:
        return Verdict(True, found.error)
    left, right = found.maps.flatten().tolist()
    return Verdict(
        not math.isclose(left / right, 2, rel_tol=SAME), f"left ÷ right {left / right:.3f}"
    )


def by_hand() -> tuple[Classifier, Tensor]:
    """A net whose maps of its picture are those of the case, and its gradients too."""
    first, tail = nn.Conv2d(1, 2, (1, 2), padding=(0, 1), bias=False), nn.Linear(4, 2, bias=False)
    picture = torch.tensor([[[[255.0, 0.0]]]])  # as 1, 0: the net's maps are its own weights
    classifier = Classifier(Case(Planted(first), nn.Sequential(nn.Flatten(), tail))).eval()
    with torch.no_grad():
        tail.weight.copy_(torch.tensor([[2.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    return classifier, picture


class Planted(nn.Module):
    """Gives the maps of the case worked out by hand, whatever it sees; learns like any layer."""

    def __init__(self, first: nn.Conv2d) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.maps * x.amax((1, 2, 3), keepdim=True)


def plus_plus_drowned(peer: Peer) -> Verdict:
    """Grad-CAM++ of a net pooled over 64×64 places, whose gradients are small, by its equation.

    A constant added to the denominator against 0/0 must not outweigh it.
    """
    if "grad_cam_plus_plus" not in peer.methods:
        return Verdict(None)
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, CHANNELS, 3, padding=1), nn.ReLU())
    classifier = Classifier(Case(first, pooled())).eval()
    squares = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    found = tried(lambda: peer.raw(classifier, squares, 0, "grad_cam_plus_plus"))
    expected = literal_plus_plus(classifier, squares)
    if found.maps is None:
        return Verdict(True, found.error)
    one, other = (each.clamp(min=0) / each.max() for each in (found.maps.double(), expected))
    return differs(Tried(one), Tried(other))


def literal_plus_plus(classifier: Classifier, squares: Tensor) -> Tensor:
    """The paper's equation in float64, channel by channel."""
    with torch.no_grad():
        maps = classifier.net.features(classifier.normalise(squares))[0].double()
    linear = cast(nn.Linear, cast(Case, classifier.net).tail[2])  # type: ignore[index]
    heat = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for plane, weight in zip(maps, linear.weight[0].double().tolist(), strict=True):
        gradient = weight / plane.numel()
        under = 2 * gradient**2 + gradient**3 * float(plane.sum())
        heat += plane.numel() * gradient**2 / under * max(gradient, 0.0) * plane
    return heat[None]


def coincidence_untold(peer: Peer) -> Verdict:
    """Methods that are one for a pooled linear head: how many agree, and does anything say so?"""
    agreeing = [name for name in ("grad_cam", "hires_cam", "xgrad_cam") if name in peer.methods]
    if len(agreeing) < 2:
        return Verdict(None, "one such method")
    classifier, squares = telling(), squares_of(2)
    calls = [tried(partial(peer.raw, classifier, squares, FOR, name)) for name in agreeing]
    first = calls[0].maps
    assert first is not None
    equal = all(each.maps is not None and far(each.maps, first) <= SAME for each in calls)
    told = any(each.said for each in calls)
    if peer is OURS:
        told = any(set(agreeing) <= set(group) for group in coincide(classifier, squares))
    words = "told" if told else "not told"
    return Verdict(
        equal and not told, f"{len(agreeing)} methods, {'one map' if equal else 'differ'}, {words}"
    )


# --- Cost and traces ------------------------------------------------------------------------


def backbone_backwards(peer: Peer) -> Verdict:
    """Does the gradient run through the layers before the maps, where nothing needs it?"""
    wire = Tripwire()
    classifier = seeded(lambda: Case(convolution(wire), pooled()))
    before = nn.Sequential(wire, nn.Conv2d(CHANNELS, CHANNELS, 1))
    cast(nn.Sequential, cast(Case, classifier.net).first)[2] = before
    raw(peer, classifier, squares_of())
    return Verdict(wire.passed > 0, f"{wire.passed} passes")


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def hooks_left(peer: Peer) -> Verdict:
    """Hooks on the net once the explainer is gone, after it worked and after the net failed."""
    counts = []
    for tail in (pooled(), Fails(ValueError("broken"))):
        classifier = Classifier(Case(convolution(), tail)).eval()
        raw(peer, classifier, squares_of())
        gc.collect()
        parts = classifier.modules()
        counts.append(sum(len(getattr(part, kind)) for part in parts for kind in HOOKS))
    return Verdict(any(counts), f"{counts[0]} left, {counts[1]} after an error")


def modes_changed(peer: Peer) -> Verdict:
    """Parts of a net in mixed modes whose mode is another afterwards, or after the net failed."""
    counts = []
    for tail in (pooled(), Fails(ValueError("broken"))):
        classifier = Classifier(Case(convolution(), tail)).eval().train()
        cast(Case, classifier.net).first.eval()  # as a frozen backbone is
        before = [part.training for part in classifier.modules()]
        raw(peer, classifier, squares_of())
        after = [part.training for part in classifier.modules()]
        counts.append(sum(a != b for a, b in zip(before, after, strict=True)))
    return Verdict(any(counts), f"{counts[0]} parts, {counts[1]} after an error")


def dropout_awake(peer: Peer) -> Verdict:
    """The same picture twice while the net is in training mode: does dropout change the map?"""
    classifier = seeded(lambda: Case(convolution(), dense(nn.Dropout(0.5)))).train()
    first, second = (raw(peer, classifier, squares_of(1), FOR) for _ in range(2))
    return differs(second, first)


def gradients_wiped(peer: Peer) -> Verdict:
    """Parameters whose gradient, put there by the user, is another afterwards."""
    classifier = seeded(lambda: Case(convolution(), pooled()))
    for value in classifier.parameters():
        value.grad = torch.ones_like(value)
    raw(peer, classifier, squares_of())
    left = [value.grad for value in classifier.parameters()]
    lost = sum(each is None or not torch.equal(each, torch.ones_like(each)) for each in left)
    return Verdict(lost > 0, f"{lost} of {len(left)}")


def layer_changed(peer: Peer) -> Verdict:
    """Is an in-place ReLU that is explained still in place afterwards?"""
    classifier = seeded(lambda: Case(convolution(), pooled()))
    rectifier = nn.ReLU(inplace=True)
    cast(Case, classifier.net).maps = rectifier  # type: ignore[assignment]
    raw(peer, classifier, squares_of())
    return Verdict(not rectifier.inplace, "" if rectifier.inplace else "`inplace` is now False")


def error_swallowed(peer: Peer) -> Verdict:
    """An IndexError inside the net: does the caller get it?"""
    classifier = seeded(lambda: Case(convolution(), Fails(IndexError("broken"))))
    found = raw(peer, classifier, squares_of())
    return Verdict(not found.error.startswith("IndexError"), found.error)


# --- Nets that people have ------------------------------------------------------------------


def in_place_fails(peer: Peer) -> Verdict:
    """A head that rectifies the maps in place against the same head that doesn't."""
    plain = seeded(lambda: Case(nn.Conv2d(1, CHANNELS, 3, 4, 1), dense(nn.ReLU())))
    changed = copy.deepcopy(plain)
    cast(nn.ReLU, cast(Case, changed.net).tail[0]).inplace = True  # type: ignore[index]
    squares = squares_of()[:1]
    return differs(*(raw(peer, each, squares, FOR) for each in (changed, plain)))


def frozen_fails(peer: Peer) -> Verdict:
    """A net whose parameters need no gradient against the same net as it was."""
    plain = seeded(lambda: Case(convolution(), dense()))
    frozen = copy.deepcopy(plain).requires_grad_(False)
    return differs(*(raw(peer, each, squares_of(1), FOR) for each in (frozen, plain)))


def half_fails(kind: torch.dtype) -> Callable[[Peer], Verdict]:
    def half_precision_fails(peer: Peer) -> Verdict:
        plain = telling()
        half = copy.deepcopy(plain).to(kind)
        found = raw(peer, half, squares_of(1), FOR)
        if found.maps is None:
            return Verdict(True, found.error)
        distance = far(found.maps, cast(Tensor, raw(peer, plain, squares_of(1), FOR).maps))
        return Verdict(not distance <= 0.05, f"off by {distance:.1e}")

    return half_precision_fails


def half_blank(peer: Peer) -> Verdict:
    """A class without evidence in float16: 0/0 where a constant against it is too small."""
    found = shown(peer, telling().half(), squares_of(1), NOTHING)
    if found.maps is None:
        return Verdict(True, found.error)
    bad = float((~torch.isfinite(found.maps)).float().mean())
    return Verdict(bad > 0, f"{bad:.0%} of the map NaN")


# --- Pointing games -------------------------------------------------------------------------

Game = Callable[[NDArray[np.float32], NDArray[np.bool_]], list[float]]


def our_game(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> list[float]:
    return [float(value) for value in pointing(heats, distances(masks))[:, 0]]


def quantus_game(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> list[float]:
    game = importlib.import_module("quantus").PointingGame(disable_warnings=True)
    x = heats[:, None]
    labels = np.zeros(len(heats), int)
    scores = game(model=None, x_batch=x, y_batch=labels, a_batch=x, s_batch=masks[:, None])
    return [float(score) for score in scores]


def scene() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A heat with its peak in the corner of 8×8, and a mask of 4 pixels elsewhere."""
    heat, mask = np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), bool)
    heat[0, 0, 0], mask[0, 3:5, 3:5] = 1, True
    return heat, mask


def beside_another(game: Game, heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """The score of a heat beside an ordinary one: Quantus refuses a batch of nothing else."""
    other, its_mask = scene()
    return game(np.concatenate([heat, other]), np.concatenate([mask, its_mask]))[0]


def blank_is_hit(game: Game) -> Verdict:
    """A map without any heat, beside one that has some."""
    heat, mask = scene()
    score = beside_another(game, 0 * heat, mask)
    return Verdict(score > 0, f"scores {score:.3g}")


def flat_is_hit(game: Game) -> Verdict:
    """A map that is the same everywhere: it points nowhere; chance is 4 of 64 pixels."""
    heat, mask = scene()
    score = beside_another(game, np.ones_like(heat), mask)
    return Verdict(not score <= mask.mean() + SAME, f"scores {score:.3g}, chance {mask.mean():.3g}")


def empty_is_hit(game: Game) -> Verdict:
    """A mask without any pixel."""
    heat, mask = scene()
    score = game(heat, mask & False)[0]
    return Verdict(score > 0, f"scores {score:.3g}")


# --- The table ------------------------------------------------------------------------------

Measure = Callable[[Peer], Verdict]

MAPS: dict[str, Measure] = {
    "default classes of a batch are mixed": classes_mixed,
    "a picture's map changes with its neighbours": neighbours_matter,
    "NaN where there is no evidence": nan_at_nothing,
    "the same in float16": half_blank,
    "evidence against the class comes out blank, without a word": blank_in_silence,
    "a thousandth of the evidence looks as strong": weak_looks_strong,
    "Grad-CAM++ fails for a batch of 4": plus_plus_in_a_batch,
    "Grad-CAM++ isn't its equation, by hand": plus_plus_by_hand,
    "Grad-CAM++ isn't its equation, small gradients": plus_plus_drowned,
    "methods that are one are not told": coincidence_untold,
}
"""What comes out."""

NETS: dict[str, Measure] = {
    "gradient runs through the whole backbone": backbone_backwards,
    "hooks stay on the net": hooks_left,
    "training modes are changed": modes_changed,
    "dropout stays awake in training mode": dropout_awake,
    "the user's `.grad` is wiped": gradients_wiped,
    "the user's layer is changed": layer_changed,
    "an error of the net is swallowed": error_swallowed,
    "ReLU in place after the maps fails": in_place_fails,
    "frozen net fails": frozen_fails,
    "float16 fails": half_fails(torch.float16),
    "bfloat16 fails": half_fails(torch.bfloat16),
}
"""What is done to the net, and which nets do. Nothing to ask of a recipe written for Keras."""

GAMES: dict[str, Callable[[Game], Verdict]] = {
    "a blank map is a hit": blank_is_hit,
    "a flat map scores more than chance": flat_is_hit,
    "an empty mask is a hit": empty_is_hit,
}


@dataclass(frozen=True)
class Column:
    """A library, its version (or what is missing), and the parts of it that can be asked."""

    name: str
    version: str
    maps: Peer | None = None
    nets: Peer | None = None
    game: Game | None = None

    def verdicts(self) -> Iterator[str]:
        """One cell for every row of the table."""
        yield from self._cells(MAPS, self.maps)
        yield from self._cells(NETS, self.nets)
        yield from self._cells(GAMES, self.game)

    @staticmethod
    def _cells(measures: Mapping[str, Callable[[Any], Verdict]], asked: Any) -> Iterator[str]:
        for measure in measures.values():
            yield "–" if asked is None else str(measure(asked))


def columns() -> Iterator[Column]:
    yield Column("clearhead", clearhead.__version__, OURS, OURS, our_game)
    for name, peer in PEERS.items():
        found = installed(peer.module, peer.distribution)
        usable = peer if found.version else None
        yield Column(name, found.version or found.problem, usable, usable)
    yield Column("Keras recipe", "in torch", RECIPE)
    found = installed("quantus", "quantus")
    game = quantus_game if found.version else None
    yield Column("Quantus", found.version or found.problem, game=game)


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}\n")
    every = list(columns())
    print("| defect | " + " | ".join(f"{each.name} ({each.version})" for each in every) + " |")
    print("|---" * (len(every) + 1) + "|")
    for defect, *cells in zip(
        [*MAPS, *NETS, *GAMES], *(each.verdicts() for each in every), strict=True
    ):
        print(f"| {defect} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
