"""Score-CAM and Ablation-CAM of pytorch-grad-cam, where it is installed and its equation ours.

It differs on purpose in two places: it interpolates maps between the corners of the square whatever
the geometry, and scales every map to its own range. The first is reproduced by a grid, the second
is undone by comparing weighted sums before it.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.heat.evidence import evidence
from clearhead.model.classifier import Classifier
from small_nets import SIDE, small_squares

CELLS = SIDE // 4


class Rectified(nn.Module):
    """Rectified maps from one module, which is what pytorch-grad-cam hooks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 4, 1), nn.ReLU())
        self.mix = nn.Conv2d(8, 6, 3, 1, 1)
        self.out = nn.Linear(6, 3)
        self.grid = Grid(0.0, (SIDE - 1) / (CELLS - 1))  # corner to corner, as it interpolates
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(torch.randn_like(value))

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(x))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.out(torch.relu(self.mix(maps)).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def theirs(name: str, net: Rectified, x: Tensor, target: int) -> NDArray[np.float32]:
    """The weighted sum of maps (B, h, w) before pytorch-grad-cam scales it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        made = getattr(library, name)(net, [net.body])
        kept: list[Any] = []
        weigh = made.get_cam_weights

        def weights(*given: Any) -> Any:
            found = weigh(*given)
            kept.append(np.einsum("bc,bchw->bhw", found, given[3]))
            return found

        made.get_cam_weights = weights
        made(x, [ClassifierOutputTarget(target)] * len(x))
    found: NDArray[np.float32] = kept[0]
    return found


@pytest.mark.parametrize("target", [0, 1, 2])
def test_score_cam_agrees(target: int) -> None:
    net, squares = Rectified().eval(), small_squares(3)
    classifier = Classifier(net)
    expected = theirs("ScoreCAM", net, classifier.normalise(squares), target)
    ours = evidence(classifier, squares, target=target, method="score_cam").maps.numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("target", [0, 1, 2])
def test_ablation_cam_agrees_times_the_score(target: int) -> None:
    net, squares = Rectified().eval(), small_squares(3)
    classifier = Classifier(net)
    found = evidence(classifier, squares, target=target, method="ablation_cam")
    score = found.logits[:, target, None, None].numpy()
    expected = theirs("AblationCAM", net, classifier.normalise(squares), target) * score
    np.testing.assert_allclose(found.maps.numpy(), expected, atol=1e-4 * np.abs(expected).max())
