"""How many different pictures there are of each class, and what a test on them can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.phrases import counted, listed
from clearhead.audits.section import Cell, Section, Shares, Table
from clearhead.measure.precision import half_width, pictures_needed, wilson
from clearhead.measure.scores import positive_class
from clearhead.types import SPLITS, Finding, Manifest

SHARE = 0.80
"""The sensitivity or specificity whose interval is told."""
WIDE = 0.10
"""Half-width of an interval from which a test is too small."""
UNEVEN = 3.0
"""Distinct pictures of the commonest class per picture of the rarest from which it is warned."""
TEST = 0.30
"""The share that a test would have where there is no split."""
LARGE = 0.05
"""Share of the files in one group from which it is warned…"""
LARGER = 3.0
"""…where it has so many times the files of an average group: in few files any pair is a share."""


@dataclass(frozen=True)
class _Counts:
    """Files and distinct pictures of each class, (K,); a picture counts for its commonest class.

    Where patients are known, all the pictures of one count as one, for they aren't independent.
    """

    classes: tuple[str, ...]
    files: NDArray[np.int64]
    pictures: NDArray[np.int64]
    patients: bool = False
    """Whether the patient of every file is known."""

    @property
    def noun(self) -> str:
        return "patients" if self.patients else "distinct pictures"

    def said(self, number: int, name: str) -> str:
        """So many of a class, in words; for none, what there is none of."""
        noun = f"{name} patient" if self.patients else f"distinct {name} picture"
        return counted(number, noun) if number else noun


def balance(material: Material) -> Section:
    """Classes per distinct picture beside per file, patients, and what the test can show.

    Rows set aside, without label or unreadable take no part.
    """
    manifest = material.manifest.take(material.manifest.usable())
    counts = _counts(manifest)
    test, planned = _test(manifest, counts)
    return Section(
        name="balance",
        title="Balance and size",
        findings=(_classes(counts), _precision(test, planned), _patients(manifest)),
        tables=(_class_table(counts, test, planned), *_group_table(manifest)),
        shares=(_per_split(manifest),),
    )


def _counts(manifest: Manifest) -> _Counts:
    labels, classes = manifest.labels(), len(manifest.classes)
    files = np.bincount(labels, minlength=classes)
    if not len(labels):
        return _Counts(manifest.classes, files, files.copy())
    pictures = _pictures(labels, manifest.groups(), classes)
    known = manifest.table.column("patient").null_count == 0
    return _Counts(manifest.classes, files, pictures, known)


def _pictures(labels: NDArray[np.int64], groups: NDArray[Any], classes: int) -> NDArray[np.int64]:
    distinct, member = np.unique(groups, return_inverse=True)
    table = np.zeros((len(distinct), classes), dtype=np.int64)
    np.add.at(table, (member, labels), 1)
    return np.bincount(table.argmax(axis=1), minlength=classes)


# --- Classes --------------------------------------------------------------------------------


def _classes(counts: _Counts) -> Finding:
    """Whether one class has many more distinct pictures than another."""
    absent = [name for name, own in zip(counts.classes, counts.pictures, strict=True) if not own]
    if absent:
        return Finding(
            "balance.classes",
            "warn",
            f"No picture is labelled {listed(absent)}: nothing can be learnt of it. What to do: "
            "add such pictures, or leave the class out.",
            value=0.0,
            figure="balance-classes",
        )
    if len(counts.classes) < 2:
        return Finding(
            "balance.classes",
            "warn",
            f"Every picture is {counts.classes[0] if counts.classes else 'unlabelled'}: there is "
            "nothing to tell apart. What to do: add pictures of another class.",
            figure="balance-classes",
        )
    ratio = float(counts.pictures.max() / counts.pictures.min())
    said = (
        f"{_per_class(counts, counts.pictures)} {counts.noun} (1 : {ratio:.1f}), in "
        f"{_per_class(counts, counts.files)} files "
        f"(1 : {counts.files.max() / counts.files.min():.1f})."
    )
    advice = (
        " The rarest class decides what can be shown. What to do: add different pictures of it, "
        "weigh the classes in training, and report per distinct picture."
    )
    uneven = ratio > UNEVEN
    return Finding(
        "balance.classes",
        "warn" if uneven else "info",
        said + advice * uneven,
        value=ratio,
        limit=UNEVEN,
        figure="balance-classes",
    )


def _per_class(counts: _Counts, numbers: NDArray[np.int64]) -> str:
    return listed([f"{own:,} {name}" for name, own in zip(counts.classes, numbers, strict=True)])


# --- What a test can show -------------------------------------------------------------------


def _test(manifest: Manifest, counts: _Counts) -> tuple[_Counts, bool]:
    """The classes in the test split; where there is none, in a test of 30 % (True)."""
    test = manifest.column("split") == "test"
    if test.any():
        return _counts(manifest.take(test)), False
    files = np.rint(TEST * counts.files).astype(np.int64)
    pictures = np.rint(TEST * counts.pictures).astype(np.int64)
    return _Counts(counts.classes, files, pictures, counts.patients), True


def _precision(test: _Counts, planned: bool) -> Finding:
    """The interval of the class that has fewest distinct pictures in the test."""
    if not test.classes:
        return Finding("balance.test", "warn", "There are no classes to test.")
    rarest = int(test.pictures.argmin())
    count, name = int(test.pictures[rarest]), test.classes[rarest]
    reach = half_width(count, SHARE)
    wide = reach > WIDE
    where = f"a test of {100 * TEST:.0f} % would hold" if planned else "the test split holds"
    low, high = wilson(SHARE * count, count)
    score = _score(test.classes, name)
    said = (
        f"With the {test.said(count, name)} that {where}, a {score} "
        f"of {100 * SHARE:.0f} % has an interval of ±{100 * reach:.0f} points "
        f"({100 * low:.0f}–{100 * high:.0f} %)."
        if count
        else f"{where[0].upper()}{where[1:]} no {test.said(0, name)}: its {score} can't be told."
    )
    advice = (
        f" What to do: test on {pictures_needed(WIDE, SHARE)} or more (±{100 * WIDE:.0f} points), "
        "or use every picture in turn (`clearhead split --folds 5`)."
    )
    return Finding(
        "balance.test",
        "warn" if wide else "info",
        said + advice * wide,
        value=reach,
        interval=(low, high),
        limit=WIDE,
        figure="balance-classes",
    )


def _score(classes: Sequence[str], name: str) -> str:
    """What the share of right calls among the pictures of a class is called."""
    if len(classes) != 2:
        return f"sensitivity for {name}"
    return "sensitivity" if positive_class(classes) == name else "specificity"


# --- Patients -------------------------------------------------------------------------------


def _patients(manifest: Manifest) -> Finding:
    """Patients, and the share of the files that the largest group holds."""
    if not len(manifest):
        return Finding("balance.patients", "info", "There are no labelled pictures.")
    sizes = np.unique(manifest.groups(), return_counts=True)[1]
    share = float(sizes.max() / len(manifest))
    large = share > LARGE and bool(sizes.max() > LARGER * sizes.mean())
    said = [
        _patients_said(manifest),
        f"The largest group of copies and patients has {sizes.max()} of {len(manifest)} files "
        f"({100 * share:.1f} %).",
    ]
    if large:
        said.append(
            "A score per file is in large part that of one picture or patient. What to do: "
            "report per distinct picture, or per patient where patients are known."
        )
    return Finding(
        "balance.patients",
        "warn" if large else "info",
        " ".join(said),
        value=share,
        limit=LARGE,
        sources=_largest(manifest) if large else (),
        figure="balance-groups",
    )


def _patients_said(manifest: Manifest) -> str:
    patients = manifest.column("patient")
    known = np.array([patient is not None for patient in patients], dtype=bool)
    if not known.any():
        return (
            "Patients aren't known, so pictures of one patient may stand on both sides of a split "
            "unless they are copies."
        )
    names, member = np.unique(patients[known].astype(str), return_inverse=True)
    labels = manifest.labels()[known]
    pairs = np.unique(np.stack([member, labels]), axis=1)
    both = int((np.bincount(pairs[0]) > 1).sum())
    rest = len(manifest) - int(known.sum())
    parts = [
        f"{counted(len(names), 'patient')}, {known.sum() / len(names):.1f} files each on average"
    ]
    if both:
        parts.append(f"{both} of them with pictures of several classes")
    if rest:
        parts.append(f"{counted(rest, 'file')} without a patient")
    return "; ".join(parts) + "."


def _largest(manifest: Manifest) -> tuple[str, ...]:
    _, member, sizes = np.unique(manifest.groups(), return_inverse=True, return_counts=True)
    return tuple(manifest.column("source")[member == int(sizes.argmax())].tolist())


# --- Figures --------------------------------------------------------------------------------


def _class_table(counts: _Counts, test: _Counts, planned: bool) -> Table:
    rows = tuple(_class_row(name, counts, test, place) for place, name in enumerate(counts.classes))
    where = f"a test of {100 * TEST:.0f} %" if planned else "test"
    return Table(
        "balance-classes",
        "Classes per distinct picture and per file",
        (
            "class",
            "distinct pictures",
            "share, %",
            "files",
            "share, %",
            "files per picture",
            f"distinct pictures in {where}",
            f"interval of {100 * SHARE:.0f} % there, ± points",
        ),
        rows,
        "A distinct picture is a group of copies and, where patients are known, of their pictures.",
    )


def _class_row(name: str, counts: _Counts, test: _Counts, place: int) -> tuple[Cell, ...]:
    pictures, files = int(counts.pictures[place]), int(counts.files[place])
    held = int(test.pictures[place])
    return (
        name,
        pictures,
        _percent(pictures, int(counts.pictures.sum())),
        files,
        _percent(files, int(counts.files.sum())),
        round(files / pictures, 1) if pictures else None,
        held,
        round(100 * half_width(held, SHARE), 1),
    )


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _group_table(manifest: Manifest) -> list[Table]:
    """How many groups have how many files."""
    if not len(manifest):
        return []
    sizes = np.unique(manifest.groups(), return_counts=True)[1]
    bounds = [(1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 10**9)]
    rows: list[tuple[Cell, ...]] = []
    for low, high in bounds:
        held = sizes[(sizes >= low) & (sizes <= high)]
        name = f"{low}" if low == high else f"{low}–{high}" if high < 10**9 else f"over {low - 1}"
        if len(held):
            rows.append(
                (name, len(held), int(held.sum()), _percent(int(held.sum()), len(manifest)))
            )
    columns = ("files in the group", "groups", "files", "share of files, %")
    return [Table("balance-groups", "Groups by size", columns, tuple(rows))]


def _per_split(manifest: Manifest) -> Shares:
    """Distinct pictures of each split by class."""
    splits = manifest.column("split")
    rows = []
    for name in (*SPLITS, "no split"):
        chosen = splits == (None if name == "no split" else name)
        if chosen.any():
            counts = _counts(manifest.take(chosen))
            rows.append((name, tuple(counts.pictures.tolist())))
    return Shares(
        "balance-splits", "Distinct pictures of each split", manifest.classes, tuple(rows)
    )
