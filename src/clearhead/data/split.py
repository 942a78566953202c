"""Which rows train, which validate, which test: by whole groups, or as the report did it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import ManifestError
from clearhead.types import Manifest

PROTOCOLS = ("group", "report")
"""`group` keeps copies and patients on one side; `report` ignores them."""

MOST_FOLDS = 127
"""What the column `fold` can count to."""


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
    def held(self) -> tuple[float, ...]:
        """Shares of the first draw: the test and the rest, or every fold."""
        if self.folds is not None:
            return (1 / self.folds,) * self.folds
        return (self.test, 1 - self.test)


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
    the test now. Rows without label and rows that can't be read belong to no split.

    Errors: `ManifestError` for impossible arguments, where copies were not searched (`group`), and
    where a class has too few groups for every part to hold it.
    """
    plan = _Plan(protocol, seed, test, validation, folds, fold)
    usable = np.flatnonzero(
        (manifest.column("error") == None)  # noqa: E711  elementwise on objects
        & (manifest.column("label") != None)  # noqa: E711
    )
    order = np.argsort(manifest.column("source")[usable], kind="stable")
    rows = usable[order]
    drawn = manifest.take(rows)
    draw = _by_group if protocol == "group" else _at_random
    held = draw(drawn, plan.held, seed, "folds" if folds else "test")
    rest = np.flatnonzero(held != fold)
    inner = draw(drawn.take(rest), (validation, 1 - validation), seed, "validation")
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

    Errors: `ManifestError` where copies were not searched or one of the splits is empty.
    """
    if manifest.table.column("copy").null_count:
        raise ManifestError(
            "copies were not searched in this manifest: run `clearhead copies` on it first"
        )
    copies = manifest.part(part).column("copy")
    return int(np.isin(copies, manifest.part(of).column("copy")).sum()), len(copies)


# --- The report's draw ----------------------------------------------------------------------


def _at_random(
    rows: Manifest, shares: tuple[float, ...], seed: int, purpose: str
) -> NDArray[np.int64]:
    """Part of each row, (N,), drawn file by file as scikit-learn does; rows are in source order."""
    from sklearn.model_selection import KFold, train_test_split

    parts = np.full(len(rows), len(shares) - 1, dtype=np.int64)
    if shares[0] == 0:
        return parts
    if len(rows) < len(shares):
        raise ManifestError(
            f"{len(rows)} labelled files can't fill {len(shares)} parts: add pictures, or ask for "
            "fewer parts"
        )
    if len(shares) == 2 and purpose != "folds":
        _, first = train_test_split(np.arange(len(rows)), test_size=shares[0], random_state=seed)
        parts[first] = 0
        return parts
    folds = KFold(len(shares), shuffle=True, random_state=seed).split(parts)
    for number, (_, fold) in enumerate(folds):
        parts[fold] = number
    return parts


# --- The draw by groups ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    """Groups of rows: size (files), class index of most files, and two draws in [0, 1); (G,)."""

    size: NDArray[np.int64]
    label: NDArray[np.int64]
    rank: NDArray[np.float64]
    lot: NDArray[np.float64]


def _by_group(
    rows: Manifest, shares: tuple[float, ...], seed: int, purpose: str
) -> NDArray[np.int64]:
    """Part of each row, (N,), drawn by whole groups, class by class."""
    if rows.table.column("group").null_count:
        raise ManifestError(
            "copies were not searched in this manifest, so groups can't be kept together: run "
            "`clearhead copies` on it first, or take --protocol report"
        )
    _, member = np.unique(rows.column("group"), return_inverse=True)
    groups = _groups(rows, member, f"{seed} {purpose}")
    parts = np.zeros(len(groups.size), dtype=np.int64)
    for label, name in enumerate(rows.classes):
        chosen = np.flatnonzero(groups.label == label)
        if len(chosen):
            _enough(len(chosen), shares, name)
            parts[chosen] = _dealt(
                groups.size[chosen], groups.rank[chosen], groups.lot[chosen], shares
            )
    return parts[member]


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


def _enough(count: int, shares: tuple[float, ...], name: str) -> None:
    wanted = sum(share > 0 for share in shares)
    if count < wanted:
        raise ManifestError(
            f"class {name!r} has {count} groups of copies and patients to fill {wanted} parts: add "
            "pictures of it, or ask for fewer parts"
        )


def _dealt(
    size: NDArray[np.int64],
    rank: NDArray[np.float64],
    lot: NDArray[np.float64],
    shares: tuple[float, ...],
) -> NDArray[np.int64]:
    """Part of each group of one class, (G,): the large first, each drawn by what parts are due.

    A part is due its share of the files dealt so far, this group included, less those it holds.
    Chances are proportional to what is due: a large group may fall anywhere, and whoever got it
    waits while groups of the next sizes go to the others. So the parts come out even in files and,
    as far as sizes allow, in groups.
    """
    share = np.diff(np.rint(np.cumsum((0.0, *shares)) * size.sum())) / size.sum()
    held = np.zeros(len(shares), dtype=np.int64)
    parts = np.zeros(len(size), dtype=np.int64)
    order = np.lexsort((rank, -size))
    dealt = np.cumsum(size[order])
    for place, group in enumerate(order.tolist()):
        due = share * dealt[place] - held
        empty = (held == 0) & (np.array(shares) > 0)
        if len(order) - place <= np.count_nonzero(empty):
            due = np.where(empty, due - due.min() + 1.0, 0.0)
        chances = np.cumsum(np.maximum(due, 0.0))
        part = int(np.searchsorted(chances, lot[group] * chances[-1], side="right"))
        parts[group] = min(part, len(shares) - 1)
        held[parts[group]] += size[group]
    return parts
