"""Fixtures shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.types import Manifest


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real images: `CLEARHEAD_DATA`, or `shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CLEARHEAD_DATA", beside))
    if not (folder / "kaggle4600").is_dir():
        pytest.skip(f"real images are absent from {folder}")
    return folder


@pytest.fixture(scope="session")
def kaggle(
    realdata: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, NDArray[np.uint8]]:
    """The real folder of 4600, its copies found, and its thumbnails: once for all processes."""
    from filelock import FileLock

    from clearhead.data.copies import find_copies
    from clearhead.data.index import index
    from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest

    ours = tmp_path_factory.getbasetemp()
    shared = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    indexed, found = shared / "indexed.parquet", shared / "kaggle.parquet"
    with FileLock(shared / "kaggle.lock"):
        if not found.exists():
            manifest = index(realdata / "kaggle4600", indexed)
            save_manifest(find_copies(manifest, load_thumbnails(indexed)), found)
    return load_manifest(found), load_thumbnails(indexed)
