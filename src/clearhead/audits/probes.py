"""Where the label is looked for, what a probe sees of each place, and what it reads there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.data.traits import VIEWS
from clearhead.measure.probe import MOST_GROUPS, Probe, holm, probe
from clearhead.measure.scores import Scores

Columns = dict[str, NDArray[Any]]
"""What a probe sees: by name (n,) numbers or categories, or (n, d) numbers; NaN where unknown."""

RARE = 0.01
"""Adjusted p-value from which a label counts as readable."""
SLIGHT = 0.55
"""AUC that the interval must begin above for a warning of a place without tissue."""


# --- Rows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Rows that are looked at, (n,) each."""

    material: Material
    at: NDArray[np.int64]
    """Their places in the manifest."""
    labels: NDArray[np.int64]
    """Class indices."""
    groups: NDArray[np.int64]
    """Copies of one picture, and pictures of one patient, share a number."""

    def column(self, name: str) -> NDArray[Any]:
        """A column of the manifest, (n,)."""
        values: NDArray[Any] = self.material.manifest.column(name)[self.at]
        return values

    def trait(self, *path: str) -> NDArray[Any]:
        """A field of `data.traits.TRAITS` by the names that lead to it, (n,) or (n, d)."""
        values = self.material.traits
        for name in path:
            values = values[name]
        return np.asarray(values[self.at])

    def seen(self) -> Rows:
        """Those whose picture could be looked at."""
        return self.take(self.trait("seen"))

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """Those for which `keep` (n,) is true."""
        return Rows(self.material, self.at[keep], self.labels[keep], self.groups[keep])


def usable(material: Material) -> Rows:
    """Every row that can be read, has a label and is not set aside."""
    at = np.flatnonzero(material.manifest.usable())
    manifest = material.manifest.take(at)
    return Rows(material, at, manifest.labels(), manifest.groups())


def drawn(material: Material) -> Rows:
    """The usable rows of at most `MOST_GROUPS` groups, which are drawn at random."""
    rows = usable(material)
    distinct, member = np.unique(rows.groups, return_inverse=True)
    order = np.random.default_rng([material.seed, 11]).permutation(len(distinct))
    return rows.take(np.isin(member, order[:MOST_GROUPS]))


# --- Columns --------------------------------------------------------------------------------


def _looked(name: str) -> Callable[[Rows, str], Columns]:
    return lambda rows, view: {name: rows.trait(view, name)}


def facts(rows: Rows, view: str = "") -> Columns:
    """What a file says before anyone looks at the picture, (n,) each; the same in every view."""
    width, height = (rows.column(name).astype(np.float64) for name in ("width", "height"))
    return {
        "format": rows.column("format"),
        "mode": rows.column("mode"),
        "extension": _extensions(rows),
        "width": width,
        "height": height,
        "aspect": width / height,
        "bytes": rows.column("bytes").astype(np.float64),
        **_header(rows),
    }


def _header(rows: Rows) -> Columns:
    kept = rows.trait("file")
    codes = {name: _named(kept[name]) for name in ("quantisation", "subsampling")}
    numbers = {name: kept[name].astype(np.float64) for name in ("quality", "dpi")}
    flags = {name: kept[name] for name in ("progressive", "exif", "icc", "comment")}
    return {**codes, **numbers, **flags}


def _named(codes: NDArray[Any]) -> NDArray[Any]:
    """Codes as names, for their order means nothing."""
    return np.array([str(code) for code in codes.tolist()], dtype=object)


def _extensions(rows: Rows) -> NDArray[Any]:
    sources = rows.column("source")
    return np.array(
        [PurePosixPath(source.split("#")[0]).suffix.lower() for source in sources], dtype=object
    )


def sizes(rows: Rows) -> NDArray[Any]:
    """Size of each picture in words, `height×width`, (n,)."""
    pairs = zip(rows.column("height"), rows.column("width"), strict=True)
    return np.array([f"{int(height)}×{int(width)}" for height, width in pairs], dtype=object)


ODD = (
    "text_area",
    "text_components",
    "text_corners",
    "marks",
    "mark_area",
    "frame",
    "frame_level",
    "drawing",
    "colour",
)
"""What of a picture's oddness was put there by hand or by a machine's screen."""


def oddities(rows: Rows, view: str = "") -> Columns:
    """The numbers of `ODD`, (n,) or (n, d) each; the same in every view."""
    odd = rows.trait("odd")
    return {name: odd[name].astype(np.float64) for name in ODD}


# --- Places ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the label is looked for.

    `limit` is the ROC-AUC that the interval must begin above for the place to fail, `slight` for
    it to warn; on the canvas `raised` is added to both. `tissue` places show the brain as well, so
    the disease itself may be what is read.
    """

    words: str
    """How it is called: *The label can be read from …*"""
    columns: Callable[[Rows, str], Columns]
    """What a probe sees of the rows in a view."""
    remedy: str
    """What to do: …"""
    limit: float = 0.60
    slight: float = SLIGHT
    raised: float = 0.0
    """The canvas shows brightness relative to the picture's own range, which a tumour shifts."""
    views: tuple[str, ...] = VIEWS
    """The views it is looked at in; the empty word for what is told of the file as stored."""
    learner: str = "forest"
    """One of `measure.probe.LEARNERS`."""
    tissue: bool = False


