"""The report as people read it: aligned tables for a terminal, the same ones in Markdown.

Owns the layout. Refuses to own any figure: all come from `report`.

Example: `as_text(tables(made_report))`
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from harness_tasks.chat.reply import shown
from harness_tasks.text_table import aligned

MAX_ROWS = 40
MAX_CELL = 100


class Table(NamedTuple):
    """One table with the line above it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(made: dict[str, Any]) -> list[Table]:
    """Return the tables of a report, those without rows left out."""
    found = [
        overview(made),
        *(rate_table(name, rows) for name, rows in made["pass_rates"].items()),
        reasons_table("Not kept", made["reasons"]),
        reasons_table("Questions left out before asking", made["left_out"]),
        missing_table(made["missing"]),
        statistics_table(made["trace_statistics"]),
        lengths_table(made["lengths"]),
        buckets_table(made["think_length_buckets"]),
        cost_table(made["cost"]),
        hits_table(made["decontamination"]),
        differ_table(made["published"]),
    ]
    return [table for table in found if table.rows]


def overview(made: dict[str, Any]) -> Table:
    """Return the counts that matter first."""
    over, judge, checker = made["max_length"], made["judge"], made["checker"]
    checked, published = made["decontamination"], made["published"]
    rows = [
        ("questions", str(made["n_questions"])),
        ("of them left out", str(made["n_questions_left_out"])),
        ("traces", f"{made['n_traces']} of {made['n_samples_wanted']} samples"),
        ("correct", str(made["n_correct"])),
        ("kept", str(made["n_kept"])),
    ]
    if over:
        share = "" if over["share_over"] is None else f" ({over['share_over']:.1%})"
        rows.append((f"kept, over {over['max_length']} tokens", f"{over['n_over']}{share}"))
    if judge:
        said = f"{judge['n_scored']} scored, {judge['n_unscored']} unscored"
        quality = judge["mean_quality"]
        rows.append(("judge", said + (f", mean quality {quality:.2f}" if quality else "")))
        both = f"{judge['n_agree_with_grader']} of {judge['n_both']}"
        rows.append(("judge agrees with grader", both))
    if checker:
        said = f"{checker['n_ok']} OK, {checker['n_faults_left']} with faults, "
        rows.append(("checker", f"{said}{checker['n_unclear']} unclear"))
        rows.append(("repaired traces", str(checker["n_repaired"])))
    if published:
        rows.append(("published verdicts agree", f"{published['n_agree']} of {published['n']}"))
    rows.append(("decontamination", checked_line(checked)))
    rows += [("stopped", why) for why in made["stopped"]]
    return Table("Overview", ("what", "count"), [(name, cut(text)) for name, text in rows])


def checked_line(checked: dict[str, Any]) -> str:
    """Say what the questions were compared with."""
    if checked["not_done"]:
        return f"not done: {checked['not_done']}"
    missing = f", {len(checked['not_checked'])} NOT CHECKED" if checked["not_checked"] else ""
    against = f"against {len(checked['benchmarks'])} benchmarks{missing}"
    return f"{checked['n_contaminated']} contaminated questions {against}"


def rate_table(name: str, rows: list[dict[str, Any]]) -> Table:
    """Return the pass rates by one column."""
    head = (
        name.removeprefix("meta."),
        "traces",
        "graded",
        "correct",
        "pass rate",
        "cut off",
        "kept",
    )
    cells = [
        (
            cut(row["value"]),
            str(row["n_traces"]),
            str(row["n_graded"]),
            str(row["n_correct"]),
            percent(row["pass_rate"]),
            str(row["n_truncated"]),
            str(row["n_kept"]),
        )
        for row in largest(rows)
    ]
    more = f", the {MAX_ROWS} largest of {len(rows)}" if len(rows) > MAX_ROWS else ""
    return Table(f"By {head[0]}{more}", head, cells)


def largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they come where all fit, else those of the most traces."""
    if len(rows) <= MAX_ROWS:
        return rows
    return sorted(rows, key=lambda row: -row["n_traces"])[:MAX_ROWS]


def reasons_table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Return why traces, or questions, are not there."""
    cells = [(row["reason"], str(row["n"]), cut(row["example"])) for row in rows]
    return Table(title, ("reason", "n", "such as"), cells)


def missing_table(rows: list[dict[str, Any]]) -> Table:
    """Return the samples that have no completion; the next run asks them again."""
    cells = [(row["model"], row["what"], str(row["n"]), cut(row["reason"])) for row in rows]
    title = "Samples without a completion (the same command asks them again)"
    return Table(title, ("model", "what", "n", "why"), cells[:MAX_ROWS])


def statistics_table(rows: list[dict[str, Any]]) -> Table:
    """Return the lengths of the used traces by teacher and source."""
    names = ("generated", "available", "used", "median_chars", "mean_chars", "p95_chars")
    head = ("teacher", "source", "generated", "correct", "used", "median", "mean", "p95")
    cells = [
        (row["teacher"], cut(row["source"]), *(number(row[name]) for name in names))
        for row in rows[:MAX_ROWS]
    ]
    title = "Traces by teacher and source; lengths of the used ones in characters"
    return Table(title, head, cells)


