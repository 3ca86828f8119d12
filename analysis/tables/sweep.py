"""A sweep over checkpoints: every step's scores, the best one, and what choosing it is worth.

Owns which figures stand in these tables. Refuses to own the rule of the choice (`series.choice`).

    tables = sweep(series, "distill_math500")      # "sweep", "best-step", "choice"
"""

from __future__ import annotations

from analysis.estimate import NAN, Estimate, undefined
from analysis.series.choice import Choice, choose
from analysis.series.form import HELD_OUT, Difference, Score, Series
from analysis.tables.families import with_holm
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.text import visible

MOST_TASKS = 6
PICKED = "picked: how often the step is the best when the questions are drawn anew."
RULE = "Best step: highest score of the task that selects; of equal scores the earliest step."


def sweep(series: Series, select_by: str = "") -> list[Table]:
    """Return the tables of a sweep; the sweep's own task selects unless another is named.

    Raises:
        ValueError: no task to select by, or nothing can be chosen by it.
    """
    task = select_by or series.select_by or (series.tasks[0] if len(series.tasks) == 1 else "")
    if not task:
        raise ValueError(
            f"name the task that selects: --select-by, one of {', '.join(series.tasks)}"
        )
    choice = choose(series, task)
    return [grid(series, choice), deltas(series, choice), worth(series, choice)]


def grid(series: Series, choice: Choice) -> Table:
    """Return the scores of all steps: a row a step, a column a task."""
    task = choice.best.task
    tasks = [task, *(one for one in series.tasks if one != task)][:MOST_TASKS]
    steps = list(dict.fromkeys((one.step, one.run) for one in series.scores if in_dev(one)))
    steps.sort(key=lambda one: (one[0] is None, one[0] or 0))
    names = dict.fromkeys(one.run for one in series.baseline if in_dev(one))
    found = {(one.run, one.task): float(one.value)
             for one in (*series.scores, *series.baseline) if in_dev(one)}  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (None, name, *(found.get((name, one)) for one in tasks), None, None) for name in names
    ]
    for step, run in steps:
        values = [found.get((run, one)) for one in tasks]
        rows.append((step, run, *values, run == choice.best.run, choice.shares.get(run)))
    columns = (
        Column("step", "step", Kind.COUNT),
        Column("run", "run"),
        *(Column(one, visible(one), Kind.PERCENT) for one in tasks),
        Column("best", "best", Kind.FLAG),
        Column("picked", "picked", Kind.PERCENT),
    )
    n_columns = len(columns) - (not choice.shares)
    left = len(series.tasks) - len(tasks)
    more = (f"{left} more tasks: `distill-report curves` has them all",) if left > 0 else ()
    return Table(
        "sweep",
        f"Scores by step, selected by {task}",
        columns[:n_columns],
        [row[:n_columns] for row in rows],
        foot=f"{RULE} {PICKED}" if choice.shares else RULE,
        notes=(*series.notes, *(f"not to be chosen: {why}" for why in choice.left_out), *more),
    )


def in_dev(score: Score) -> bool:
    """Whether a score is of the questions that choose."""
    return score.part != HELD_OUT


