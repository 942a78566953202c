"""Explanations on disk: one array file, overlay and triptych per picture, and a table of all."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clearhead.deliver.curves import save_figure
from clearhead.deliver.overlay import save_overlay, triptych
from clearhead.files import writing
from clearhead.types import Explanation, Scan


def save_explanations(
    explained: Iterable[tuple[Scan, Explanation]],
    out: Path,
    *,
    scale: float,
    triptychs: bool = True,
) -> Iterator[dict[str, Any]]:
    """Save each explanation into the folder `out` as it comes, yielding its row of the table.

    Files per picture: `NAME.npz` (heat, logits, probabilities and what they mean),
    `NAME.overlay.png` and `NAME.triptych.png`; at the end `explanations.csv` with one row
    per picture. `scale` is the evidence shown in full colour, in the explanation's unit.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for scan, explanation in explained:
        name = safe_name(scan)
        save_arrays(explanation, out / f"{name}.npz", scale=scale)
        save_overlay(out / f"{name}.overlay.png", scan, explanation, scale=scale)
        if triptychs:
            figure = triptych(scan, explanation, scale=scale)
            save_figure(figure, out / f"{name}.triptych.png")
        rows.append(_row(explanation, name))
        yield rows[-1]
    _write_table(rows, out / "explanations.csv")


def save_arrays(explanation: Explanation, path: Path, *, scale: float) -> None:
    """The explanation as a compressed npz of plain arrays, readable without pickle."""
    prediction = explanation.prediction
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            heat=explanation.heat,
            peak=np.float32(explanation.peak),
            grid=np.array(explanation.grid),
            scale=np.float32(scale),
            logits=prediction.logits,
            probabilities=prediction.probabilities,
            classes=np.array(prediction.classes),
            call=np.array(prediction.call),
            triage=np.array(prediction.triage),
            reason=np.array(prediction.reason),
            target=np.array(explanation.target),
            method=np.array(explanation.method),
            unit=np.array(explanation.unit),
            source=np.array(prediction.source),
        )


def safe_name(scan: Scan) -> str:
    """A file name of letters, digits and dashes that no two different sources share."""
    stem = Path(scan.source.replace("\\", "/")).name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:60]
    mark = hashlib.sha256(f"{scan.source}\n{scan.sha256}".encode()).hexdigest()[:8]
    return f"{plain}-{mark}" if plain else mark


def _row(explanation: Explanation, name: str) -> dict[str, Any]:
    prediction = explanation.prediction
    probabilities = dict(zip(prediction.classes, prediction.probabilities.tolist(), strict=True))
    return {
        "source": prediction.source,
        "call": prediction.call,
        "triage": prediction.triage,
        "reason": prediction.reason,
        "strangeness": prediction.strangeness,
        "stranger": prediction.stranger,
        **{f"probability {label}": value for label, value in probabilities.items()},
        "target": explanation.target,
        "method": explanation.method,
        "peak": explanation.peak,
        "unit": explanation.unit,
        "evidence": "none" if explanation.blank else "positive",
        "file": name,
    }


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["source"])
        writer.writeheader()
        writer.writerows(rows)
