"""Which sub-collections a data set was put together from, as far as its files give it away.

A collection is a cluster of files by what saving and drawing left on them: format, colour mode,
JPEG quality and subsampling, resolution and metadata in the header, size, tone of the border.
Labels are not used to find the collections, only to ask afterwards what they tell of the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.phrases import counted, listed, percent
from clearhead.audits.pictures import evenly, first_places
from clearhead.audits.section import Cell, Section, Shares, Sheet, Strip, Table, Tile
from clearhead.data.traits import PLACES
from clearhead.measure.clusters import clusters
from clearhead.types import SPLITS, Finding, Manifest

LEAST_SHARE = 0.01
"""Share of the distinct pictures from which a cluster is a collection of its own."""

LEAST_PICTURES = 3.0
"""Fewest distinct pictures of a collection."""

COMMON_SIZE = 0.01
"""Share of the distinct pictures from which a size is an attribute of its own."""

TONES = {2.0: "black", 12.0: "dark", 60.0: "dim", 160.0: "grey", np.inf: "bright"}
"""Mean level of the outermost ring of pixels (0–255), up to which a border is called so."""

TYPICAL = 0.7
"""Share of a collection's pictures from which a fact is typical of it."""

TILES = 10
"""Pictures shown of each collection."""

TELLING = 0.15
"""Cramér's V from which a collection that predicts the class is worth a warning."""

RARE = 0.01
"""p-value below which collection and class are no strangers to one another."""


def sources(material: Material) -> Section:
    """The collections of a data set, how well they tell the class, and what the split does to them.

    Rows set aside, without label or unreadable take no part. Every distinct picture counts once.
    """
    found = _found(material)
    findings = [_collections_finding(found)]
    if len(found.names) > 1:
        findings += [_mix(found, material), _split_finding(found)]
    return Section(
        name="sources",
        title="Where the files seem to come from",
        findings=tuple(findings),
        tables=(_table(found),),
        shares=(_shares(found),),
        sheets=(_sheet(found, material),),
    )


def collections(material: Material) -> NDArray[np.int16]:
    """Number of the collection of each row, (N,): 0 has most distinct pictures; -1 unreadable.

    Where the manifest says already which collections its rows are from, it is believed.
    """
    manifest = material.manifest
    readable = manifest.table.column("error").is_null().to_numpy()
    told = manifest.table.column("collection")
    numbers = np.full(len(manifest), -1, dtype=np.int16)
    if told.null_count < len(manifest):
        numbers[:] = np.where(told.is_valid().to_numpy(), told.fill_null(-1).to_numpy(), -1)
    elif readable.any():
        rows = np.flatnonzero(readable)
        weights = np.where(manifest.usable(), _weights(manifest), 0.0)[rows]
        numbers[rows] = _clustered(_facts(material, rows, weights), weights)
    return numbers


# --- Facts ----------------------------------------------------------------------------------

_COLOURS = {"L": "grey", "RGB": "RGB", "RGBA": "RGB with transparency", "P": "palette"}
_CHROMA = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


def _weights(manifest: Manifest) -> NDArray[np.float64]:
    """What each usable row counts, (N,), so that a group of copies and patients counts once."""
    usable = manifest.usable()
    _, inverse = np.unique(manifest.groups(), return_inverse=True)
    files = np.bincount(inverse[usable], minlength=int(inverse.max(initial=-1)) + 1)
    return usable / np.maximum(files[inverse], 1)


def _facts(
    material: Material, rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.str_]]:
    """What is told of each row in words, (n,) per attribute; empty where it isn't known."""
    manifest = material.manifest.take(rows)
    header, seen = material.traits["file"][rows], material.traits["seen"][rows]
    jpeg = manifest.column("format") == "JPEG"
    quality = header["quality"]
    return {
        "size": _size_words(manifest, weights),
        "format": manifest.column("format").astype(str),
        "colour": _words(manifest.column("mode"), lambda mode: _COLOURS.get(mode, str(mode))),
        "quality": _told(
            _words(np.nan_to_num(quality), lambda value: f"quality {value:.0f}"),
            jpeg & seen & np.isfinite(quality),
        ),
        "chroma": _words(header["subsampling"], lambda value: _CHROMA.get(value, "")),
        "order": _told(np.where(header["progressive"], "progressive", "sequential"), jpeg & seen),
        "dpi": _told(_words(np.nan_to_num(header["dpi"]), _dpi), seen),
        "metadata": _told(_metadata(header), seen),
        "border": _border_words(material, rows, seen),
    }


