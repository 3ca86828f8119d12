"""A whole comparison: what to doubt first, the verdict, the tables, the notes.

Owns the order of a report and its JSON object (schema: docs/reports.md). Refuses to own the form of
a table (its neighbours) and every number.

    report = Report(comparison, tables)
    print_report(report, sys.stdout)
    markdown_text(report)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, Any, Final

from analysis.compare import NOT_SHOWN, ArmScore, Comparison, TaskComparison
from analysis.reliability import Warning as Doubt
from analysis.reliability import warnings
from analysis.render import document, latex, markdown, terminal
from analysis.render.json import estimate, number, share
from analysis.tables.catalogue import PAIR
from analysis.tables.table import Table
from analysis.verdict import MOST_NAMED, Verdict, headline, verdict
from analysis.volume import VolumeFigure

SEVERITY: Final = {"stop": ("STOP", "bold red"), "warn": ("WARNING", "yellow")}
"""How a doubt is marked: in words, and in colour besides. The others are notes."""
MOST_OF_A_KIND: Final = 3  # doubts of one kind that are given in full
MOST_HEADLINES: Final = 12  # tasks that have a sentence each, whatever it says


@dataclass(frozen=True)
class Report:
    """A comparison with the tables that a report of it shows."""

    comparison: Comparison
    tables: list[Table]

    def core(self) -> Report:
        """Return the report with its core tables alone."""
        names = {entry.name for entry in PAIR if entry.core}
        return replace(self, tables=[table for table in self.tables if table.name in names])

    @cached_property
    def doubts(self) -> list[Doubt]:
        """Return what makes the numbers less than they seem, the most serious first."""
        return warnings(self.comparison)

    @cached_property
    def verdict(self) -> Verdict:
        """Return the one sentence and what it rests on."""
        return verdict(self.comparison)


def arms(comparison: Comparison) -> list[str]:
    """Return the lines that name the two arms."""
    lines = []
    for role, name, model in (
        ("baseline", comparison.baseline, comparison.baseline_model),
        ("candidate", comparison.candidate, comparison.candidate_model),
    ):
        lines.append(f"{role}: {name}" + (f" ({model})" if model else ""))
    return lines


def doubt_lines(report: Report) -> list[tuple[str, str]]:
    """Return the serious doubts, marked, with the style of each.

    Of a kind that many tasks share the first are given in full, and the others by their tasks.
    """
    lines = []
    for in_full, more in by_kind(one for one in report.doubts if one.severity in SEVERITY):
        mark, style = SEVERITY[in_full[0].severity]
        lines += [(f"{mark}: {told(doubt.task, doubt.text)}", style) for doubt in in_full]
        if more:
            lines.append((f"{mark}: {more_of_a_kind(more)}; --json has them", style))
    return lines


def by_kind(doubts: Iterable[Doubt]) -> list[tuple[list[Doubt], list[Doubt]]]:
    """Return the doubts of each kind: those that are given in full, and the others."""
    kinds: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in doubts:
        kinds.setdefault((doubt.severity, doubt.kind), []).append(doubt)
    parts = []
    for of_kind in kinds.values():
        n_full = len(of_kind) if len(of_kind) <= MOST_OF_A_KIND else MOST_OF_A_KIND - 1
        parts.append((of_kind[:n_full], of_kind[n_full:]))
    return parts


def more_of_a_kind(more: list[Doubt]) -> str:
    """Name doubts of one kind by their tasks."""
    tasks = some_of([doubt.task for doubt in more if doubt.task])
    return f"{len(more)} more of {more[0].kind}" + (f" on {tasks}" if tasks else "")


def some_of(tasks: list[str]) -> str:
    """Name the first of some tasks and count the others."""
    names = list(dict.fromkeys(tasks))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def told(task: str, text: str) -> str:
    """Return a sentence under the name of its task, unless it says the name itself."""
    return f"{task}: {text}" if task and task not in text else text


def headlines(comparison: Comparison) -> list[str]:
    """Return a sentence for each task where there are several: one alone has the verdict.

    Of many tasks, as MMLU's 57, those that show nothing are counted: the scorecard has them.
    """
    n = len(comparison.tasks)
    if n < 2:
        return []
    told_apart = [
        one for one in comparison.tasks if n <= MOST_HEADLINES or one.finding != NOT_SHOWN
    ]
    lines = [f"{task.task}: {headline(task, n)}" for task in told_apart]
    if left := n - len(told_apart):
        others = "the other " if told_apart else ""
        lines.append(f"no difference shown on each of {others}{left} tasks alone (after Holm)")
    return lines


def notes(report: Report) -> list[str]:
    """Return what else to know; what stands among the serious doubts is not said again."""
    comparison = report.comparison
    serious = [one for one in report.doubts if one.severity in SEVERITY]
    said = {line for one in serious for line in (one.text, f"{one.task}: {one.text}")}
    lines = []
    for in_full, more in by_kind(one for one in report.doubts if one.severity not in SEVERITY):
        lines += [told(doubt.task, doubt.text) for doubt in in_full]
        if more:
            lines.append(f"{more_of_a_kind(more)}; --json has them")
    lines += comparison.notices
    lines += of_tasks(comparison)
    lines += [f"{one.name}: {one.empty}" for one in report.tables if not one.rows and one.empty]
    lines += graded_by(comparison)
    return [line for line in dict.fromkeys(lines) if line not in said]


def graded_by(comparison: Comparison) -> list[str]:
    """Say by what each task was graded; of many tasks, once for those that share it."""
    shared: dict[str, list[str]] = {}
    for task in comparison.tasks:
        how = f"graded by {task.metric}, filter {task.filter}"
        shared.setdefault(how, []).append(task.task)
    if len(comparison.tasks) <= MOST_HEADLINES:
        return [f"{task}: {how}" for how, tasks in shared.items() for task in tasks]
    return [
        f"{how}: {some_of(tasks)}" if len(tasks) > 1 else f"{tasks[0]}: {how}"
        for how, tasks in shared.items()
    ]


def of_tasks(comparison: Comparison) -> list[str]:
    """Return what is noted of each task; of notes alike but for their numbers the first in full."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for task in comparison.tasks:
        for text in task.notices:
            alike.setdefault(re.sub(r"\d+", "", text), []).append((task.task, text))
    lines = []
    for those in alike.values():
        n_full = len(those) if len(those) <= MOST_OF_A_KIND else 1
        lines += [f"{task}: {text}" for task, text in those[:n_full]]
        if others := [task for task, _ in those[n_full:]]:
            lines[-1] += f"; alike on {some_of(others)}"
    return lines


