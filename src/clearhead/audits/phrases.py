"""Numbers, scores and lists as an audit says them."""

from __future__ import annotations

from collections.abc import Sequence

from clearhead.measure.scores import Score


def percent(part: float, whole: float = 1.0) -> str:
    """A share in words: `12 %`, `0.4 %`, `100 %` for all and never for nearly all."""
    share = 100.0 * part / whole if whole else 0.0
    if share in (0.0, 100.0) or 1.0 <= share < 99.5:
        return f"{share:.0f} %"
    return f"{max(share, 0.1):.1f} %" if share < 1.0 else f"{min(share, 99.9):.1f} %"


def percent_of(share: Score | float | None) -> str:
    """A share to a tenth: `91.3 %`; `?` where it is undefined."""
    value = share.value if isinstance(share, Score) else share
    return "?" if value is None else f"{100 * value:.1f} %"


def interval(score: Score) -> tuple[float, float] | None:
    """The ends of a score's interval, as a `Finding` has them; None where it is undefined."""
    return None if score.low is None or score.high is None else (score.low, score.high)


def ranged(share: Score) -> str:
    """A share with its interval: `51.1 % (50.2–52.0)`; `–` where it is undefined."""
    if share.value is None:
        return "–"
    ends = interval(share)
    return percent_of(share) + (f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else "")


def points(gain: Score) -> str:
    """A difference of two shares with its interval: `+4.4 points (-1.6 to +10.2)`."""
    if gain.value is None:
        return "–"
    ends = interval(gain)
    between = f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else ""
    return f"{100 * gain.value:+.1f} points{between}"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,087 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
