"""Train a brain-MRI classifier, see what it looks at, and know whether to believe it.

Every stage is one function here and one command of the same name. Names load on first use, so
`import clearhead` brings in neither torch nor anything slow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    # nouns
    "Classifier": "clearhead.model.classifier",
    "CrossValidation": "clearhead.audits.crossval",
    "DataAudit": "clearhead.audits.section",
    "Doubts": "clearhead.audits.doubts",
    "EvidenceAudit": "clearhead.audits.section",
    "ClearheadError": "clearhead.errors",
    "Explanation": "clearhead.types",
    "Facts": "clearhead.types",
    "Finding": "clearhead.types",
    "Manifest": "clearhead.types",
    "Prediction": "clearhead.types",
    "Recipe": "clearhead.types",
    "Regions": "clearhead.model.regions",
    "Run": "clearhead.model.run",
    "Scan": "clearhead.types",
    "Subject": "clearhead.audits.subject",
    # stages, each a command of the same name
    "audit": "clearhead.audits.audit",
    "bench": "clearhead.audits.bench",
    "calibrate": "clearhead.model.calibrate",
    "check": "clearhead.audits.check",
    "crossval": "clearhead.audits.crossval",
    "demo": "clearhead.app.demo",
    "download": "clearhead.data.download",
    "doubts": "clearhead.audits.doubts",
    "evaluate": "clearhead.model.evaluate",
    "explain": "clearhead.heat.explain",
    "find_copies": "clearhead.data.copies",
    "index": "clearhead.data.index",
    "phantom": "clearhead.data.phantom",
    "pool": "clearhead.audits.crossval",
    "report": "clearhead.deliver.report",
    "resume": "clearhead.model.train",
    "selftest": "clearhead.audits.selftest",
    "split": "clearhead.data.split",
    "train": "clearhead.model.train",
    # what stages leave and take
    "copies_across": "clearhead.data.split",
    "copy_report": "clearhead.data.copies",
    "display_scale": "clearhead.heat.scale",
    "evidence": "clearhead.heat.evidence",
    "examine": "clearhead.audits.audit",
    "load_manifest": "clearhead.data.manifest",
    "load_thumbnails": "clearhead.data.manifest",
    "open_run": "clearhead.model.run",
    "read": "clearhead.data.read",
    "read_scans": "clearhead.data.read",
    "recipe_after": "clearhead.model.pretrained",
    "regions": "clearhead.model.regions",
    "runs_of": "clearhead.audits.crossval",
    "save_audit": "clearhead.deliver.audit_page",
    "save_crossval": "clearhead.deliver.crossval_page",
    "save_doubts": "clearhead.deliver.doubts_page",
    "save_evidence_audit": "clearhead.deliver.evidence_page",
    "save_explanations": "clearhead.deliver.gallery",
    "save_manifest": "clearhead.data.manifest",
    "shipped": "clearhead.model.shipped",
    "subject": "clearhead.audits.subject",
    "subject_of": "clearhead.audits.subject",
    "triptych": "clearhead.deliver.overlay",
}
"""Where each public name lives."""

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
