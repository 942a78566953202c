"""The Kaggle data set of the report, fetched, checked, and laid where it is wanted."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from clearhead.data.listing import is_picture
from clearhead.errors import DownloadError, MissingExtra
from clearhead.files import walk, writing_folder
from clearhead.types import Progress, silent

DATASET = "preetviradiya/brian-tumor-dataset"
"""Name of the report's data set on Kaggle, spelled as there."""

EXPECTED = {"Brain Tumor": 2513, "Healthy": 2087}
"""Pictures in each class folder of `DATASET`."""

Fetch = Callable[[str], str | Path]
"""From the name of a data set to the folder that now holds it."""


def download(
    out: Path,
    *,
    dataset: str = DATASET,
    fetch: Fetch | None = None,
    progress: Progress = silent,
) -> Path:
    """The folder `out`, with the Kaggle data set in it; what is complete is not fetched again.

    `fetch` defaults to kagglehub (the extra `kaggle`), whose own copy is left in its cache.
    Errors: `MissingExtra` without kagglehub; `DownloadError` without network or access, and where
    pictures are missing; then `out` is as it was.
    """
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        _check(out, dataset, "remove it, or name a new folder")
        return out
    fetched = _fetched(dataset, fetch or _kagglehub())
    _check(fetched, dataset, "delete that folder and download again")
    files = list(walk(fetched))
    with writing_folder(out) as folder:
        for path in progress(files, total=len(files), label="Copying"):
            place = folder / path.relative_to(fetched)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
    return out


def _kagglehub() -> Fetch:
    try:
        kagglehub: Any = importlib.import_module("kagglehub")
    except ModuleNotFoundError:
        raise MissingExtra("kagglehub", "kaggle") from None
    fetch: Fetch = kagglehub.dataset_download
    return fetch


def _fetched(dataset: str, fetch: Fetch) -> Path:
    try:
        folder = Path(fetch(dataset))
    except Exception as error:  # of kagglehub, its HTTP library, or the system: all mean the same
        # The message may hold addresses with keys, so the kind of error alone is told.
        raise DownloadError(
            f"Kaggle can't be reached, or gives no access ({type(error).__name__}): "
            f"{_by_hand(dataset)}"
        ) from None
    if not folder.is_dir():
        raise DownloadError(f"the download left no folder: {_by_hand(dataset)}")
    return folder


def _by_hand(dataset: str) -> str:
    return (
        f"download https://www.kaggle.com/datasets/{dataset} in a browser, unpack it, and run "
        "`clearhead index` on the folder"
    )


def _check(folder: Path, dataset: str, remedy: str) -> None:
    """Errors: `DownloadError` where `folder` lacks pictures of the data set."""
    found = Counter(path.parent.name for path in walk(folder) if is_picture(path))
    if dataset != DATASET:
        if not found:
            raise DownloadError(f"{folder} holds no pictures of {dataset}: {remedy}")
        return
    if any(found[name] != count for name, count in EXPECTED.items()):
        raise DownloadError(
            f"{folder} holds {_counted(found, EXPECTED)} pictures, and the data set has "
            f"{_counted(EXPECTED, EXPECTED)}: {remedy}"
        )


def _counted(counts: Any, names: Iterable[str]) -> str:
    return " and ".join(f"{counts[name]} {name}" for name in names)
