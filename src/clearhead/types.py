"""The nouns: frozen values that cross every border of the package.

Nothing here touches the disk or torch, and importing this file is cheap (numpy and pyarrow are
named in annotations alone), so the command line can build its flags from `Recipe` at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from clearhead.errors import ManifestError, RecipeError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


# --- Progress -------------------------------------------------------------------------------


class Bar(Protocol[T_co]):
    """Items to loop over, with a place for a word about how it goes."""

    def __iter__(self) -> Iterator[T_co]: ...

    def note(self, text: str) -> None:
        """Show `text` beside the bar (`loss 0.31 · accuracy 0.88`)."""


class Progress(Protocol):
    """How long work shows that it moves: a bar on a terminal, lines in a log, or nothing."""

    def __call__(
        self, items: Iterable[T], *, total: int | None = None, label: str = ""
    ) -> Bar[T]: ...


class _Silent(Generic[T]):
    def __init__(self, items: Iterable[T]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def note(self, text: str) -> None:
        return None


def silent(items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
    """The `Progress` that shows nothing: the library's default."""
    return _Silent(items)


# --- Scan -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What a file says of itself before anyone looks at the picture; never who the patient is."""

    format: str
    """Format by signature: `JPEG`, `PNG`, `TIFF`, `BMP`, `WEBP`."""
    mode: str
    """Pixel mode as stored: `L`, `RGB`, `RGBA`, `P`, `I;16`, `1`, `CMYK`, `F`…"""
    height: int
    """Rows of the decoded picture, after EXIF orientation."""
    width: int
    """Columns of the decoded picture, after EXIF orientation."""
    bytes: int
    """Size of the file."""


@dataclass(frozen=True)
class Scan:
    """One decoded picture.

    Shapes: `pixels` is (H, W) float32 in stored units (0–255 for 8 bit, 0–65535 for 16 bit).
    """

    pixels: NDArray[np.float32]
    source: str
    """Where it came from, with the part inside the file: `case7.tif#page=2`."""
    sha256: str
    """Digest of the file's bytes."""
    facts: Facts
    depth: float = 255.0
    """The largest value that the stored type can hold: 1, 255 or 65535; for floats, the maximum."""
    spacing_mm: tuple[float, float] | None = None
    """Row and column spacing in millimetres, where the file knows it."""

    def __repr__(self) -> str:
        height, width = self.pixels.shape
        return f"Scan({self.source!r}, {height}×{width}, {self.facts.format} {self.facts.mode})"


# --- Regions --------------------------------------------------------------------------------

BACKGROUND, RIM, BRAIN = 0, 1, 2
"""Values of a map of regions: outside, scalp with skull and face, inside of the skull."""

REGIONS = ("background", "rim", "brain")
"""The regions by name, in the order of their values."""


# --- Manifest -------------------------------------------------------------------------------

