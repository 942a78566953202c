"""The run's own page: its figures, a contact sheet of explanations, and one file that shows all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.cache import load_scan
from clearhead.data.copies import copy_report
from clearhead.data.manifest import as_classes
from clearhead.deliver import verdict
from clearhead.deliver.curves import (
    confusion_matrix,
    reliability_diagram,
    roc_curve,
    save_figure,
    score_chart,
    training_curves,
    triage_chart,
)
from clearhead.deliver.diagram import net_diagram
from clearhead.deliver.layers import layers_of
from clearhead.deliver.overlay import Case, contact_sheet
from clearhead.deliver.page import DataSummary, Origin, Page, Picture, render_page
from clearhead.errors import RunError
from clearhead.files import read_json, write_text
from clearhead.heat.explain import explain_scans
from clearhead.heat.scale import PERCENTILE, display_scale
from clearhead.measure.scores import Evaluation, absent_class
from clearhead.model.evaluate import (
    evaluate_command,
    load_evaluation,
    load_predictions,
    name_of,
)
from clearhead.model.run import Run
from clearhead.types import SPLITS, Finding, Manifest, Progress, silent

CASES = 3
"""Pictures of each kind (truth and call) on the contact sheet."""

RULE = (
    f"Of each class, up to {CASES} right calls whose probability is nearest the median of their "
    f"kind, and the up to {CASES} wrong calls with the highest probability; never two copies of "
    "one picture."
)
"""How the cases of the contact sheet are chosen; shown beside it."""


def report(
    run: Run,
    *,
    split: str = "test",
    on: Manifest | None = None,
    named: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Draw the run's figures and write its page in its folder; returns the page's path.

    Of the evaluation on a split, or on another set `on`, of which `named` tells what class of the
    run a label stands for. The page is `report.html` and its figures go to `figures/`; of another
    split or set than `test` they are `report-NAME.html` and `figures/NAME/`. Errors: `RunError`
    where it isn't evaluated on that yet, `ManifestError` where classes don't fit.
    """
    manifest, name = run.manifest(), split if on is None else name_of(on)
    rows = manifest if on is None else as_classes(on, run.classes, named or {})
    evaluation = load_evaluation(run, name)
    table = load_predictions(run, name)
    unknown = set(table["source"].to_pylist()) - set(rows.column("source"))
    if unknown:
        raise RunError(
            f"{run.folder} was evaluated on another set called {name}, with {min(unknown)}: "
            f"`{evaluate_command(run, name)}`"
        )
    drawn, folder = [], run.folder / "figures"
    steps = list(_figures(run, rows, evaluation, table))
    for title, caption, figure, draw in progress(steps, total=len(steps), label="figures"):
        path = (folder if name == "test" else folder / name) / f"{figure}.png"
        save_figure(draw(), path)
        drawn.append(Picture(title, caption, path.read_bytes()))
    page = Page(
        title=run.folder.resolve().name + ("" if on is None else f" on {name}"),
        origin=_origin(run),
        recipe=run.recipe,
        data=_summary(manifest) if on is None else _with(_summary(manifest), name, rows),
        evaluation=evaluation,
        figures=drawn,
        findings=audited(run, name),
    )
    target = run.folder / ("report.html" if name == "test" else f"report-{name}.html")
    write_text(target, render_page(page))
    return target


def audited(run: Run, split: str) -> tuple[Finding, ...]:
    """The findings that `clearhead audit` left of a split, worst first; none where it never ran.

    Notes that say nothing a reader must know are left to the audit's own page.
    """
    path = run.folder / "audit" / split / "findings.json"
    if not path.exists():
        return ()
    found = [Finding(**_frozen(value)) for value in read_json(path)["findings"]]
    return tuple(finding for finding in found if finding.level != "info")


def _frozen(value: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in value.items()}


def _figures(
    run: Run, manifest: Manifest, evaluation: Evaluation, table: pa.Table
) -> Iterator[tuple[str, str, str, Any]]:
    """Title, caption, file name and drawing function of each figure."""
    labels, probabilities = _predicted(table, run.classes)
    scale = display_scale(run)
    yield (
        "Training",
        "Accuracy and loss after each epoch, on training and validation pictures.",
        "curves",
        lambda: training_curves(run.history()),
    )
    yield (
        "Scores",
        "With intervals drawn over groups of copies, beside what file facts alone achieve.",
        "scores",
        lambda: score_chart(evaluation),
    )
    yield (
        "Confusion matrix",
        f"Pictures of {verdict.name_of_set(evaluation)} by true class and call.",
        "confusion",
        lambda: confusion_matrix(evaluation.per_file.confusion, run.classes),
    )
    yield (
        "ROC",
        "Sensitivity against false alarms at every threshold.",
        "roc",
        lambda: roc_curve(
            labels, probabilities, run.classes, evaluation.positive, evaluation.per_file.roc_auc
        ),
    )
    yield from _trust(evaluation)
    yield (
        "What it looks at",
        f"Grad-CAM of the called class, in logits. {RULE} Full colour is {scale:.3g} logits, the "
        f"{PERCENTILE}th percentile of the peaks on validation pictures, in every picture alike.",
        "contact-sheet",
        lambda: contact_sheet(_cases(run, manifest, table), scale=scale),
    )
    yield (
        "The net",
        "Every layer with the shape of its output and its parameters.",
        "net",
        lambda: net_diagram(
            layers_of(run.recipe, len(run.classes), absent=absent_class(run.classes)),
            title=f"{run.recipe.net} net",
        ),
    )


