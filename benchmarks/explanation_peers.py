"""Class maps of captum, torch-cam, pytorch-grad-cam and MONAI beside ours: cost, and the same maps?

Every library explains one class of the same squares with the same net, as its users call it:
pytorch-grad-cam and MONAI always draw their maps as large as the picture, so ours stands there
twice, once on the net's own grid and once on the square. Cost is processor time on one thread, the
least of alternating rounds: other work on the machine disturbs it little, but not nothing. Maps are
compared before any library scales them. A library that isn't installed is named, with the reason.

    python benchmarks/explanation_peers.py
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from clearhead.data.canvas import on_square
from clearhead.heat.evidence import evidence
from clearhead.measure.localisation import distances, pointing
from clearhead.model.classifier import Classifier, build
from clearhead.model.memory import keep_freed_memory
from clearhead.model.nets import Net
from clearhead.types import Recipe

BATCH = 32
SIZE_PX = {"compact": 160, "report": 256}

Target = int | None
"""The class explained in every picture, or None for what the library takes by default."""

Explain = Callable[[Classifier, Tensor, Target, str], Any]
"""Maps of squares (B, 1, S, S) by a method; the net of the classifier is `Wired`."""


# --- The net, as hooks need it --------------------------------------------------------------


class Wired(nn.Module):
    """A net whose maps pass through a layer, `maps`, that a library can be pointed at."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.inner = cast(nn.Module, net)
        self.maps = nn.Identity()
        self.grid = net.grid

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.maps(cast(Net, self.inner).features(x)))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Net, self.inner).head(maps)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def wired(classifier: Classifier) -> Classifier:
    """A copy of the classifier whose net is `Wired`."""
    copied = copy.deepcopy(classifier)
    copied._net = Wired(copied.net)
    return copied


def layer_of(classifier: Classifier) -> nn.Module:
    return cast(Wired, classifier.net).maps


# --- The libraries --------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """A library: how its users get maps, and how to see them before it scales them.

    `shown` gives (B, H, W) or (B, 1, H, W) as the library delivers it; `raw` gives (B, h, w), the
    weighted sum with or without its ReLU. `methods` translates our names.
    """

    module: str
    distribution: str
    shown: Explain
    raw: Explain
    methods: Mapping[str, str]


def captum_maps(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    attr = importlib.import_module("captum.attr")
    explainer = getattr(attr, PEERS["captum"].methods[method])(classifier.net, layer_of(classifier))
    return cast(Tensor, explainer.attribute(classifier.normalise(squares), target=target))[:, 0]


def torchcam_maps(scaled: bool) -> Explain:
    def maps(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
        kind = getattr(
            importlib.import_module("torchcam.methods"), PEERS["torch-cam"].methods[method]
        )
        with kind(classifier.net, layer_of(classifier)) as explainer:
            scores = cast(nn.Module, classifier.net)(classifier.normalise(squares))
            return cast(Tensor, explainer(target, scores, normalized=scaled)[0])

    return maps


def pytorch_grad_cam_shown(
    classifier: Classifier, squares: Tensor, target: Target, method: str
) -> Tensor:
    with _pytorch_grad_cam(classifier, method) as explainer:
        found = explainer(classifier.normalise(squares), _pytorch_grad_cam_targets(squares, target))
        return torch.from_numpy(found)


def pytorch_grad_cam_raw(
    classifier: Classifier, squares: Tensor, target: Target, method: str
) -> Tensor:
    x, targets = classifier.normalise(squares), _pytorch_grad_cam_targets(squares, target)
    with _pytorch_grad_cam(classifier, method) as explainer:
        explainer(x, targets)
        kept = explainer.activations_and_grads
        planes = [each[0].numpy() for each in (kept.activations, kept.gradients)]
        return torch.from_numpy(
            explainer.get_cam_image(x, layer_of(classifier), targets, *planes, False)
        )


def _pytorch_grad_cam(classifier: Classifier, method: str) -> Any:
    library = importlib.import_module("pytorch_grad_cam")
    kind = getattr(library, PEERS["pytorch-grad-cam"].methods[method])
    return kind(model=classifier.net, target_layers=[layer_of(classifier)])


def _pytorch_grad_cam_targets(squares: Tensor, target: Target) -> list[Any] | None:
    if target is None:
        return None
    library = importlib.import_module("pytorch_grad_cam.utils.model_targets")
    return [library.ClassifierOutputTarget(target)] * len(squares)


def monai_shown(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    found = _monai(classifier, method)(classifier.normalise(squares), class_idx=target)
    return torch.as_tensor(found)[:, 0]


def monai_raw(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    explainer = _monai(classifier, method)
    found = explainer.compute_map(classifier.normalise(squares), class_idx=target)
    return cast(Tensor, found)[:, 0].detach()


def _monai(classifier: Classifier, method: str) -> Any:
    kind = getattr(importlib.import_module("monai.visualize"), PEERS["MONAI"].methods[method])
    return kind(nn_module=classifier.net, target_layers="maps")


def our_maps(classifier: Classifier, squares: Tensor, target: Target, method: str) -> Tensor:
    return evidence(classifier, squares, target=target, method=method).maps


PEERS: dict[str, Peer] = {
    "captum": Peer("captum.attr", "captum", captum_maps, captum_maps, {"grad_cam": "LayerGradCam"}),
    "torch-cam": Peer(
        "torchcam.methods",
        "torchcam",
        torchcam_maps(True),
        torchcam_maps(False),
        {
            "grad_cam": "GradCAM",
            "grad_cam_plus_plus": "GradCAMpp",
            "xgrad_cam": "XGradCAM",
            "layer_cam": "LayerCAM",
        },
    ),
    "pytorch-grad-cam": Peer(
        "pytorch_grad_cam",
        "grad-cam",
        pytorch_grad_cam_shown,
        pytorch_grad_cam_raw,
        {
            "grad_cam": "GradCAM",
            "grad_cam_plus_plus": "GradCAMPlusPlus",
            "hires_cam": "HiResCAM",
            "xgrad_cam": "XGradCAM",
            "layer_cam": "LayerCAM",
        },
    ),
    "MONAI": Peer(
        "monai.visualize",
        "monai",
        monai_shown,
        monai_raw,
        {"grad_cam": "GradCAM", "grad_cam_plus_plus": "GradCAMpp"},
    ),
}


@dataclass(frozen=True)
class Installed:
    """A library's version, or why it can't be used here."""

    version: str = ""
    problem: str = ""


def installed(module: str, distribution: str) -> Installed:
    """Try the library out: a version that imports, or one line about what stands in the way."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Installed(problem="not installed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if distribution == "grad-cam":
                declare_torchvision_operators()
            importlib.import_module(module)
    except Exception as problem:  # whatever a foreign library throws
        return Installed(problem=f"{version} doesn't import: {str(problem).splitlines()[0]}")
    return Installed(version)