def _words(values: NDArray[Any], word: Any) -> NDArray[np.str_]:
    """Each value in words, each distinct one put into words once."""
    distinct, inverse = np.unique(values, return_inverse=True)
    words: NDArray[np.str_] = np.array([word(value) for value in distinct.tolist()], dtype=str)
    return words[inverse]


def _told(words: NDArray[np.str_], known: NDArray[np.bool_]) -> NDArray[np.str_]:
    return np.where(known, words, "")


def _dpi(value: float) -> str:
    return f"{value:.0f} dpi" if value else "no dpi"


def _metadata(header: NDArray[Any]) -> NDArray[np.str_]:
    kinds = {"exif": "EXIF", "icc": "ICC profile", "comment": "comment"}
    code = sum(header[key].astype(np.int64) << bit for bit, key in enumerate(kinds))
    named = [
        " and ".join(kind for bit, kind in enumerate(kinds.values()) if number >> bit & 1)
        or "no metadata"
        for number in range(8)
    ]
    words: NDArray[np.str_] = np.array(named, dtype=str)[code]
    return words


def _size_words(manifest: Manifest, weights: NDArray[np.float64]) -> NDArray[np.str_]:
    """The exact size where it is common, otherwise how long the longer side is, about."""
    height, width = (manifest.column(name).astype(np.int64) for name in ("height", "width"))
    distinct, inverse = np.unique(height * 2**32 + width, return_inverse=True)
    common = np.bincount(inverse, weights=weights) >= COMMON_SIZE * weights.sum()
    exact = np.array([f"{code >> 32}×{code & 0xFFFFFFFF}" for code in distinct.tolist()], dtype=str)
    octave = np.rint(np.log2(np.maximum(np.maximum(height, width), 1))).astype(np.int64)
    about = _words(2**octave, lambda px: f"about {px} px")
    return np.where(common[inverse], exact[inverse], about)


def _border_words(
    material: Material, rows: NDArray[np.int64], seen: NDArray[np.bool_]
) -> NDArray[np.str_]:
    """Tone of the outermost ring of pixels."""
    border = material.traits["stretch"]["border"]
    chosen = [
        place
        for place, name in enumerate(PLACES["border"])
        if name.startswith("mean level in the") and "(1 px)" in name
    ]
    level = np.stack([border[rows, place] for place in chosen]).mean(axis=0)
    known = seen & np.isfinite(level)
    limits = np.array(list(TONES))
    tone = np.searchsorted(limits, np.where(known, level, 0.0))
    return _told(np.array([f"{name} border" for name in TONES.values()])[tone], known)


