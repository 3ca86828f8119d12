"""How a task of LiveCodeBench is loaded into lm-eval, and what its table calls it.

Owns the name in lm-eval's table and results file, which says release, window and n, because a score
means nothing without them. Refuses to own the rows (`docs`, `lcb_docs`).

Example, the first column of lm-eval's table:

    distill_lcb_v5 (release v5, 2024-08..2025-01, n=10)
"""

from __future__ import annotations

import logging
from typing import Any

from harness_tasks import docs
from harness_tasks.calling_task import task_of_caller
from harness_tasks.coding.lcb_window import window_of
from harness_tasks.explained import explained

PUBLIC_NAME = "PUBLIC TESTS ONLY, not LiveCodeBench; "
PUBLIC_WARNING = (
    "%s grades by the 1 to 6 public tests of each problem, which overstates: many programs that "
    "pass them fail the private ones. Its score is not LiveCodeBench's pass@1 and must not be "
    "reported as such."
)
log = logging.getLogger(__name__)


def load(source: str, **more: Any) -> dict[str, Any]:
    """Load as `docs.load`, refuse a wrong window before anything is downloaded, name the task.

    Raises:
        ValueError: as `docs.load`, or the window of dates is wrong.
    """
    try:
        window_of(more)
    except ValueError as wrong:
        raise explained(wrong) from None
    dataset = docs.load(source, **more)
    config = getattr(task_of_caller(), "config", None)
    selection = docs.loaded()[source].selection or {}
    if source.endswith("_public"):
        log.warning(PUBLIC_WARNING, getattr(config, "task", None) or source)
    if config is not None:
        asked = config.task_alias or config.task  # with the tier, where --metadata names one
        config.task_alias = name_in_table(asked, config.repeats, source, selection)
    return dataset


def name_in_table(task: str, n: int, source: str, selection: dict[str, Any]) -> str:
    public = PUBLIC_NAME if source.endswith("_public") else ""
    return f"{task} ({public}release {selection['release']}, {selection['window']}, n={n})"
