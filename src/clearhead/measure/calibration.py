"""Calibration: the temperature with which 80 % means 80 %.

Every group counts once: a picture with 80 copies says no more than one without.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from clearhead.measure.groupwise import weights

PRIOR = 1.0
"""Spread of the log of a temperature that is believed before any picture is seen.

Hardly felt with a hundred groups; with few, or where all calls are right, it keeps the temperature
from running to 0.
"""

LIMITS = (0.05, 20.0)


def temperature(logits: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> float:
    """The temperature by which logits (N, K) fit labels (N,) best: the divisor of the logits.

    Minimises the cross-entropy, each group counting once. Source: Guo et al., "On calibration of
    modern neural networks", ICML 2017, section 4.2. It changes no call. 1 where there is one class.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    values, known = np.asarray(logits, np.float64), np.asarray(labels)
    if len(np.unique(known)) < 2:
        return 1.0
    each = weights(np.asarray(groups))

    def loss(log: float) -> float:
        said = log_softmax(values / np.exp(log), axis=1)[np.arange(len(known)), known]
        return float(-(each * said).sum() + 0.5 * (log / PRIOR) ** 2)

    found = minimize_scalar(loss, bounds=tuple(np.log(LIMITS)), method="bounded")
    return float(np.exp(found.x))
