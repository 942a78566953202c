"""Progress on a terminal as a bar, in a log as a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from clearhead.types import Bar, Progress, silent

T = TypeVar("T")

LOG_SECONDS = 20.0
"""In a log, long work says how far it is this often."""


def progress_for(*, quiet: bool) -> Progress:
    """A bar where standard error is a terminal, lines where it is not, nothing where `quiet`."""
    if quiet:
        return silent
    return terminal if sys.stderr.isatty() else logged


def terminal(items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
    """A `Progress` that draws a bar with the time left."""
    return _TerminalBar(items, total, label)


def logged(items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
    """A `Progress` that writes whole lines: at the end, and every `LOG_SECONDS` before."""
    return _LogLines(items, total, label)


class _TerminalBar(Generic[T]):
    def __init__(self, items: Iterable[T], total: int | None, label: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(items, total=total, desc=label, file=sys.stderr, dynamic_ncols=True)

    def __iter__(self) -> Iterator[T]:
        yield from self._bar

    def note(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)


class _LogLines(Generic[T]):
    def __init__(self, items: Iterable[T], total: int | None, label: str) -> None:
        self._items, self._total, self._label = items, total, label
        self._note = ""

    def __iter__(self) -> Iterator[T]:
        started = spoken = time.monotonic()
        done = 0
        for done, item in enumerate(self._items, start=1):
            yield item
            if time.monotonic() - spoken > LOG_SECONDS:
                spoken = time.monotonic()
                self._say(done, spoken - started)
        self._say(done, time.monotonic() - started)

    def note(self, text: str) -> None:
        self._note = text

    def _say(self, done: int, seconds: float) -> None:
        of = f"/{self._total}" if self._total is not None else ""
        words = [f"{self._label}: {done}{of}", f"{seconds:.0f} s"]
        if self._total and 0 < done < self._total:
            words.append(f"{seconds / done * (self._total - done):.0f} s left")
        print(" · ".join(filter(None, [*words, self._note])), file=sys.stderr, flush=True)  # noqa: T201  the command line's own voice
