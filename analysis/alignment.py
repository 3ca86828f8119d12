"""Two arms side by side: each task that both have, with what pairs of it and what was sent for it.

Owns which tasks are compared, and the refusal to compare them. Refuses to own which docs pair
(`pairing`), which differences there are (`comparability`) and every number (`compare`).

    aligned, logs = align(baseline, candidate, (Path("runs/base-log"),))
    aligned[0].rows              # the items of a task, baseline and candidate of a sample in turn
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis import comparability, items
from analysis.comparability import Joined
from analysis.items import Item
from analysis.pairing import Pairs, pair
from analysis.reading.load import Arm, TaskRun
from analysis.reading.logs import Logs
from analysis.rules import Difference, flags


class Aligned(NamedTuple):
    """One task of both arms: the runs, what pairs of them, the rows of that, their exchanges."""

    baseline: TaskRun
    candidate: TaskRun
    pairs: Pairs
    rows: list[Item]
    joined: Joined


def align(baseline: Arm, candidate: Arm, log_paths: Collection[Path]) -> tuple[list[Aligned], Logs]:
    """Pair the tasks that both arms have and join them with the logs; these are closed again.

    Raises:
        ValueError: no task in common, or a damaged log.
    """
    both = [
        (run, candidate.tasks[name])
        for name, run in baseline.tasks.items()
        if name in candidate.tasks
    ]
    if not both:
        raise ValueError(
            f"no task in common: baseline has {', '.join(baseline.tasks)}; "
            f"candidate has {', '.join(candidate.tasks)}"
        )
    paired = [(*runs, pair(*runs)) for runs in both]
    with items.open_logs(log_paths, [run for runs in both for run in runs]) as logs:
        return [Aligned(*task, *items.build(*task, logs)) for task in paired], logs


def differences(aligned: Sequence[Aligned]) -> list[Difference]:
    """Return what the arms differ in beside the model: by their files, and by what was sent."""
    found: list[Difference] = []
    for baseline, candidate, pairs, _, joined in aligned:
        sent = comparability.wire_differences(joined)
        found += comparability.differences(baseline, candidate, pairs)
        found += [one._replace(task=baseline.task) for one in sent]
    return found


def accept(found: list[Difference], allow: Sequence[str]) -> list[Difference]:
    """Return the differences where all of them are allowed, by their kinds or their rules.

    Raises:
        ValueError: some are not; the message holds one line for each and the option to take.
    """
    refused = [one for one in found if one.kind not in allow and one.rule not in allow]
    if refused:
        lines = [f"  {one.kind}, {one.task}: {one.text}" for one in refused]
        allows = flags({one.kind for one in refused})
        raise ValueError(
            "the arms differ in more than the model, so they are not compared:\n"
            + "\n".join(dict.fromkeys(lines))
            + f"\nto compare them all the same: {allows}"
        )
    return found