def _trust(evaluation: Evaluation) -> Iterator[tuple[str, str, str, Any]]:
    """The figures of probabilities and triage, where there are some."""
    reliability, triage = evaluation.reliability, evaluation.triage
    if reliability is not None:
        yield (
            "Does 80 % mean 80 %?",
            "Each mark stands for as many distinct pictures as the others, with its "
            f"{100 * evaluation.level:g} % interval: on the dotted line, what is told with 80 % is "
            "so in 80 % of them.",
            "reliability",
            lambda: reliability_diagram(reliability),
        )
    if triage is not None:
        yield (
            "What a promise costs",
            "Fewer mistakes leave more pictures uncertain; a promise laxer than the model needs "
            "makes some fit no class (thresholds from validation pictures, counted on "
            f"{verdict.name_of_set(evaluation)}).",
            "triage",
            lambda: triage_chart(triage),
        )


def _predicted(
    table: pa.Table, classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    places = {name: index for index, name in enumerate(classes)}
    labels = np.array([places[label] for label in table["label"].to_pylist()], dtype=np.int64)
    columns = [table[f"probability {name}"].to_numpy() for name in classes]
    return labels, np.stack(columns, axis=1).astype(np.float64)


def _cases(run: Run, manifest: Manifest, table: pa.Table) -> list[Case]:
    rows = choose_cases(table, run.classes)
    sources = [table["source"][row].as_py() for row in rows]
    scans = [load_scan(manifest, source) for source in sources]
    masks = dict(zip(manifest.column("source"), manifest.column("mask"), strict=True))
    return [
        Case(
            scan,
            explanation,
            truth=table["label"][row].as_py(),
            mask=_mask(manifest.root, masks[source], scan.pixels.shape),
            caption=source,
        )
        for row, source, (scan, explanation) in zip(
            rows, sources, explain_scans(run, scans), strict=True
        )
    ]


def choose_cases(table: pa.Table, classes: tuple[str, ...], *, most: int = CASES) -> list[int]:
    """Rows of a table of predictions that the contact sheet shows, by `RULE`."""
    label, call = (np.array(table[name].to_pylist(), object) for name in ("label", "call"))
    group = table["group"].to_numpy()
    _, probabilities = _predicted(table, classes)
    confidence = probabilities.max(1)
    chosen: list[int] = []
    for truth in classes:
        for called in (truth, *(name for name in classes if name != truth)):
            rows = np.flatnonzero((label == truth) & (call == called))
            if not len(rows):
                continue
            middle = np.median(confidence[rows])
            distance = np.abs(confidence[rows] - middle) if called == truth else -confidence[rows]
            ordered = rows[np.argsort(distance, kind="stable")]
            _, first = np.unique(group[ordered], return_index=True)
            chosen += ordered[np.sort(first)][:most].tolist()
    return chosen


def _mask(root: Path, mask: str | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """The tumour mask of a row, where there is one of the picture's size."""
    if mask is None or not (root / mask).exists():
        return None
    with Image.open(root / mask) as image:
        inside: NDArray[np.bool_] = np.asarray(image.convert("L")) > 127
    return inside if inside.shape == shape else None


def _origin(run: Run) -> Origin:
    made = run.made
    versions = {name: str(made[name]) for name in ("clearhead", "torch", "python")}
    device = str(made["device"])
    if made["processes"] > 1:
        device = f"{made['processes']} × {device}"
    return Origin(
        run.folder.resolve().name,
        when=datetime.fromisoformat(made["finished"]),
        seconds=float(made["seconds"]),
        device=device,
        pretrained=made.get("pretrained"),
        versions=versions,
    )


def _with(data: DataSummary, name: str, rows: Manifest) -> DataSummary:
    """The data of a run, and the other set that it was scored on."""
    label = rows.column("label")
    counts = {each: int(np.sum(label == each)) for each in rows.classes}
    return replace(data, files={**data.files, name: counts})


def _summary(manifest: Manifest) -> DataSummary:
    split, label = manifest.column("split"), manifest.column("label")
    files = {
        part: {name: int(np.sum((split == part) & (label == name))) for name in manifest.classes}
        for part in SPLITS
        if np.any(split == part)
    }
    unreadable = len(manifest) - len(manifest.readable())
    notes = manifest.notes
    told = {"protocol": notes.get("protocol"), "seed": notes.get("seed")}
    if manifest.table.column("copy").null_count:
        return DataSummary(files, unreadable, **told)
    copies = copy_report(manifest)
    return DataSummary(
        files, unreadable, copies.distinct, copies.mirrored, copies.contradicting, **told
    )