def declare_torchvision_operators() -> None:
    """Let torchvision import where its compiled operators don't load (built for CUDA, CPU torch).

    pytorch-grad-cam imports torchvision for resizing pictures and for boxes; its class activation
    maps call none of the operators, but without their names torchvision doesn't import at all.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            schema = f"torchvision::{name}"
            torch.library.define(schema, "(Tensor dets, Tensor scores, float iou) -> Tensor")
        importlib.import_module("torchvision")


# --- Cost -----------------------------------------------------------------------------------


def cost(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least processor time of each, in seconds, over alternating rounds after one to warm up."""
    for way in ways.values():
        way()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - started)
    return best


def subject(preset: str) -> tuple[Classifier, Tensor]:
    """An untrained net in evaluation mode, and a batch of noise: neither cost nor equality minds.

    The weights are shaken, as gains that start at 0 would leave half of the compact net out.
    """
    size = SIZE_PX[preset]
    torch.manual_seed(0)
    classifier = build(Recipe.preset(preset, size_px=size), 2).eval()
    with torch.no_grad():
        for value in classifier.parameters():
            value.add_(0.02 * torch.randn_like(value))
    return wired(classifier), torch.randint(0, 256, (BATCH, 1, size, size), dtype=torch.uint8)


def measure(preset: str, rounds: int, usable: Mapping[str, Peer]) -> None:
    classifier, squares = subject(preset)
    ways: dict[str, Callable[[], Any]] = {
        "bare forward": lambda: forward(classifier, squares),
        "clearhead": lambda: our_maps(classifier, squares, 0, "grad_cam"),
        "clearhead, square": lambda: on_the_square(classifier, squares),
    }
    for name, peer in usable.items():
        ways[name] = way_of(peer, classifier, squares)
    seconds = cost(ways, rounds)
    side = squares.shape[-1]
    print(f"\nGrad-CAM of one class, {preset} net, {side}×{side}, batch {BATCH}, one thread")
    for name, each in seconds.items():
        ratio = each / seconds["clearhead"]
        share = seconds["bare forward"] / each
        print(
            f"  {name:18} {BATCH / each:7.1f} images/s of processor time, {share:5.2f} of forward, "
            f"{ratio:5.2f} × our cost"
        )