def deltas(series: Series, choice: Choice) -> Table:
    """Return the best step against the baseline in every task: on held-out questions if it can."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        score, base, difference, where = best_against_base(series, choice, task)
        if score is None:
            continue
        by = task == choice.best.task and where != "held out"
        rows.append(
            (task, choice.best.step, score.n, base, score.estimate, difference.estimate,
             difference.p, NAN, where, by)
        )  # fmt: skip
    notes = unlike(series, choice)
    if any(row[9] for row in rows) and len(choice.candidates) > 1:
        notes.append(
            f"{choice.best.task} selected this step on these questions: its score and its "
            "difference are too good by the optimism of the table below, and its p is too small"
        )
    if not any(row[3] is not None for row in rows):
        notes.append("no baseline: no difference can be shown")
    return with_holm(
        Table(
            "best-step",
            f"Step {choice.best.step} against the baseline",
            (
                Column("task", "task"),
                Column("step", "step", Kind.COUNT),
                Column("n", "n", Kind.COUNT),
                Column("baseline", "baseline", Kind.PERCENT),
                Column("best", "best step", Kind.PERCENT),
                Column("difference", "difference", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
                Column("questions", "questions"),
                Column("selected_by", "selected by", Kind.FLAG),
            ),
            rows,
            foot=foot_of(series),
            notes=tuple(notes),
        )
    )


def unlike(series: Series, choice: Choice) -> list[str]:
    """Say where the baseline and the best step were measured on other numbers of questions."""
    told = []
    for score in series.scores:
        base = series.base_of(score)
        if score.run != choice.best.run or base is None or series.pair(score) is not None:
            continue
        sizes = [one.n_docs or one.n for one in (base, score)]
        if None not in sizes and sizes[0] != sizes[1]:
            told.append(
                f"{score.task}: the baseline answered {sizes[0]} questions and this step "
                f"{sizes[1]}, so part of the difference may be the questions'"
            )
    return told


def foot_of(series: Series, family: str = "Holm over the tasks") -> str:
    """Say how the differences were made."""
    if series.comparisons or series.held_out:
        return (
            "Differences are paired by question (McNemar and Newcombe; sign-flip and bootstrap for "
            f"repeated samples); {family}."
        )
    return "Wilson intervals from n; without items no paired interval and no test."


def best_against_base(
    series: Series, choice: Choice, task: str
) -> tuple[Score | None, Estimate | None, Difference, str]:
    """Return the best step's score, the baseline's, their difference, and on which questions."""
    found = [one for one in series.of(task) if one.run == choice.best.run]
    held = next((one for one in found if one.part == HELD_OUT), None)
    score = held or next(iter(found), None)
    if score is None:
        return None, None, Difference(undefined(""), NAN, ""), ""
    base = series.base_of(score)
    paired = series.held_out if held is not None else None
    told = [one for one in paired.tasks if one.task == task] if paired else []
    if told and series.chosen == choice.best.run:
        difference = Difference(told[0].difference, told[0].test.p, told[0].test.rule)
    else:
        difference = series.difference(score)
    where = "held out" if held is not None else score.part or "all"
    return score, base.estimate if base else None, difference, where


def worth(series: Series, choice: Choice) -> Table:
    """Return what the chosen score is worth: as measured, corrected, and on held-out questions."""
    best = choice.best
    difference = series.difference(best)
    rows: list[tuple[Cell, ...]] = [
        ("as measured", best.n, best.estimate, difference.estimate, difference.p, None),
        ("expected on new questions", choice.n_questions, choice.corrected, choice.gain, NAN,
         choice.optimism),
    ]  # fmt: skip
    held, _, gap, where = best_against_base(series, choice, best.task)
    if held is not None and where == "held out":
        rows.append(("held-out questions", held.n, held.estimate, gap.estimate, gap.p, None))
    return Table(
        "choice",
        f"What choosing step {best.step} by {best.task} is worth",
        (
            Column("figure", "figure"),
            Column("n", "n", Kind.COUNT),
            Column("score", visible(best.task), Kind.PERCENT),
            Column("difference", "difference", Kind.POINTS),
            Column("p", "p", Kind.P),
            Column("optimism", "optimism", Kind.POINTS),
        ),
        rows,
        foot=(
            f"Optimism: {choice.optimism.method or 'not known'}. Difference: to the baseline, on "
            "the same questions."
        ),
        notes=tuple(warnings(series, choice, held is not None and where == "held out")),
    )


def warnings(series: Series, choice: Choice, held_out: bool) -> list[str]:
    """Say what the choice does to the score, and how firm it is."""
    best = choice.best
    if len(choice.candidates) == 1:
        return ["one step: nothing was chosen"]
    told = [
        f"winner's curse: the best of {len(choice.candidates)} steps was taken by the questions "
        f"that score it, so its {best.task} score is too good by {size_of(choice)}"
    ]
    if held_out:
        told.append("the held-out row is the one to quote")
    else:
        told.append("quote it from questions that took no part in the choice")
    if choice.equal:
        told.append(f"equal to {', '.join(choice.equal)}; the earliest step was taken")
    share = choice.shares.get(best.run)
    if share is not None and share < 0.5:
        told.append(f"drawn anew, these questions pick this step {100 * share:.0f}% of the time")
    others = [one.value for one in choice.candidates if one.run != best.run]
    lead = float(best.value - max(others)) if others else None
    if choice.optimism.defined and lead is not None and 0 < lead < choice.optimism.value:
        told.append(f"its lead of {100 * lead:.1f} points is smaller than that optimism")
    if series.chosen and series.chosen != best.run:
        told.append(f"the sweep itself chose {series.chosen}; its held-out run is of that step")
    return told


def size_of(choice: Choice) -> str:
    """Return the optimism in words."""
    if not choice.optimism.defined:
        return f"an unknown amount ({choice.optimism.reason})"
    about = "about" if choice.shares else "at most about"
    return f"{about} {100 * choice.optimism.value:.1f} points"
