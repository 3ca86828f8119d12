"""`distill-train sweep`: every checkpoint on the dev questions, the best one on all the others.

Owns the order of the work, its resume, and the folder. Refuses to own serving (`serving`), the
split (`split`), the choice (`scores`) and the evaluation itself, which is `distill-eval run`.

    OUT/split.json          the doc ids of both parts, a task
    OUT/step-000100/        an ordinary run on the dev questions; log/ is what passed the proxy
    OUT/best/ OUT/base/     runs on the held-out questions: the chosen step, and the base
    OUT/sweep.json .csv     settings, counts of each model on each part and task, the choice
    OUT/logs/               what servers, proxies and evaluations said
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import harness_tasks
from harness_tasks import manifest
from harness_tasks.progress import bar
from harness_tasks.sampling import k_within
from training.checkpoints import processes, scores, split
from training.checkpoints.processes import Program, ProgramFailed
from training.checkpoints.scores import DEV, HELD_OUT, Row
from training.checkpoints.serving import Arm, Serving, Session, Up, sessions
from training.checkpoints.source import checkpoints, find, read_object, step_of
from training.checkpoints.split import Split
from training.run_folder import write_whole

SCHEMA_VERSION = 1
RECORD, TABLE, SPLIT = "sweep.json", "sweep.csv", "split.json"
BEST, BASE = "best", "base"
LISTENING = "listening on "
PROXY_START_S = 60.0
POLL_S = 0.5


@dataclass(frozen=True)
class Settings:
    """What is measured; a folder holds one such sweep. `dev` is a share below 1, or a number."""

    run: Path
    tasks: tuple[str, ...]
    select_by: str
    dev: float = 0.2
    seed: int = 0
    preset: str | None = None
    repeats: int | None = None
    data_dir: str | None = None
    base: str | None = None
    with_base: bool = True
    steps: tuple[int, ...] = ()
    model_args: Mapping[str, Any] = field(default_factory=dict)
    run_flags: tuple[str, ...] = ()

    def measured(self, server: str) -> dict[str, Any]:
        """Return what must be the same for two evaluations to be compared."""
        return {
            "run": str(self.run.resolve()),
            "tasks": list(self.tasks),
            "select_by": self.select_by,
            "dev": self.dev,
            "seed": self.seed,
            "preset": self.preset,
            "repeats": self.repeats,
            "data_dir": self.data_dir,
            "base": self.base,
            "model_args": {k: v for k, v in self.model_args.items() if k != "num_concurrent"},
            "run_flags": list(self.run_flags),
            "server": server,
        }


@dataclass
class Sweep:
    """A sweep under way."""

    settings: Settings
    serving: Serving
    folder: Path
    splits: list[Split]
    floor: Floor
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Done:
    """What a sweep found."""

    folder: Path
    rows: list[Row]
    chosen: Row
    checkpoint: Path
    with_base: bool


class Floor:
    """The one server that runs at a time, started when an arm needs it."""

    def __init__(self, all_sessions: Sequence[Session]) -> None:
        self.sessions = all_sessions
        self.open: Session | None = None
        self.up: Up | None = None
        self.stack = contextlib.ExitStack()

    def serve(self, name: str) -> tuple[Up, str]:
        """Return a server that has an arm, and what requests call it there."""
        session, arm = next(
            (one, arm) for one in self.sessions for arm in one.arms if arm.name == name
        )
        if session is not self.open or self.up is None:
            self.close()
            self.up, self.open = self.stack.enter_context(session.open()), session
        self.up.require()
        return self.up, arm.model

    def close(self) -> None:
        """End the server."""
        self.stack.close()
        self.open = self.up = None


def sweep(settings: Settings, serving: Serving, names: Mapping[str, str]) -> Done:
    """Evaluate every checkpoint, choose, evaluate the chosen one and the base.

    `names` gives arms other names on a server that runs already.

    Raises:
        ValueError: what the caller can mend; nothing is evaluated, or all that is done stays.
        ProgramFailed: a server or an evaluation broke; what is done stays.
    """
    if settings.select_by not in settings.tasks:
        raise ValueError(
            f"--select-by {settings.select_by!r} is not among --tasks {','.join(settings.tasks)}"
        )
    arms = [replace(one, model=names.get(one.name, one.name)) for one in arms_of(settings)]
    unknown = [name for name in names if name not in {arm.name for arm in arms}]
    if unknown:
        known = ", ".join(arm.name for arm in arms)
        raise ValueError(f"--model {unknown[0]}=...: there is no such model here; known: {known}")
    splits = split.split_all(
        list(settings.tasks), settings.dev, settings.seed, split.data_folder(settings.data_dir)
    )
    take_folder(serving.folder, settings.measured(serving.server), splits)
    floor = Floor(sessions(arms, serving))
    work = Sweep(settings, serving, serving.folder, splits, floor, serving.say)
    try:
        return all_of(work, arms)
    finally:
        floor.close()


def arms_of(settings: Settings) -> list[Arm]:
    """Return the checkpoints of the run, the earliest first, behind the base.

    Raises:
        ValueError: the run has none, a step is not there, or the base is not known.
    """
    found = checkpoints(settings.run.expanduser())
    if not found:
        find(settings.run, settings.base)  # says what is wrong with a path that is no run
        raise ValueError(
            f"{settings.run} has no checkpoints (checkpoints/step-000100-examples-005000); "
            "save_steps of the recipe writes some"
        )
    by_step = {step_of(path): path for path in found}
    missing = [step for step in settings.steps if step not in by_step]
    if missing:
        known = ", ".join(map(str, by_step))
        raise ValueError(f"--steps {missing[0]}: {settings.run} has checkpoints at {known}")
    wanted = settings.steps or tuple(by_step)
    arms = [
        Arm(f"step-{step:06d}", step, find(by_step[step], settings.base))
        for step in sorted(set(wanted))
    ]
    if not settings.with_base:
        return arms
    source = arms[0].source
    below = source.base if source.is_adapter else source.origin
    if below is None:
        raise ValueError(
            f"{settings.run} does not say what it was trained from; name it with --base, or leave "
            "out the baseline with --no-base"
        )
    return [Arm(BASE, None, replace(source, base=below)), *arms]


def take_folder(folder: Path, measured: Mapping[str, Any], splits: Sequence[Split]) -> None:
    """Make the folder of a new sweep, or see that it is this one's.

    Raises:
        ValueError: it holds another sweep, or something else.
    """
    record = folder / RECORD
    if record.is_file():
        known = read_object(record).get("settings") or {}
        for name, value in measured.items():
            if known.get(name) != value:
                raise ValueError(
                    f"{folder} holds a sweep with {name} {known.get(name)!r}, not {value!r}; name "
                    "another folder with --out"
                )
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no sweep; name another with --out")
    folder.mkdir(parents=True, exist_ok=True)
    told = {one.task: {DEV: one.dev, HELD_OUT: one.held_out} for one in splits}
    if (folder / SPLIT).is_file() and read_object(folder / SPLIT) != told:
        raise ValueError(
            f"the questions are others than those that {folder / SPLIT} was drawn from; name "
            "another folder with --out"
        )
    write_whole(folder / SPLIT, json.dumps(told) + "\n")
    for part in (DEV, HELD_OUT):
        chosen = {task: ids[part] for task, ids in told.items()}
        write_whole(samples_file(folder, part), json.dumps(chosen) + "\n")
    if not record.is_file():
        record_sweep(folder, measured, [], None)


def samples_file(folder: Path, part: str) -> Path:
    """Return the file of doc ids that an evaluation is given."""
    return folder / f"{part}_samples.json"


def all_of(work: Sweep, arms: Sequence[Arm]) -> Done:
    """Walk through the parts."""
    steps = [arm for arm in arms if arm.step is not None]
    for number, arm in enumerate(steps, start=1):
        evaluate(work, arm, work.folder / arm.name, DEV, f"{number} of {len(steps)}")
    try:
        best = scores.chosen(work.rows, work.settings.select_by)
    except ValueError as unfit:
        raise ProgramFailed(str(unfit)) from unfit
    arm = next(one for one in steps if one.step == best.step)
    ties = scores.equal_to(best, work.rows)
    equal = f"; equal to {', '.join(ties)}, and earlier" if ties else ""
    work.say(f"chosen: {arm.name}, {best.correct} of {best.n} on {best.task} (dev){equal}")
    make_room(work, arm)
    chosen = {"step": arm.step, "checkpoint": str(arm.source.path), "by": best.task,
              "score": best.score, "equal": ties}  # fmt: skip
    save(work, chosen)
    evaluate(work, arm, work.folder / BEST, HELD_OUT, "the chosen step")
    save(work, chosen)
    for one in arms:
        if one.step is None:
            evaluate(work, one, work.folder / BASE, HELD_OUT, "the base")
    save(work, chosen)
    return Done(work.folder, work.rows, best, arm.source.path, work.settings.with_base)


def make_room(work: Sweep, arm: Arm) -> None:
    """Move away the held-out run of a step that was chosen before further ones were there."""
    earlier = (read_object(work.folder / RECORD).get("chosen") or {}).get("step")
    if earlier in (None, arm.step) or not (work.folder / BEST).is_dir():
        return
    kept = work.folder / f"{BEST}-was-step-{int(earlier):06d}"
    shutil.rmtree(kept, ignore_errors=True)
    (work.folder / BEST).rename(kept)
    work.say(f"step {earlier} was chosen before; its held-out run is now {kept}")


def save(work: Sweep, chosen: dict[str, Any] | None) -> None:
    """Write sweep.json and sweep.csv as far as the work has come."""
    measured = work.settings.measured(work.serving.server)
    record_sweep(work.folder, measured, work.rows, chosen)


def record_sweep(
    folder: Path, measured: Mapping[str, Any], rows: Sequence[Row], chosen: dict[str, Any] | None
) -> None:
    told = {
        "schema": SCHEMA_VERSION,
        "suite_version": manifest.version_of("distill-eval"),
        "written_at": manifest.now(),
        "settings": dict(measured),
        "chosen": chosen,
        "rows": [vars(row) for row in rows],
    }
    write_whole(folder / RECORD, json.dumps(told, indent=2) + "\n")
    scores.write_csv(folder / TABLE, rows)


def evaluate(work: Sweep, arm: Arm, folder: Path, part: str, place: str) -> None:
    """Evaluate an arm on a part, unless that is done, and count its verdicts.

    Raises:
        ProgramFailed: the server or the evaluation broke; what it left is removed.
    """
    if finished(folder, work.settings.tasks):
        work.say(f"{folder.name} ({place}): done before")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        up, model = work.floor.serve(arm.name)
        n_docs = sum(len(one.dev if part == DEV else one.held_out) for one in work.splits)
        n_asked = n_docs * (work.settings.repeats or k_within(work.settings.preset))
        words = part.replace("_", "-")
        work.say(f"{folder.name} ({place}): {n_asked} completions of the {words} part")
        ask(work, up, model, folder, part, n_asked)
    found = scores.rows_of(folder, part, arm.name, arm.step)
    work.rows += found
    shown = [f"{r.task} {r.correct}/{r.n - r.grader_error}" for r in found]
    work.say(f"  correct: {', '.join(shown)}")


def finished(folder: Path, tasks: Sequence[str]) -> bool:
    """Whether a folder holds a whole evaluation."""
    told = manifest.read(folder) if folder.is_dir() else None
    return bool(told and told["status"] == "finished" and set(tasks) <= set(told["tasks"]))


def ask(work: Sweep, up: Up, model: str, folder: Path, part: str, n_asked: int) -> None:
    """Run `distill-eval run` through a proxy of its own."""
    logs = work.folder / "logs"
    name = f"{folder.name}-{part}"
    for log in (logs / f"proxy-{name}.log", logs / f"eval-{name}.log"):
        log.unlink(missing_ok=True)
    with (
        proxied(up.url, folder / "log", logs / f"proxy-{name}.log") as url,
        processes.started(
            command(work, url, model, folder, part),
            logs / f"eval-{name}.log",
            environ=importable(),
        ) as evaluation,
        bar(n_asked, folder.name, "completion") as progress,
    ):
        try:
            while evaluation.code is None:
                up.require()
                progress.update(max(0, min(n_asked, answered(url, progress.n)) - progress.n))
                time.sleep(POLL_S)
            up.require()
            if evaluation.code != 0:
                said = processes.last_words(evaluation.log)
                raise ProgramFailed(
                    f"the evaluation of {folder.name} failed: {said} (log: {evaluation.log})"
                )
        except BaseException:
            evaluation.end()  # before its folder goes
            shutil.rmtree(folder, ignore_errors=True)
            raise


def command(work: Sweep, url: str, model: str, folder: Path, part: str) -> list[str]:
    """Return the evaluation's command."""
    settings = work.settings
    args = {**settings.model_args, "base_url": f"{url}/v1", "model": model}
    words = ["--tasks", ",".join(settings.tasks), "--output_path", str(folder.absolute())]
    words += ["--samples", str(samples_file(work.folder, part).absolute())]
    words += ["--model_args", json.dumps(args)]
    words += ["--preset", settings.preset] if settings.preset else []
    words += ["--repeats", str(settings.repeats)] if settings.repeats else []
    words += ["--data-dir", settings.data_dir] if settings.data_dir else []
    return [sys.executable, "-m", "harness_tasks", "run", *words, *settings.run_flags]


