"""Which rows train, which validate, which test: by whole groups, by sub-collection, or as the
report did it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import ManifestError
from clearhead.types import SPLITS, Manifest

PROTOCOLS = ("group", "report", "collection")
"""`group` keeps copies and patients on one side; `report` ignores them; `collection` tests on one
sub-collection that nothing was trained on, copies and patients kept together."""

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
                f"no protocol is called {self.protocol!r}: expected {', '.join(PROTOCOLS)}"
            )
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 <= share < 1:
                raise ManifestError(f"{name} is {share}: expected a share from 0 to below 1")
        if not 0 <= self.seed < 2**32:
            raise ManifestError(f"the seed is {self.seed}: expected a whole number from 0 to 2³²-1")
        if self.folds is not None and not 2 <= self.folds <= MOST_FOLDS:
            raise ManifestError(f"folds is {self.folds}: expected from 2 to {MOST_FOLDS}")
        if self.protocol == "collection":
            self._check_collection()
        elif not 0 <= self.fold < (self.folds or 1):
            raise ManifestError(
                f"fold is {self.fold}: expected from 0 to {(self.folds or 1) - 1}, as there are "
                f"{self.folds or 'no'} folds"
            )

    def _check_collection(self) -> None:
        if self.folds is not None:
            raise ManifestError(
                f"folds is {self.folds}: with the protocol collection there are as many as the "
                "manifest has collections, leave it out"
            )
        if not 0 <= self.fold <= MOST_FOLDS:
            raise ManifestError(
                f"fold is {self.fold}: expected the number of a collection, 0 to {MOST_FOLDS}"
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
    the test now. Protocol `collection` tests on the sub-collection number `fold` and on every group
    that has a picture in it; `fold` then says which collection a row belongs to, and `test` and
    `folds` have no meaning. Rows without label, rows set aside and rows that can't be read
    belong to no split.

    Errors: `ManifestError` for impossible arguments, where copies were not searched (`group`,
    `collection`), where a class has too few groups for every part to hold it, and where
    collections are unknown or one holds all that could be learnt from.
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
    if protocol == "collection":
        return _without_collection(manifest, rows, drawn, plan)
    draw = _by_group if protocol == "group" else _at_random
    held = draw(drawn, plan.outer, seed)
    rest = np.flatnonzero(held != fold)
    inner = draw(drawn.take(rest), plan.inner, seed)
    return _filled(
        manifest, rows, _named(len(rows), rest, inner), held if folds else None
    ).with_notes(
        split={
            "protocol": protocol,
            "seed": seed,
            "test": None if folds else test,
            "validation": validation,
            "folds": folds,
            "fold": fold if folds else None,
        }
    )


def _named(count: int, rest: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.object_]:
    """The split of each row, (N,): test but for the rest, which the inner draw divides."""
    part = np.full(count, "test", dtype=object)
    part[rest] = np.where(inner == 0, "validation", "train")
    return part


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


# --- One collection left out ----------------------------------------------------------------


def _without_collection(
    manifest: Manifest, rows: NDArray[np.int64], drawn: Manifest, plan: _Plan
) -> Manifest:
    """The split that tests on the collection `plan.fold`, copies and patients kept together."""
    collection = _collections(drawn, plan.fold)
    groups = _searched_groups(drawn)
    tested = np.isin(groups, groups[collection == plan.fold])
    rest = np.flatnonzero(~tested)
    _check_rest(drawn, rest, plan.fold)
    inner = _by_group(drawn.take(rest), plan.inner, plan.seed)
    part = _named(len(rows), rest, inner)
    return _filled(manifest, rows, part, collection).with_notes(
        split={
            "protocol": plan.protocol,
            "seed": plan.seed,
            "test": None,
            "validation": plan.validation,
            "folds": int(collection.max()) + 1,
            "fold": plan.fold,
            "remarks": _remarks(drawn, tested, collection == plan.fold),
        }
    )


def _collections(rows: Manifest, fold: int) -> NDArray[np.int64]:
    """The collection of each row, (N,). Errors: `ManifestError` where unknown or none is `fold`."""
    column = rows.table.column("collection")
    if column.null_count:
        raise ManifestError(
            f"{column.null_count} of {len(rows)} rows have no collection: run `clearhead check "
            "--fix` on the manifest first, which says where each file seems to come from"
        )
    collection: NDArray[np.int64] = column.to_numpy().astype(np.int64)
    numbers = np.unique(collection)
    if numbers[-1] > MOST_FOLDS:
        raise ManifestError(
            f"a collection is numbered {numbers[-1]}: expected at most {MOST_FOLDS}"
        )
    if fold not in numbers:
        known = ", ".join(str(number) for number in numbers)
        raise ManifestError(f"no row belongs to the collection {fold}: expected {known}")
    return collection


def _check_rest(rows: Manifest, rest: NDArray[np.int64], fold: int) -> None:
    left = np.unique(rows.labels()[rest])
    if not len(left):
        raise ManifestError(
            f"every picture is in the collection {fold} or has a copy or patient in it: nothing is "
            "left to train on, name another with --fold"
        )
    if len(left) == 1 and len(np.unique(rows.labels())) > 1:
        raise ManifestError(
            f"without the collection {fold} only {rows.classes[left[0]]!r} is left to train on: "
            "name another with --fold"
        )


def _remarks(rows: Manifest, tested: NDArray[np.bool_], inside: NDArray[np.bool_]) -> list[str]:
    """What a reader must know of this test."""
    remarks = []
    drawn_in = int((tested & ~inside).sum())
    if drawn_in:
        remarks.append(
            f"{drawn_in} test files are of other collections: copies or patients of the tested one"
        )
    classes = np.unique(rows.labels()[tested])
    if len(classes) == 1:
        remarks.append(
            f"the test holds {rows.classes[classes[0]]!r} alone: it has a sensitivity or a "
            "specificity, and no ROC-AUC"
        )
    return remarks


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
    _, member = np.unique(_searched_groups(rows), return_inverse=True)
    groups = _groups(rows, member, f"{seed} {parts.name}")
    drawn = np.zeros(len(groups.size), dtype=np.int64)
    for label, name in enumerate(rows.classes):
        chosen = np.flatnonzero(groups.label == label)
        if len(chosen):
            _check_enough(len(chosen), parts, name)
            drawn[chosen] = _dealt(groups.of(chosen), parts)
    return drawn[member]


def _searched_groups(rows: Manifest) -> NDArray[np.int64]:
    """Group of each row, (N,). Errors: `ManifestError` where copies were not searched."""
    if rows.table.column("group").null_count:
        raise ManifestError(
            "copies were not searched in this manifest, so groups can't be kept together: run "
            "`clearhead copies` on it first, or take --protocol report"
        )
    return rows.groups()


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