COLUMNS: dict[str, str] = {
    "source": "string",  # relative to root, posix; `#page=2` for a page
    "label": "string",  # class name; null where unknown
    "error": "string",  # why it can't be read; null where it can
    "sha256": "string",  # of the file's bytes
    "pixel_hash": "string",  # of the decoded pixels and their shape
    "phash": "uint64",  # perceptual hash of the picture
    "format": "string",
    "mode": "string",
    "height": "int32",
    "width": "int32",
    "bytes": "int64",
    "mtime_ns": "int64",  # with `bytes`, tells an unchanged file
    "mean": "float32",  # intensity summary in stored units
    "std": "float32",
    "p01": "float32",
    "p50": "float32",
    "p99": "float32",
    "patient": "string",  # null where unknown
    "mask": "string",  # path of the tumour mask, relative to root or absolute; null where none
    "copy": "int64",  # copies of one picture share a number; null before `copies`
    "turn": "int8",  # which of the 8 flips and turns maps it onto its group's first picture
    "group": "int64",  # copies and patients together: the unit of every split and interval
    "split": "string",  # train, validation, test, or null
    "fold": "int8",  # test fold in k-fold protocols; null otherwise
    "collection": "int16",  # sub-collection that the file seems to come from; null before `check`
    "aside": "string",  # why the row takes no part in splits and training; null where it does
}
"""Every column of a manifest and its Arrow type, in the order on disk."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Manifest:
    """The pictures of a data set, one row each, and how the table was made.

    `table` has the columns `COLUMNS`; rows whose `error` is set could not be read. `notes` holds
    plain JSON values (protocol, seed, disagreements with the metadata…).
    """

    root: Path
    classes: tuple[str, ...]
    table: pa.Table
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Manifest({str(self.root)!r}, {len(self)} rows, classes {list(self.classes)})"

    def column(self, name: str) -> NDArray[Any]:
        """The column as a numpy array of length `len(self)`; nulls become None or NaN."""
        if name not in self.table.column_names:
            raise ManifestError(
                f"the manifest has no column {name!r}; it has {', '.join(self.table.column_names)}"
            )
        values: NDArray[Any] = self.table.column(name).to_numpy()
        return values

    def labels(self) -> NDArray[np.int64]:
        """Class index of each row, (N,), in the order of `classes`."""
        import numpy as np

        place = {name: index for index, name in enumerate(self.classes)}
        try:
            return np.array([place[label] for label in self.column("label")], dtype=np.int64)
        except KeyError as missing:
            raise ManifestError(
                f"the manifest has rows labelled {missing.args[0]!r}, which is none of its classes "
                f"{', '.join(self.classes)}: select labelled rows first"
            ) from None

    def groups(self) -> NDArray[np.int64]:
        """Group of each row, (N,); where copies were never searched, each row is its own."""
        import numpy as np

        column = self.table.column("group")
        if column.null_count:
            return np.arange(len(self), dtype=np.int64)
        values: NDArray[np.int64] = column.to_numpy()
        return values

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> Manifest:
        """The manifest of the given rows (a boolean mask or positions), in that order."""
        import numpy as np

        rows = np.asarray(rows)
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return dataclasses.replace(self, table=self.table.take(positions))

    def readable(self) -> Manifest:
        """Without the rows that could not be read."""
        return self.take(self.column("error") == None)  # noqa: E711  elementwise on objects

    def usable(self) -> NDArray[np.bool_]:
        """Which rows can be read, have a label, and are not set aside, (N,)."""
        import numpy as np

        blank = [self.table.column(name).is_null().to_numpy() for name in ("error", "aside")]
        named = self.table.column("label").is_valid().to_numpy()
        usable: NDArray[np.bool_] = np.logical_and.reduce([*blank, named])
        return usable

    def part(self, split: str) -> Manifest:
        """The usable rows of one split (`train`, `validation`, `test`)."""
        if split not in SPLITS:
            raise ManifestError(f"no split is called {split!r}: expected {', '.join(SPLITS)}")
        keep = (self.column("split") == split) & self.usable()
        if not keep.any():
            raise ManifestError(
                f"the manifest has no {split} rows: run `clearhead split` on it first"
            )
        return self.take(keep)

    def with_columns(self, **columns: Sequence[Any] | NDArray[Any]) -> Manifest:
        """A manifest whose named columns hold new values (each of length `len(self)`)."""
        import pyarrow as pa

        table = self.table
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            kind = pa.type_for_alias(COLUMNS[name])
            table = table.set_column(place, name, pa.array(values, type=kind, from_pandas=True))
        return dataclasses.replace(self, table=table)

    def with_notes(self, **notes: Any) -> Manifest:
        """A manifest with these notes added."""
        return dataclasses.replace(self, notes={**self.notes, **notes})


# --- Recipe ---------------------------------------------------------------------------------


def setting(default: Any, help: str, **extra: Any) -> Any:
    """A field of `Recipe`: default, one line of help, and `choices` or `minimum`/`maximum`."""
    return field(default=default, metadata={"help": help, **extra})


@dataclass(frozen=True)
class Recipe:
    """Every training setting, once: argument, flag, file key and row of the docs."""

    net: str = setting("compact", "network", choices=("compact", "evidence", "report"))
    fit: str = setting(
        "canvas",
        "how a picture meets the square: crop to the head and keep its shape, or plain resize",
        choices=("canvas", "stretch"),
    )
    size_px: int = setting(160, "side of the square the net sees, in pixels", minimum=32)
    epochs: int = setting(16, "passes over the training pictures", minimum=1)
    batch: int = setting(32, "pictures per step, over all processes", minimum=1)
    optimiser: str = setting(
        "adamw",
        "optimiser; muon makes the steps of normalised filters (norm `weight`) orthogonal, which "
        "learns more in an epoch, and leaves all else to adamw",
        choices=("adam", "adamw", "muon"),
    )
    learning_rate: float = setting(2e-3, "peak learning rate", minimum=0.0)
    weight_decay: float = setting(0.02, "decoupled weight decay (adamw)", minimum=0.0)
    schedule: str = setting("cosine", "learning rate over time", choices=("constant", "cosine"))
    warmup: float = setting(0.1, "share of all steps in which the rate rises", minimum=0.0)
    norm: str = setting(
        "group",
        "what keeps maps in range, apart from the report's net: normalising them over groups of "
        "channels and the whole plane, or their filters, so that places know nothing of far ones",
        choices=("group", "weight"),
    )
    pooling: str = setting(
        "exponential",
        "how the map of the evidence net becomes a score: the log of the mean of exp(evidence), or "
        "the mean of the highest hundredth of its cells",
        choices=("exponential", "highest"),
    )
    members: int = setting(
        1,
        "evidence nets that learn side by side, each from first weights and in an order of its "
        "own, and whose evidence is averaged: steadier calls and places for as many times the work",
        minimum=1,
    )
    levelled: bool = setting(
        False,
        "shift each map of the evidence net, in use, so that its bulk lies where it does on the "
        "validation pictures: what is said of all places alike is no evidence; for pictures from "
        "elsewhere",
    )
    dropout: float = setting(0.1, "share of features dropped before the last layer", minimum=0.0)
    label_smoothing: float = setting(0.05, "probability moved off the true class", minimum=0.0)
    mask_weight: float = setting(
        0.0, "weight of the loss on evidence maps where tumour masks are known", minimum=0.0
    )
    mask_share: float = setting(
        1.0,
        "share of the distinct pictures with a tumour mask whose masks are learnt from: with less "
        "it tells what masks are worth, 0 none",
        minimum=0.0,
    )
    sampling: str = setting(
        "files",
        "what an epoch goes through: every file, or one file of each distinct picture, the "
        "classes alike often",
        choices=("files", "pictures"),
    )
    phantoms: int = setting(
        0, "generated heads with tumour masks that are learnt from beside the pictures", minimum=0
    )
    counterfactual: float = setting(
        0.0,
        "share of training pictures turned into their opposite: a known tumour covered, a healthy "
        "brain given one, and one more where the place of a tumour isn't known",
        minimum=0.0,
    )
    progressive: float = setting(
        0.0,
        "share of the epochs, from the first, that see the pictures at two thirds of their size, "
        "which is faster",
        minimum=0.0,
    )
    augment: bool = setting(True, "vary position, size, contrast and noise during training")
    degrade: bool = setting(False, "vary sharpness and shading too, where `augment` is on")
    randomise: bool = setting(
        False,
        "vary contrast, shading and size of the head far more, where `augment` is on: for scanners "
        "that the pictures don't come from",
    )
    class_weights: bool = setting(False, "weigh the loss so that every class counts the same")
    early_stop: int = setting(
        0, "stop after this many epochs without a better validation loss; 0 never", minimum=0
    )
    weights: str = setting(
        "best",
        "weights that the run uses: lowest validation loss, or last epoch",
        choices=("best", "last"),
    )
    calibration: str = setting(
        "temperature",
        "what is fitted on the validation pictures: a temperature, or a bias of each class too, or "
        "(specificity) the one with which so many of those without a finding are called so, for "
        "nets that meet other tumours elsewhere",
        choices=("temperature", "bias_corrected", "specificity"),
    )
    specificity: float = setting(
        0.95,
        "share of new pictures without a finding that the threshold keeps called so, where "
        "calibration is specificity",
        minimum=0.0,
    )
    precision: str = setting("32-true", "arithmetic", choices=("32-true", "bf16-mixed", "16-mixed"))
    random_labels: bool = setting(
        False, "deal labels out at random over the groups: a control that must learn nothing"
    )
    seed: int = setting(0, "seed of initial weights, order, dropout and augmentation", minimum=0)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check_setting(item, getattr(self, item.name))
        if not self.dropout < 1:
            raise RecipeError(f"dropout is {self.dropout}: expected a share below 1")
        if not self.label_smoothing < 1:
            raise RecipeError(f"label_smoothing is {self.label_smoothing}: expected below 1")
        if self.mask_weight and self.net != "evidence":
            raise RecipeError(
                f"mask_weight is {self.mask_weight} and net {self.net!r}: only the maps of the "
                "evidence net can be told where a tumour is"
            )
        for name in ("mask_share", "counterfactual", "progressive", "warmup"):
            if not getattr(self, name) <= 1:
                raise RecipeError(f"{name} is {getattr(self, name)}: expected a share of at most 1")
        if not 0 < self.specificity < 1:
            raise RecipeError(
                f"specificity is {self.specificity}: expected a share between 0 and 1, as 0.95"
            )
        if self.specificity != 0.95 and self.calibration != "specificity":
            raise RecipeError(
                f"specificity is {self.specificity} and calibration {self.calibration!r}, which "
                "asks for none: set calibration to 'specificity', or leave it out"
            )
        if self.pooling != "exponential" and self.net != "evidence":
            raise RecipeError(
                f"pooling is {self.pooling!r} and net {self.net!r}: only the evidence net ends in "
                "a map that is pooled so, leave it out"
            )
        if self.members > 1 and self.net != "evidence":
            raise RecipeError(
                f"members is {self.members} and net {self.net!r}: only evidence nets can be "
                "averaged, leave it out"
            )
        if self.mask_share < 1 and not (self.mask_weight or self.counterfactual):
            raise RecipeError(
                f"mask_share is {self.mask_share}, and no mask is learnt from: set mask_weight or "
                "counterfactual, or leave it out"
            )
        if self.levelled and self.net != "evidence":
            raise RecipeError(
                f"levelled is on and net {self.net!r}: only the evidence net ends in a map that "
                "can be levelled, leave it out"
            )
        if self.norm != "group" and self.net == "report":
            raise RecipeError(
                f"norm is {self.norm!r} and net 'report', which normalises nothing: leave it out"
            )
        if self.optimiser == "muon" and self.norm != "weight":
            raise RecipeError(
                f"optimiser is 'muon' and norm {self.norm!r}: muon is for normalised filters, set "
                "norm to 'weight' or optimiser to 'adamw'"
            )
        if self.progressive and self.net == "report":
            raise RecipeError(
                f"progressive is {self.progressive} and net 'report': its dense layer takes "
                "pictures of one size alone: set progressive to 0, or take preset 'report'"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Recipe:
        """The settings called `name` in `PRESETS`, with `changes` on top."""
        if name not in PRESETS:
            raise RecipeError(f"no preset is called {name!r}: expected {', '.join(PRESETS)}")
        return cls.of({**PRESETS[name], **changes})

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Recipe:
        """A recipe from plain values, as read from a file; unknown keys are an error."""
        known = {item.name for item in dataclasses.fields(cls)}
        for key in settings:
            if key not in known:
                raise RecipeError(
                    f"a recipe has no setting {key!r}: expected one of {', '.join(sorted(known))}"
                )
        return cls(**settings)


def _check_setting(item: dataclasses.Field[Any], value: Any) -> None:
    kind = {"str": str, "int": int, "float": float, "bool": bool}[str(item.type)]
    whole = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not (type(value) is kind or whole):
        raise RecipeError(f"{item.name} is {value!r}: expected {kind.__name__}")
    choices = item.metadata.get("choices")
    if choices and value not in choices:
        raise RecipeError(f"{item.name} is {value!r}: expected {' or '.join(choices)}")
    minimum = item.metadata.get("minimum")
    if minimum is not None and not value >= minimum:
        raise RecipeError(f"{item.name} is {value}: expected at least {minimum}")


PRESETS: dict[str, dict[str, Any]] = {
    "compact": {"progressive": 0.5},
    "evidence": {
        "net": "evidence",
        "norm": "weight",
        "pooling": "highest",
        "optimiser": "muon",
        "size_px": 192,
        "mask_weight": 1.0,
        "sampling": "pictures",
        "calibration": "bias_corrected",
        "epochs": 32,
        "progressive": 0.5,
        "label_smoothing": 0.0,
        "weights": "last",
    },
    "report": {
        "net": "report",
        "fit": "stretch",
        "size_px": 256,
        "epochs": 15,
        "batch": 64,
        "optimiser": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "dropout": 0.5,
        "label_smoothing": 0.0,
        "augment": False,
        "weights": "last",
    },
}
"""What each preset sets apart from `Recipe`'s defaults."""


