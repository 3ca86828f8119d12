"""The folder of a run: who has it, what an earlier start left in it, and what may go on there.

Owns the lock, the refusal to mix two measurements, the store's place, and what `--retry-errors` and
`--retry-truncated` need. Refuses to own the manifest's content (`manifest`), the rows of the store
(`chat.store`) and running (`run`). lm_eval is not imported.

    runs/base/manifest.json
    runs/base/completions.jsonl     every completion, as it came: a killed run goes on from here
    runs/base/.lock                 held while a run goes on
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_tasks import manifest
from harness_tasks.locking import LockedError, is_locked, lock

RUNS_DIR = Path("runs")
LOCAL_CHAT = "local-chat"
STORE = "completions.jsonl"
LOCK = ".lock"
UNFINISHED = ".unfinished"
ASIDE = "choose another --run NAME, or move the folder away"
# What an earlier start leaves in the manifest of the next one.
KEPT = (
    "created_at", "starts", "tasks", "results", "isolation", "retried",
    "sampling", "base_seed", "model", "server",
)  # fmt: skip


@dataclass(frozen=True)
class Retry:
    """What of a finished run is to be asked again."""

    errors: bool = False
    truncated: bool = False
    max_tokens: int | None = None

    def __bool__(self) -> bool:
        return self.errors or self.truncated

    def flags(self) -> list[str]:
        """Return it as it stands on the command line."""
        limit = [] if self.max_tokens is None else ["--max-tokens", str(self.max_tokens)]
        errors = ["--retry-errors"] if self.errors else []
        return [*errors, *(["--retry-truncated"] if self.truncated else []), *limit]

    def checked(self) -> Retry:
        """Return it where its parts fit together.

        Raises:
            ValueError: --retry-truncated without --max-tokens, or the other way round.
        """
        if self.truncated and self.max_tokens is None:
            raise ValueError(
                "--retry-truncated needs --max-tokens N, the larger limit that is to be asked with"
            )
        if self.max_tokens is not None and not self.truncated:
            raise ValueError(
                "--max-tokens goes with --retry-truncated; for a run, put max_tokens=N into "
                "--model_args"
            )
        return self


NOTHING = Retry()


def with_store(
    model: str, model_args: Mapping[str, Any], folder: Path, retry: Retry
) -> dict[str, Any]:
    """Return the model's arguments with the run's store and the limit of a retry.

    Raises:
        ValueError: a store of its own, or a retry of a model that has none.
    """
    if model != LOCAL_CHAT:
        if retry:
            raise ValueError(
                f"{' '.join(retry.flags())} works with model {LOCAL_CHAT} only, not with {model!r}"
            )
        return dict(model_args)
    for name, instead in (
        ("store", f"a run keeps its completions in {folder / STORE}; leave store= out"),
        ("retry_truncated", "use --retry-truncated --max-tokens N"),
    ):
        if name in model_args:
            raise ValueError(f"{name}= in --model_args: {instead}")
    larger = {} if retry.max_tokens is None else {"retry_truncated": retry.max_tokens}
    return {**model_args, "store": str(folder / STORE), **larger}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder for this process, until the block or the process ends.

    Raises:
        ValueError: another process has it, or it cannot be written into.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock(stack.enter_context((folder / LOCK).open("a+b")))
        except LockedError as taken:
            raise ValueError(
                f"{folder} is in use by another distill-eval run{process_of(folder)}: wait for it, "
                "or choose another --run NAME (`distill-eval runs` shows how far it is)"
            ) from taken
        except OSError as refused:
            raise no_folder(folder, refused) from refused
        yield


def no_folder(folder: Path, refused: OSError) -> ValueError:
    """Say that a folder cannot be written into."""
    return ValueError(
        f"cannot write into the run's folder {str(folder)!r}: {refused}; choose another "
        "--run NAME, or name a folder with --output_path"
    )


def process_of(folder: Path) -> str:
    """Name the process that has a folder, as far as its manifest tells."""
    with contextlib.suppress(ValueError, OSError):
        told = (manifest.read(folder) or {}).get("process")
        if isinstance(told, dict):
            return f" (process {told.get('pid')} on {told.get('host')})"
    return ""


def this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def unfinished(argv: Sequence[str]) -> str | None:
    """Return the name of the newest run that this very command began and did not finish.

    So a command that names no run goes on with its own one, too.
    """
    said = [manifest.redacted(arg) for arg in argv]
    found: list[tuple[str, str]] = []
    for path in RUNS_DIR.glob(f"*/{manifest.FILE_NAME}"):
        with contextlib.suppress(ValueError, OSError):
            record = manifest.read(path.parent) or {}
            begun = record.get("argv") == said and record.get("status") != "finished"
            if begun and not is_locked(path.parent / LOCK):
                found.append((str(record.get("created_at")), path.parent.name))
    return max(found)[1] if found else None


def command_of(run_name: str) -> list[str]:
    """Return the options and arguments that a run was last started with.

    Those of a retry are among them where it has not ended.

    Raises:
        ValueError: there is no such run, or the record of its command leaves a secret out.
    """
    record = recorded(RUNS_DIR / run_name)
    if record is None:
        raise ValueError(
            f"there is no run {run_name!r} in {RUNS_DIR} to go on with; to begin one, name its "
            "tasks: distill-eval run --run NAME --tasks distill_demo ..."
        )
    said = without_retry([str(arg) for arg in record.get("argv") or []][2:])
    if record.get("status") != "finished" and record.get("retrying"):
        said += str(record["retrying"]).split()
    if any(manifest.HIDDEN in arg for arg in said):
        raise ValueError(
            f"the command of run {run_name!r} held a secret, which its manifest leaves out; give "
            "the whole command again"
        )
    return said


def recorded(folder: Path) -> manifest.Manifest | None:
    """Return the folder's manifest, None where there is none.

    Raises:
        ValueError: it cannot be read; the message says how to go on without it.
    """
    try:
        return manifest.read(folder)
    except ValueError as damaged:
        raise ValueError(
            f"{damaged}; move that file away and give the whole command again: what "
            f"{folder / STORE} holds is not asked again"
        ) from damaged


def without_retry(argv: Sequence[str]) -> list[str]:
    """Return a command without the flags of `Retry`, however they were written."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--max-tokens":
            next(words, None)
        elif word.split("=")[0] not in ("--retry-errors", "--retry-truncated", "--max-tokens"):
            kept.append(word)
    return kept


