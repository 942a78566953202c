"""Does the data audit find what is planted, and stay quiet where nothing is?

    python benchmarks/planted_leaks.py --seeds 20 --heads 300 --out planted.json

For each seed, the same generated heads are written once per fault (and once clean), indexed,
searched for copies, split and checked. A fault counts as named where one of its own findings says
`warn` or `fail`. Rows already in `--out` are not done again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from clearhead.audits.check import check
from clearhead.audits.planted import FAULTS, draw_heads, plant_fault
from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails, save_manifest
from clearhead.data.split import split
from clearhead.files import read_json, write_json
from clearhead.measure.precision import wilson

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100, help="limits were set on 0 to 12")
    parser.add_argument("--heads", type=int, default=300)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0])
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("planted-leaks.json"))
    options = parser.parse_args()
    rows: list[Row] = read_json(options.out) if options.out.exists() else []
    done = {(row["fault"], row["strength"], row["seed"], row["heads"]) for row in rows}
    started = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [
            pool.submit(one_seed, seed, options.heads, options.strengths, options.faults, done)
            for seed in range(options.first_seed, options.first_seed + options.seeds)
        ]
        for seed, job in enumerate(jobs, options.first_seed):
            rows += job.result()
            write_json(options.out, rows)
            print(f"seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    show([row for row in rows if row["heads"] == options.heads])


def one_seed(
    seed: int, heads: int, strengths: list[float], faults: list[str], done: set[tuple[Any, ...]]
) -> list[Row]:
    wanted = [
        (fault, strength)
        for fault in faults
        for strength in (strengths if fault != "clean" else [1.0])
        if (fault, strength, seed, heads) not in done
    ]
    if not wanted:
        return []
    with threadpool_limits(1):
        drawn = draw_heads(heads, seed)
        return [
            {"fault": fault, "strength": strength, "seed": seed, "heads": heads}
            | {"said": dict(said(fault, drawn, strength, seed))}
            for fault, strength in wanted
        ]


def said(fault: str, drawn: Any, strength: float, seed: int) -> Iterator[tuple[str, str]]:
    """Findings that say `warn` or `fail` of heads with this fault."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, path = Path(temporary) / "heads", Path(temporary) / "heads.parquet"
        plant_fault(fault, drawn, folder, strength=strength, seed=seed)
        manifest = find_copies(index(folder, path, workers=1), load_thumbnails(path))
        save_manifest(split(manifest, protocol=FAULTS[fault].protocol, seed=seed), path)
        for finding in check(path, seed=seed, workers=1).findings:
            if finding.level != "info":
                yield finding.check, finding.level


# --- What came out --------------------------------------------------------------------------


def show(rows: list[Row]) -> None:
    print(f"\n{'planted':14} {'strength':>8} {'sets':>5} {'named':>6} {'95 % interval':>15} "
          f"{'failed':>7}  others that fail")  # fmt: skip
    for fault, strength in sorted({(row["fault"], row["strength"]) for row in rows}, key=order):
        mine = [r for r in rows if (r["fault"], r["strength"]) == (fault, strength)]
        own = FAULTS[fault].findings
        named = sum(any(name in row["said"] for name in own) for row in mine)
        failed = sum(any(row["said"].get(name) == "fail" for name in own) for row in mine)
        others = Counter(
            name
            for row in mine
            for name, level in row["said"].items()
            if level == "fail" and name not in own
        )
        low, high = wilson(named, len(mine))
        words = ", ".join(f"{name} {count}" for name, count in others.most_common())
        print(
            f"{fault:14} {strength:8.1f} {len(mine):5d} {named:6d} {f'{low:.0%}–{high:.0%}':>15} "
            f"{failed:7d}  {words}"
        )
    clean = [row for row in rows if row["fault"] == "clean"]
    quiet = sum("fail" not in row["said"].values() for row in clean)
    warned = Counter(name for row in clean for name in row["said"])
    print(f"\nclean sets without any `fail`: {quiet} of {len(clean)}")
    print(f"findings that warn on clean sets: {dict(warned.most_common())}")


def order(kind: tuple[str, float]) -> tuple[int, float]:
    return list(FAULTS).index(kind[0]), -kind[1]


if __name__ == "__main__":
    main()
