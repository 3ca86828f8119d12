"""Tasks of ours asked in tiers of reasoning: their names in a run, and the YAML that makes them.

Owns what `distill-eval run --tiers r1,r3` turns a list of tasks into. Refuses to own the tiers
(`tiers`) and where the YAML is written (`run`). lm-eval knows no such task until it reads the YAML.

Example: `named_in(["distill_gsm8k"], "r1,r3")` is `["distill_gsm8k_r1", "distill_gsm8k_r3"]`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness_tasks import catalogue, tiers


def named_in(tasks: Sequence[str], given: str) -> list[str]:
    """Return the names of tasks in each of the tiers; groups and globs are taken apart.

    Raises:
        ValueError: no such tier, a task that is not ours, or one that is asked in a tier already.
    """
    chosen = tiers.tiers_of(given)
    ours, others = catalogue.matching(tasks)
    if others:
        raise ValueError(
            f"--tiers {given} works for tasks of distill-eval only, not for {', '.join(others)}: "
            "what other tasks ask for is not known here; run them apart"
        )
    in_tier = next((name for name in ours if tiers.parts_of(name)[1]), None)
    if in_tier is not None:
        raise ValueError(
            f"--tiers {given}: {in_tier} is asked in a tier by its name; name "
            f"{tiers.parts_of(in_tier)[0]} with --tiers, or leave --tiers out"
        )
    return [tiers.named(task, tier) for task in ours for tier in chosen]


def paths_of(names: Iterable[str]) -> dict[str, Path]:
    """Return the YAML that each name has to extend which lm-eval does not find in the package."""
    known = catalogue.tasks()
    return {name: known[name].path for name in names if name not in known}


def lines_of(name: str, path: Path) -> list[str]:
    """Return the lines of YAML that make a task of this name out of the one that it extends."""
    lines = [f"include: {json.dumps(str(path))}", f"task: {name}"]
    tier = tiers.parts_of(name)[1]
    if name in catalogue.tasks() or tier is None:
        return lines
    metadata = {**catalogue.read_config(path)["metadata"], "tier": tier}
    return [*lines, f"metadata: {json.dumps(metadata)}"]
