"""Reading many files at once: in order, in bounded memory, and stopped at once by Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from threadpoolctl import threadpool_limits

from clearhead.data.facts import Page, rows_of
from clearhead.data.listing import Entry
from clearhead.errors import ManifestError

CHUNK = 32
"""Files per task of a process."""
AHEAD = 4
"""Tasks per process that wait to be asked for: bounds the memory."""
FEW = 128
"""Files that are read sooner than processes start."""


def read_all(
    entries: Sequence[Entry], colour: str, workers: int | None
) -> Generator[list[Page], None, None]:
    """Rows and thumbnails of each entry, in the order of the entries.

    Errors: `ManifestError` where a process was killed.
    """
    workers = workers or _cores()
    if workers == 1 or len(entries) < FEW:
        for entry in entries:
            yield rows_of(entry, colour)
        return
    pool = _pool(min(workers, -(-len(entries) // CHUNK)))
    try:
        yield from _read_in(pool, entries, colour, workers)
    except BrokenProcessPool:
        raise ManifestError(
            "a process that read pictures was killed, perhaps for lack of memory: "
            "try again with --workers 1"
        ) from None
    finally:  # also where the reader of this generator stops early
        pool.shutdown(wait=True, cancel_futures=True)


def _read_in(
    pool: ProcessPoolExecutor, entries: Sequence[Entry], colour: str, workers: int
) -> Iterator[list[Page]]:
    waiting: deque[Future[list[list[Page]]]] = deque()
    for start in range(0, len(entries), CHUNK):
        waiting.append(_submit(pool, entries[start : start + CHUNK], colour))
        if len(waiting) >= AHEAD * workers:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _submit(
    pool: ProcessPoolExecutor, entries: Sequence[Entry], colour: str
) -> Future[list[list[Page]]]:
    with warnings.catch_warnings():  # Python 3.12 warns of any fork beside threads; see `_pool`
        warnings.simplefilter("ignore", DeprecationWarning)
        return pool.submit(_rows_of_each, entries, colour)


def _rows_of_each(entries: Sequence[Entry], colour: str) -> list[list[Page]]:
    return [rows_of(entry, colour) for entry in entries]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Forked processes need no guarded main module and start in milliseconds; they only decode
    # and count, so they meet no lock that another thread may have held.
    method = "fork" if sys.platform == "linux" else "spawn"
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context(method), initializer=_prepare
    )


def _prepare() -> None:
    """One thread of arithmetic each, or they fight for the cores; Ctrl-C is for the gatherer."""
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
