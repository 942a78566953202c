"""Whether pictures from elsewhere are news to a run: not one that it learnt from, nor a copy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clearhead.data.between import copies_between
from clearhead.data.cache import thumbnails
from clearhead.errors import ManifestError, ReadError
from clearhead.types import Manifest, Progress, silent


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


def check_unseen(rows: Manifest, known: Manifest, *, progress: Progress = silent) -> bool:
    """That no row shows what a row of the training `known` shows; whether copies were looked for.

    Errors: `ManifestError` where some do.
    """
    _refuse(rows, _same_pixels(rows, known))  # at once, before the long search
    seen, searched = shown_in(rows, known, progress=progress)
    _refuse(rows, seen)
    return searched


def _same_pixels(rows: Manifest, known: Manifest) -> NDArray[np.bool_]:
    pixels = set(known.column("pixel_hash")) - {None}
    return np.array([value in pixels for value in rows.column("pixel_hash")], np.bool_)


def _refuse(rows: Manifest, seen: NDArray[np.bool_]) -> None:
    if seen.any():
        raise ManifestError(
            f"{int(seen.sum())} of {len(rows)} pictures are among those that this run was trained "
            f"on, or copies of them ({rows.column('source')[seen.argmax()]}…), and of those it is "
            "surer than of any new one: `clearhead check THESE --against ITS --fix NEW` sets them "
            "aside"
        )
