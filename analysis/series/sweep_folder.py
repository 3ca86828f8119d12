"""The folder of `distill-train sweep`: its counts, its runs, its choice on held-out questions.

Owns how these files become a `Series`. Refuses to own their form beyond sweep.csv (`tidy`) and
samples files. The steps were measured on the dev questions, base and chosen step on the others:

    OUT/sweep.json OUT/sweep.csv OUT/step-000100/ ... OUT/best/ OUT/base/
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.compare import Comparison
from analysis.reading import folder
from analysis.reading.load import read_arm
from analysis.series import tidy
from analysis.series.form import DEV, Series
from analysis.series.runs import Reading, compared

RECORD, TABLE, BEST, BASE = "sweep.json", "sweep.csv", "best", "base"


def is_sweep(path: Path) -> bool:
    """Whether a path is the folder of a sweep."""
    return path.is_dir() and (path / TABLE).is_file()


def read_sweep(path: Path, how: Reading) -> Series:
    """Read a sweep's folder.

    Raises:
        ValueError: damaged files, or a sweep that has measured nothing yet. OSError.
    """
    record = folder.read_object(path / RECORD) if (path / RECORD).is_file() else {}
    series = tidy.read_series(path / TABLE)
    chosen = folder.mapping(record.get("chosen")).get("step")
    steps = list(dict.fromkeys(score.run for score in series.scores if score.part == DEV))
    comparisons, missing = among_steps(path, steps, how)
    notes = [*series.notes, *missing]
    held_out = None
    if (path / BEST).is_dir() and (path / BASE).is_dir():
        held_out = compared(
            read_arm(str(path / BASE), path / BASE, how.choice),
            read_arm(str(path / BEST), path / BEST, how.choice),
            how,
            BEST,
        )
    else:
        notes.append(
            f"no run of the chosen step and of the base on held-out questions "
            f"({path / BEST}, {path / BASE})"
        )
    return replace(
        series.only(how.choice.tasks),
        comparisons=comparisons,
        held_out=held_out,
        chosen=next((one.run for one in series.scores if one.step == chosen), ""),
        select_by=str(folder.mapping(record.get("settings")).get("select_by") or ""),
        notes=tuple(notes),
        seed=how.seed,
    )


def among_steps(
    path: Path, steps: list[str], how: Reading
) -> tuple[dict[str, Comparison], list[str]]:
    """Compare every step with the first one, which gives their items on the dev questions."""
    there = [step for step in steps if (path / step).is_dir()]
    lacking = [step for step in steps if step not in there]
    notes = [f"no run of {', '.join(lacking)}: only counts are known"] if lacking else []
    if not there:
        return {}, notes
    first = read_arm(there[0], path / there[0], how.choice)
    return {
        step: compared(first, read_arm(step, path / step, how.choice), how, step) for step in there
    }, notes
