"""The trainings of a cross-validation: a run per seed and fold, one by one or side by side.

Side by side each is a process of its own with one thread of arithmetic
(`python -m clearhead.model.folds JOB`, where JOB is a `Job` as JSON). It is told to stop by the end
of its standard input, which also comes when whoever started it is gone: it then saves and leaves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from clearhead.data.cache import forget
from clearhead.data.manifest import load_manifest, save_manifest
from clearhead.data.split import split
from clearhead.errors import ClearheadError, RunError
from clearhead.files import read_json
from clearhead.model.evaluate import evaluate, evaluation_folder
from clearhead.model.pretrained import begun_with, forget_pretrained, words_of
from clearhead.model.run import Run, manifest_id, open_run
from clearhead.model.stopping import Interrupted, stop_asked
from clearhead.model.train import resume, train
from clearhead.types import Bar, Manifest, Progress, Recipe, silent

T = TypeVar("T")

POLL_SECONDS = 0.2
"""How often running processes are looked after."""


@dataclass(frozen=True)
class Job:
    """One training: fold `fold` of `folds`, drawn and trained with the recipe's seed."""

    out: Path
    """Of the cross-validation: holds `manifest.parquet` and the run's folder."""
    recipe: Recipe
    folds: int
    fold: int
    validation: float = 0.15
    positive: str | None = None
    resamples: int = 1000
    device: str = "auto"
    pretrained: Path | None = None
    """Folder of the run whose weights every training begins with."""

    @property
    def name(self) -> str:
        return f"seed{self.recipe.seed}-fold{self.fold}"

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.out / self.name

    def rows(self, manifest: Manifest) -> Manifest:
        """The manifest with this fold as the test."""
        return split(
            manifest,
            seed=self.recipe.seed,
            folds=self.folds,
            fold=self.fold,
            validation=self.validation,
        )

    def done(self) -> bool:
        """Whether run and evaluation are there."""
        finished = (self.folder / "run.json").exists()
        return finished and (self.folder / "evaluation" / "test" / "scores.json").exists()

    def epochs(self) -> int:
        """Epochs done; all of them where the run is finished, however early it stopped."""
        if (self.folder / "run.json").exists():
            return self.recipe.epochs
        path = self.folder / "history.json"
        return len(read_json(path)) if path.exists() else 0

    def to_json(self) -> str:
        """Plain JSON for the command line of a process."""
        folder = None if self.pretrained is None else str(self.pretrained)
        return json.dumps({**asdict(self), "out": str(self.out), "pretrained": folder})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote."""
        values = json.loads(text)
        known = None if values["pretrained"] is None else Path(values["pretrained"])
        paths = {"out": Path(values["out"]), "pretrained": known}
        return cls(**{**values, **paths, "recipe": Recipe.of(values["recipe"])})


def jobs_of(
    manifest: Manifest, recipe: Recipe, out: Path, *, folds: int, seeds: int, **how: Any
) -> list[Job]:
    """A job per seed and fold; the seeds count up from the recipe's.

    Keeps the manifest in `out`, which may hold the begun cross-validation of the same pictures and
    settings. Errors: `ManifestError` where it can't be split so, `RunError` where `out` holds
    something else.
    """
    if seeds < 1:
        raise RunError(f"seeds is {seeds}: expected at least 1")
    made = [
        Job(out, Recipe.of({**asdict(recipe), "seed": seed}), folds, fold, **how)
        for seed in range(recipe.seed, recipe.seed + seeds)
        for fold in range(folds)
    ]
    for job in made:  # refuse before anything is written
        rows = job.rows(manifest)
        if (job.folder / "recipe.json").exists():
            _check_same(job, rows)
    known = out / "manifest.parquet"
    if known.exists():
        if contents(load_manifest(known)) != contents(manifest):
            raise RunError(f"{out} is the cross-validation of another manifest: name a new folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        save_manifest(manifest, known)
    return made


def contents(manifest: Manifest) -> tuple[Any, ...]:
    """What a cross-validation depends on: pictures, labels, groups, which rows take part."""
    rows = manifest.take(manifest.usable())
    columns = [rows.column(name).tolist() for name in ("source", "sha256", "label")]
    return (manifest.classes, sorted(zip(*columns, rows.groups().tolist(), strict=True)))


def _check_same(job: Job, rows: Manifest) -> None:
    """Errors: `RunError` where the job's folder holds a run of other settings or pictures."""
    theirs = asdict(Recipe.of(read_json(job.folder / "recipe.json")))
    ours = asdict(job.recipe)
    other = [name for name, value in ours.items() if theirs[name] != value]
    if other:
        told = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in other)
        raise RunError(f"{job.folder} was begun with {told}: name a new folder")
    wanted = None if job.pretrained is None else words_of(open_run(job.pretrained))
    known = begun_with(job.folder)
    if known != wanted:
        raise RunError(
            f"{job.folder} was begun with {_weights(known)}, not {_weights(wanted)}: name a new "
            "folder"
        )
    path = job.folder / "manifest.parquet"
    if path.exists() and manifest_id(load_manifest(path)) != manifest_id(rows):
        raise RunError(
            f"{job.folder} was begun with other pictures or another split: name a new folder"
        )


