"""Fixtures shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real images: `CLEARHEAD_DATA`, or `shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CLEARHEAD_DATA", beside))
    if not (folder / "kaggle4600").is_dir():
        pytest.skip(f"real images are absent from {folder}")
    return folder
