"""k samples of every doc, as lm-eval asks them: `--metadata '{"repeats": 4}'` for any task of ours.

Owns what the task that loads its docs is told: how often each doc is asked, the columns that k
samples have, and what must not make one sample of them. Refuses to own the measures (`repeats`)
and the seeds (`local_chat`).

Example: `simple_evaluate(model, tasks=["distill_aime24"], metadata={"repeats": 64})`
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from harness_tasks import repeats
from harness_tasks.calling_task import task_of_caller
from harness_tasks.explained import explained

KEY = "repeats"
# lm-eval's filters that leave one completion of a doc, or fewer than were asked.
COLLAPSING = ("take_first", "take_first_k", "majority_vote")


def ask_repeatedly(metadata: Mapping[str, Any]) -> None:
    """Tell the lm-eval task that is loading its docs how many samples of each doc are asked.

    Raises:
        ValueError: `repeats` is no such number, there is no task to tell it to, or a filter of the
            task would keep fewer samples.
    """
    given = metadata.get(KEY)
    task = task_of_caller()
    if task is None:
        if given is None:
            return
        raise ValueError(
            f"repeats={given!r} cannot be asked: this release of lm-eval does not say which task "
            "loads its docs; distill-eval was tried with 0.4.11 to 0.4.13"
        )
    if given is not None:
        task.config.repeats = number_of(given)
    refuse_caches(task)
    if task.config.repeats > 1:
        refuse_collapse(task.config)
        add_columns(task)


def number_of(given: Any) -> int:
    """Return the number of samples that `repeats` gives.

    Raises:
        ValueError: it is no whole number from 1 on, or too large to be counted.
    """
    text = str(given).strip()
    if isinstance(given, bool) or not (text.isdecimal() and 1 <= int(text) <= repeats.MAX_REPEATS):
        raise ValueError(
            f"repeats must be a whole number from 1 to {repeats.MAX_REPEATS}, got {given!r}; it is "
            "the number of completions of each question (--repeats, or --metadata)"
        )
    return int(text)


def refuse_collapse(config: Any) -> None:
    """Refuse filters of which none keeps all k completions for grading.

    Raises:
        ValueError: they would be asked and not graded.
    """
    pipelines = config.filter_list or [{"filter": [{"function": COLLAPSING[0]}]}]
    left = [collapsing(one.get("filter") or (), config.repeats) for one in pipelines]
    if all(left):
        raise ValueError(
            f"{config.task} asks {config.repeats} completions of each question, and its filter "
            f"{left[0]} keeps fewer; leave its filter_list as the task has it"
        )


def collapsing(functions: Sequence[Mapping[str, Any]], k: int) -> str | None:
    """Return the filter of a pipeline that keeps fewer than k completions, None without one."""
    for one in functions:
        name = one.get("function")
        if name in COLLAPSING and not (name == "take_first_k" and one.get("k", 0) >= k):
            return str(name)
    return None


def add_columns(task: Any) -> None:
    """Let lm-eval's table have the measures of k samples, with standard errors over questions."""
    from lm_eval.api.registry import get_aggregation

    k = task.config.repeats
    for name in (*repeats.names(k), *(f"pass@{j}" for j in repeats.PASS_AT if j < k)):
        task._aggregation_list.setdefault(name, get_aggregation("mean"))
        task._higher_is_better.setdefault(name, True)


def refuse_caches(task: Any) -> None:
    """Keep two caches of lm-eval from the task's requests: their keys do not know enough.

    --cache_requests knows neither the number of samples nor the questions' source, and is left out;
    --use_cache would answer k samples with one, and is refused where there are several.
    """
    build = task.build_all_requests

    def build_all_requests(*positional: Any, **options: Any) -> Any:
        if task.config.repeats > 1 and caller_has_cache():
            raise explained(
                ValueError(
                    f"{task.config.task} asks {task.config.repeats} samples of each question, and "
                    "lm-eval's --use_cache would answer them all with one; leave it out"
                )
            )
        return build(*positional, **{**options, "cache_requests": False})

    task.build_all_requests = build_all_requests


def caller_has_cache() -> bool:
    """Tell whether lm-eval's `evaluate`, which is building a task's requests, has a caching model.

    It hands a task neither its model nor its flags; nothing is known of another caller.
    """
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    model = frame.f_locals.get("lm") if frame is not None else None
    return type(model).__name__ == "CachingLM"
