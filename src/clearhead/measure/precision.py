"""How precisely a share is known from so many independent pictures."""

from __future__ import annotations

import math
from statistics import NormalDist

from clearhead.errors import RecipeError


def wilson(hits: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a share, `hits` of `count`; (0, 1) where nothing was counted.

    `hits` may be fractional (an expected number). Source: E. B. Wilson, *Probable Inference*
    (1927), without continuity correction. Errors: `RecipeError` for counts that can't be or a
    level outside 0–1.
    """
    if not 0 < level < 1:
        raise RecipeError(f"level is {level}: expected a share between 0 and 1, such as 0.95")
    if not 0 <= hits <= count:
        raise RecipeError(f"{hits} of {count} is no share: expected from 0 to {count}")
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, slack = hits / count, z * z / count
    centre = (share + slack / 2) / (1 + slack)
    reach = math.sqrt(slack * (share * (1 - share) + slack / 4)) / (1 + slack)
    low = 0.0 if hits == 0 else max(0.0, centre - reach)
    high = 1.0 if hits == count else min(1.0, centre + reach)
    return low, high


def half_width(count: float, share: float = 0.8, level: float = 0.95) -> float:
    """Half the length of the interval of a `share` measured on `count` independent pictures."""
    low, high = wilson(share * count, count, level)
    return (high - low) / 2


def pictures_needed(reach: float, share: float = 0.8, level: float = 0.95) -> int:
    """The fewest independent pictures whose interval of a `share` reaches ± `reach` or less.

    Errors: `RecipeError` where `reach` is not between 0 and 0.5.
    """
    if not 0 < reach < 0.5:
        raise RecipeError(f"reach is {reach}: expected a share between 0 and 0.5, such as 0.1")
    low, high = 0, 1
    while half_width(high, share, level) > reach:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if half_width(middle, share, level) > reach:
            low = middle
        else:
            high = middle
    return high
