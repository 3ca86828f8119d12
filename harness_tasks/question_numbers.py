"""Which question of its data set a request asks, also where `--samples` chose some of them.

Owns that number: seeds, request ids and the store know a question by it. Refuses to own what they
are. lm-eval counts the chosen questions from 0 in its requests and writes their numbers in the data
set into the samples file, so that question 7 would have one seed alone and another among all.

Example: with `--samples '{"distill_math500": [7]}'`, `number_of(request)` is 7, not 0
"""

from __future__ import annotations

from typing import Any

from harness_tasks.calling_task import task_of_caller

NUMBER = "distill_eval_question"  # the attribute of a request that holds it


def keep_numbers() -> None:
    """Let the requests of the lm-eval task that is loading its docs know their questions."""
    task = task_of_caller()
    if task is None:
        return
    build = task.build_all_requests

    def build_all_requests(*positional: Any, **options: Any) -> Any:
        built = build(*positional, **options)
        chosen = sorted(set(options.get("samples") or ()))
        for request in task.instances if chosen else ():
            setattr(request, NUMBER, chosen[request.doc_id])
        return built

    task.build_all_requests = build_all_requests


def number_of(request: Any) -> Any:
    """Return the number of a request's question; for tasks of others, as lm-eval counts."""
    return getattr(request, NUMBER, request.doc_id)
