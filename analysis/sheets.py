"""A comparison as text: tables in the terminal and in Markdown, and a sentence for each task.

Owns rounding, signs, units and layout. Refuses to own arithmetic: `compare` made every number. The
layout fits 100 columns, and text that does not fit wraps; nothing is cut off.

    gsm8k  1319  86.6 [84.6, 88.3]  87.3 [85.4, 89.0]  +0.8 [-0.9, +2.4]  0.41
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import IO, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.compare import (
    GRADER_ERROR_LIMIT,
    HIGHER,
    LOWER,
    NOT_SHOWN,
    NOTHING,
    REFUSED_BASELINE,
    ArmScore,
    Comparison,
    TaskComparison,
)
from analysis.estimate import Estimate, Share
from analysis.stats.paired import SMALLEST_P
from analysis.text import visible
from analysis.volume import VolumeFigure

WIDTH, NARROWEST = 100, 80
MISSING = "-"
MARKUP = frozenset("\\`*_<|~&")


class Sheet(NamedTuple):
    """A table of ready cells; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    foot: str = ""
    grouped: bool = False  # in the terminal the first column becomes a line of its own


def percent(value: float, digits: int = 1) -> str:
    """Return a share as percent without its sign, or a dash."""
    return MISSING if math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float) -> str:
    """Return a difference in percentage points with its sign, or a dash."""
    return MISSING if math.isnan(value) else f"{100 * value:+.1f}"


def p_text(p: float) -> str:
    """Return a p-value with four decimals, scientific below 0.0001, as the reports print it."""
    if math.isnan(p):
        return MISSING
    if p <= SMALLEST_P:
        return f"<{SMALLEST_P:.0e}"
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.2e}"


def score_cell(score: Estimate) -> str:
    """Return a score with its interval, in percent."""
    if not score.defined or math.isnan(score.low):
        return percent(score.value)
    return f"{percent(score.value)} [{percent(score.low)}, {percent(score.high)}]"


def difference_cell(difference: Estimate) -> str:
    """Return a difference of scores with its interval, in points."""
    if not difference.defined or math.isnan(difference.low):
        return points(difference.value)
    return f"{points(difference.value)} [{points(difference.low)}, {points(difference.high)}]"


def headline(task: TaskComparison, n_tasks: int) -> str:
    """Return the one plain sentence on a task."""
    if task.finding == NOTHING:
        return f"no headline: {NOTHING}"
    if task.finding not in (HIGHER, LOWER, NOT_SHOWN):
        first = task.finding == REFUSED_BASELINE
        name, arm = ("baseline", task.baseline) if first else ("candidate", task.candidate)
        return (
            f"no headline: the grader failed on {percent(arm.grader_error.value)}% of the {name}'s "
            f"samples ({arm.grader_error.count} of {arm.n}; limit {GRADER_ERROR_LIMIT:.0%})"
        )
    change = difference_cell(task.difference).replace(" [", " points [", 1)
    change = change if "points" in change else f"{change} points"
    p = f"p={p_text(task.test.p)}"
    if n_tasks > 1:
        p += f", Holm p={p_text(task.test.holm_p)}"
    needed = ""
    if task.finding == NOT_SHOWN and task.detectable.defined:
        needed = f"; would have needed >= {percent(task.detectable.value)} points"
    return f"{task.finding} ({p}): {change}{needed}"


def scorecard(comparison: Comparison) -> Sheet:
    """Return scores and their difference."""
    rows = [
        (
            task.task,
            str(task.n_pairs) if task.k == 1 else f"{task.n_pairs} x {task.k}",
            score_cell(task.baseline.score),
            score_cell(task.candidate.score),
            difference_cell(task.difference),
            percent(task.detectable.value),
        )
        for task in comparison.tasks
    ]
    repeated = any(task.agreement is None for task in comparison.tasks)
    foot = "Score %: Wilson 95%. Difference in points, candidate - baseline: Newcombe 95%, paired."
    if repeated:
        foot += " Repeated or fractional scores: question bootstrap 95%."
    foot += " Detectable: smallest difference shown with 80% power."
    columns = ("task", "n", "baseline", "candidate", "difference", "detectable")
    return Sheet("Scorecard", columns, rows, foot)


