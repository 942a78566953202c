"""The download, against a local stand-in for Kaggle."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from clearhead.data import download as downloading
from clearhead.data.download import DATASET, download
from clearhead.errors import DownloadError, MissingExtra

INNER = Path("Brain Tumor Data Set") / "Brain Tumor Data Set"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A data set of five pictures instead of 4,600."""
    counts = {"Brain Tumor": 3, "Healthy": 2}
    monkeypatch.setattr(downloading, "EXPECTED", counts)
    return counts


def stand_in(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (folder / INNER / name).mkdir(parents=True)
        for number in range(count):
            (folder / INNER / name / f"({number}).jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "metadata.csv").write_text("image,class\n")
    return folder


def test_a_complete_set_is_copied_whole(tmp_path: Path, few: dict[str, int]) -> None:
    cache = stand_in(tmp_path / "cache", few)
    asked: list[str] = []

    def fetch(dataset: str) -> str:
        asked.append(dataset)
        return str(cache)

    out = download(tmp_path / "new" / "kaggle", fetch=fetch)
    assert out == tmp_path / "new" / "kaggle"
    assert asked == [DATASET]
    copied = {path.relative_to(out) for path in out.rglob("*")}
    assert copied == {path.relative_to(cache) for path in cache.rglob("*")}
    assert (out / INNER / "Healthy" / "(1).jpg").read_bytes() == b"\xff\xd8\xff"
    assert download(out, fetch=fetch) == out
    assert len(asked) == 1, "what is complete is not fetched again"


def test_a_partial_download_is_refused_and_leaves_nothing(
    tmp_path: Path, few: dict[str, int]
) -> None:
    cache = stand_in(tmp_path / "cache", {**few, "Healthy": 1})
    expected = r"holds 3 Brain Tumor and 1 Healthy pictures, and the data set has 3 .* and 2"
    with pytest.raises(DownloadError, match=expected):
        download(tmp_path / "out", fetch=lambda dataset: cache)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(
    tmp_path: Path, few: dict[str, int]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(DownloadError, match="remove it, or name a new folder"):
        download(tmp_path / "out", fetch=lambda dataset: pytest.fail("fetched"))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [ConnectionError, PermissionError, ValueError, KeyError])
def test_no_network_or_access_says_what_to_do(tmp_path: Path, error: type[Exception]) -> None:
    def fetch(dataset: str) -> Path:
        raise error("https://kaggle.example/?key=secret\nsecond line")

    with pytest.raises(DownloadError) as caught:
        download(tmp_path / "out", fetch=fetch)
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text
    assert f"https://www.kaggle.com/datasets/{DATASET}" in text
    assert "clearhead index" in text
    assert not list(tmp_path.iterdir())


def test_a_fetch_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="left no folder"):
        download(tmp_path / "out", fetch=lambda dataset: tmp_path / "nowhere")


def test_another_data_set_needs_pictures_alone(tmp_path: Path) -> None:
    cache = stand_in(tmp_path / "cache", {"glioma": 1})
    out = download(tmp_path / "out", dataset="someone/else", fetch=lambda dataset: cache)
    assert (out / INNER / "glioma" / "(0).jpg").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DownloadError, match="no pictures of someone/else"):
        download(tmp_path / "x", dataset="someone/else", fetch=lambda dataset: tmp_path / "empty")


def test_kagglehub_does_the_fetching(
    tmp_path: Path, few: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = stand_in(tmp_path / "cache", few)
    kagglehub = ModuleType("kagglehub")
    kagglehub.dataset_download = lambda dataset: str(cache)  # type: ignore[attr-defined]  # stand-in
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    assert (download(tmp_path / "out") / "metadata.csv").exists()


def test_a_missing_kagglehub_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtra, match=r"clearhead\[kaggle\]"):
        download(tmp_path / "out")


@pytest.mark.realdata
def test_the_genuine_layout_is_complete(realdata: Path) -> None:
    assert download(realdata / "kaggle4600") == realdata / "kaggle4600"
