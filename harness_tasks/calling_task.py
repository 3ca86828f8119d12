"""Which task of lm-eval is loading its docs: for what a loader has to tell the task itself.

Owns the way from a loader to the task that called it. Refuses to own what is told (`tiers`,
`coding.lcb_task`). Standard library only.

Example: `task_of_caller()` in a `custom_dataset` loader returns the `ConfigurableTask`, else None.
"""

from __future__ import annotations

import inspect
from typing import Any

FRAMES = 6  # a loader may be called by another one, and that by the task


def task_of_caller() -> Any:
    """Return the lm-eval task that is loading its docs, or None.

    lm-eval (0.4.11 to 0.4.13) calls a loader from a method of the task and hands it no task, and a
    task class of our own, the other way, would not be given `--metadata` by 0.4.11. So the caller's
    `self` is looked up; where a later release calls from elsewhere, there is none.
    """
    frame = inspect.currentframe()
    for _ in range(FRAMES):
        frame = frame.f_back if frame is not None else None
        task = frame.f_locals.get("self") if frame is not None else None
        config = getattr(task, "config", None)
        if hasattr(config, "task_alias") and hasattr(config, "repeats"):
            return task
    return None
