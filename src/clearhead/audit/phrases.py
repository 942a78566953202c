"""Numbers and lists as an audit says them."""

from __future__ import annotations

from collections.abc import Sequence


def percent(part: float, whole: float = 1.0) -> str:
    """A share in words: `12 %`, `0.4 %`, `100 %` for all and never for nearly all."""
    share = 100.0 * part / whole if whole else 0.0
    if share in (0.0, 100.0) or 1.0 <= share < 99.5:
        return f"{share:.0f} %"
    return f"{max(share, 0.1):.1f} %" if share < 1.0 else f"{min(share, 99.9):.1f} %"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,087 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
