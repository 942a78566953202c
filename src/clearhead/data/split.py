"""Which rows train, which validate, which test: by whole groups, or as the report did it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import ManifestError
from clearhead.types import SPLITS, Manifest

PROTOCOLS = ("group", "report")
"""`group` keeps copies and patients on one side; `report` ignores them."""

MOST_FOLDS = 127
"""What the column `fold` can count to."""


@dataclass(frozen=True)
class _Parts:
    """What is drawn at once: a name, each part's share of the files, its fewest groups a class."""

    name: str
    shares: tuple[float, ...]
    least: tuple[int, ...]


@dataclass(frozen=True)
class _Plan:
    """The arguments of `split`, checked."""

    protocol: str
    seed: int
    test: float
    validation: float
    folds: int | None
    fold: int

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ManifestError(
                f"no protocol is called {self.protocol!r}: expected {' or '.join(PROTOCOLS)}"
            )
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 <= share < 1:
                raise ManifestError(f"{name} is {share}: expected a share from 0 to below 1")
        if not 0 <= self.seed < 2**32:
            raise ManifestError(f"the seed is {self.seed}: expected a whole number from 0 to 2³²-1")
        if self.folds is not None and not 2 <= self.folds <= MOST_FOLDS:
            raise ManifestError(f"folds is {self.folds}: expected from 2 to {MOST_FOLDS}")
        if not 0 <= self.fold < (self.folds or 1):
            raise ManifestError(
                f"fold is {self.fold}: expected from 0 to {(self.folds or 1) - 1}, as there are "
                f"{self.folds or 'no'} folds"
            )

    @property
    def outer(self) -> _Parts:
        """The first draw: the test and the rest, or every fold."""
        rest = 2 if self.validation else 1  # what is left must still fill train and validation
        if self.folds is None:
            return _Parts("test", (self.test, 1 - self.test), (int(self.test > 0), rest))
        least = rest if self.folds == 2 else 1
        return _Parts("folds", (1 / self.folds,) * self.folds, (least,) * self.folds)

    @property
    def inner(self) -> _Parts:
        """The second draw, from what the first left: validation and train."""
        shares = (self.validation, 1 - self.validation)
        return _Parts("validation", shares, (int(self.validation > 0), 1))


def split(
    manifest: Manifest,
    *,
    protocol: str = "group",
    seed: int = 0,
    test: float = 0.30,
    validation: float = 0.15,
    folds: int | None = None,
    fold: int = 0,
) -> Manifest:
    """Fill the column `split` (and `fold`): `test` of the files, then `validation` of the rest.

    Protocol `group` draws whole groups of copies and patients, class by class, so that each part
    holds its share of the files of each class. Chance comes from the pictures and the seed, never
    from the order of rows. Protocol `report` draws files at random and lets copies fall on both
    sides. With `folds`, every row is a test row in exactly one of them and `fold` says which is
    the test now. Rows without label, rows set aside and rows that can't be read
    belong to no split.

    Errors: `ManifestError` for impossible arguments, where copies were not searched (`group`), and
    where a class has too few groups for every part to hold it.
    """
    plan = _Plan(protocol, seed, test, validation, folds, fold)
    usable = np.flatnonzero(manifest.usable())
    if not len(usable):
        raise ManifestError(
            "the manifest has no row that can be read, has a label and is not set aside: there is "
            "nothing to split"
        )
    order = np.argsort(manifest.column("source")[usable], kind="stable")
    rows = usable[order]
    drawn = manifest.take(rows)
    draw = _by_group if protocol == "group" else _at_random
    held = draw(drawn, plan.outer, seed)
    rest = np.flatnonzero(held != fold)
    inner = draw(drawn.take(rest), plan.inner, seed)
    part = np.full(len(rows), "test", dtype=object)
    part[rest] = np.where(inner == 0, "validation", "train")
    return _filled(manifest, rows, part, held if folds else None).with_notes(
        split={
            "protocol": protocol,
            "seed": seed,
            "test": None if folds else test,
            "validation": validation,
            "folds": folds,
            "fold": fold if folds else None,
        }
    )


def _filled(
    manifest: Manifest,
    rows: NDArray[np.int64],
    part: NDArray[np.object_],
    held: NDArray[np.int64] | None,
) -> Manifest:
    splits = np.full(len(manifest), None, dtype=object)
    folds = np.full(len(manifest), None, dtype=object)
    splits[rows] = part
    if held is not None:
        folds[rows] = held.astype(object)
    return manifest.with_columns(split=splits, fold=folds)


def copies_across(manifest: Manifest, part: str = "test", of: str = "train") -> tuple[int, int]:
    """How many files of one split have a copy in another, and how many files it has.

    Errors: `ManifestError` where copies were not searched or no split is called so.
    """
    if manifest.table.column("copy").null_count:
        raise ManifestError(
            "copies were not searched in this manifest: run `clearhead copies` on it first"
        )
    for name in (part, of):
        if name not in SPLITS:
            raise ManifestError(f"no split is called {name!r}: expected {', '.join(SPLITS)}")
    copy, place = manifest.column("copy"), manifest.column("split")
    twins = np.isin(copy[place == part], copy[place == of])
    return int(twins.sum()), len(twins)


# --- The report's draw ----------------------------------------------------------------------