def check_folder(
    folder: Path, settings: Mapping[str, Any], tasks: Iterable[str], retry: Retry
) -> manifest.Manifest | None:
    """Return the manifest of the same run, begun before, or None for a new folder.

    Raises:
        ValueError: the folder holds another measurement, these tasks already, or nothing to retry.
    """
    previous = recorded(folder)
    if previous is None:
        found = next(folder.rglob("results_*.json"), None) if folder.is_dir() else None
        if found is not None:
            raise ValueError(
                f"{folder} holds {found.relative_to(folder)} and no manifest, so it "
                f"cannot be told what it measured; {ASIDE}"
            )
    measured = manifest.measured(previous or {})
    if measured:
        refuse_other_settings(folder, previous or {}, settings)
    if retry:
        refuse_unfinished(folder, measured, tasks)
        refuse_unlike_limits(previous or {}, tasks, retry)
        refuse_nothing_to_retry(folder, previous or {}, tasks, retry)
    elif again := sorted(measured & set(tasks)):
        raise ValueError(already_there(folder, previous or {}, again))
    return previous


def refuse_other_settings(
    folder: Path, previous: manifest.Manifest, settings: Mapping[str, Any]
) -> None:
    """Refuse to add a measurement under other settings.

    Raises:
        ValueError: the first setting that differs.
    """
    now = manifest.without_secrets(settings)
    for key, old, new in differences(previous.get("settings") or {}, now):
        raise ValueError(
            f"{folder} holds a run with {key} {old!r}, not {new!r}: one folder is one arm; {ASIDE}"
        )


def refuse_unfinished(folder: Path, measured: Iterable[str], tasks: Iterable[str]) -> None:
    """Refuse to retry what has not ended.

    Raises:
        ValueError: a task that the run has not finished.
    """
    missing = sorted(set(tasks) - set(measured))
    if missing:
        raise ValueError(
            f"{folder} has not finished {', '.join(missing)}, so there is nothing to retry: the "
            "same command without --retry-... asks what is missing, failed requests among it"
        )


