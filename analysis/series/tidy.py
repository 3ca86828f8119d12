"""Scores of several runs from a CSV that anybody can write, and from a sweep's own sweep.csv.

Owns what the columns mean. Refuses to own the lines (`rows`) and the tables. A row is one run on
one task; `score` is a share in [0, 1] or `percent` a percentage, never one for the other:

    run,step,task,percent,n
    base,,MATH-500,82.6,500
    step-100,100,MATH-500,87.0,100

The row without a step (or named base or baseline) is the baseline. Other columns: `n_docs`
(questions, where `n` counts several completions of each), `correct`, `truncated`, `grader_error`,
`part` (dev or held_out), `words` (length of a response), `series` (which sweep, where the file has
several). `arm` stands for `run`. Any further column is a setting of the run, and where runs differ
in it a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from analysis.estimate import Estimate, Share
from analysis.series.form import HELD_OUT, UNKNOWN, Score, Series, unfit_share
from analysis.series.rows import Row, count, number, read_rows
from analysis.stats.proportions import wilson_interval
from analysis.trained import differences_of

BASELINES = ("base", "baseline")
FINEST = 10**12  # of a score's denominator: 0.1 is one tenth
ROUNDED = 0.0051  # by how much a rounded score may differ from correct / n
MOST_NAMED = 8


def read_series(path: Path, baseline: str | None = None, series: str | None = None) -> Series:
    """Read a CSV of one series; `baseline` names the run that the others are compared with.

    Raises:
        ValueError: no such column, a value that cannot be, a row twice, no run at all, or several
            series and none named; names file and line.
        OSError: the file cannot be read.
    """
    groups = read_groups(path, baseline, series)
    if len(groups) > 1:
        names = ", ".join(list(groups)[:MOST_NAMED])
        raise ValueError(f"{path}: holds {len(groups)} series ({names}); name one with --series")
    return next(iter(groups.values()))


def read_groups(
    path: Path, baseline: str | None = None, series: str | None = None
) -> dict[str, Series]:
    """Read a CSV of several series by their names in its column `series`; "" where it has none.

    Raises:
        ValueError: as `read_series`, or no series of the name. OSError.
    """
    groups: dict[str, list[Row]] = {}
    for row in read_rows(path):
        groups.setdefault(row.cells["series"], []).append(row)
    if series is not None and series not in groups:
        names = ", ".join(list(groups)[:MOST_NAMED])
        raise ValueError(f"{path}: no series {series!r}; it has {names}")
    wanted = groups if series is None else {series: groups[series]}
    found = {name: series_of(path, rows, baseline) for name, rows in wanted.items()}
    return found or {"": series_of(path, [], baseline)}


def series_of(path: Path, rows: list[Row], baseline: str | None) -> Series:
    """Return the rows of one series as one.

    Raises:
        ValueError: a value that cannot be, a row twice, or no run at all.
    """
    scores = [score for row in rows if (score := score_of(row)) is not None]
    if not scores:
        raise ValueError(f"{path}: no row with a score; expected run,step,task,score (or percent)")
    refuse_twice(path, scores)
    base = baseline_of(path, scores, baseline)
    runs = [score for score in scores if score.run != base]
    if not runs:
        raise ValueError(f"{path}: holds the baseline {base!r} alone, and no run beside it")
    n_blank = len(rows) - len(scores)
    notes = [f"{path.name}: {n_blank} rows without a score are left out"] if n_blank else []
    return Series(
        scores=tuple(in_order(runs)),
        baseline=tuple(score for score in scores if score.run == base),
        notes=(*notes, *confounds(rows)),
    )


def score_of(row: Row) -> Score | None:
    """Return the score of a row, None where the row has none.

    Raises:
        ValueError: a value that cannot be.
    """
    cells = row.cells
    if not cells["task"]:
        raise ValueError(f"{row.where}: the task is empty")
    n_all, correct = count(row, "n"), count(row, "correct")
    n_errors = count(row, "grader_error") or 0
    n = None if n_all is None else n_all - n_errors
    if n is not None and n < 0:
        raise ValueError(f"{row.where}: grader_error is {n_errors} of n={n_all}")
    value = value_of(row, correct, n)
    if value is None:
        return None
    step, n_docs = count(row, "step"), count(row, "n_docs")
    cut = count(row, "truncated")
    return Score(
        run=run_of(row),
        task=cells["task"],
        value=value,
        estimate=estimate(value, n, n_docs),
        step=step if step is not None else count(row, "seed"),
        n=n,
        n_docs=n_docs,
        part=part_of(row),
        truncated=Share(cut, n_all) if n_all and cut is not None else UNKNOWN,
        words=number(row, "words") if cells["words"] else None,
        unfit=unfit_share(n_errors, n_all) if n_all is not None else None,
    )


def run_of(row: Row) -> str:
    """Return the name of a row's run: its own, else its step or seed, else that of a baseline."""
    if row.cells["run"]:
        return row.cells["run"]
    named = (f"{name}-{row.cells[name]}" for name in ("step", "seed") if row.cells[name])
    return next(named, BASELINES[0])


