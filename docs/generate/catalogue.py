"""The blocks of docs/catalogue.md: every task, how far its score is shown, and by what.

Owns the two states and the reading of `evidence.json`, whose figures `tests/test_docs.py` holds
against the published files and the tests that it names. Refuses to own what a task asks (its YAML).

    >>> state_of("distill_aime24"), state_of("distill_lcb_v6")
    ('matches published score', 'experimental')
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from docs.generate.pages import code, table
from harness_tasks import catalogue
from harness_tasks import docs as questions

EVIDENCE = Path(__file__).with_name("evidence.json")
DEMO = "distill_demo"
MATCHES, EXPERIMENTAL = "matches published score", "experimental"


@cache
def evidence() -> list[dict[str, Any]]:
    """Return the entries: `tasks`, `state`, `runs`, `why`, `test`."""
    entries: list[dict[str, Any]] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return entries


def entry_of(task: str) -> dict[str, Any]:
    """Return what is known of a task; a task that nobody has shown anything of is experimental."""
    for entry in evidence():
        if task in entry["tasks"]:
            return entry
    demo = task.startswith(DEMO)
    why = "shows that the road works, measures no model" if demo else "nothing was replayed yet"
    return {"tasks": [task], "state": EXPERIMENTAL, "runs": [], "why": why, "test": ""}


def state_of(task: str) -> str:
    """Return `matches published score` or `experimental`."""
    return str(entry_of(task)["state"])


def tasks_table() -> str:
    """Return every task with its state and the evidence."""
    tasks = [info for info in catalogue.tasks().values() if not info.members]
    heads = ("task", "questions", "headline", "state", "evidence", "data")
    return table(heads, map(task_row, tasks))


def states_table() -> str:
    """Return both states with the tasks of each, demos left out."""
    names = [name for name, info in catalogue.tasks().items() if not info.members]
    tasks = [name for name in names if not name.startswith(DEMO)]
    rows = [
        (state, ", ".join(code(name) for name in tasks if state_of(name) == state))
        for state in (MATCHES, EXPERIMENTAL)
    ]
    return table(("state", "tasks"), rows)


def groups_table() -> str:
    """Return every group with what it holds."""
    groups = [info for info in catalogue.tasks().values() if info.members]
    return table(("group", "questions", "holds"), map(group_row, groups))


def replayed_table() -> str:
    """Return every replayed run."""
    return table(("task", "model", "n", "published", "ours", "differ"), run_rows())


def task_row(info: catalogue.TaskInfo) -> tuple[str, ...]:
    """Describe one task; a group has no source and does not come here."""
    entry = entry_of(info.name)
    return (
        code(info.name),
        str(info.n_docs),
        code(info.metric),
        entry["state"],
        told(entry),
        source_of(info.source or ""),
    )


def told(entry: dict[str, Any]) -> str:
    """Return the evidence in a few words, with the test that holds it."""
    n_items = sum(run["n"] for run in entry["runs"])
    n_differ = sum(run["differ"] for run in entry["runs"])
    parts = [f"{n_items} published verdicts, {n_differ} differ" if entry["runs"] else ""]
    parts += [entry["why"], code(entry["test"]) if entry["test"] else ""]
    return "; ".join(part for part in parts if part)


def source_of(source: str) -> str:
    """Return the data set and its pinned revision, shortened."""
    specs = [questions.SOURCES[part] for part in questions.COMBINED.get(source, (source,))]
    named = [
        f"{spec.hub_id}@{(spec.revision or '')[:8]}" if spec.hub_id else "ships with the package"
        for spec in specs
    ]
    return ", ".join(dict.fromkeys(named))


def run_rows() -> list[tuple[str, ...]]:
    """Return a row for each replayed run."""
    return [
        (
            ", ".join(map(code, entry["tasks"])),
            run["model"],
            str(run["n"]),
            counted(run["published"], run["n"]),
            counted(run["ours"], run["n"]),
            str(run["differ"]),
        )
        for entry in evidence()
        for run in entry["runs"]
    ]


def counted(correct: int, n: int) -> str:
    """Return a count with its percentage."""
    return f"{correct} ({100 * correct / n:.1f} %)"


def group_row(info: catalogue.TaskInfo) -> tuple[str, ...]:
    """Describe one group."""
    return code(info.name), str(info.n_docs), ", ".join(map(code, info.members))
