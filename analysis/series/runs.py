"""Scores of several runs, each compared with one baseline question by question.

Owns names and steps of runs and the comparison of each. Refuses to own how two arms are compared
(`compare`). A run is a folder or a samples file, with a name before it where its own will not do:

    named_runs(["runs/step-000100", "seed2=runs/other"])     # steps 100 and 2
    from_runs(Path("runs/base"), runs, Reading())
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from analysis.compare import Comparison, Options, TaskComparison, compare
from analysis.items import BASELINE, CANDIDATE, Item
from analysis.reading.load import Arm, Choice, read_arm
from analysis.series.form import Score, Series, question_means, unfit_share
from analysis.trained import confounds

STEP = re.compile(
    r"(?:step|checkpoint|ckpt|iter(?:ation)?s?|epoch|seed)[-_ ]?(\d{1,12})(?!\d)", re.IGNORECASE
)
SUFFIXES = (".jsonl.gz", ".jsonl", ".csv")


@dataclass(frozen=True)
class NamedRun:
    """A run's path, its name in the tables, and its step (or seed) where the name tells one."""

    name: str
    path: Path
    step: int | None


@dataclass(frozen=True)
class Reading:
    """How runs are read: metric, filter and tasks, the logs, what is allowed, the seed."""

    choice: Choice = field(default_factory=Choice)
    logs: tuple[Path, ...] = ()
    allow: tuple[str, ...] = ()
    seed: int = 1234


def named_runs(words: Sequence[str]) -> list[NamedRun]:
    """Return the runs that the arguments name, by step where all have one.

    Raises:
        ValueError: two runs of one name.
    """
    runs = [named_run(word) for word in words]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # runs/seed1/eval, runs/seed2/eval
        runs = [
            run if names.count(run.name) == 1 or is_named(word) else longer(run)
            for run, word in zip(runs, words, strict=True)
        ]
        names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two runs are called {twice!r}; name them apart: NAME=RUN")
    if all(run.step is not None for run in runs):
        runs.sort(key=lambda run: run.step or 0)
    return runs


def is_named(word: str) -> bool:
    """Whether an argument is NAME=RUN; a path that is there is a path, whatever its name."""
    return "=" in word and not Path(word).exists()


def named_run(word: str) -> NamedRun:
    """Return the run of one argument.

    Raises:
        ValueError: NAME=RUN without a name or without a run.
    """
    if not is_named(word):
        path = Path(word)
        name = path.resolve().name if path.name in ("", ".", "..") else path.name
        suffix = next((one for one in SUFFIXES if name.endswith(one)), "")
        return NamedRun(name.removesuffix(suffix), path, step_of(name))
    name, _, rest = word.partition("=")
    if not name.strip() or not rest.strip():
        raise ValueError(f"{word!r}: expected NAME=RUN, a name and a run's folder")
    return NamedRun(name.strip(), Path(rest), step_of(name.strip()))


def longer(run: NamedRun) -> NamedRun:
    """Return a run with its folder's name before its own."""
    folder = run.path.resolve().parent.name
    name = f"{folder}/{run.name}"
    return NamedRun(name, run.path, step_of(name))


def step_of(name: str) -> int | None:
    """Return the step or seed that a name tells: step-000100, checkpoint-100, seed1, or 100."""
    found = STEP.search(name)
    if found:
        return int(found[1])
    return int(name) if name.isdecimal() and len(name) <= 12 else None


def from_runs(baseline: Path, runs: Sequence[NamedRun], how: Reading) -> Series:
    """Compare each run with the baseline.

    Raises:
        ValueError: no run, bad input, or a run that may not be compared; says which.
    """
    if not runs:
        raise ValueError("name at least one run beside the baseline")
    name = named_run(str(baseline)).name
    taken = any(run.name == name for run in runs)
    base = read_arm("baseline" if taken else name, baseline, how.choice)
    return from_arms(base, [(run, read_arm(run.name, run.path, how.choice)) for run in runs], how)