def importable() -> dict[str, str]:
    """Let a Python find this suite where it was not installed."""
    root = str(Path(harness_tasks.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def proxied(upstream: str, log: Path, words: Path) -> Iterator[str]:
    """Run a proxy before a server and yield its address.

    Raises:
        ProgramFailed: it did not start.
    """
    flags = ["--upstream", upstream, "--listen", "127.0.0.1:0", "--log", str(log)]
    line = [sys.executable, "-m", "proxy", *flags]
    with processes.started(line, words, environ=importable()) as program:
        yield address_of(program)


def address_of(program: Program) -> str:
    """Wait for the line in which the proxy names its address."""
    deadline = time.monotonic() + PROXY_START_S
    while program.code is None and time.monotonic() < deadline:
        for line in program.log.read_text(errors="replace").splitlines():
            if line.startswith(LISTENING):
                return line.removeprefix(LISTENING).split()[0]
        time.sleep(0.05)
    raise ProgramFailed(f"the proxy did not start: {processes.last_words(program.log)}")


def answered(url: str, so_far: int) -> int:
    """Return how many completions the proxy has seen, as far as it tells."""
    import httpx2

    try:
        told = httpx2.get(f"{url}/_distill/stats", trust_env=False, timeout=5).json()
        return int(told["exchanges"]["complete"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return so_far


def told(done: Done) -> str:
    """Say what was found and what to do with it."""
    lines = [scores.table(done.rows), ""]
    lines.append(f"chosen: {done.checkpoint}")
    lines.append(f"wrote {done.folder / RECORD}, {done.folder / TABLE}")
    if done.with_base:
        base, best = done.folder / BASE, done.folder / BEST
        words = [base, best, "--log", base / "log", "--log", best / "log"]
        lines.append(f"next: distill-report compare {shlex.join(map(str, words))}")
    return "\n".join(lines)