REDRAW = "draw every picture on the canvas, crop to the head, or vary the background in training"
RECODE = "write all pictures in one format, mode and size before training, and give no fact to it"
RESCAN = "look at the pictures side by side, and take both classes from the same sources"

PROBES: dict[str, Place] = {
    "facts": Place(
        "file facts alone (format, size, compression, header)",
        facts,
        RECODE,
        views=("",),
        learner="trees",
    ),
    "border": Place("the outer edge of the picture alone", _looked("border"), REDRAW),
    "background": Place("the background around the head", _looked("background"), REDRAW),
    "text": Place(
        "burned-in letters, marks, frames and drawings",
        oddities,
        "paint them over, or set such pictures aside",
        views=("",),
    ),
    "shape": Place("the size and place of the head in the picture", _looked("shape"), REDRAW),
    "silhouette": Place(
        "the outline of the head, without its content",
        _looked("silhouette"),
        REDRAW,
    ),
    "rim": Place(
        "the brightness of scalp and skull",
        _looked("rim"),
        RESCAN,
        limit=0.60,
        slight=0.55,
        raised=0.15,
        tissue=True,
    ),
    "intensity": Place(
        "how bright the picture is as a whole",
        _looked("intensity"),
        RESCAN,
        limit=0.85,
        slight=0.75,
        tissue=True,
    ),
    "sharpness": Place(
        "how sharp the picture is",
        _looked("sharpness"),
        RESCAN,
        limit=0.85,
        slight=0.75,
        tissue=True,
    ),
    "thumbnail": Place(
        "a thumbnail of 16×16 cells",
        _looked("thumbnail"),
        RESCAN,
        limit=0.90,
        slight=0.80,
        tissue=True,
    ),
}
"""Where the label is looked for.

Limits were set on generated heads. In ten clean sets of 300, the interval of a place without
tissue began at an AUC of 0.55 at most; of the rim at 0.48 (0.63 on the canvas), of intensity,
sharpness and thumbnail at 0.63 at most (0.63 in a set of 1500), for a tumour does show there.
With a mark planted at strength 0.6, that of the place which holds the mark began at 0.64 or more.
"""


# --- Readings -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What one probe read in one view; scores are there where the probe isn't `silent`."""

    name: str
    place: Place
    view: str
    probe: Probe
    p: float
    """Adjusted for the number of probes; 1 where it can't be told."""

    @property
    def per_group(self) -> Scores:
        """Scores that count every distinct picture once."""
        assert self.probe.per_group is not None
        return self.probe.per_group

    @property
    def per_file(self) -> Scores:
        """Scores that count every file once."""
        assert self.probe.per_file is not None
        return self.probe.per_file

    @property
    def auc(self) -> float:
        """ROC-AUC per distinct picture, 0–1; 0.5 where it is undefined."""
        return self.per_group.roc_auc.value or 0.5

    @property
    def low(self) -> float:
        """Where the interval of the ROC-AUC begins; 0 where it is undefined."""
        low = self.per_group.roc_auc.low
        return 0.0 if low is None else low

    @property
    def limit(self) -> float:
        """ROC-AUC that the interval must begin above to fail, in this view."""
        return self.place.limit + self.place.raised * (self.view == "canvas")

    @property
    def level(self) -> str:
        """`fail`, `warn` or `info`."""
        slight = self.limit - self.place.limit + self.place.slight
        if self.probe.silent or self.p >= RARE or self.low <= slight:
            return "info"
        return "fail" if self.low > self.limit else "warn"


def readings(rows: Rows) -> list[Reading]:
    """Every probe of `PROBES` in each of its views, p-values adjusted over all (Holm).

    Rows whose picture could not be looked at take part in file facts alone.
    """
    seen = rows.seen()
    jobs = [(name, view) for name, place in PROBES.items() for view in place.views]
    bar = rows.material.progress(jobs, total=len(jobs), label="Probing")
    probes = []
    for name, view in bar:
        bar.note(f"{name} {view}".strip())
        probes.append(_probe(rows if name == "facts" else seen, PROBES[name], view))
    adjusted = iter(holm([known.p for known in probes if known.p is not None]))
    return [
        Reading(name, PROBES[name], view, known, 1.0 if known.p is None else next(adjusted))
        for (name, view), known in zip(jobs, probes, strict=True)
    ]


def _probe(rows: Rows, place: Place, view: str) -> Probe:
    return probe(
        place.columns(rows, view),
        rows.labels,
        rows.groups,
        classes=rows.material.manifest.classes,
        learner=place.learner,
        resamples=rows.material.resamples,
        permutations=rows.material.permutations,
        seed=rows.material.seed,
    )
