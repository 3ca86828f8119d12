"""A whole judging: from two arms to tables and files.

Owns the order: pairs, texts, estimate, asking, votes, warnings, tables, files. Refuses to own each
step and the command line (`command`).

    done = judge(comparison, Task(judges, Path("judged")))
    done.tables[0].column("candidate")
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.judge import biases, costs, files, kappas
from analysis.judge import tables as results
from analysis.judge.alarms import Models, alarms
from analysis.judge.asking import REPLIES, Heard, Limits, ask_all, n_stored
from analysis.judge.ballots import Ballot
from analysis.judge.pairs import WHOLE, LeftOut, Pair, choose, with_texts
from analysis.judge.result import Result
from analysis.judge.settings import Judge
from analysis.judge.words import WORDS
from analysis.tables.table import Table

if TYPE_CHECKING:
    from analysis.compare import Comparison

TABLES: tuple[Callable[[Result], Table], ...] = (
    results.effort,
    results.benchmarks,
    results.buckets,
    results.judges,
    biases.positions,
    biases.lengths,
    biases.ratios,
    kappas.kappas,
    costs.costs,
)
"""Every table, in the order in which a report shows them."""


@dataclass(frozen=True)
class Task:
    """What is to be judged by whom, and where the files go."""

    judges: Sequence[Judge]
    out: Path
    part: str = WHOLE
    limit: int | None = None
    max_cost_usd: float | None = None


@dataclass(frozen=True)
class Done:
    """What a judging has made; `missing` counts requests without a reply by their reason."""

    tables: list[Table]
    missing: Counter[str]
    stopped: list[str]
    damaged: list[int]
    n_asked: int
    n_found: int


@dataclass(frozen=True)
class Work:
    """What is to be asked, before anybody is."""

    pairs: list[Pair]
    left_out: list[LeftOut]
    estimate: costs.Estimate


def prepare(comparison: Comparison, task: Task) -> Work:
    """Choose the pairs, read their texts, and estimate what asking will take.

    Raises:
        ValueError: no pair to judge, or an `out` that is no folder.
    """
    if task.out.exists() and not task.out.is_dir():
        raise ValueError(f"--out {task.out} is a file; give a folder, which need not be there yet")
    couples = choose(comparison.items, task.limit, comparison.seed)
    pairs, left_out = with_texts(comparison, couples, task.part)
    if not pairs:
        why = "; ".join(f"{one.task}: {one.n} with {one.why}" for one in left_out)
        raise ValueError(f"no pair to judge: {why or 'the arms have no sample in common'}")
    stored = n_stored(task.judges, pairs, task.out / REPLIES, comparison.seed)
    return Work(pairs, left_out, costs.estimate(task.judges, pairs, stored))


def judge(comparison: Comparison, task: Task, tell: Callable[[str], None] = print) -> Done:
    """Ask all judges about all pairs, and write what they said.

    Raises:
        ValueError: no pair to judge, or a folder in use. KeyboardInterrupt: Ctrl-C or SIGTERM; all
            replies so far are kept.
    """
    work = prepare(comparison, task)
    tell(work.estimate.text())
    limits = Limits(comparison.seed, task.max_cost_usd)
    heard = ask_all(task.judges, work.pairs, task.out / REPLIES, limits)
    names = tuple(one.name for one in task.judges)
    ballots = [
        Ballot(pair, {name: heard.vote(name, pair) for name in names}) for pair in work.pairs
    ]
    result = Result(
        comparison=f"{label(comparison.baseline)} vs {label(comparison.candidate)}",
        judges=names,
        ballots=ballots,
        seed=comparison.seed,
        left_out=work.left_out,
        costs=heard.costs,
    )
    models = Models(
        {one.name: one.model for one in task.judges},
        comparison.baseline_model,
        comparison.candidate_model,
        {one.name: one.settings.transport().endpoint.base for one in task.judges},
    )
    result = replace(result, notes=alarms(result, models))
    tables = [make(result) for make in TABLES]
    files.write(task.out, ballots, heard, head(comparison, task, work, heard), tables)
    return Done(
        tables,
        Counter(heard.failures()),
        heard.stopped,
        heard.damaged,
        heard.n_asked,
        heard.n_found,
    )


def label(path: str) -> str:
    """Return a short name of an arm: the last part of its path."""
    return path.rstrip("/").rsplit("/", 1)[-1] or path


def head(comparison: Comparison, task: Task, work: Work, heard: Heard) -> dict[str, Any]:
    """Return what judge.json says beside the tables: enough to repeat the judging."""
    return {
        "suite": importlib.metadata.version("distill-eval"),
        "baseline": {"path": comparison.baseline, "model": comparison.baseline_model},
        "candidate": {"path": comparison.candidate, "model": comparison.candidate_model},
        "judges": [one.to_json() for one in task.judges],
        "part": task.part,
        "limit": task.limit,
        "seed": comparison.seed,
        "words": WORDS,
        "n_pairs": len(work.pairs),
        "left_out": [one._asdict() for one in work.left_out],
        "requests": {
            "asked": heard.n_asked,
            "found": heard.n_found,
            "failed": len(heard.failures()),
            "damaged_lines": heard.damaged,
        },
        "stopped": heard.stopped,
    }
