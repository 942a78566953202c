"""Items in processes: in order, and nothing goes on once nobody waits."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clearhead.data import workers as working
from clearhead.data.workers import each


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 300])
@pytest.mark.parametrize("workers", [1, 2, None])
def test_results_keep_the_order_of_the_items(
    count: int, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 4)
    found = list(each(square, range(count), workers))
    assert found == [number * number for number in range(count)]


def touch(item: int, folder: Path, quick: int) -> int:
    """Leaves a file; items from `quick` on wait for the file `go`, a minute at most."""
    (folder / str(item)).touch()
    deadline = time.monotonic() + 60
    while item >= quick and not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return item


def test_who_stops_early_waits_for_the_items_in_hand_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 20)
    real = ProcessPoolExecutor.shutdown

    def released(pool: ProcessPoolExecutor, **settings: Any) -> None:
        (tmp_path / "go").touch()
        real(pool, **settings)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", released)
    results = each(partial(touch, folder=tmp_path, quick=20), range(200), 2)
    assert next(results) == 0
    results.close()
    done = {int(path.name) for path in tmp_path.iterdir() if path.name != "go"}
    assert done >= set(range(20))
    assert len(done) <= 22  # the first task, and the one item that each process had begun
