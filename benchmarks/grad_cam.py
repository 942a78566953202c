"""Grad-CAM throughput, batch 32: ours against a bare forward pass, captum, and a full backward.

*Full backward* is what hook-based libraries do: the activation is kept by a hook, the score is
propagated through the whole net to every parameter. Alternating rounds, the best of each is
printed.

    python benchmarks/grad_cam.py
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from clearhead.heat.evidence import evidence
from clearhead.model.classifier import Classifier, build
from clearhead.model.memory import keep_freed_memory
from clearhead.model.nets import CompactNet, EvidenceNet, ReportNet
from clearhead.types import Recipe

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--default-memory", action="store_true", help="leave malloc as it is")
    options = parser.parse_args()
    if not options.default_memory:
        keep_freed_memory()
    for preset in ("report", "compact", "evidence"):
        measure(preset, options.rounds)


def measure(preset: str, rounds: int) -> None:
    recipe = Recipe.preset(preset, size_px=256)
    torch.manual_seed(0)
    classifier = build(recipe, 2).eval()
    squares = torch.randint(0, 256, (BATCH, 1, 256, 256), dtype=torch.uint8)
    ways = {
        "bare forward": lambda: forward(classifier, squares),
        "clearhead": lambda: evidence(classifier, squares),
        "full backward": lambda: full_backward(classifier, squares),
        "captum": captum_way(classifier, squares),
    }
    best = dict.fromkeys(ways, float("inf"))
    for way in ways.values():  # warm up
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    rate = {name: BATCH / seconds for name, seconds in best.items()}
    print(f"{preset} net, 256×256, batch {BATCH}, {torch.get_num_threads()} threads")
    for name, value in rate.items():
        share = value / rate["bare forward"]
        ratio = rate["clearhead"] / value
        print(f"  {name:14} {value:7.1f} images/s  {share:5.2f} of forward; ours is {ratio:.2f} ×")


@torch.no_grad()
def forward(classifier: Classifier, squares: Tensor) -> Tensor:
    return cast(Tensor, classifier(squares))


def last_maps(classifier: Classifier) -> nn.Module:
    net = classifier.net
    if isinstance(net, EvidenceNet):
        return net.out
    return net.conv3 if isinstance(net, ReportNet) else cast(CompactNet, net).body


def full_backward(classifier: Classifier, squares: Tensor) -> Tensor:
    kept: dict[str, Tensor] = {}
    handle = last_maps(classifier).register_forward_hook(
        lambda module, inputs, output: kept.update(maps=output)
    )
    try:
        classifier.zero_grad()
        logits = classifier(squares)
        kept["maps"].retain_grad()
        logits.max(1).values.sum().backward()
        gradient = cast(Tensor, kept["maps"].grad)
        return torch.relu((gradient.mean((2, 3), keepdim=True) * kept["maps"]).sum(1))
    finally:
        handle.remove()


def captum_way(classifier: Classifier, squares: Tensor) -> Callable[[], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import LayerGradCam
    oracle = LayerGradCam(classifier, last_maps(classifier))
    x = squares.float()

    def run() -> Any:
        target = forward(classifier, squares).argmax(1)
        return oracle.attribute(x, target=target, relu_attributions=True)

    return run


if __name__ == "__main__":
    main()
