"""Whether pictures from elsewhere are news to a run: not one that it learnt from, nor a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.data.between import copies_between
from clearhead.data.cache import thumbnails
from clearhead.errors import ManifestError, ReadError
from clearhead.types import Manifest, Progress, silent

ASIDE = "`clearhead check THESE --against ITS --fix NEW` sets them aside"
"""What to do about pictures from elsewhere that aren't new."""


def shown_in(
    rows: Manifest, known: Manifest, *, progress: Progress = silent
) -> tuple[NDArray[np.bool_], bool]:
    """Which rows (N,) show a picture of another set `known`, and whether copies were looked for.

    Where files of either are gone, only the very same pixels are found.
    """
    try:
        own, theirs = (thumbnails(each, progress=progress) for each in (rows, known))
    except ReadError:
        return _same_pixels(rows, known), False
    return copies_between(rows, own, known, theirs, progress=progress).shared, True


def seen_in(
    rows: Manifest, known: Sequence[Manifest], *, progress: Progress = silent
) -> NDArray[np.bool_]:
    """Which rows (N,) show a picture of one of several other sets."""
    seen = np.zeros(len(rows), np.bool_)
    for each in known:
        seen |= shown_in(rows, each, progress=progress)[0]
    return seen


def check_unseen(
    rows: Manifest,
    known: Sequence[Manifest],
    *,
    run: str = "this run",
    remedy: str = ASIDE,
    progress: Progress = silent,
) -> bool:
    """That no row shows what a run has learnt from, `known`; whether copies were looked for.

    Errors: `ManifestError` where some do, with the `remedy`.
    """
    told = f"{run} was trained on, or copies of them", remedy
    for each in known:
        _refuse(rows, _same_pixels(rows, each), *told)  # at once, before the long search
    searched = True
    for each in known:
        seen, looked = shown_in(rows, each, progress=progress)
        _refuse(rows, seen, *told)
        searched &= looked
    return searched


def _same_pixels(rows: Manifest, known: Manifest) -> NDArray[np.bool_]:
    pixels = set(known.column("pixel_hash")) - {None}
    return np.array([value in pixels for value in rows.column("pixel_hash")], np.bool_)


def _refuse(rows: Manifest, seen: NDArray[np.bool_], told: str, remedy: str) -> None:
    if seen.any():
        raise ManifestError(
            f"{int(seen.sum())} of {len(rows)} pictures are among those that {told} "
            f"({rows.column('source')[seen.argmax()]}…), and of those it is surer than of any new "
            f"one: {remedy}"
        )