# --- Results --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """What the classifier says of one picture. Shapes: `logits`, `probabilities` are (K,)."""

    source: str
    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    call: str
    """The class called."""
    triage: str = ""
    """The one class that is not ruled out, or `uncertain`; empty where nothing was calibrated."""
    reason: str = ""
    """Why it is uncertain: `either is possible`, `unlike either class`…"""
    strangeness: float | None = None
    """How unlike the training pictures it is, about 1 for one of them; None without a gate."""
    stranger: bool = False
    """Whether the gate turns it away: the call then says nothing."""


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for one class lies in one picture.

    Shapes: `heat` is (H, W) float32 on the picture's own grid, ≥ 0, in `unit`. Nothing in it is
    scaled per picture: the same number means the same evidence in every picture of a run.
    """

    prediction: Prediction
    method: str
    target: str
    """The class whose evidence is shown."""
    heat: NDArray[np.float32]
    peak: float
    """Largest value on the native grid, before any scaling; 0 where no place speaks for it."""
    grid: tuple[int, int]
    """Rows and columns of the native grid on which the evidence was computed."""
    unit: str = "logit"
    """`logit`; `probability` for the report's variant; `activation` where no score is explained."""

    @property
    def blank(self) -> bool:
        """Whether no place speaks for the target."""
        return not self.peak > 0


@dataclass(frozen=True)
class Finding:
    """One result of an audit or benchmark, ready for report, page and exit code."""

    check: str
    level: str
    """`info`, `warn` or `fail`."""
    message: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    sources: tuple[str, ...] = ()
    figure: str | None = None