def _clustered(
    facts: dict[str, NDArray[np.str_]], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Cluster of each row, (n,), found on its distinct combinations of facts."""
    codes = np.stack([_coded(words) for words in facts.values()], axis=1)
    distinct, inverse = np.unique(codes, axis=0, return_inverse=True)
    seen = np.zeros(len(distinct))
    np.add.at(seen, inverse.ravel(), weights)
    least = max(LEAST_PICTURES, LEAST_SHARE * float(weights.sum()))
    number: NDArray[np.int64] = clusters(distinct, seen, least=least)[inverse.ravel()]
    return number


def _coded(words: NDArray[np.str_]) -> NDArray[np.int64]:
    """0, 1, 2… for words in their order, -1 for none."""
    distinct, inverse = np.unique(words, return_inverse=True)
    return inverse.astype(np.int64) - int(len(distinct) > 0 and distinct[0] == "")


# --- What was found -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """The usable rows and their collections; arrays are (n,) unless said otherwise."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    """What is typical of each collection, K of them, in the order of their numbers."""
    numbers: tuple[int, ...]
    """The number of each as the manifest and `--fold` have it."""
    row: NDArray[np.int64]
    source: NDArray[np.object_]
    collection: NDArray[np.int64]
    """Place in `names`."""
    label: NDArray[np.int64]
    group: NDArray[np.int64]
    """0 … G − 1."""
    weight: NDArray[np.float64]
    split: NDArray[np.object_]
    size: NDArray[np.str_]

    def label_of(self, place: int) -> str:
        return f"{self.numbers[place]} · {self.names[place]}"

    @property
    def group_table(self) -> NDArray[np.int64]:
        """Groups by collection and class, (K, C): each where most of its files are."""
        home, label = self.home(self.collection), self.home(self.label)
        table = np.zeros((len(self.names), len(self.classes)), dtype=np.int64)
        np.add.at(table, (home, label), 1)
        return table

    def home(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The value that most files of each group have, of equals the least, (G,)."""
        return _home(self.group, values)


def _home(group: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs, counts = np.unique(np.stack([group, values]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = np.unique(pairs[0][order], return_index=True)[1]
    home: NDArray[np.int64] = pairs[1][order][first]
    return home


def _found(material: Material) -> _Found:
    manifest, number = material.manifest, collections(material)
    row = np.flatnonzero(manifest.usable() & (number >= 0))
    row = row[np.argsort(manifest.column("source")[row], kind="stable")]
    rows, weight = manifest.take(row), _weights(manifest)[row]
    numbers, collection = np.unique(number[row], return_inverse=True)
    facts = _facts(material, row, weight)
    return _Found(
        classes=manifest.classes,
        names=_named(facts, collection, weight),
        numbers=tuple(int(value) for value in numbers),
        row=row,
        source=rows.column("source"),
        collection=collection.astype(np.int64),
        label=rows.labels(),
        group=np.unique(rows.groups(), return_inverse=True)[1].astype(np.int64),
        weight=weight,
        split=rows.column("split"),
        size=_words(rows.column("height").astype(np.int64) * 2**32 + rows.column("width"), _size),
    )


def _size(code: int) -> str:
    return f"{code >> 32}×{code & 0xFFFFFFFF}"


# --- Names ----------------------------------------------------------------------------------


def _named(
    facts: dict[str, NDArray[np.str_]], collection: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[str, ...]:
    """What is typical of each collection, in words: `JPEG, 512×512, RGB, quality 92, 4:2:0`."""
    return tuple(
        _name({key: words[collection == place] for key, words in facts.items()}, inside)
        for place in range(int(collection.max(initial=-1)) + 1)
        for inside in [weight[collection == place]]
    )


def _name(facts: dict[str, NDArray[np.str_]], weight: NDArray[np.float64]) -> str:
    parts = [
        _typical(facts["format"], weight) or "assorted formats",
        _typical(facts["size"], weight) or "assorted sizes",
        _typical(facts["colour"], weight) or "grey and colour",
    ]
    parts += [_typical(facts[key], weight) for key in ("quality", "chroma")]
    if parts[0] == "JPEG" and not parts[3]:
        parts[3] = "assorted qualities"
    unusual = [_typical(facts[key], weight) for key in ("order", "dpi", "metadata", "border")]
    plain = ("sequential", "no dpi", "no metadata", "black border", "dark border", "dim border")
    return ", ".join(part for part in [*parts, *unusual] if part and part not in plain)


def _typical(words: NDArray[np.str_], weight: NDArray[np.float64]) -> str:
    """The word that most of the known weight has, where that is most of it; else none."""
    known = words != ""
    if not known.any() or weight[known].sum() < TYPICAL * weight.sum():
        return ""
    distinct, inverse = np.unique(words[known], return_inverse=True)
    share = np.bincount(inverse, weights=weight[known]) / max(weight[known].sum(), 1e-12)
    return str(distinct[share.argmax()]) if share.max() >= TYPICAL else ""


# --- Findings -------------------------------------------------------------------------------


def _collections_finding(found: _Found) -> Finding:
    groups = np.bincount(found.home(found.collection), minlength=len(found.names))
    if len(found.names) < 2:
        name = found.names[0] if found.names else "no files"
        message = f"The files look like one collection ({name})."
        return Finding("sources.collections", "info", message, float(len(found.names)))
    each = [
        f"{found.label_of(place)} ({counted(int(groups[place]), 'picture')} in "
        f"{counted(int((found.collection == place).sum()), 'file')})"
        for place in range(len(found.names))
    ]
    return Finding(
        check="sources.collections",
        level="warn",
        message=f"The files seem to come from {len(found.names)} collections, told apart by how "
        f"they were saved and drawn. They are: {'; '.join(each)}.",
        value=float(len(found.names)),
        figure="sources-pictures",
    )


def _mix(found: _Found, material: Material) -> Finding:
    """How well the collection alone tells the class of a distinct picture."""
    table = found.group_table
    right, most = _guessed(table), float(table.sum(axis=0).max() / table.sum())
    strength, p = cramers_v(table), _p_value(table, material.permutations, material.seed)
    telling = p < RARE and strength >= TELLING
    message = (
        f"The collection alone tells the class of {percent(right)} of the distinct pictures, "
        f"where the most frequent class makes up {percent(most)} (Cramér's V {strength:.2f}, "
        f"p {_p_words(p)}): {_purest(found)}. "
    )
    message += (
        "A model can learn where a file comes from in place of what it shows."
        if telling
        else "Collection and class have little to do with one another."
    )
    return Finding(
        check="sources.mix",
        level="warn" if telling else "info",
        message=message,
        value=right,
        interval=_interval(table, material.resamples, material.seed),
        limit=most,
        figure="sources-classes",
    )


def _guessed(table: NDArray[Any]) -> float:
    """Share of pictures told right by the commonest class of their collection."""
    return float(table.max(axis=-1).sum() / table.sum())


def _purest(found: _Found) -> str:
    """The collection whose files are least like the whole in their classes, in words."""
    table = _class_counts(found)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    excess = (table - expected) / np.sqrt(np.maximum(expected, 1e-12))
    place, label = np.unravel_index(int(excess.argmax()), excess.shape)
    count, total = int(table[place, label]), int(table[place].sum())
    return (
        f"{percent(count, total)} of the {counted(total, 'file')} of collection "
        f"{found.label_of(int(place))} are {found.classes[int(label)]}"
    )


def cramers_v(table: NDArray[Any]) -> float:
    """Cramér's V of a table of counts (K, C): 0 for strangers, 1 where one tells the other.

    Source: H. Cramér, *Mathematical Methods of Statistics* (1946), section 21.9.
    """
    counts = np.asarray(table, dtype=np.float64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    smaller = min(counts.shape) - 1
    if smaller < 1:
        return 0.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    square = (np.square(counts - expected) / expected).sum()
    return float(np.sqrt(square / (counts.sum() * smaller)))


def _p_value(table: NDArray[np.int64], permutations: int, seed: int) -> float:
    """Share of shuffles of the groups' labels that tie class and collection as much, itself one."""
    from scipy.stats import random_table

    rows, columns = table.sum(axis=1), table.sum(axis=0)
    rows, columns = rows[rows > 0], columns[columns > 0]
    if min(len(rows), len(columns)) < 2:
        return 1.0
    shuffled = random_table(rows, columns, seed=seed).rvs(permutations)
    expected = rows[:, None] * columns / rows.sum()
    squares = (np.square(shuffled - expected) / expected).sum(axis=(1, 2))
    present = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    observed = (np.square(present - expected) / expected).sum()
    return float((1 + (squares >= observed - 1e-9).sum()) / (1 + permutations))


def _p_words(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


def _interval(table: NDArray[np.int64], resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of the share told right: groups drawn anew, told by the rule of the whole."""
    told = np.zeros_like(table, dtype=np.bool_)
    told[np.arange(len(table)), table.argmax(axis=1)] = True
    total = int(table.sum())
    right = np.random.default_rng(seed).binomial(total, table[told].sum() / total, resamples)
    low, high = np.quantile(right / total, [0.025, 0.975])
    return float(low), float(high)


def _split_finding(found: _Found) -> Finding:
    """Whether some collection is tested that was not trained on."""
    parts = {name: found.split == name for name in SPLITS}
    offer = (
        "`clearhead check --fix` writes the collections into the manifest, and `clearhead split "
        "--protocol collection --fold K` tests on collection K after training on the others."
    )
    if not parts["test"].any() or not parts["train"].any():
        return Finding("sources.split", "info", f"Not split into train and test yet. {offer}")
    counts = _split_counts(found)
    held_out = [place for place in range(len(counts)) if counts[place, 2] and not counts[place, 0]]
    if held_out:
        names = listed([found.label_of(place) for place in held_out])
        share = counts[held_out, 2].sum() / counts[:, 2].sum()
        message = (
            f"{percent(share)} of the test files are of collections that training never saw "
            f"({names}): the test says something about files from elsewhere."
        )
        return Finding("sources.split", "info", message, float(share), figure="sources-table")
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    message = (
        "Every collection of the test is in training too: the test says nothing about files of "
        f"another hospital or archive. They make up {_mixture(shares[:, 2])} of the test and "
        f"{_mixture(shares[:, 0])} of training. {offer}"
    )
    return Finding("sources.split", "warn", message, 0.0, figure="sources-table")


def _split_counts(found: _Found) -> NDArray[np.int64]:
    """Files of each collection in train, validation and test, (K, 3)."""
    counts = [
        np.bincount(found.collection[found.split == name], minlength=len(found.names))
        for name in SPLITS
    ]
    table: NDArray[np.int64] = np.stack(counts, axis=1).astype(np.int64)
    return table


def _mixture(shares: NDArray[np.float64]) -> str:
    return ", ".join(percent(float(share)) for share in shares)


# --- Figures --------------------------------------------------------------------------------


def _class_counts(found: _Found) -> NDArray[np.int64]:
    """Files by collection and class, (K, C)."""
    table = np.zeros((len(found.names), len(found.classes)), dtype=np.int64)
    np.add.at(table, (found.collection, found.label), 1)
    return table


def _shares(found: _Found) -> Shares:
    table = _class_counts(found)
    return Shares(
        name="sources-classes",
        title="Classes in each collection, files",
        classes=found.classes,
        rows=tuple(
            (found.label_of(place), tuple(int(count) for count in table[place]))
            for place in range(len(found.names))
        ),
    )


def _table(found: _Found) -> Table:
    counts, splits = _class_counts(found), _split_counts(found)
    groups = found.group_table
    rows: list[tuple[Cell, ...]] = [
        (
            number,
            found.names[place],
            int(counts[place].sum()),
            int(groups[place].sum()),
            *(int(count) for count in counts[place]),
            *(int(count) for count in splits[place]),
        )
        for place, number in enumerate(found.numbers)
    ]
    return Table(
        name="sources-table",
        title="Collections",
        columns=("number", "typical", "files", "pictures", *found.classes, *SPLITS),
        rows=tuple(rows),
        note="Pictures are groups of copies (and of patients, where they are known), each counted "
        "where most of its files are; classes and splits count files.",
    )


def _sheet(found: _Found, material: Material) -> Sheet:
    strips = tuple(
        Strip(found.label_of(place), _tiles(found, np.flatnonzero(found.collection == place)))
        for place in range(len(found.names))
    )
    return Sheet("sources-pictures", "Pictures of each collection", strips)


def _tiles(found: _Found, members: NDArray[np.int64]) -> tuple[Tile, ...]:
    """One file each of up to `TILES` groups, evenly by source."""
    places = members[first_places(found.group[members])[1]]
    return tuple(
        Tile(int(found.row[at]), f"{found.classes[found.label[at]]}, {found.size[at]}")
        for at in evenly(places, TILES)
    )