def value_of(row: Row, correct: int | None, n: int | None) -> Fraction | None:
    """Return a row's score as a fraction, None where no cell holds one.

    Raises:
        ValueError: outside its range, or not that of the counts.
    """
    given = None
    for name, top in (("score", 1), ("percent", 100)):
        if not row.cells[name]:
            continue
        found = number(row, name)
        if not 0 <= found <= top:
            hint = "; a percentage goes into a column `percent`" if top == 1 else ""
            raise ValueError(f"{row.where}: {name} must lie in 0..{top}, got {found:g}{hint}")
        share = Fraction(found).limit_denominator(FINEST) / top
        if given is not None and abs(float(share - given)) > ROUNDED:
            raise ValueError(
                f"{row.where}: score is {row.cells['score']} and percent {row.cells['percent']}; "
                "give one of them"
            )
        given = share
    if correct is None or not n:
        return given
    if correct > n:
        raise ValueError(f"{row.where}: correct is {correct} of {n} graded completions")
    counted = Fraction(correct, n)
    if given is not None and abs(float(given - counted)) > ROUNDED:
        raise ValueError(
            f"{row.where}: the score is {float(given):g}, but correct / n is {float(counted):g}"
        )
    return counted


def estimate(value: Fraction, n: int | None, n_docs: int | None) -> Estimate:
    """Return a score with Wilson's interval, as far as the counts tell.

    Several completions of a question are not independent; they then count as one of the question,
    which can only make the interval too wide.
    """
    if not n:
        return Estimate(float(value), reason="the file gives no n")
    units = min(n, n_docs or n)
    low, high = wilson_interval(float(value) * units, units)  # type: ignore[arg-type]
    method = "Wilson" if units == n else "Wilson on questions, at most so wide"
    return Estimate(float(value), low, high, method=method)


def part_of(row: Row) -> str:
    """Return which part of the questions a row is of."""
    part = row.cells["part"].lower().replace("-", "_").replace(" ", "_")
    return HELD_OUT if part == HELD_OUT else part


def refuse_twice(path: Path, scores: Iterable[Score]) -> None:
    """Refuse two rows of one run, task and part.

    Raises:
        ValueError: names them.
    """
    seen: set[tuple[str, str, str]] = set()
    for score in scores:
        key = (score.run, score.task, score.part)
        if key in seen:
            part = f", part {score.part}" if score.part else ""
            raise ValueError(
                f"{path}: run {score.run!r} has two rows of {score.task!r}{part}; keep one, or "
                "name the runs apart (several sweeps in a file: a column `series`)"
            )
        seen.add(key)


def baseline_of(path: Path, scores: list[Score], asked: str | None) -> str | None:
    """Return the run that is the baseline, None where there is none.

    Raises:
        ValueError: none of that name, or several that could be it.
    """
    runs = list(dict.fromkeys(score.run for score in scores))
    if asked is not None:
        if asked not in runs:
            have = ", ".join(runs[:MOST_NAMED])
            raise ValueError(f"{path}: no run {asked!r} to be the baseline; it has {have}")
        return asked
    named = [run for run in runs if run.lower() in BASELINES]
    if named:
        return named[0]
    with_step = {score.run for score in scores if score.step is not None}
    without = [run for run in runs if run not in with_step]
    if not with_step or not without:
        return None
    if len(without) > 1:
        raise ValueError(
            f"{path}: {len(without)} runs have no step ({', '.join(without[:MOST_NAMED])}); name "
            "the one that is the baseline with --baseline"
        )
    return without[0]


def in_order(scores: list[Score]) -> list[Score]:
    """Return scores by step where all have one, else as they come."""
    if any(score.step is None for score in scores):
        return scores
    return sorted(scores, key=lambda score: score.step or 0)


def confounds(rows: Iterable[Row]) -> list[str]:
    """Say in which settings the runs differ besides: a row a run, whatever its task."""
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, value in row.settings.items():
            if value:
                values.setdefault(name, {}).setdefault(run_of(row), value)
    return differences_of(values)