def from_arms(base: Arm, arms: Sequence[tuple[NamedRun, Arm]], how: Reading) -> Series:
    """Compare each run with the baseline, once they are read.

    Raises:
        ValueError: a run that may not be compared; says which.
    """
    runs = [run for run, _ in arms]
    comparisons: dict[str, Comparison] = {}
    models: dict[str, list[str]] = {}
    for run, arm in arms:
        comparisons[run.name] = compared(base, arm, how, run.name)
        models[run.name] = models_of(arm)
    scores = [
        score_of(comparisons[run.name], task, run) for run in runs for task in
        comparisons[run.name].tasks
    ]  # fmt: skip
    return Series(
        scores=tuple(scores),
        baseline=tuple(baseline_scores(comparisons.values())),
        comparisons=comparisons,
        notes=(*confounds(models), *notes_of(comparisons)),
        seed=how.seed,
    )


def compared(base: Arm, arm: Arm, how: Reading, name: str) -> Comparison:
    """Compare one run with the baseline.

    Raises:
        ValueError: as `compare`, with the run's name before it.
    """
    try:
        return compare(base, arm, Options(logs=how.logs, allow=how.allow, seed=how.seed))
    except ValueError as refused:
        raise ValueError(f"run {name}: {refused}") from refused


def models_of(arm: Arm) -> list[str]:
    """Return every name that the files give the arm's model."""
    return list(dict.fromkeys(name for task in arm.tasks.values() for name in task.file.models))


def score_of(
    comparison: Comparison, task: TaskComparison, run: NamedRun, arm: str = CANDIDATE
) -> Score:
    """Return an arm's score in one task of a comparison."""
    rows = [item for item in comparison.items if item.task == task.task and item.arm == arm]
    told = task.candidate if arm == CANDIDATE else task.baseline
    graded = [item.score for item in rows if item.score is not None]
    total = sum((Fraction(score).limit_denominator(10**6) for score in graded), Fraction(0))
    return Score(
        run=run.name,
        task=task.task,
        value=total / len(graded) if graded else Fraction(0),
        estimate=told.score,
        step=run.step,
        n=len(graded),
        n_docs=task.n_questions,
        truncated=told.truncated,
        words=words_of(rows),
        unfit=unfit_share(len(rows) - len(graded), len(rows)),
    )


def words_of(rows: Iterable[Item]) -> float | None:
    """Return the mean words of a response, reasoning and answer, None where no size is known."""
    sizes = [
        item.reasoning_words + item.answer_words
        for item in rows
        if item.reasoning_words is not None and item.answer_words is not None
    ]
    return sum(sizes) / len(sizes) if sizes else None


def baseline_scores(comparisons: Iterable[Comparison]) -> list[Score]:
    """Return the baseline's score in each task, over the questions of the first run that has it."""
    found: dict[str, Score] = {}
    for comparison in comparisons:
        for task in comparison.tasks:
            run = NamedRun(comparison.baseline, Path(), None)
            if task.task not in found:
                found[task.task] = score_of(comparison, task, run, BASELINE)
    return list(found.values())


def notes_of(comparisons: dict[str, Comparison]) -> list[str]:
    """Return what the comparisons tell besides, and where runs were measured on other questions."""
    told: dict[str, list[str]] = {}
    for run, comparison in comparisons.items():
        for notice in comparison.notices:
            told.setdefault(notice, []).append(run)
    lines = [notice if len(runs) == len(comparisons) else f"{', '.join(runs)}: {notice}"
             for notice, runs in told.items()]  # fmt: skip
    sizes: dict[str, dict[str, int]] = {}
    for run, comparison in comparisons.items():
        for task in comparison.tasks:
            sizes.setdefault(task.task, {})[run] = len(question_means(comparison, task.task,
                                                                      CANDIDATE))  # fmt: skip
    lines += [
        f"{task}: the runs answered different numbers of questions "
        f"({', '.join(f'{run} {n}' for run, n in by_run.items())})"
        for task, by_run in sizes.items()
        if len(set(by_run.values())) > 1
    ]
    return lines


def read_one(path: Path, how: Reading) -> Comparison:
    """Return one run compared with itself: its items and scores in the form that tables read.

    Raises:
        ValueError: bad input. OSError.
    """
    arm = read_arm(str(path), path, how.choice)
    return compared(arm, arm, how, str(path))