def _at_random(rows: Manifest, parts: _Parts, seed: int) -> NDArray[np.int64]:
    """Part of each row, (N,), drawn file by file as scikit-learn does; rows are in source order."""
    from sklearn.model_selection import KFold, train_test_split

    if len(rows) < sum(parts.least):
        raise ManifestError(
            f"{len(rows)} labelled files can't fill {sum(parts.least)} parts: add pictures, or ask "
            "for fewer parts"
        )
    drawn = np.full(len(rows), len(parts.shares) - 1, dtype=np.int64)
    if parts.name == "folds":
        folds = KFold(len(parts.shares), shuffle=True, random_state=seed).split(drawn)
        for number, (_, fold) in enumerate(folds):
            drawn[fold] = number
    elif parts.shares[0] > 0:
        places = np.arange(len(rows))
        _, first = train_test_split(places, test_size=parts.shares[0], random_state=seed)
        drawn[first] = 0
    return drawn


# --- The draw by groups ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    """Groups of rows: size (files), class index of most files, and two draws in [0, 1); (G,)."""

    size: NDArray[np.int64]
    label: NDArray[np.int64]
    rank: NDArray[np.float64]
    lot: NDArray[np.float64]

    def of(self, chosen: NDArray[np.int64]) -> _Groups:
        return _Groups(self.size[chosen], self.label[chosen], self.rank[chosen], self.lot[chosen])


def _by_group(rows: Manifest, parts: _Parts, seed: int) -> NDArray[np.int64]:
    """Part of each row, (N,), drawn by whole groups, class by class."""
    if rows.table.column("group").null_count:
        raise ManifestError(
            "copies were not searched in this manifest, so groups can't be kept together: run "
            "`clearhead copies` on it first, or take --protocol report"
        )
    _, member = np.unique(rows.column("group"), return_inverse=True)
    groups = _groups(rows, member, f"{seed} {parts.name}")
    drawn = np.zeros(len(groups.size), dtype=np.int64)
    for label, name in enumerate(rows.classes):
        chosen = np.flatnonzero(groups.label == label)
        if len(chosen):
            _check_enough(len(chosen), parts, name)
            drawn[chosen] = _dealt(groups.of(chosen), parts)
    return drawn[member]


def _groups(rows: Manifest, member: NDArray[np.int64], salt: str) -> _Groups:
    count = int(member.max(initial=-1)) + 1
    table = np.zeros((count, len(rows.classes)), dtype=np.int64)
    np.add.at(table, (member, rows.labels()), 1)
    lots = _lots(_keys(rows, member, count), salt)
    return _Groups(table.sum(axis=1), table.argmax(axis=1), lots[:, 0], lots[:, 1])


def _keys(rows: Manifest, member: NDArray[np.int64], count: int) -> list[str]:
    """What a group is known by whatever else the manifest holds: its smallest pixel hash."""
    keys = [""] * count
    names = zip(rows.column("pixel_hash"), rows.column("source"), strict=True)
    for group, (pixels, source) in zip(member.tolist(), names, strict=True):
        name = pixels or source
        if not keys[group] or name < keys[group]:
            keys[group] = name
    return keys


def _lots(keys: list[str], salt: str) -> NDArray[np.float64]:
    """Two even draws in [0, 1) for each key, (G, 2), the same wherever and whenever."""
    digests = [
        hashlib.blake2b(key.encode(), key=salt.encode(), digest_size=16).digest() for key in keys
    ]
    words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _check_enough(count: int, parts: _Parts, name: str) -> None:
    if count < sum(parts.least):
        raise ManifestError(
            f"class {name!r} has {count} group(s) of copies and patients, and {sum(parts.least)} "
            "at least are needed to be in every part: add pictures of it, or ask for fewer parts"
        )


def _dealt(groups: _Groups, parts: _Parts) -> NDArray[np.int64]:
    """Part of each group of one class, (G,): the large first, each drawn by what parts are due.

    A part is due its share of the files dealt so far, this group included, less those it holds.
    Chances are proportional to what is due: a large group may fall anywhere, and whoever got it
    waits while groups of the next sizes go to the others. So the parts come out even in files and,
    as far as sizes allow, in groups.
    """
    total = int(groups.size.sum())
    share = np.diff(np.rint(np.cumsum((0.0, *parts.shares)) * total)) / total
    files = np.zeros(len(share), dtype=np.int64)
    wanting = np.array(parts.least)
    drawn = np.zeros(len(groups.size), dtype=np.int64)
    order = np.lexsort((groups.rank, -groups.size))
    dealt = np.cumsum(groups.size[order])
    for place, group in enumerate(order.tolist()):
        due = np.maximum(share * dealt[place] - files, 0.0)
        if len(order) - place <= wanting.sum():
            due = (wanting > 0) * (due + 1.0)  # the last groups go where there are too few
        part = _part(due, float(groups.lot[group]))
        drawn[group] = part
        files[part] += groups.size[group]
        wanting[part] = max(wanting[part] - 1, 0)
    return drawn


def _part(due: NDArray[np.float64], lot: float) -> int:
    """The part on which `lot`, even in [0, 1), falls where chances are as `due`."""
    chances = np.cumsum(due)
    part = int(np.searchsorted(chances, lot * chances[-1], side="right"))
    return min(part, len(due) - 1)