def _weights(words: str | None) -> str:
    return "drawn weights" if words is None else f"the weights of {words}"


def fold_run(job: Job, manifest: Manifest, *, progress: Progress = silent) -> Run:
    """Split, train and evaluate one job; what is done is not done again, what was begun goes on."""
    if (job.folder / "manifest.parquet").exists():
        run = resume(job.folder, device=job.device, progress=progress)
    else:
        (job.folder / "recipe.json").unlink(missing_ok=True)  # killed before it began
        forget_pretrained(job.folder)
        run = train(
            job.rows(manifest),
            job.recipe,
            job.folder,
            pretrained=None if job.pretrained is None else open_run(job.pretrained),
            device=job.device,
            progress=progress,
        )
    if not (evaluation_folder(run, "test") / "scores.json").exists():
        evaluate(run, positive=job.positive, resamples=job.resamples, progress=progress)
        # No other run learns from these very pictures; what it was tested on is looked at again.
        learnt = run.manifest().part("train")
        forget(learnt, fit=job.recipe.fit, size_px=job.recipe.size_px)
    return run


def run_jobs(
    jobs: Sequence[Job], manifest: Manifest, *, processes: int = 1, progress: Progress = silent
) -> list[Run]:
    """The finished run of each job; `processes` of them are trained at a time.

    With one, each training takes all threads of this process; with more, each takes one thread.
    Errors: `RunError` where one fails, after the others have saved; `Interrupted` on Ctrl-C, after
    all have saved.
    """
    if processes < 1:
        raise RunError(f"jobs is {processes}: expected at least 1")
    todo = [job for job in jobs if not job.done()]
    if processes == 1:
        _one_by_one(todo, manifest, progress)
    elif todo:
        _side_by_side(todo, processes, progress)
    return [open_run(job.folder) for job in jobs]


def _one_by_one(jobs: Sequence[Job], manifest: Manifest, progress: Progress) -> None:
    for job in jobs:
        try:
            fold_run(job, manifest, progress=_Named(progress, job.name))
        except Interrupted:
            raise Interrupted(f"{_STOPPED} ({job.name} is saved)") from None


@dataclass(frozen=True)
class _Named:
    """A `Progress` that says whose work it shows."""

    progress: Progress
    name: str

    def __call__(self, items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
        return self.progress(items, total=total, label=f"{self.name} {label}")


_STOPPED = "stopped: the same command goes on where it was"


# --- Processes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Worker:
    job: Job
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def stop(self) -> None:
        """Ask it to save and leave."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def trouble(self) -> str:
        """The last line that it said on standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"its process ended with code {self.process.returncode}"


def _side_by_side(jobs: Sequence[Job], processes: int, progress: Progress) -> None:
    total = sum(job.recipe.epochs - job.epochs() for job in jobs)
    waiting, running = list(jobs), list[_Worker]()
    with stop_asked() as asked:
        try:
            epochs = _epochs(waiting, running, processes, asked)
            bar = progress(epochs, total=total, label="epochs of all folds")
            for _ in bar:
                left = len(waiting) + len(running)
                bar.note(f"{left} of {len(jobs)} runs to go")
        finally:
            _leave(running)
    if asked.is_set():
        raise Interrupted(_STOPPED)


def _epochs(
    waiting: list[Job], running: list[_Worker], processes: int, asked: threading.Event
) -> Iterator[None]:
    """One item per epoch done, over all jobs; starts and removes workers as it goes."""
    seen: dict[Path, int] = {job.folder: job.epochs() for job in waiting}
    while (waiting or running) and not asked.is_set():
        while waiting and len(running) < processes:
            running.append(_start(waiting.pop(0)))
        time.sleep(POLL_SECONDS)
        for worker in list(running):
            code = worker.process.poll()  # before its epochs are counted, or the last were missed
            folder, done = worker.job.folder, worker.job.epochs()
            yield from [None] * (done - seen[folder])
            seen[folder] = done
            if code is not None:
                running.remove(worker)
                worker.stop()
                with worker.errors:
                    if code:
                        raise RunError(f"{worker.job.name} failed: {worker.trouble()}")


def _start(job: Job) -> _Worker:
    """A process of one thread in a session of its own: Ctrl-C at the terminal is not for it."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `_leave`
    process = subprocess.Popen(
        [sys.executable, "-m", "clearhead.model.folds", job.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={**os.environ, **single},
        start_new_session=True,
    )
    return _Worker(job, process, errors)


def _leave(running: Sequence[_Worker]) -> None:
    """Let every process save; a second Ctrl-C ends them at once."""
    try:
        for worker in running:
            worker.stop()
        for worker in running:
            worker.process.wait()
    finally:
        for worker in running:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.errors.close()


def main(words: Sequence[str]) -> int:
    """Do the job that is given as JSON; 0 done, 2 an error in one line, 130 stopped."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    job = Job.from_json(words[0])
    try:
        fold_run(job, load_manifest(job.out / "manifest.parquet"))
    except ClearheadError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  read by `trouble`
        return 2
    except Interrupted:
        return 130
    return 0


def _stop_at_end_of_input() -> None:
    while os.read(0, 1):  # not `sys.stdin`, whose lock the end of the program would wait for
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