def way_of(peer: Peer, classifier: Classifier, squares: Tensor) -> Callable[[], Any]:
    return lambda: peer.shown(classifier, squares, 0, "grad_cam")


@torch.no_grad()
def forward(classifier: Classifier, squares: Tensor) -> Tensor:
    return cast(Tensor, classifier(squares))


def on_the_square(classifier: Classifier, squares: Tensor) -> Any:
    maps = our_maps(classifier, squares, 0, "grad_cam").clamp(min=0).numpy()
    return on_square(maps, classifier.net.grid, squares.shape[-1])


# --- Are the maps the same? -----------------------------------------------------------------


def compare(preset: str, usable: Mapping[str, Peer]) -> None:
    classifier, squares = subject(preset)
    some = squares[:8]
    target = spoken_for(classifier, some)
    print(f"\nRaw maps against ours, {preset} net, {len(some)} pictures, class {target}")
    for name, peer in usable.items():
        for method in peer.methods:
            print(f"  {name:18} {method:20} {likeness(peer, classifier, some, target, method)}")


def likeness(peer: Peer, classifier: Classifier, squares: Tensor, target: int, method: str) -> str:
    ours = our_maps(classifier, squares, target, method).clamp(min=0)
    try:
        theirs = peer.raw(classifier, squares, target, method).detach().clamp(min=0)
    except RuntimeError as problem:
        return f"fails: {str(problem).splitlines()[0]}"
    far, like = apart(ours, theirs)
    return f"apart {far:8.1e} of the peak, correlation {like:.6f}"


def spoken_for(classifier: Classifier, squares: Tensor) -> int:
    """The class for which an untrained net finds something in every picture."""
    peaks = [our_maps(classifier, squares, k, "grad_cam").amax((1, 2)).min() for k in range(2)]
    return int(torch.stack(peaks).argmax())


def apart(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Largest difference between maps (B, h, w), each divided by its peak, and least correlation.

    A factor for the whole map is no difference of method: ours counts per plane, others per cell.
    """
    one, other = (each.flatten(1).double() for each in (ours, theirs))
    far = (one / one.amax(1, keepdim=True) - other / other.amax(1, keepdim=True)).abs().max()
    pairs = zip(one.numpy(), other.numpy(), strict=True)
    return float(far), float(min(np.corrcoef(*pair)[0, 1] for pair in pairs))


# --- Pointing game --------------------------------------------------------------------------


def pointing_cost(rounds: int) -> None:
    """Print the cost of the pointing game over 64 heats of 160×160, Quantus and ours."""
    random = np.random.default_rng(0)
    heats = random.random((64, 160, 160), np.float32)
    masks = np.zeros(heats.shape, bool)
    masks[:, 60:90, 60:90] = True
    ways: dict[str, Callable[[], Any]] = {
        "clearhead": lambda: pointing(heats, distances(masks)),
    }
    found = installed("quantus", "quantus")
    if found.version:
        game = importlib.import_module("quantus").PointingGame(disable_warnings=True)
        ways["Quantus"] = lambda: game(
            model=None,
            x_batch=heats[:, None],
            y_batch=np.zeros(len(heats), int),
            a_batch=heats[:, None],
            s_batch=masks[:, None],
        )
    seconds = cost(ways, rounds)
    print("\nPointing game, 64 heats of 160×160 (ours with the distances that tolerances need)")
    for name, each in seconds.items():
        print(f"  {name:18} {1000 * each:7.1f} ms, {each / seconds['clearhead']:5.2f} × our cost")
    if found.problem:
        print(f"  {'Quantus':18} {found.problem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = {name: installed(peer.module, peer.distribution) for name, peer in PEERS.items()}
    print(f"torch {torch.__version__}")
    for name, each in found.items():
        print(f"{name} {each.version or each.problem}")
    usable = {name: PEERS[name] for name, each in found.items() if each.version}
    warnings.simplefilter("ignore")
    for preset in SIZE_PX:
        measure(preset, options.rounds, usable)
        compare(preset, usable)
    pointing_cost(options.rounds)


if __name__ == "__main__":
    main()