def lengths_table(lengths: dict[str, Any]) -> Table:
    """Return the lengths of all and of the kept traces."""
    cells = [
        (name.replace("_", " "), which, *(number(row[key]) for key in row))
        for which, measures in lengths.items()
        for name, row in measures.items()
        if row["n"]
    ]
    return Table("Lengths", ("measure", "of", "n", "median", "mean", "p95", "max"), cells)


def buckets_table(buckets: dict[str, Any]) -> Table:
    """Return how long traces reason, in buckets of characters."""
    edges = buckets["traces"]["edges_chars"]
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]} and more")
    counted = {
        which: [one["n_without_reasoning"], *one["counts"]] for which, one in buckets.items()
    }
    cells = [
        (name, str(every), str(kept))
        for name, every, kept in zip(
            ["none", *names], counted["traces"], counted["kept"], strict=True
        )
    ]
    return Table("Reasoning in characters", ("chars", "traces", "kept"), cells)


def cost_table(cost: dict[str, Any]) -> Table:
    """Return tokens and cost by model, and of everything in the output folder."""
    rows = list(cost["by_model"].items())
    if rows and cost["output_folder"]:
        rows.append(("all in completions.jsonl", cost["output_folder"]))
    cells = [
        (
            name,
            str(row["n_requests"]),
            *(unknown(row[key]) for key in ("prompt_tokens", "completion_tokens")),
            unknown(row["reasoning_tokens"]),
            money(row),
        )
        for name, row in rows
    ]
    head = (
        "model",
        "replies",
        "prompt tokens",
        "completion tokens",
        "reasoning tokens",
        "US dollars",
    )
    return Table("Cost", head, cells)


def hits_table(checked: dict[str, Any]) -> Table:
    """Return the contaminated questions, each hit named, and what was not looked at."""
    cells = [
        (hit["question_id"], hit["benchmark"], hit["doc_id"], hit["how"], f"{hit['score']:.2f}",
         cut(" ".join(hit["excerpt"].split())))
        for hit in checked["hits"]
    ]  # fmt: skip
    cells += [("-", *split_name(line)) for line in checked["not_checked"]]
    title = "Contaminated questions, and benchmarks that could not be checked"
    head = ("question", "benchmark", "doc", "how", "score", "excerpt")
    return Table(title, head, cells[: 10 * MAX_ROWS])


def split_name(line: str) -> tuple[str, str, str, str, str]:
    """Return the cells of a benchmark that was not checked."""
    name, _, why = line.partition(":")
    return name, "-", "not checked", "-", cut(why.strip())


def differ_table(published: dict[str, Any] | None) -> Table:
    """Return where our verdict is another than the published one."""
    rows = [] if published is None else published["differ"]
    cells = [
        (row["id"], "right" if row["published"] else "wrong", row["verdict"],
         cut(str(row["answer"])), cut(str(row["target"])))
        for row in rows[:MAX_ROWS]
    ]  # fmt: skip
    return Table("Other than published", ("id", "published", "ours", "answer", "target"), cells)


def unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def money(row: dict[str, Any]) -> str:
    """Return a cost; what no server told is unknown."""
    if row["cost_usd"] is None:
        return "unknown" if row["n_requests"] else "0"
    partly = f" + {row['n_unknown_cost']} unknown" if row["n_unknown_cost"] else ""
    return f"{row['cost_usd']:.4f}{partly}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Return a length, without decimals."""
    return "-" if value is None else f"{value:.0f}"


def cut(text: str) -> str:
    """Return a cell of bounded width on one line; control characters are escaped."""
    line = shown(text)
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def right_columns(table: Table) -> set[str]:
    """Return the columns of numbers, by name."""
    return {
        name
        for at, name in enumerate(table.head)
        if at and all(row[at][:1].isdigit() or row[at] in ("-", "unknown") for row in table.rows)
    }


def cut_cells(table: Table) -> list[list[str]]:
    """Return the rows with every cell cut: ids and answers are foreign text as well."""
    return [[cut(cell) for cell in row] for row in table.rows]


def as_text(found: Sequence[Table]) -> str:
    """Return the tables for a terminal."""
    return "\n\n".join(
        f"{table.title}\n{aligned(table.head, cut_cells(table), right_columns(table))}"
        for table in found
    )


def as_markdown(found: Sequence[Table]) -> str:
    """Return the tables as a page."""
    parts = ["# Traces"]
    for table in found:
        right = right_columns(table)
        lines = [
            f"| {' | '.join(table.head)} |",
            f"|{'|'.join('---:' if name in right else '---' for name in table.head)}|",
            *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in cut_cells(table)),
        ]
        parts.append(f"## {table.title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Keep a cell from ending itself, or from being markup."""
    for mark in ("\\", "|", "[", "`", "*", "_"):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;")