def quality(comparison: Comparison) -> Sheet:
    """Return the verdict rates, baseline and candidate on lines of their own."""
    rows = []
    for task in comparison.tasks:
        for name, arm in (("baseline", task.baseline), ("candidate", task.candidate)):
            rows.append((task.task, name, *quality_cells(arm)))
    columns = ("task", "arm", "n", "completed score", "of", "truncated", "no answer")
    return Sheet("Completion", (*columns, "grader\nerror"), rows, "Rates in % of samples (count).")


def quality_cells(arm: ArmScore) -> tuple[str, ...]:
    """Return the rates of one arm."""
    return (
        str(arm.n),
        score_cell(arm.score_completed),
        str(arm.n_completed),
        share_cell(arm.truncated),
        share_cell(arm.no_answer),
        share_cell(arm.grader_error),
    )


def share_cell(share: Share) -> str:
    """Return a share in percent with its count."""
    return MISSING if share.count is None else f"{percent(share.value)} ({share.count})"


def tests(comparison: Comparison) -> Sheet:
    """Return agreement and significance."""
    rows = []
    for task in comparison.tasks:
        cells = [str(count) for count in task.agreement or ()] or [MISSING] * 4
        both, candidate_only, baseline_only, neither = cells
        rows.append(
            (
                task.task,
                both,
                baseline_only,
                candidate_only,
                neither,
                p_text(task.test.p),
                p_text(task.test.exact_p),
                p_text(task.test.mid_p),
                p_text(task.test.holm_p),
                f"{task.h.value:+.3f} {task.h_label}" if task.h.defined else MISSING,
            )
        )
    rules: dict[str, list[str]] = {}
    for task in comparison.tasks:
        rules.setdefault(task.test.rule, []).append(task.task)
    single = len(rules) == 1
    used = "; ".join(rule if single else f"{rule} ({', '.join(t)})" for rule, t in rules.items())
    solved = ("both", "only\nbase", "only\ncand", "neither")
    columns = ("task", *solved, "p", "exact p", "mid-p", "Holm p", "h")
    foot = f"Solved by both, only one, neither. Test: {used}."
    if len(comparison.tasks) > 1:
        foot += f" Holm p: adjusted over {len(comparison.tasks)} tasks."
    return Sheet("Agreement and test", columns, rows, foot)


def volumes(comparison: Comparison) -> Sheet:
    """Return reasoning volume with what each figure rests on."""
    rows = [
        (task.task, figure.name, *volume_cells(figure))
        for task in comparison.tasks
        for figure in task.volume
        if figure.baseline_known or figure.candidate_known
    ]
    columns = ("task", "mean of", "baseline", "candidate", "difference", "ratio", "rests on b / c")
    return Sheet("Reasoning volume", columns, rows, volume_foot(comparison), grouped=True)


def volume_foot(comparison: Comparison) -> str:
    """Return where the sizes come from."""
    figures = [figure for task in comparison.tasks for figure in task.volume[:1]]
    baseline = sum(one.baseline_logged for one in figures)
    candidate = sum(one.candidate_logged for one in figures)
    n = sum(one.n for one in figures)
    return (
        f"Per sample; difference paired by question, bootstrap 95%. Found in a log: baseline "
        f"{baseline} of {n}, candidate {candidate} of {n}; the others from the samples file."
    )


def volume_cells(figure: VolumeFigure) -> tuple[str, ...]:
    """Return the cells of one volume figure."""
    ratio = MISSING if not figure.ratio.defined else f"{figure.ratio.value:.2f}"
    return (
        size(figure.baseline.value, figure.unit),
        size(figure.candidate.value, figure.unit),
        size_difference(figure.difference, figure.unit),
        ratio,
        f"{rate(figure.baseline_known, figure.n)} / {rate(figure.candidate_known, figure.n)}",
    )


def rate(known: int, n: int) -> str:
    """Return a match rate; a full one short."""
    return "100%" if known == n else f"{known} of {n}"


def size(value: float, unit: str, sign: str = "") -> str:
    """Return a size in its unit; shares in percent."""
    if math.isnan(value):
        return MISSING
    if unit == "share":
        return f"{100 * value:{sign}.1f}%"
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.1f}"


def size_difference(difference: Estimate, unit: str) -> str:
    """Return a difference of sizes with its interval."""
    if not difference.defined or math.isnan(difference.low):
        return size(difference.value, unit, "+")
    low, high = (size(limit, unit, "+") for limit in (difference.low, difference.high))
    return f"{size(difference.value, unit, '+')} [{low}, {high}]"


