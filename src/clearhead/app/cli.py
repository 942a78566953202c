"""The command line: every command is a thin door to the function of the same name.

Heavy imports stand inside the commands, so `clearhead --help` answers at once. Results go to
standard output, progress and errors to standard error; a user's error is one line and exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from click.exceptions import NoArgsIsHelpError

import clearhead
from clearhead.app.flags import PRESET, recipe_flags, recipe_from
from clearhead.app.progress import progress_for
from clearhead.errors import ClearheadError, RunError

if TYPE_CHECKING:
    from clearhead.audits.crossval import CrossValidation
    from clearhead.audits.material import Material
    from clearhead.audits.section import EvidenceAudit
    from clearhead.data.copies import CopyReport
    from clearhead.model.run import Run
    from clearhead.types import Manifest

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

click.rich_click.TEXT_MARKUP = "markdown"
click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.COMMAND_GROUPS = {
    "clearhead": [
        {"name": "Start here", "commands": ["demo"]},
        {"name": "Data", "commands": ["download", "phantom", "index", "copies", "check", "split"]},
        {
            "name": "Model",
            "commands": ["train", "calibrate", "evaluate", "crossval", "pool", "doubts"],
        },
        {"name": "Evidence", "commands": ["explain", "audit", "bench", "report"]},
        {"name": "Proof", "commands": ["selftest"]},
        {"name": "Shell", "commands": ["completion"]},
    ]
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(clearhead.__version__, prog_name="clearhead")
def cli() -> None:
    """Train a brain-MRI classifier, see what it looks at, and know whether to believe it.

    A research tool, not a medical device. `clearhead demo` walks the whole way on generated heads.
    """


def main() -> None:
    """Run the command line and exit: 0 done, 2 the user's error in one line, 130 interrupted."""
    try:
        code = cli.main(prog_name="clearhead", standalone_mode=False)
    except ClearheadError as error:
        _fail(str(error))
    except NoArgsIsHelpError as asked:
        click.echo(asked.ctx.get_help() if asked.ctx else "clearhead --help", err=True)
        code = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "clearhead"
        _fail(f"{error.format_message()} (see `{path} --help`)")
    except (KeyboardInterrupt, click.Abort) as stopped:
        said = stopped.__context__ or stopped  # click replaces the interrupt, whose words we want
        click.echo(f"clearhead: {str(said) or 'interrupted'}", err=True)
        code = 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    click.echo(f"clearhead: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _talk(command: F) -> F:
    """The two flags of every command about what it says."""
    command = click.option("--quiet", is_flag=True, help="show no progress")(command)
    return click.option("--json", "as_json", is_flag=True, help="print the result as JSON")(command)


def _say(as_json: bool, value: Any, *lines: str) -> None:
    """The result: JSON for machines, lines for people."""
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else "\n".join(lines))


POSITIVE = click.option(
    "--positive", default=None, help="class whose detection counts [named like disease]"
)
RESAMPLES = click.option(
    "--resamples", default=1000, show_default=True, help="bootstrap draws of groups"
)


def _recipe(command: F) -> F:
    """The flags of what a training starts from, and one for every setting."""
    for flag in (
        recipe_flags,
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda"),
        click.option(
            "--recipe", "file", type=FILE, default=None, help="start from a recipe.json instead"
        ),
        click.option(
            "--preset",
            type=click.Choice(["compact", "evidence", "report"]),
            default=None,
            show_default=PRESET,
            help="settings to start from: ours, or those of the report",
        ),
        click.option(
            "--pretrained",
            type=FILE,
            default=None,
            help="run whose weights to begin with, and what shapes its net; `shipped` is the "
            "classifier in the package",
        ),
    ):
        command = flag(command)
    return command


def _pretrained(path: Path | None) -> Run | None:
    """The run whose weights a training begins with."""
    if path is None:
        return None
    from clearhead.model.shipped import run_at

    return run_at(path)


# --- Data -----------------------------------------------------------------------------------


@cli.command()
@click.argument("out", type=FILE)
@_talk
def download(out: Path, quiet: bool, as_json: bool) -> None:
    """Get the Kaggle brain-tumor data set (4600 pictures) into OUT.

    **Example:** `clearhead download data/kaggle`
    """
    from clearhead.data.download import download

    folder = download(out, progress=progress_for(quiet=quiet))
    _say(as_json, {"folder": str(folder)}, f"{folder}", f"next: clearhead index {folder}")


