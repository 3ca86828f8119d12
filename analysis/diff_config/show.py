"""Differences of two runs as text and as a table.

Owns their layout. Refuses to own what they are (`differing`) and what they mean (`rules`).

    FORBIDS a comparison
      sampling, distill_math500: temperature: baseline 0.6, candidate 0.0
        temperature, token limit and the like move a score by points; --allow sampling
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from analysis.diff_config.differing import ConfigDiff
from analysis.render import document, terminal
from analysis.rules import EFFECTS, EXPLAINS, FORBIDS, KINDS, MEANT, Difference, flags
from analysis.tables.table import Column, Table

HEADINGS = {
    FORBIDS: "Forbids a comparison",
    EXPLAINS: "May explain a difference of scores",
    MEANT: "What a comparison is for",
}
MOST_TASKS = 3  # that a line names
COLUMNS = (
    Column("effect", "effect"),
    Column("kind", "kind"),
    Column("task", "task"),
    Column("difference", "difference"),
    Column("why", "why"),
    Column("allow", "--allow"),
)


def print_text(diff: ConfigDiff, out: IO[str]) -> None:
    """Print the differences by what they do, what is not known, and what `compare` would say."""
    console = terminal.console(out)
    names = f"{diff.baseline} (baseline) and {diff.candidate} (candidate)"
    terminal.write(console, f"{names}: {counted(len(diff.tasks), 'task')} in common", "bold")
    for effect in EFFECTS:
        found = [one for one in diff.found if one.effect == effect]
        if not found:
            continue
        console.print()
        terminal.write(console, HEADINGS[effect], "bold")
        for one, tasks in grouped(found):
            where = f", {named(tasks)}" if any(tasks) else ""
            line = f"{one.kind}{where}: {one.text}"
            terminal.write(console, line, indent="  ", more="    ")
            terminal.write(console, f"{one.why}{allowed(diff, one)}", "dim", "    ", "    ")
    unknown = [*by_text(diff.unknown), *((text, [""]) for text in diff.notices)]
    if unknown:
        console.print()
        terminal.write(console, "Not known, and what else to know", "bold")
        for text, tasks in unknown:
            where = f"{named(tasks)}: " if any(tasks) else ""
            terminal.write(console, f"{where}{text}", indent="  ", more="    ")
    console.print()
    terminal.write(console, sentence(diff), "bold")


def allowed(diff: ConfigDiff, one: Difference) -> str:
    """Return the option that a refused difference needs, "" for another one."""
    if one.effect != FORBIDS or one.kind not in KINDS:
        return ""
    given = " (given)" if one.kind in diff.allow else ""
    return f"; --allow {one.kind}{given}"


def sentence(diff: ConfigDiff) -> str:
    """Say whether `compare` would compare the runs."""
    kinds = {one.kind for one in diff.refused}
    if not kinds:
        known = "what is not known aside, " if diff.unknown else ""
        return f"Comparable: {known}nothing {'else ' if diff.allow else ''}forbids it."
    if kinds <= set(KINDS):
        return f"Refused by compare; to compare them all the same: {flags(kinds)}"
    return "Refused by compare: there is nothing to compare."


def grouped(found: Sequence[Difference]) -> list[tuple[Difference, list[str]]]:
    """Return each difference once, with the tasks that have it, by the order of the kinds."""
    tasks: dict[tuple[str, str], tuple[Difference, list[str]]] = {}
    for one in found:
        tasks.setdefault((one.rule, one.text), (one, []))[1].append(one.task)
    return list(tasks.values())


def by_text(unknown: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return each line once, with the tasks of which it is true."""
    tasks: dict[str, list[str]] = {}
    for task, text in unknown:
        tasks.setdefault(text, []).append(task)
    return list(tasks.items())


def named(tasks: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(tasks) - MOST_TASKS} more" if len(tasks) > MOST_TASKS else ""
    return ", ".join(tasks[:MOST_TASKS]) + more


def counted(n: int, word: str) -> str:
    """Return a number with its word."""
    return f"{n} {word}{'' if n == 1 else 's'}"


def as_table(diff: ConfigDiff) -> Table:
    """Return the differences as rows of text, those that forbid a comparison first."""
    found = sorted(diff.found, key=lambda one: EFFECTS.index(one.effect))
    rows = [
        (one.effect, one.kind, one.task, one.text, one.why,
         one.kind if one.effect == FORBIDS and one.kind in KINDS else "")
        for one in found
    ]  # fmt: skip
    return Table(
        "diff-config",
        "What the runs differ in",
        COLUMNS,
        rows,
        foot=sentence(diff),
        notes=tuple(f"{task + ': ' if task else ''}{text}" for task, text in diff.unknown),
        empty="" if rows else "the runs differ in nothing that their files tell",
    )


def as_json(diff: ConfigDiff) -> str:
    """Return everything as JSON."""
    told: dict[str, Any] = {
        "schema": document.SCHEMA_VERSION,
        "baseline": diff.baseline,
        "candidate": diff.candidate,
        "tasks": diff.tasks,
        "comparable": not diff.refused,
        "allow": [kind for kind in KINDS if kind in {one.kind for one in diff.refused}],
        "differences": [
            {"effect": one.effect, "why": one.why, **one._asdict()} for one in diff.found
        ],
        "unknown": [{"task": task, "text": text} for task, text in diff.unknown],
        "notices": list(diff.notices),
    }
    return document.dumped(told)
