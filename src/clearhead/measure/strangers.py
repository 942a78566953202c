"""How well a score tells strangers from pictures of its own kind, and where to draw the line.

The higher the score the stranger the picture. Every group counts once: a picture with 80 copies
says no more than one without.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import RecipeError
from clearhead.measure.groupwise import weights

PASSED = 0.95
"""Share of real pictures that pass where strangers that pass are counted."""


def told_apart(
    real: ArrayLike, strange: ArrayLike, real_groups: ArrayLike, strange_groups: ArrayLike
) -> tuple[float, float]:
    """AUROC and FPR95 of scores (N,) of real pictures and (M,) of strangers, both 0–1.

    The AUROC is the chance that a stranger scores above a real picture, a tie counting half. FPR95
    is the share of strangers that pass where the line lets 95 % of the real ones pass: 0 is best.
    Source of both: Hendrycks and Gimpel, "A baseline for detecting misclassified and
    out-of-distribution examples in neural networks", ICLR 2017; Liang et al., ICLR 2018 (FPR95).
    Errors: `RecipeError` where one side is empty or a score is not finite.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    sides = [np.asarray(real, np.float64), np.asarray(strange, np.float64)]
    scores = np.concatenate(sides)
    if not all(map(len, sides)) or not np.isfinite(scores).all():
        raise RecipeError(
            f"{len(sides[0])} real and {len(sides[1])} strange scores can't be ranked: expected "
            "finite numbers on both sides"
        )
    own = np.repeat([True, False], [len(side) for side in sides])
    each = np.concatenate([weights(np.asarray(real_groups)), weights(np.asarray(strange_groups))])
    area = roc_auc_score(own, -scores, sample_weight=each)
    passing, passed, _ = roc_curve(own, -scores, sample_weight=each, drop_intermediate=False)
    return float(area), float(passing[np.argmax(passed >= PASSED - 1e-9)])


def line(scores: ArrayLike, groups: ArrayLike, share: float) -> float:
    """The lowest line above which lies at most `share` of real pictures' scores (N,).

    What lies on the line passes. With G groups a share below 1/G turns none of them away: the line
    is then their highest score, and of new pictures of the same kind about 1/(G + 1) lie above it.
    Errors: `RecipeError` without scores or for a share outside of 0 to 1.
    """
    values = np.asarray(scores, np.float64)
    if not 0 <= share < 1:
        raise RecipeError(f"share is {share}: expected from 0 to below 1, such as 0.01")
    if not len(values):
        raise RecipeError("no line can be drawn without pictures: expected validation pictures")
    order = np.argsort(-values, kind="stable")
    each = weights(np.asarray(groups))[order]
    falling: NDArray[np.float64] = values[order]
    above = np.concatenate([[0.0], np.cumsum(each) / each.sum()])
    # A line at a score leaves below it all that score the same.
    first = np.searchsorted(-falling, -falling, side="left")
    return float(falling[np.flatnonzero(above[first] <= share + 1e-12)[-1]])
