"""CSV files that people bring: columns by name, whatever the separator."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from clearhead.errors import ManifestError

SEPARATORS = ",;\t|"


def read_csv(path: Path, *needed: str) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, as text without surrounding blanks.

    Errors: `ManifestError` where it can't be read or lacks one of the columns `needed`.
    """
    text = _text(path)
    if not text.strip():
        raise ManifestError(f"the table {path} is empty: expected a header and rows")
    separator = max(SEPARATORS, key=text.split("\n", 1)[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        _check_columns(path, columns, needed)
        return [{name: row[name].strip() for name in columns} for row in reader]
    except csv.Error as error:
        raise ManifestError(f"the table {path} is no sound CSV: {error}") from None


def has_columns(path: Path, *needed: str) -> bool:
    """Whether the first line of `path` names all these columns."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            first = lines.readline(1 << 16)
    except OSError:
        return False
    separator = max(SEPARATORS, key=first.count)
    names = {name.strip().strip('"') for name in first.split(separator)}
    return names.issuperset(needed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"the table {path} is not UTF-8 text: save it as CSV UTF-8") from None
    except FileNotFoundError:
        raise ManifestError(f"there is no table {path}: check the name") from None
    except OSError as error:
        raise ManifestError(f"the table {path} can't be read: {error.strerror}") from None


def _check_columns(path: Path, columns: Iterable[str], needed: Iterable[str]) -> None:
    for name in needed:
        if name not in columns:
            raise ManifestError(
                f"the table {path} has no column {name!r}; it has {', '.join(columns)}"
            )