@cli.command()
@click.argument("out", type=FILE)
@click.option("--n", default=600, show_default=True, help="number of heads")
@click.option("--seed", default=0, show_default=True, help="same seed, same heads")
@click.option("--size-px", default=256, show_default=True, help="side of the pictures")
@click.option("--plant", default=None, help="shortcut: corner, border, scale, text or skull")
@click.option("--strength", default=1.0, show_default=True, help="P(mark|tumour) - P(mark|healthy)")
@click.option("--workers", type=int, default=None, help="threads [number of cores]")
@_talk
def phantom(
    out: Path,
    n: int,
    seed: int,
    size_px: int,
    plant: str | None,
    strength: float,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Generate heads with and without tumours, with masks, as an image folder OUT.

    **Example:** `clearhead phantom heads --n 600 --plant corner --strength 0.8`
    """
    from clearhead.data.phantom import phantom

    folder = phantom(
        out,
        n=n,
        seed=seed,
        size_px=size_px,
        plant=plant,
        strength=strength,
        workers=workers,
        progress=progress_for(quiet=quiet),
    )
    _say(
        as_json,
        {"folder": str(folder), "heads": n},
        f"{n} heads in {folder}",
        f"next: clearhead index {folder}",
    )


@cli.command()
@click.argument("folder", type=FILE)
@click.option("--out", type=FILE, default=None, help="manifest to write [FOLDER name .parquet]")
@click.option("--table", type=FILE, default=None, help="CSV of paths and labels, not class folders")
@click.option("--path-column", default="path", show_default=True, help="its column of paths")
@click.option("--label-column", default="label", show_default=True, help="its column of labels")
@click.option("--patient-column", default=None, help="its column of patients, kept in one split")
@click.option("--masks", type=FILE, default=None, help="folder or CSV of tumour masks [found]")
@click.option("--metadata", type=FILE, default=None, help="CSV to compare files with [found]")
@click.option(
    "--colour",
    type=click.Choice(["agree", "mean"]),
    default="agree",
    show_default=True,
    help="refuse coloured pictures, or take the mean of their channels",
)
@click.option("--workers", type=int, default=None, help="processes [number of cores]")
@click.option("--copies/--no-copies", default=True, help="search copies right away [yes]")
@_talk
def index(
    folder: Path, out: Path | None, copies: bool, quiet: bool, as_json: bool, **how: Any
) -> None:
    """List the pictures of FOLDER in a manifest (Parquet), with facts, copies and masks.

    Run again, it reads only what changed.

    **Example:** `clearhead index data/kaggle --out kaggle.parquet`
    """
    from clearhead.data.copies import copy_report, find_copies
    from clearhead.data.index import index
    from clearhead.data.manifest import load_thumbnails, save_manifest

    progress = progress_for(quiet=quiet)
    out = out or Path(f"{folder.resolve().name}.parquet")
    manifest = index(folder, out, progress=progress, **how)
    lines = [f"{out}: {len(manifest)} rows, classes {', '.join(manifest.classes)}"]
    lines += _notes(manifest.notes)
    if copies:
        manifest = find_copies(manifest, load_thumbnails(out), progress=progress)
        save_manifest(manifest, out)
        lines += _found_copies(copy_report(manifest), out)
    unreadable = [
        {"source": source, "error": error}
        for source, error in zip(manifest.column("source"), manifest.column("error"), strict=True)
        if error
    ]
    lines += [f"unreadable: {row['source']}: {row['error']}" for row in unreadable[:10]]
    if len(unreadable) > 10:
        lines.append(f"… and {len(unreadable) - 10} more (column `error` of the manifest)")
    found = {"manifest": str(out), "rows": len(manifest), "classes": list(manifest.classes)}
    if copies:
        found["copies"] = dataclasses.asdict(copy_report(manifest))
    found |= {"unreadable": unreadable, "notes": dict(manifest.notes)}
    _say(as_json, found, *lines, f"next: clearhead split {out}")


def _found_copies(found: CopyReport, manifest: Path) -> list[str]:
    """What the search for copies found, and what to do where labels contradict."""
    lines = [str(found)]
    if found.contradicting:
        lines.append(
            "no classifier can be right about a picture under two labels: `clearhead check "
            f"{manifest}` shows them, its --fix sets them aside"
        )
    return lines


def _notes(notes: Any) -> list[str]:
    """The remarks that a stage left in the manifest, one line each."""
    parts = [note for note in notes.values() if isinstance(note, dict)]
    return [f"note: {remark}" for part in parts for remark in part.get("remarks", ())]


@cli.command()
@click.argument("manifest", type=FILE)
@click.option("--threshold", type=float, default=None, help="least correlation of two copies")
@click.option("--list", "listed", is_flag=True, help="list every group of copies")
@_talk
def copies(
    manifest: Path, threshold: float | None, listed: bool, quiet: bool, as_json: bool
) -> None:
    """Search MANIFEST for copies: re-encoded, rescaled, cropped, mirrored and turned ones too.

    A manifest that an older clearhead searched is searched anew.

    **Example:** `clearhead copies kaggle.parquet --list`
    """
    from clearhead.data.copies import copy_groups, copy_report, find_copies, is_current
    from clearhead.data.manifest import load_manifest, load_thumbnails, save_manifest

    rows, stale = load_manifest(manifest), False
    if threshold is not None or not is_current(rows):
        given = {} if threshold is None else {"threshold": threshold}
        thumbnails = load_thumbnails(manifest)
        before = rows.column("group")
        rows = find_copies(rows, thumbnails, progress=progress_for(quiet=quiet), **given)
        save_manifest(rows, manifest)
        drawn = rows.table.column("split").null_count < len(rows)
        stale = drawn and bool((before != rows.column("group")).any())
    found = copy_report(rows)
    value = dataclasses.asdict(found)
    lines = _found_copies(found, manifest)
    if stale:
        lines.append("its split was drawn by other groups: draw it again with `clearhead split`")
    if listed:
        groups = list(copy_groups(rows))
        value["groups"] = [dataclasses.asdict(group) for group in groups]
        for group in groups:
            lines.append(f"group {group.copy}{' CONTRADICTING' if group.contradicting else ''}")
            lines += [
                f"  {source} ({label}{f', turn {turn}' if turn else ''})"
                for source, label, turn in zip(
                    group.sources, group.labels, group.turns, strict=True
                )
            ]
    _say(as_json, value, *lines)


@cli.command()
@click.argument("manifest", type=FILE)
@click.option("--against", type=FILE, multiple=True, help="manifest that must share no picture")
@click.option("--only", multiple=True, help="check to run (repeat it); default all")
@click.option("--out", type=FILE, default=None, help="folder for page and JSON [MANIFEST-check]")
@click.option("--fix", "fixed", type=FILE, default=None, help="cleaned manifest to write")
@click.option(
    "--keep",
    type=click.Choice(["one", "all"]),
    default="one",
    show_default=True,
    help="--fix: one file per distinct picture, or all of them in their groups",
)
@click.option("--seed", default=0, show_default=True, help="same seed, same findings")
@RESAMPLES
@click.option("--workers", type=int, default=None, help="processes [number of cores]")
@_talk
def check(
    manifest: Path,
    only: tuple[str, ...],
    out: Path | None,
    fixed: Path | None,
    keep: str,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Say what makes results on MANIFEST unbelievable, before a model is trained on it.

    Copies, labels that can be read off the file or its border, sub-collections, junk, balance, and
    what the split lets through. Exit code 3 where a check fails. `--fix` writes a manifest in which
    copies, contradictions, junk and what a set of `--against` holds too are set aside, each with
    its reason; nothing is deleted.

    **Examples:** `clearhead check kaggle.parquet` ·
    `clearhead check kaggle.parquet --against other.parquet --fix kaggle-clean.parquet`
    """
    from clearhead.audits.check import FAILED, examine, gather, known_checks
    from clearhead.deliver.audit_page import save_audit
    from clearhead.deliver.audit_words import summary

    known_checks(only)  # before the long work
    folder = out or Path(f"{manifest.stem}-check")
    _check_targets(manifest, how["against"], folder, fixed)
    progress = progress_for(quiet=quiet)
    material = gather(manifest, progress=progress, **how)
    audit = examine(material, only)
    page = save_audit(audit, folder, progress=progress)
    lines, value = summary(audit, page), audit.to_json() | {"page": str(page)}
    if fixed is not None:
        aside = _fix(material, fixed, keep)
        value["fixed"] = {"manifest": str(fixed), "aside": aside}
        words = ", ".join(f"{count} {kind}" for kind, count in aside.items())
        lines.append(f"{fixed}: {sum(aside.values())} rows set aside ({words or 'none'})")
    _say(as_json, value, *lines)
    sys.exit(FAILED if audit.failed else 0)


def _check_targets(
    manifest: Path, against: tuple[Path, ...], folder: Path, fixed: Path | None
) -> None:
    """Errors: `click.UsageError` where results can't lie in `folder`, or `fixed` is in use."""
    from clearhead.data.manifest import is_manifest

    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file: name a folder for page and JSON with --out")
    if fixed is None:
        return
    if fixed.resolve() == manifest.resolve():
        raise click.UsageError("--fix names the manifest under audit: name a new file")
    if fixed.resolve() in [other.resolve() for other in against]:
        raise click.UsageError("--fix names a manifest of --against: name a new file")
    if fixed.exists() and not is_manifest(fixed):
        raise click.UsageError(f"--fix names {fixed}, which is no manifest: name a new file")


def _fix(material: Material, path: Path, keep: str) -> dict[str, int]:
    """Write the cleaned manifest; how many rows are set aside for each kind of reason."""
    from clearhead.audits.fix import fix
    from clearhead.audits.junk import set_aside
    from clearhead.data.manifest import carry_thumbnails, save_manifest

    cleaned = fix(material, keep=keep, junk=set_aside(material))
    save_manifest(cleaned, path)
    carry_thumbnails(material.path, path)
    counts: dict[str, int] = cleaned.notes["fix"]["set_aside"]
    return counts


@cli.command()
@click.argument("manifest", type=FILE)
@click.option("--out", type=FILE, default=None, help="manifest to write [the same file]")
@click.option(
    "--protocol",
    type=click.Choice(["group", "report", "collection"]),
    default="group",
    show_default=True,
    help="whole groups of copies and patients together, one sub-collection as the test, or the "
    "report's plain random split",
)
@click.option("--seed", default=0, show_default=True, help="same seed, same split")
@click.option("--test", default=0.30, show_default=True, help="share of the files held out")
@click.option("--validation", default=0.15, show_default=True, help="share of the rest")
@click.option("--folds", type=int, default=None, help="k-fold: number of folds")
@click.option("--fold", default=0, show_default=True, help="k-fold: the fold that is the test")
@_talk
def split(manifest: Path, out: Path | None, quiet: bool, as_json: bool, **how: Any) -> None:
    """Divide MANIFEST into train, validation and test, copies and patients kept together.

    **Example:** `clearhead split kaggle.parquet --protocol report --out kaggle-report.parquet`
    """
    import numpy as np

    from clearhead.data.manifest import carry_thumbnails, load_manifest, save_manifest
    from clearhead.data.split import copies_across, split
    from clearhead.types import SPLITS

    rows = split(load_manifest(manifest), **how)
    save_manifest(rows, out or manifest)
    carry_thumbnails(manifest, out or manifest)
    part, label, group = rows.column("split"), rows.column("label"), rows.groups()
    value: dict[str, Any] = {"manifest": str(out or manifest), "protocol": how["protocol"]}
    lines = []
    for name in SPLITS:
        inside = part == name
        counts = {kind: int(np.sum(inside & (label == kind))) for kind in rows.classes}
        groups = len(np.unique(group[inside]))
        value[name] = {"files": int(inside.sum()), "groups": groups, "classes": counts}
        words = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        lines.append(f"{name}: {int(inside.sum())} files in {groups} groups ({words})")
    if not rows.table.column("copy").null_count:
        twins, of = copies_across(rows)
        value["test_with_copy_in_train"] = twins
        share = f"{twins / of:.1%}" if of else "0 %"
        lines.append(f"{twins} of {of} test pictures ({share}) have a copy in training")
    _say(as_json, value, *lines, f"next: clearhead train {out or manifest} runs/NAME")


# --- Model ----------------------------------------------------------------------------------


@cli.command()
@click.argument("manifest", type=FILE, required=False)
@click.argument("out", type=FILE, required=False)
@click.option("--resume", "again", type=FILE, default=None, help="run folder to go on with")
@_recipe
@_talk
def train(
    manifest: Path | None,
    out: Path | None,
    again: Path | None,
    preset: str | None,
    file: Path | None,
    pretrained: Path | None,
    device: str,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a classifier on the split MANIFEST into the new run folder OUT.

    Ctrl-C saves and stops; `--resume OUT` goes on as if nothing had happened. On several GPUs or
    machines: `torchrun --nproc-per-node 4 -m clearhead train …`.

    **Examples:** `clearhead train kaggle.parquet runs/first` ·
    `clearhead train kaggle.parquet runs/report --preset report` ·
    `clearhead train ours.parquet runs/ours --pretrained shipped` ·
    `clearhead train --resume runs/first`
    """
    given = (manifest, pretrained, preset, file, *flags.values())
    if again is not None and any(value is not None for value in given):
        raise click.UsageError("--resume takes no manifest and no settings: the run has its own")
    if again is None and (manifest is None or out is None):
        raise click.UsageError("name a split manifest and a new run folder: train MANIFEST OUT")
    begin = _pretrained(pretrained)
    recipe = None if again else recipe_from(preset, file, flags, begin)

    from clearhead.data.manifest import load_manifest
    from clearhead.heat.scale import display_scale
    from clearhead.model import train as training
    from clearhead.model.launch import rank

    progress = progress_for(quiet=quiet or rank() > 0)
    if again is not None:
        run = training.resume(again, device=device, progress=progress)
    else:
        assert recipe is not None
        rows = load_manifest(manifest or Path())
        run = training.train(
            rows, recipe, out or Path(), pretrained=begin, device=device, progress=progress
        )
    if rank() > 0:
        return
    display_scale(run)
    last = run.history()[-1]
    _say(
        as_json,
        {"run": str(run.folder), **run.made, **last},
        f"{run.folder}: {run.made['epochs']} epochs in {run.made['seconds']:.0f} s, "
        f"validation accuracy {last['validation_accuracy']:.1%}, best epoch "
        f"{run.made['best_epoch']}",
        *_began(run),
        f"next: clearhead evaluate {run.folder}",
    )


def _began(run: Run) -> list[str]:
    """Whose weights a training began with, where it drew none."""
    told = run.made.get("pretrained")
    return [] if told is None else [f"it began with the weights of {told}"]


ON_AS = click.option(
    "--as", "pairs", multiple=True, help="LABEL=CLASS: what a label of --on stands for"
)


@cli.command()
@click.argument("run", type=FILE)
@click.option(
    "--error",
    default=0.05,
    show_default=True,
    help="share of new pictures of a class for which that class may be ruled out",
)
@click.option("--on", type=FILE, default=None, help="labelled manifest to fit on [validation rows]")
@ON_AS
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@_talk
def calibrate(
    run: Path,
    error: float,
    on: Path | None,
    pairs: tuple[str, ...],
    device: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit temperature, bias and what RUN rules out when, at another level or on other pictures.

    Every training ends with it. Where not exactly one class is left, a picture is *uncertain*.
    Evaluations made before no longer count: `clearhead evaluate` makes them again.

    **Examples:** `clearhead calibrate runs/first --error 0.02` ·
    `clearhead calibrate runs/first --on ours.parquet --as meningioma="Brain Tumor"`
    """
    from clearhead.data.manifest import load_manifest
    from clearhead.deliver.triage_words import calibrated
    from clearhead.model.calibrate import calibrate
    from clearhead.model.run import open_run

    opened = open_run(run)
    found = calibrate(
        opened,
        error=error,
        on=None if on is None else load_manifest(on),
        named=_named(pairs),
        device=device,
        progress=progress_for(quiet=quiet),
    )
    value = {"run": str(run), "classes": list(opened.classes), **dataclasses.asdict(found)}
    _say(as_json, value, *calibrated(found, opened.classes), f"next: clearhead evaluate {run}")


@cli.command()
@click.argument("run", type=FILE)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="rows to score",
)
@click.option("--on", type=FILE, default=None, help="labelled manifest of another set to score")
@ON_AS
@POSITIVE
@RESAMPLES
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@_talk
def evaluate(
    run: Path, on: Path | None, pairs: tuple[str, ...], quiet: bool, as_json: bool, **how: Any
) -> None:
    """Score RUN on its held-out split, with intervals, beside the score to beat.

    **Examples:** `clearhead evaluate runs/first` ·
    `clearhead evaluate runs/first --on ours.parquet --as meningioma="Brain Tumor"`
    """
    from clearhead.data.manifest import load_manifest
    from clearhead.deliver import triage_words, verdict
    from clearhead.model.evaluate import evaluate
    from clearhead.model.run import open_run

    other = None if on is None else load_manifest(on)
    named, progress = _named(pairs), progress_for(quiet=quiet)
    scores = evaluate(open_run(run), on=other, named=named, progress=progress, **how)
    told = (*verdict.statements(scores), *triage_words.statements(scores))
    lines = [verdict.headline(scores), *(line.text for line in told), "", *verdict.table(scores)]
    lines += ["", *triage_words.table(scores), ""]
    further = f"clearhead report {run}"
    if on is not None:
        further = " ".join([further, "--on", str(on), *map(_as, pairs)])
    _say(as_json, scores.to_json(), *lines, f"next: {further}")


def _as(pair: str) -> str:
    """A pair as it is typed."""
    return f"--as {shlex.quote(pair)}"


ALSO = click.option(
    "--also", type=FILE, multiple=True, help="manifest of a set to score too (repeat it)"
)
PAIRS = click.option(
    "--as", "pairs", multiple=True, help="LABEL=CLASS: what a label of --also stands for"
)


@cli.command()
@click.argument("manifest", type=FILE)
@click.argument("out", type=FILE)
@click.option("--folds", default=5, show_default=True, help="number of folds, drawn by group")
@click.option("--seeds", default=3, show_default=True, help="repetitions, counting from --seed")
@click.option("--jobs", default=1, show_default=True, help="trainings side by side, a thread each")
@click.option("--validation", default=0.15, show_default=True, help="share of what isn't the test")
@ALSO
@PAIRS
@POSITIVE
@RESAMPLES
@_recipe
@_talk
def crossval(
    manifest: Path,
    out: Path,
    folds: int,
    seeds: int,
    jobs: int,
    validation: float,
    also: tuple[Path, ...],
    pairs: tuple[str, ...],
    preset: str | None,
    file: Path | None,
    pretrained: Path | None,
    device: str,
    positive: str | None,
    resamples: int,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train and test on every fold of MANIFEST, so that each picture is tested, and pool in OUT.

    Folds are drawn by group, anew for each seed; each is an ordinary run in OUT/seedS-foldK. Scores
    are pooled with intervals over distinct pictures, the spread over seeds beside them. Ctrl-C
    saves; the same command goes on, and does nothing again that is done.

    **Example:** `clearhead crossval kaggle.parquet cv --folds 7 --preset evidence --jobs 2`
    """
    begin = _pretrained(pretrained)
    recipe = recipe_from(preset, file, flags, begin)

    from clearhead.audits.crossval import crossval
    from clearhead.data.manifest import load_manifest

    _folder(out, out)
    found = crossval(
        load_manifest(manifest),
        recipe,
        out,
        folds=folds,
        seeds=seeds,
        jobs=jobs,
        validation=validation,
        also=_others(also),
        named=_named(pairs),
        pretrained=begin,
        positive=positive,
        resamples=resamples,
        device=device,
        progress=progress_for(quiet=quiet),
    )
    _say_crossval(found, out, as_json)


@cli.command()
@click.argument("out", type=FILE)
@click.argument("runs", type=FILE, nargs=-1, required=True)
@ALSO
@PAIRS
@POSITIVE
@RESAMPLES
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@_talk
def pool(
    out: Path,
    runs: tuple[Path, ...],
    also: tuple[Path, ...],
    pairs: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Pool RUNS that are the folds of one or more seeds, wherever they were trained, in OUT.

    They must be of one manifest, one recipe but for its seed, and test every picture once per seed.

    **Example:** `clearhead pool cv cv/seed0-fold*`
    """
    from clearhead.audits.crossval import pool
    from clearhead.model.run import open_run

    _folder(out, out)
    found = pool(
        [open_run(run) for run in runs],
        also=_others(also),
        named=_named(pairs),
        progress=progress_for(quiet=quiet),
        **how,
    )
    _say_crossval(found, out, as_json)


def _others(paths: tuple[Path, ...]) -> dict[str, Manifest]:
    """Manifests by the names of their files."""
    from clearhead.data.manifest import load_manifest

    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        raise click.UsageError("two manifests of --also have one name: rename one of the files")
    return {path.stem: load_manifest(path) for path in paths}


def _say_crossval(found: CrossValidation, out: Path, as_json: bool) -> None:
    from clearhead.deliver.crossval_page import save_crossval, summary

    page = save_crossval(found, out)
    value = found.to_json() | {"page": str(page)}
    _say(as_json, value, *summary(found, page), f"next: clearhead doubts {out}")


@cli.command()
@click.argument("folder", type=FILE)
@click.option("--out", type=FILE, default=None, help="folder for page and table [FOLDER/doubts]")
@POSITIVE
@RESAMPLES
@_talk
def doubts(folder: Path, out: Path | None, quiet: bool, as_json: bool, **how: Any) -> None:
    """List labels that the cross-validation in FOLDER contradicts, with the pictures.

    Confident learning on the out-of-fold probabilities, and copies of one picture with different
    labels. A doubt is a reason to look: nothing is changed, and no score leaves a picture out.

    **Example:** `clearhead doubts cv`
    """
    from clearhead.audits.crossval import pool, runs_of
    from clearhead.audits.doubts import doubts
    from clearhead.deliver.doubts_page import save_doubts, summary

    place = _folder(out, folder / "doubts")
    progress = progress_for(quiet=quiet)
    found = doubts(pool(runs_of(folder), progress=progress, **how))
    page = save_doubts(found, place, progress=progress)
    _say(as_json, found.to_json() | {"page": str(page)}, *summary(found, page))


# --- Evidence -------------------------------------------------------------------------------

METHODS = (
    *("grad_cam", "hires_cam", "xgrad_cam", "grad_cam_plus_plus", "layer_cam", "eigen_cam"),
    *("score_cam", "ablation_cam", "occlusion", "rise", "integrated_gradients", "smooth_grad"),
)
"""`clearhead.heat.methods.METHODS`, without loading them for `--help`."""

METHOD = click.option(
    "--method",
    type=click.Choice(METHODS),
    default="grad_cam",
    show_default=True,
    help="explanation method; the CAMs come first and cost a forward pass",
)
SCORE = click.option(
    "--score",
    type=click.Choice(["logit", "margin", "probability"]),
    default="logit",
    show_default=True,
    help="what is explained; probability is the report's variant",
)
STAGE = click.option("--stage", default=None, help="place in the net whose maps are shown [last]")


@cli.command()
@click.argument("images", type=FILE, nargs=-1, required=True, metavar="[RUN] IMAGES…")
@click.option("--out", type=FILE, default=None, help="folder for the files [RUN/explanations]")
@click.option("--target", default=None, help="class whose evidence is shown [the class called]")
@METHOD
@SCORE
@STAGE
@click.option("--scale", type=float, default=None, help="evidence in full colour [of the run]")
@click.option(
    "--colour",
    type=click.Choice(["agree", "mean"]),
    default=None,
    help="refuse coloured pictures, or take the mean of their channels [as RUN read its own]",
)
@click.option("--batch", default=32, show_default=True, help="pictures per forward pass")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@click.option("--triptych/--no-triptych", default=True, help="draw original, heatmap, overlay")
@_talk
def explain(
    images: tuple[Path, ...],
    out: Path | None,
    scale: float | None,
    triptych: bool,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Say what RUN calls each of IMAGES (files or folders) and show where its evidence lies.

    Without RUN, or with *shipped*, the classifier that comes with the package looks. Files that
    can't be read are named on standard error, the others are done; then the exit code is 2.

    **Examples:** `clearhead explain scan.png` · `clearhead explain runs/first scan.png` ·
    `clearhead explain runs/report scans/ --score probability --target Healthy`
    """
    from clearhead.deliver.gallery import save_explanations
    from clearhead.heat.explain import explain
    from clearhead.heat.scale import display_scale
    from clearhead.model.shipped import NAME, run_at

    run, images = (images[0], images[1:]) if _is_run(images[0]) else (NAME, images)
    if not images:
        raise RunError(f"no picture is named: `clearhead explain {run} scan.png`")
    opened = run_at(run)
    out = out or run / "explanations"
    if scale is None:
        shown = {name: how[name] for name in ("score", "method", "stage")}
        scale = display_scale(opened, **shown)
    unread: list[str] = []

    def refuse(path: Path, error: ClearheadError) -> None:
        unread.append(f"{error}")
        click.echo(f"clearhead: {error}", err=True)

    progress = progress_for(quiet=quiet)
    explained = explain(opened, images, on_error=refuse, progress=progress, **how)
    rows = []
    for row in save_explanations(explained, out, scale=scale, triptychs=triptych):
        rows.append(row)
        if not as_json:
            share = row[f"probability {row['call']}"]
            evidence = (
                f"peak {row['peak']:.3g} {row['unit']}"
                if row["evidence"] == "positive"
                else f"no positive evidence for {row['target']}"
            )
            verdict = f", triage {row['triage']}" if row["triage"] else ""
            reason = f" ({row['reason']})" if row["reason"] else ""
            click.echo(f"{row['source']}: {row['call']} {share:.1%}{verdict}{reason}, {evidence}")
    _say(as_json, {"folder": str(out), "explanations": rows, "unreadable": unread}, f"{out}")
    if unread:
        sys.exit(2)


def _is_run(path: Path) -> bool:
    """Whether a folder was left by a training, finished or not, or is the name of the shipped.

    Errors: `RunError` where nothing is there: a mistyped run must not pass for a picture.
    """
    if str(path) == "shipped" and not path.is_file():
        return True
    if not path.exists():
        raise RunError(
            f"{path} is not there: expected a run that `clearhead train` wrote, or a picture"
        )
    return any((path / name).exists() for name in ("run.json", "recipe.json"))


SPLIT = click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="rows to look at",
)


@cli.command()
@click.argument("run", type=FILE)
@SPLIT
@click.option("--on", type=FILE, default=None, help="manifest of another data set to audit it on")
@ON_AS
@METHOD
@SCORE
@click.option("--only", multiple=True, help="check to run (repeat it); default all")
@click.option("--out", type=FILE, default=None, help="folder for page and JSON [RUN/audit/SPLIT]")
@POSITIVE
@click.option("--seed", default=0, show_default=True, help="same seed, same findings")
@RESAMPLES
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@_talk
def audit(
    run: Path,
    on: Path | None,
    pairs: tuple[str, ...],
    only: tuple[str, ...],
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Say where RUN's evidence lies, whether it needs it, and what it looks at instead.

    Heat in brain, rim and background against chance; whether it finds the tumour where there are
    masks; the score with brain, rim, background or tumour erased; clusters of heatmaps; a gallery.
    Exit code 3 where a check fails.

    **Examples:** `clearhead audit runs/first` ·
    `clearhead audit runs/first --on meningioma.parquet --as "meningioma=Brain Tumor"`
    """
    from clearhead.audits.audit import audit, known_audits
    from clearhead.audits.check import FAILED
    from clearhead.data.manifest import load_manifest
    from clearhead.model.evaluate import name_of
    from clearhead.model.shipped import run_at

    known_audits(only)  # before the long work
    opened = run_at(run)
    other = None if on is None else load_manifest(on)
    folder = _folder(out, run / "audit" / (how["split"] if other is None else name_of(other)))
    progress = progress_for(quiet=quiet)
    found = audit(opened, only=only, on=other, named=_named(pairs), progress=progress, **how)
    _say_audit(found, folder, "audit", as_json, quiet)
    sys.exit(FAILED if found.failed else 0)


def _named(pairs: tuple[str, ...]) -> dict[str, str]:
    """`LABEL=CLASS` as a mapping."""
    for pair in pairs:
        if not all(pair.partition("=")):
            raise click.UsageError(f"--as is {pair!r}: expected LABEL=CLASS")
    return {label: name for label, _, name in (pair.partition("=") for pair in pairs)}


def _folder(out: Path | None, default: Path) -> Path:
    """Where page and JSON go; refused before the long work."""
    folder = out or default
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file: name a folder for page and JSON with --out")
    return folder


def _say_audit(found: EvidenceAudit, folder: Path, name: str, as_json: bool, quiet: bool) -> None:
    from clearhead.deliver.evidence_page import save_evidence_audit, summary

    page = save_evidence_audit(found, folder, name=name, progress=progress_for(quiet=quiet))
    _say(as_json, found.to_json() | {"page": str(page)}, *summary(found, page, name=name))


@cli.command()
@click.argument("run", type=FILE)
@click.option("--seeds", type=FILE, multiple=True, help="run of another seed (repeat it)")
@click.option("--shuffled", type=FILE, default=None, help="run trained with --random-labels")
@SPLIT
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    help="method to try (repeat it) [the CAMs]",
)
@SCORE
@click.option("--only", multiple=True, help="bench to run (repeat it); default all")
@click.option("--pictures", default=256, show_default=True, help="pictures looked at")
@click.option("--out", type=FILE, default=None, help="folder for page and JSON [RUN/bench/SPLIT]")
@click.option("--seed", default=0, show_default=True, help="same seed, same findings")
@RESAMPLES
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda")
@_talk
def bench(
    run: Path,
    seeds: tuple[Path, ...],
    shuffled: Path | None,
    methods: tuple[str, ...],
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Say whether RUN's explanations are to be trusted, method by method, beside chance.

    Deletion and insertion against random order, what is left when the weights are randomised,
    repeatability over seeds of training, stability, agreement and complexity.

    **Example:** `clearhead bench runs/first --seeds runs/second --shuffled runs/random`
    """
    from clearhead.audits.bench import bench
    from clearhead.audits.check import FAILED
    from clearhead.model.run import open_run

    folder = _folder(out, run / "bench" / how["split"])
    chosen: dict[str, Any] = {"methods": methods} if methods else {}
    found = bench(
        open_run(run),
        seeds=[open_run(other) for other in seeds],
        shuffled=None if shuffled is None else open_run(shuffled),
        progress=progress_for(quiet=quiet),
        **chosen,
        **how,
    )
    _say_audit(found, folder, "bench", as_json, quiet)
    sys.exit(FAILED if found.failed else 0)


@cli.command()
@click.argument("out", type=FILE, default=Path("clearhead-selftest"))
@click.option("--seeds", default=1, show_default=True, help="trainings for each fault")
@click.option("--first-seed", default=0, show_default=True, help="seed of the first")
@click.option("--n", default=600, show_default=True, help="generated heads for each")
@click.option("--fault", "faults", multiple=True, help="fault to plant (repeat it) [all]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda")
@_talk
def selftest(out: Path, faults: tuple[str, ...], quiet: bool, as_json: bool, **how: Any) -> None:
    """Prove the audit: train on generated heads with a known shortcut, and see what it says.

    A training for each fault and two for the clean twin, two minutes each on two cores; what is
    done already in OUT [clearhead-selftest] is not done again. Exit code 3 where a fault is missed
    or the clean twin fails.

    **Example:** `clearhead selftest --fault clean --fault corner`
    """
    from clearhead.audits.check import FAILED
    from clearhead.audits.selftest import selftest
    from clearhead.deliver.selftest_words import lines, values

    chosen: dict[str, Any] = {"faults": faults} if faults else {}
    trials = selftest(out, progress=progress_for(quiet=quiet), **chosen, **how)
    _say(as_json, values(trials), *lines(trials))
    sys.exit(0 if all(trial.as_expected for trial in trials) else FAILED)


@cli.command()
@click.argument("run", type=FILE)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="the evaluated rows to show",
)
@click.option("--on", type=FILE, default=None, help="manifest of another set that it was scored on")
@ON_AS
@_talk
def report(
    run: Path, split: str, on: Path | None, pairs: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Draw RUN's figures and write its page, one HTML file that opens offline.

    **Examples:** `clearhead report runs/first` ·
    `clearhead report runs/first --on ours.parquet --as meningioma="Brain Tumor"`
    """
    from clearhead.data.manifest import load_manifest
    from clearhead.deliver.report import report
    from clearhead.model.run import open_run

    other = None if on is None else load_manifest(on)
    named, progress = _named(pairs), progress_for(quiet=quiet)
    page = report(open_run(run), split=split, on=other, named=named, progress=progress)
    _say(as_json, {"page": str(page)}, f"{page}")


@cli.command()
@click.argument("out", type=FILE, default=Path("clearhead-demo"))
@click.option("--n", default=600, show_default=True, help="number of generated heads")
@click.option("--seed", default=0, show_default=True, help="seed of heads, split and training")
@_talk
def demo(out: Path, n: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Walk the whole way on generated heads in the new folder OUT [clearhead-demo].

    Generates heads, indexes, splits, trains, evaluates, explains, and says where the page is.
    """
    from clearhead.app.demo import demo

    page = demo(out, n=n, seed=seed, say=_quietly(quiet), progress=progress_for(quiet=quiet))
    _say(as_json, {"page": str(page)}, f"the page: {page}")


def _quietly(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet else click.echo(line, err=True)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    **Example:** `clearhead completion bash >> ~/.bashrc`
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "clearhead", "_CLEARHEAD_COMPLETE").source())
