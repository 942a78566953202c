"""One function over many items, in processes: in order, in bounded memory, stopped by Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import takewhile
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from clearhead.errors import ManifestError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32
"""Items per task of a process."""
AHEAD = 4
"""Tasks per process that wait to be asked for: bounds the memory."""
FEW = 128
"""Items that are done sooner than processes start."""


def each(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None
) -> Generator[Result, None, None]:
    """`function` of each item, in the order of the items; closing it stops the processes.

    `function` is one of a module (or a `partial` of it), so that processes can be given it;
    `workers` defaults to the number of cores.
    Errors: `ManifestError` where a process was killed.
    """
    workers = workers or _cores()
    if workers == 1 or len(items) < FEW:
        yield from map(function, items)
        return
    context = _context()
    stop = context.RawValue("b", 0)  # without a lock, which a killed process might hold for ever
    pool = _pool(context, min(workers, -(-len(items) // CHUNK)), stop)
    try:
        yield from _each_in(pool, function, items, workers)
    except BrokenProcessPool:
        raise ManifestError(
            "a process that read pictures was killed, perhaps for lack of memory: "
            "try again with --workers 1"
        ) from None
    finally:  # also where the reader of this generator stops early
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


def _each_in(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
) -> Iterator[Result]:
    waiting: deque[Future[list[Result]]] = deque()
    for start in range(0, len(items), CHUNK):
        waiting.append(_submit(pool, function, items[start : start + CHUNK]))
        if len(waiting) >= AHEAD * workers:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]
) -> Future[list[Result]]:
    with warnings.catch_warnings():  # Python 3.12 warns of any fork beside threads; see `_pool`
        warnings.simplefilter("ignore", DeprecationWarning)
        return pool.submit(_results, function, items)


def _results(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Cut short where nobody waits for the results any more."""
    return [function(item) for item in takewhile(_is_wanted, items)]


def _is_wanted(item: object) -> bool:
    return not (_stop and _stop[0].value)


_stop: list[Any] = []
"""In a process: the flag that says that nobody waits for its results."""


def _context() -> BaseContext:
    # Forked processes need no guarded main module and start in milliseconds; they only decode
    # and count, so they meet no lock that another thread may have held.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _pool(context: BaseContext, workers: int, stop: Any) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare, initargs=(stop,))


def _prepare(stop: Any) -> None:
    """One thread of arithmetic each, or they fight for the cores; Ctrl-C is for the gatherer."""
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_gatherer, daemon=True).start()
    _stop[:] = [stop]


def _leave_with_gatherer() -> None:
    """End this process where the gatherer was killed: it would wait for tasks for ever."""
    gatherer = multiprocessing.parent_process()
    if gatherer is not None:
        gatherer.join()
        os._exit(1)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
