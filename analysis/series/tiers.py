"""Tiers of reasoning in one run, or in a run each: which task of an arm was asked in which.

Owns how tasks become tiers of one task, and that their prompts may differ: that is what a tier is.
Refuses to own the tables (`analysis.tables.tiers`) and how two arms are compared (`compare`).

    distill_math500_r1, ..., distill_math500_r6     of one run: six tiers of distill_math500
    distill_gsm8k, asked with --metadata tier       the tier that the run recorded
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis import told
from analysis.compare import Comparison
from analysis.reading.load import Arm, TaskRun, read_arm
from analysis.series.form import Series
from analysis.series.runs import NamedRun, Reading, compared, from_arms
from harness_tasks.tiers import parts_of

BY_DESIGN = ("prompt", "tier")  # rules of differences that tiers are made of
ANSWERED = "both arms were answered by"  # the notice that one model is both arms: tiers of one are
FEW = (
    "; ask for tiers in one run with distill-eval run --tiers r1,r3,r6, or name a run for each: "
    "distill-report tiers r1=RUN r3=RUN"
)


@dataclass(frozen=True)
class TierPairs:
    """Two runs asked in the same tiers, compared tier by tier; `tiers` names each task's."""

    comparison: Comparison
    tiers: dict[str, tuple[str, str]]  # task -> the task that it asks, and the tier


def tier_of(run: TaskRun) -> tuple[str, str]:
    """Return the task that a task asks, and its tier, "" for none: by its name, else its record."""
    task, tier = parts_of(run.file.task)
    return task, tier or told.tier_of(run) or ""


def by_tier(arm: Arm) -> dict[str, Arm]:
    """Return an arm's tasks by tier, each under the name of the task that it asks.

    Raises:
        ValueError: two tasks are one in the same tier.
    """
    found: dict[str, dict[str, TaskRun]] = {}
    for run in arm.tasks.values():
        task, tier = tier_of(run)
        same = found.setdefault(tier, {})
        if task in same:
            raise ValueError(f"{arm.path}: two tasks ask {task} in tier {tier}; name one: --task")
        same[task] = replace(run, task=task)
    return {
        tier: Arm(tier, arm.path, found[tier], arm.notices if tier == min(found) else [])
        for tier in sorted(found)
    }


def from_one(path: Path, how: Reading) -> tuple[Series, str]:
    """Return the tiers of one run, each compared with the first, and that one's name.

    Raises:
        ValueError: no task in two tiers, bad input, or tiers that may not be compared.
    """
    arms = {
        tier: arm for tier, arm in by_tier(read_arm(str(path), path, how.choice)).items() if tier
    }
    if len(arms) < 2:
        held = ", ".join(arms) or "none"
        raise ValueError(f"{path}: holds samples of fewer than two tiers ({held}){FEW}")
    (first, base), *others = arms.items()
    runs = [(NamedRun(tier, path, None), arm) for tier, arm in others]
    return by_design(from_arms(base, runs, allowing(how))), first


def from_each(runs: Sequence[NamedRun], how: Reading) -> Series:
    """Return the tiers of several runs, each compared with the first.

    A run may have been asked in one tier, or its model trained on one tier of responses.

    Raises:
        ValueError: bad input, or runs that may not be compared.
    """
    arms = [(run, of_one_tier(read_arm(run.name, run.path, how.choice))) for run in runs]
    asked = {tier for _, (_, tier) in arms}
    (_, (base, _)), *others = arms
    told_how = allowing(how) if len(asked) > 1 else how
    series = from_arms(base, [(run, arm) for run, (arm, _) in others], told_how)
    return by_design(series) if len(asked) > 1 else series


def of_one_tier(arm: Arm) -> tuple[Arm, str]:
    """Return an arm under the names of the tasks that it asks, and its tier, "" for none.

    Raises:
        ValueError: it was asked in several tiers.
    """
    arms = by_tier(arm)
    if len(arms) > 1:
        raise ValueError(
            f"{arm.path}: holds samples of several tiers ({', '.join(filter(None, arms))}); each "
            "run is one tier here: name its tasks with --task, or give one run, or BASE STUDENT"
        )
    ((tier, only),) = arms.items()
    return replace(only, label=arm.label), tier


def holds_tiers(path: Path, how: Reading) -> bool:
    """Tell whether a run was asked in two tiers at least.

    Raises:
        ValueError: bad input.
    """
    return sum(map(bool, by_tier(read_arm(str(path), path, how.choice)))) > 1


def pairs_of(baseline: Path, candidate: Path, how: Reading) -> TierPairs:
    """Compare two runs that were asked in the same tiers, tier by tier.

    Raises:
        ValueError: no tier in common, bad input, or runs that may not be compared.
    """
    arms = [read_arm(str(path), path, how.choice) for path in (baseline, candidate)]
    tiers = {name: tier_of(run) for name, run in arms[0].tasks.items() if tier_of(run)[1]}
    one, other = (
        replace(arm, tasks={name: run for name, run in arm.tasks.items() if name in tiers})
        for arm in arms
    )
    if not one.tasks.keys() & other.tasks.keys():
        raise ValueError(f"{baseline} and {candidate} have no tier in common{FEW}")
    return TierPairs(compared(one, other, how, str(candidate)), tiers)


def allowing(how: Reading) -> Reading:
    """Return how tiers are read: their prompts differ by design."""
    return replace(how, allow=(*how.allow, *BY_DESIGN))


def by_design(series: Series) -> Series:
    """Return a series without the notes on what tiers are made of."""
    texts = {
        one.text
        for comparison in series.comparisons.values()
        for one in comparison.allowed
        if one.rule in BY_DESIGN
    }
    notes = (
        note
        for note in series.notes
        if not any(note.endswith(text) for text in texts) and ANSWERED not in note
    )
    return replace(series, notes=tuple(notes))