def refuse_nothing_to_retry(
    folder: Path, previous: manifest.Manifest, tasks: Iterable[str], retry: Retry
) -> None:
    """Refuse a retry that would ask nothing.

    Raises:
        ValueError: no request failed, no completion was cut off.
    """
    wanted = {"n_errors": retry.errors, "n_truncated": retry.truncated}
    entries = [previous["tasks"][task] for task in tasks]
    counts = [entry.get(name) for entry in entries for name, asked in wanted.items() if asked]
    if all(count == 0 for count in counts):
        said = {"n_errors": "no request failed", "n_truncated": "no completion was cut off"}
        nothing = " and ".join(said[name] for name, asked in wanted.items() if asked)
        raise ValueError(f"{folder}: {nothing}, so there is nothing to ask again")


def refuse_unlike_limits(previous: manifest.Manifest, tasks: Iterable[str], retry: Retry) -> None:
    """Refuse a limit below one that was asked with already, and unlike ones for failed requests.

    Raises:
        ValueError: the limit is smaller, or some tasks were retried with a larger one, some not.
    """
    larger = limits_of(previous)
    limits = {larger.get(task) for task in tasks}
    most = max((limit for limit in limits if limit), default=0)
    if retry.truncated and retry.max_tokens is not None and retry.max_tokens < most:
        raise ValueError(
            f"--max-tokens {retry.max_tokens} is less than the {most} that the last retry asked "
            "with; give as many, or more"
        )
    if retry.errors and not retry.truncated and len(limits) > 1:
        retried = ", ".join(sorted(set(tasks) & set(larger)))
        raise ValueError(
            f"--retry-errors: {retried} was retried with a larger max_tokens, and the others were "
            "not; retry them apart, each with --tasks"
        )


def limits_of(previous: Mapping[str, Any]) -> dict[str, int]:
    """Return the larger max_tokens of each task that was retried."""
    tasks = previous.get("tasks") or {}
    told = {
        name: ((entry.get("retried") or {}).get("truncated") or {}) for name, entry in tasks.items()
    }
    return {name: one["max_tokens"] for name, one in told.items() if one.get("max_tokens")}


def carried_on(previous: Mapping[str, Any] | None, tasks: Iterable[str], retry: Retry) -> Retry:
    """Return the retry with the limit that an earlier one has given these tasks."""
    larger = {limits_of(previous or {}).get(task) for task in tasks} - {None}
    if not retry.errors or retry.truncated or not larger:
        return retry
    return Retry(errors=True, truncated=retry.truncated, max_tokens=larger.pop())


def already_there(folder: Path, previous: manifest.Manifest, again: Sequence[str]) -> str:
    """Say that tasks were measured, and how failed requests or a broken-off retry go on."""
    n_errors = sum(previous["tasks"][task].get("n_errors") or 0 for task in again)
    hint = f"; --retry-errors asks its {n_errors} failed requests again" if n_errors else ""
    if previous.get("status") != "finished" and previous.get("retrying"):
        hint = f"; the retry that was broken off goes on with {previous['retrying']}"
    return (
        f"{folder} already holds {', '.join(again)}, finished {previous.get('finished_at')}; "
        f"{ASIDE}{hint}"
    )


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, old value, new value) where two settings differ."""
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after


def put_aside_unfinished(folder: Path, previous: Mapping[str, Any] | None) -> list[Path]:
    """Rename what lm-eval was writing when an earlier start was killed: it is written anew."""
    if previous is None or previous.get("status") == "finished":
        return []
    whole = {stamp_of(Path(name)) for name in previous.get("results") or []}
    written = [*folder.rglob("results_*.json"), *folder.rglob("samples_*.jsonl")]
    aside = [path for path in written if stamp_of(path) not in whole]
    for path in aside:
        path.rename(path.with_name(path.name + UNFINISHED))
    return aside


def stamp_of(path: Path) -> str:
    """Return the time in the name of one of lm-eval's files."""
    return path.stem.rpartition("_")[2]