def print_report(report: Report, out: IO[str]) -> None:
    """Print a report, as wide as the terminal within 80 to 100 columns; else plain, of 100."""
    console = terminal.console(out)
    for line in arms(report.comparison):
        terminal.write(console, line, more=" " * len("candidate: "))
    console.print()
    for line, style in doubt_lines(report):
        terminal.write(console, line, style)
    if doubt_lines(report):
        console.print()
    terminal.write(console, report.verdict.sentence, "bold")
    for line in headlines(report.comparison):
        terminal.write(console, line)
    for table in report.tables:
        if table.rows:
            console.print()
            terminal.print_table(table, console)
    console.print()
    for line in notes(report):
        terminal.write(console, f"note: {line}", more="      ")


def markdown_text(report: Report) -> str:
    """Return a report as Markdown."""
    lines = ["# Comparison", ""]
    lines += [f"- {markdown.paragraph(line)}" for line in arms(report.comparison)]
    lines += ["", f"**{markdown.escaped(report.verdict.sentence)}**", ""]
    listed = [line for line, _ in doubt_lines(report)] + headlines(report.comparison)
    lines += [f"- {markdown.paragraph(line)}" for line in listed]
    lines += ["", document.text("markdown", report.tables)]
    lines += ["## Notes", "", *(f"- {markdown.paragraph(line)}" for line in notes(report))]
    return "\n".join(lines) + "\n"


def latex_text(report: Report) -> str:
    """Return a report's verdict and tables as LaTeX, to be included."""
    listed = [*arms(report.comparison), *(line for line, _ in doubt_lines(report))]
    listed += [report.verdict.sentence, *headlines(report.comparison)]
    said = "\n\n".join(latex.escaped(line) for line in listed)
    return f"{latex.PACKAGES}\n{said}\n\n" + document.latex_tables(report.tables)


def json_text(report: Report) -> str:
    """Return everything as JSON but the items, which stay in items.csv."""
    comparison, told_verdict = report.comparison, report.verdict
    n_tasks = len(comparison.tasks)
    content = {
        **document.head(comparison),
        "warnings": [doubt._asdict() for doubt in report.doubts],
        "verdict": {
            "sentence": told_verdict.sentence,
            "finding": told_verdict.finding,
            "difference": estimate(told_verdict.difference),
            "p": number(told_verdict.p),
            "detectable": estimate(told_verdict.detectable),
            "method": told_verdict.method,
        },
        "tasks": [task_object(task, n_tasks) for task in comparison.tasks],
        "tables": document.keyed(report.tables),
        "quality": [dataclasses.asdict(finding) for finding in comparison.quality],
        "allowed": [one._asdict() for one in comparison.allowed],
        "notices": comparison.notices,
    }
    return document.dumped(content)


def task_object(task: TaskComparison, n_tasks: int) -> dict[str, Any]:
    """Return one task as an object."""
    test = task.test
    return {
        "task": task.task,
        "headline": headline(task, n_tasks),
        "finding": task.finding,
        "metric": task.metric,
        "filter": task.filter,
        "lower_is_better": task.lower_is_better,
        "n_questions": task.n_questions,
        "n_pairs": task.n_pairs,
        "k": task.k,
        "baseline": arm_object(task.baseline),
        "candidate": arm_object(task.candidate),
        "difference": estimate(task.difference),
        "detectable": estimate(task.detectable),
        "agreement": task.agreement._asdict() if task.agreement else None,
        "test": {
            "rule": test.rule,
            "p": number(test.p),
            "exact_p": number(test.exact_p),
            "mid_p": number(test.mid_p),
            "holm_p": number(test.holm_p),
            "bh_p": number(test.bh_p),
            "reason": test.reason,
        },
        "cohens_h": {**estimate(task.h), "label": task.h_label or None},
        "volume": [volume_object(figure) for figure in task.volume],
        "notices": task.notices,
    }


def arm_object(score: ArmScore) -> dict[str, Any]:
    """Return one arm's scores as an object."""
    return {
        "n": score.n,
        "n_graded": score.n_graded,
        "score": estimate(score.score),
        "n_completed": score.n_completed,
        "score_completed": estimate(score.score_completed),
        "truncated": share(score.truncated),
        "no_answer": share(score.no_answer),
        "grader_error": share(score.grader_error),
        "empty": share(score.empty),
    }


def volume_object(figure: VolumeFigure) -> dict[str, Any]:
    """Return one volume figure as an object."""
    return {
        "name": figure.name,
        "unit": figure.unit,
        "baseline": estimate(figure.baseline),
        "candidate": estimate(figure.candidate),
        "difference": estimate(figure.difference),
        "ratio": estimate(figure.ratio),
        "n": figure.n,
        "baseline_known": figure.baseline_known,
        "candidate_known": figure.candidate_known,
        "baseline_logged": figure.baseline_logged,
        "candidate_logged": figure.candidate_logged,
    }