def sheets(comparison: Comparison) -> list[Sheet]:
    """Return all tables of a report, without the empty ones."""
    made = [scorecard(comparison), tests(comparison), quality(comparison), volumes(comparison)]
    return [sheet for sheet in made if sheet.rows]


def title(comparison: Comparison) -> list[str]:
    """Return the lines that name the two arms."""
    lines = []
    for role, name, model in (
        ("baseline ", comparison.baseline, comparison.baseline_model),
        ("candidate", comparison.candidate, comparison.candidate_model),
    ):
        lines.append(f"{role}  {name}" + (f" ({model})" if model else ""))
    return lines


def notice_lines(comparison: Comparison) -> list[str]:
    """Return every notice, those of a task under its name."""
    own = [f"{task.task}: {text}" for task in comparison.tasks for text in task.notices]
    return [*comparison.notices, *own, *metric_lines(comparison)]


def metric_lines(comparison: Comparison) -> list[str]:
    """Return what each task was graded by."""
    return [
        f"{task.task}: graded by {task.metric}, filter {task.filter}" for task in comparison.tasks
    ]


def print_report(comparison: Comparison, out: IO[str]) -> None:
    """Print the report, as wide as the terminal within 80 to 100 columns; else plain, of 100."""
    console = Console(file=out, highlight=False, soft_wrap=False)
    console.width = max(min(console.width, WIDTH), NARROWEST) if console.is_terminal else WIDTH
    for line in title(comparison):
        console.print(Text(visible(line)), soft_wrap=True)  # a path stays in one piece
    console.print()
    for task in comparison.tasks:
        write(console, f"{task.task}: {headline(task, len(comparison.tasks))}", "bold")
    for sheet in sheets(comparison):
        console.print()
        console.print(Text(sheet.title, style="bold"))
        console.print(rich_table(sheet))
        write(console, sheet.foot, "dim", indent=" ")
    console.print()
    for line in notice_lines(comparison):
        write(console, f"note: {line}", more="      ")


def write(console: Console, text: str, style: str = "", indent: str = "", more: str = "") -> None:
    """Print a paragraph, wrapped at blanks only: a path stays in one piece."""
    lines = textwrap.wrap(
        visible(text),
        console.width,
        initial_indent=indent,
        subsequent_indent=indent or more or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=True)


def rich_table(sheet: Sheet) -> Table:
    """Return a table whose cells wrap where they must, though never inside a number."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    for number, name in enumerate(sheet.columns[sheet.grouped :]):
        text = number == 0 or name == "arm"
        words = " ".join(row[number + sheet.grouped] for row in sheet.rows).split()
        table.add_column(
            name,
            justify="left" if text else "right",
            overflow="fold",
            min_width=0 if text else max(map(len, words), default=0),
        )
    last = ""
    for task, *cells in sheet.rows:
        if sheet.grouped and task != last:
            table.add_row(Text(visible(task), style="bold"))
        first = [] if sheet.grouped else ["" if task == last else task]
        last = task
        table.add_row(*(Text(visible(cell)) for cell in (*first, *cells)))
    return table


def markdown(comparison: Comparison) -> str:
    """Return the report as Markdown."""
    lines = ["# Comparison", "", *(f"- {escaped(line)}" for line in title(comparison)), ""]
    for task in comparison.tasks:
        text = headline(task, len(comparison.tasks))
        lines.append(f"- **{escaped(task.task)}**: {escaped(text)}")
    for sheet in sheets(comparison):
        lines += ["", f"## {sheet.title}", "", markdown_row(sheet.columns)]
        lines.append("|---|" + "---:|" * (len(sheet.columns) - 1))
        lines += [markdown_row(row) for row in sheet.rows]
        lines += ["", escaped(sheet.foot)]
    lines += ["", "## Notes", "", *(f"- {escaped(line)}" for line in notice_lines(comparison))]
    return "\n".join(lines) + "\n"


def markdown_row(cells: tuple[str, ...]) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def escaped(text: str) -> str:
    """Return text that no Markdown reader takes for markup or for the end of a line."""
    flat = visible(" ".join(text.split()))
    return "".join(f"\\{c}" if c in MARKUP else c for c in flat).replace("](", "]\\(")
