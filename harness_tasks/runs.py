"""`distill-eval runs`: which runs there are, how far each is, and what is wrong with it.

Owns the list. Refuses to own the manifest's content (`manifest`) and how rows of a store count
(`chat.under_way`). Loads neither lm_eval nor torch.

Example:
    run   status   tasks         progress  errors  truncated  model  when
    base  killed   distill_math  380/1879       2      4.0 %  m      2026-01-31 10:00
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from harness_tasks import docs, manifest
from harness_tasks.chat import under_way
from harness_tasks.chat.reply import shown
from harness_tasks.locking import is_locked
from harness_tasks.run_folder import LOCK, RUNS_DIR, STORE
from harness_tasks.text_table import aligned

DEPTH = 3  # folders between DIR and a manifest
RUNNING, KILLED, UNREADABLE = "running", "killed", "unreadable"
SEVERAL = 3  # tasks that are named; more are counted
UNKNOWN = "-"


@dataclass(frozen=True)
class RunRow:
    """One run; a number is None where it is not known."""

    run: str
    folder: str
    status: str
    tasks: list[str]
    n_done: int | None
    n_total: int | None
    n_errors: int | None
    n_truncated: int | None
    retried: list[str]
    model: str | None
    base_url: str | None
    started: str | None
    finished: str | None
    error: str | None

    @property
    def truncated(self) -> float | None:
        """The share of completions that were cut off, of those that did not fail."""
        if self.n_done is None or self.n_truncated is None:
            return None
        answered = self.n_done - (self.n_errors or 0)
        return self.n_truncated / answered if answered else None

    def to_json(self) -> dict[str, Any]:
        """Return the row with its share."""
        return {**asdict(self), "truncated": self.truncated}

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        share = self.truncated
        names = list(map(shown, self.tasks))
        tasks = (
            ",".join(names) if len(names) <= SEVERAL else f"{names[0]} and {len(names) - 1} more"
        )
        progress = f"{number(self.n_done)}/{number(self.n_total)}"
        return (
            shown(self.run),
            shown(self.status) + ("*" if self.retried else ""),
            tasks or UNKNOWN,
            UNKNOWN if self.n_done is None and self.n_total is None else progress,
            number(self.n_errors),
            UNKNOWN if share is None else f"{100 * share:.1f} %",
            shown(self.model or UNKNOWN),
            shown(self.finished or self.started or UNKNOWN)[:16].replace("T", " "),
        )


COLUMNS = ("run", "status", "tasks", "progress", "errors", "truncated", "model", "when")


def number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def rows(folder: Path) -> list[RunRow]:
    """Return the runs in a folder, or the run whose folder it is, by the time of their start.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {str(folder)!r}; runs are in {RUNS_DIR}/NAME unless --output_path "
            "named another place"
        )
    found = [row_of(path.parent, folder) for path in manifests(folder)]
    return sorted((row for row in found if row), key=lambda row: (row.started or "", row.run))


def manifests(folder: Path) -> Iterator[Path]:
    """Yield the manifests of runs in a folder."""
    for depth in range(DEPTH):
        yield from sorted(folder.glob("*/" * depth + manifest.FILE_NAME))


def row_of(run: Path, below: Path) -> RunRow | None:
    """Return what is known of one run, None for the folder of something else."""
    name = run.resolve().name if run == below else str(run.relative_to(below))
    try:
        told = manifest.read(run)
    except (ValueError, OSError) as damaged:
        return broken(name, run, docs.one_line(damaged))
    if not told or "run" not in told or not isinstance(told.get("tasks"), dict):
        return None
    try:
        return described(name, run, told)
    except (TypeError, AttributeError, KeyError) as odd:  # the file may be anybody's
        return broken(name, run, f"{run / manifest.FILE_NAME} is no manifest of a run: {odd!r}")


def broken(name: str, run: Path, why: str) -> RunRow:
    """Return the row of a run whose manifest cannot be read."""
    return RunRow(
        name, str(run), UNREADABLE, [], None, None, None, None, [], None, None, None, None, why
    )


def described(name: str, run: Path, told: Mapping[str, Any]) -> RunRow:
    """Return the row of a run: what it has finished, and what is under way."""
    tasks, asking = told["tasks"], told.get("asking") or {}
    status = str(told.get("status"))
    if status == RUNNING and not is_locked(run / LOCK):
        status = KILLED
    wanted: dict[str, int] = {} if status == "finished" else asking.get("n_requests") or {}
    done = [entry for task, entry in tasks.items() if task not in wanted and "n_samples" in entry]
    n_done = sum(entry["n_samples"] for entry in done)
    n_errors = sum(entry["n_errors"] for entry in done)
    n_truncated = sum(entry["n_truncated"] for entry in done)
    known = bool(done or wanted)
    if wanted:
        there = under_way.progress(run / STORE, asking)
        n_errors, n_truncated = n_errors + there.n_errors, n_truncated + there.n_truncated
        n_total = n_done + sum(wanted.values())
        n_done += there.n_done
    else:
        n_total = n_done
    model = told.get("model") or {}
    served = model.get("served")
    return RunRow(
        run=name,
        folder=str(run),
        status=status,
        tasks=sorted({*tasks, *wanted}),
        n_done=n_done if known else None,
        n_total=n_total if known else None,
        n_errors=n_errors if known else None,
        n_truncated=n_truncated if known else None,
        retried=sorted(told.get("retried") or {}),
        model=", ".join(served) if isinstance(served, list) else served or asking.get("model")
        or model.get("requested"),
        base_url=model.get("base_url") or asking.get("endpoint"),
        started=told.get("created_at"),
        finished=told.get("finished_at"),
        error=told.get("error"),
    )  # fmt: skip


def table(found: list[RunRow]) -> str:
    """Return the runs as an aligned table, and a line on each that did not go well."""
    lines = [aligned(COLUMNS, [row.cells() for row in found], right=set(COLUMNS[3:6]))]
    if any(row.retried for row in found):
        lines.append("* failed or cut-off completions were asked again (manifest.json: retried)")
    lines += [f"{shown(row.run)}: {shown(row.error)}" for row in found if row.error]
    again = [row.run for row in found if row.status in (KILLED, "interrupted")]
    if again:
        lines.append(f"to go on where it stopped: distill-eval run --run {shown(again[-1])}")
    return "\n".join(lines)


@click.command()
@click.argument("folder", default=str(RUNS_DIR), metavar="[DIR]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with folders and causes.")
def runs(folder: str, as_json: bool) -> None:
    """List runs with progress, failed requests and the share that was cut off.

    DIR is the folder that holds them (runs), or one run's own. `killed` is a run whose process is
    gone: the same command, or `distill-eval run --run NAME` alone, goes on where it stopped.
    """
    try:
        found = rows(Path(folder).expanduser())
    except ValueError as wrong:
        click.echo(str(wrong), err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps([row.to_json() for row in found], indent=2, ensure_ascii=False))
    elif found:
        click.echo(table(found))
    else:
        click.echo(f"no runs in {folder}; `distill-eval run --run NAME --tasks ...` makes one")
