"""The data audit beside CleanVision and imagededup on one folder: seconds, memory, what they find.

    python -m venv peers && peers/bin/pip install cleanvision imagededup
    python benchmarks/check.py data/kaggle --peers peers/bin/python
    python benchmarks/check.py --generated 20000        # ours alone, on small generated files

Every tool runs in a process of its own, whose peak memory (with its largest worker's) is its own.
`copies` are files that show the same picture as another file; `mirrored` are those among them that
were found beside a file whose picture is the other way round, told by this package's own turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Groups = list[list[str]]

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}


def main() -> None:
    options = parse()
    if options.stage:
        print(json.dumps(measured(options.stage, options.folder, options.out)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or generate(Path(temporary) / "pictures", options.generated)
        out = Path(temporary) / "manifest.parquet"
        ours = [apart(sys.executable, kind, folder, out) for kind in ("index", "check")]
        peers = [
            apart(options.peers, kind, folder, out)
            for kind in ("cleanvision", "imagededup")
            if options.peers
        ]
        show(folder, ours, peers, turns(out))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--generated", type=int, default=0, metavar="N")
    parser.add_argument("--peers", help="Python of an environment that holds the peers")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is None and not options.generated:
        parser.error("name a folder, or --generated N")
    return options


# --- One tool, in a process of its own ------------------------------------------------------


def apart(python: str, stage: str, folder: Path, out: Path) -> dict[str, Any]:
    command = [python, __file__, str(folder), "--stage", stage, "--out", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{stage} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(stage: str, folder: Path, out: Path) -> dict[str, Any]:
    started = time.perf_counter()
    found = STAGES[stage](folder, out)
    return {
        "stage": stage,
        **found,
        "seconds": time.perf_counter() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def index(folder: Path, out: Path) -> dict[str, Any]:
    from clearhead.data.copies import copy_groups, find_copies
    from clearhead.data.index import index
    from clearhead.data.manifest import load_thumbnails, save_manifest

    manifest = find_copies(index(folder, out), load_thumbnails(out))
    save_manifest(manifest, out)
    return {
        "files": len(manifest.readable()),
        "groups": [list(group.sources) for group in copy_groups(manifest.readable())],
        "says": "",
    }


def check(folder: Path, out: Path) -> dict[str, Any]:
    from clearhead.audits.check import check
    from clearhead.audits.probes import PROBES
    from clearhead.deliver.audit_page import save_audit

    audit = check(out)
    page = save_audit(audit, out.parent / "audit")
    failed = [finding.check for finding in audit.findings if finding.level == "fail"]
    leaks = [
        check.removeprefix("leak.") for check in failed if check.removeprefix("leak.") in PROBES
    ]
    return {
        "files": len(audit.manifest.readable()),
        "groups": [],
        "says": f"{len(leaks)} places that give the label away ({', '.join(leaks)}); "
        f"page of {page.stat().st_size / 1e6:.1f} MB",
    }


def cleanvision(folder: Path, out: Path) -> dict[str, Any]:
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues()
    sets = [
        [str(Path(name).relative_to(folder)) for name in names]
        for kind in ("exact_duplicates", "near_duplicates")
        for names in lab.info[kind]["sets"]
    ]
    found = lab.issue_summary.set_index("issue_type")["num_images"].to_dict()
    issues = {name: int(count) for name, count in found.items() if count}
    return {"files": len(lab.issues), "groups": sets, "says": str(issues)}


def imagededup(folder: Path, out: Path) -> dict[str, Any]:
    from imagededup.methods import PHash

    finder = PHash(verbose=False)
    codes = finder.encode_images(image_dir=str(folder), recursive=True)
    near = finder.find_duplicates(encoding_map=codes, max_distance_threshold=4)
    sets = [sorted([name, *others]) for name, others in near.items() if others]
    return {"files": len(codes), "groups": sets, "says": "pHash, distance up to 4"}


STAGES = {"index": index, "check": check, "cleanvision": cleanvision, "imagededup": imagededup}


# --- What came out --------------------------------------------------------------------------


def turns(out: Path) -> dict[str, int]:
    from clearhead.data.manifest import load_manifest

    manifest = load_manifest(out).readable()
    pairs = zip(manifest.column("source"), manifest.column("turn"), strict=True)
    return {source: int(turn) for source, turn in pairs}


def copies(groups: Groups, turn: dict[str, int]) -> tuple[int, int]:
    """Files found beside another, and those found beside one that is the other way round."""
    found, mirrored = set(), set()
    for group in groups:
        found |= set(group)
        ways = {turn.get(name, 0) for name in group}
        if len(ways) > 1:
            common = min(ways)
            mirrored |= {name for name in group if turn.get(name, 0) != common}
    return len(found), len(mirrored)


def show(
    folder: Path,
    ours: list[dict[str, Any]],
    peers: list[dict[str, Any]],
    turn: dict[str, int],
) -> None:
    pictures = sum(path.suffix.lower() in PICTURES for path in folder.rglob("*"))
    print(f"{folder}: {pictures} pictures")
    print(f"{'':12} {'seconds':>8} {'peak MB':>8} {'+ worker':>8} {'skipped':>8} {'copies':>8} "
          f"{'mirrored':>8}")  # fmt: skip
    for found in (*ours, *peers):
        total, mirrored = copies(found["groups"], turn)
        counts = f"{total:8d} {mirrored:8d}" if found["groups"] else f"{'':8} {'':8}"
        print(
            f"{found['stage']:12} {found['seconds']:8.1f} {found['peak_mb']:8.0f} "
            f"{found['worker_mb']:8.0f} {pictures - found['files']:8d} {counts}  {found['says']}"
        )
    for found in peers:
        ratio = found["seconds"] / ours[0]["seconds"]
        whole = found["seconds"] / sum(mine["seconds"] for mine in ours)
        print(
            f"{found['stage']} takes {ratio:.1f} times as long as our index with copies, "
            f"{whole:.2f} times as long as index and audit together"
        )


# --- Generated files ------------------------------------------------------------------------


def generate(folder: Path, count: int, side: int = 96, heads: int = 200) -> Path:
    """`count` small JPEG files from `heads` generated heads, each cut, turned and lit anew.

    Cuts differ by several pixels and angles by degrees, so that they are different pictures; one
    in ten is a mirrored copy of the one before.
    """
    import numpy as np
    from PIL import Image

    from clearhead.audits.planted import draw_heads

    random = np.random.default_rng(0)
    sheets = [(drawn.label, Image.fromarray(drawn.pixels)) for drawn in draw_heads(heads, 0)]
    picture = np.zeros((side, side), np.uint8)
    label = ""
    for number in range(count):
        if number % 10 == 9:
            picture = picture[:, ::-1]
        else:
            label, sheet = sheets[int(random.integers(heads))]
            left, top = random.uniform(0, 50, 2)
            wide, high = random.uniform(170, 256, 2)
            cut = sheet.rotate(float(random.uniform(-40, 40))).transform(
                (side, side), Image.Transform.EXTENT, (left, top, left + wide, top + high)
            )
            light = np.asarray(cut, np.float32) * random.uniform(0.6, 1.2)
            picture = np.clip(light + random.normal(0, 6, light.shape), 0, 255).astype(np.uint8)
        home = folder / label
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture)).save(home / f"{number:06d}.jpg", quality=88)
    return folder


if __name__ == "__main__":
    main()
