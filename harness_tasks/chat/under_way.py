"""What a run asks for, and how far it is: told while it goes on, counted from its store afterwards.

Owns who is told what is asked for, and what a row of the store is to a run: done, cut off, failed.
Refuses to own which row answers which request (`chat.resume`) and the list of runs (`runs`). No
lm_eval.

Example, as `distill-eval run` keeps its manifest:

    with told_to(lambda asking: manifest.write(folder, record | {"asking": asking.to_json()})):
        ...  # the run
    progress(folder / "completions.jsonl", asking)  # Progress(n_done=380, n_errors=2, ...)
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_tasks.chat.resume import LIMIT, ROLE, Who
from harness_tasks.chat.store import Store, as_mapping, rows

DONE, CUT, ERROR = "done", "cut", "error"


@dataclass(frozen=True)
class Asking:
    """What a run asks for: as it is told to whoever keeps its manifest."""

    who: Who
    n_requests: dict[str, int]  # by task
    sampling: dict[str, dict[str, Any]]  # by task
    n_found: int  # how many are there already
    retry: int | None = None  # the larger max_tokens of --retry-truncated

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest holds of it."""
        return {
            "model": self.who.model,
            "endpoint": self.who.endpoint,
            "n_requests": self.n_requests,
            "sampling": self.sampling,
            "n_found": self.n_found,
            **({"retry": self.retry} if self.retry is not None else {}),
        }


Listener = Callable[[Asking], None]
LISTENERS: list[Listener] = []


@contextlib.contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Tell the listener what runs in this block ask for, as soon as it is known."""
    LISTENERS.append(listener)
    try:
        yield
    finally:
        LISTENERS.remove(listener)


def tell(asking: Asking) -> None:
    """Tell all listeners."""
    for listener in LISTENERS:
        listener(asking)


@dataclass
class Progress:
    """How far an unfinished run has come, from its store."""

    n_done: int = 0
    n_errors: int = 0
    n_truncated: int = 0


def progress(path: Path, asking: Mapping[str, Any]) -> Progress:
    """Count the rows of a store that answer what the manifest's `asking` asks for.

    Rows of other settings, which an earlier start of the run may have left, are not counted.
    """
    retry = asking.get("retry")
    samplings = {
        task: without_limit(told) if retry else told
        for task, told in as_mapping(asking.get("sampling")).items()
    }
    mine = set(str(asking.get("endpoint")).split())
    last: dict[tuple[str, Any], str] = {}
    for row in rows(path):
        task = str(row.get("question_id")).rpartition("/")[0]
        if (
            row.get("role") != ROLE
            or row.get("model") != asking.get("model")
            or not mine & set(str(row.get("endpoint")).split())
        ):
            continue
        body = as_mapping(row.get("request"))
        sampling = {k: v for k, v in body.items() if k not in ("model", "messages", "seed")}
        place = str(row.get("question_id")), row.get("sample_index")
        if task in samplings and samplings[task] == (
            without_limit(sampling) if retry else sampling
        ):
            state = state_of(row, retry)
            if state and (state != ERROR or place not in last):
                last[place] = state
    states = Counter(last.values())
    return Progress(states.total(), states[ERROR], states[CUT])


def without_limit(sampling: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sampling.items() if name != LIMIT}


def state_of(row: Mapping[str, Any], retry: Any) -> str | None:
    """Tell what a row is to a run: done, cut off, an error; None where it is to be asked again."""
    reply = row["reply"]
    if not reply:
        return ERROR
    if reply.get("finish_reason") != "length":
        return DONE
    asked_with = as_mapping(row.get("request")).get(LIMIT)
    return CUT if not retry or asked_with == retry else None


def left(store: Store | None, n_jobs: int) -> str:
    """Say what an interrupted run leaves."""
    if store is None:
        return (
            "interrupted: nothing of this run is kept, since it has no store; with store=FILE in "
            "model_args the same command would go on where it stopped"
        )
    return (
        f"interrupted: {len(store.places)} completions are in {store.path} (this run asks for "
        f"{n_jobs}); the same command goes on from there"
    )


def counts(tasks: Sequence[str], completions: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return by task how many completions there are, how many failed, why, how many were cut."""
    found: dict[str, dict[str, Any]] = {}
    causes: dict[str, Counter[str]] = {}
    for task, completion in zip(tasks, completions, strict=True):
        one = found.setdefault(task, {"n_samples": 0, "n_errors": 0, "n_truncated": 0})
        one["n_samples"] += 1
        one["n_truncated"] += completion.finish_reason == "length"
        if completion.error:
            one["n_errors"] += 1
            causes.setdefault(task, Counter())[completion.error] += 1
    return {
        task: {**one, "error": causes[task].most_common(1)[0][0] if task in causes else None}
        for task, one in found.items()
    }
