"""What can go wrong through the user's input, as a tree.

```
ClearheadError            anything below; the command line prints one line and exits 2
├── ReadError             a file can't be decoded to a Scan (broken, empty, too large, colour…)
├── ManifestError         a folder, table or manifest doesn't hold what was asked for
├── RecipeError           a training setting is impossible
├── RunError              a run folder is missing, incomplete or of another version
├── MissingExtra          an optional library isn't installed
└── DownloadError         the data set couldn't be fetched
```

A message is one line: what is wrong with this value, what was expected, what to do.
"""

from __future__ import annotations


class ClearheadError(Exception):
    """An input that clearhead can't work with; `str(error)` is the one line for the user."""


class ReadError(ClearheadError):
    """A file that can't be decoded to a `Scan`."""


class ManifestError(ClearheadError):
    """A folder, table or manifest that doesn't hold what was asked for."""


class RecipeError(ClearheadError):
    """A training setting that is impossible."""


class RunError(ClearheadError):
    """A run folder that is missing, incomplete or of another version."""


class DownloadError(ClearheadError):
    """A data set that couldn't be fetched."""


class MissingExtra(ClearheadError):
    """An optional library that isn't installed; names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed, and this needs it: pip install 'clearhead[{extra}]'"
        )
