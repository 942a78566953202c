"""Train a brain-MRI classifier, see what it looks at, and know whether to believe it.

Every stage is one function here and one command of the same name. Names load on first use, so
`import clearhead` brings in neither torch nor anything slow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ClearheadError": "clearhead.errors",
    "Explanation": "clearhead.types",
    "Facts": "clearhead.types",
    "Finding": "clearhead.types",
    "Manifest": "clearhead.types",
    "Prediction": "clearhead.types",
    "Recipe": "clearhead.types",
    "Scan": "clearhead.types",
}
"""Where each public name lives."""

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
