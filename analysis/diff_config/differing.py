"""What two runs differ in: by their samples where both have them, else by what they recorded.

Owns which of both is asked, and what cannot be told. Refuses to own the rules (`analysis.rules`),
how a difference is found (`comparability`) and its layout (`show`).

    found = differing(read_source(a, choice), read_source(b, choice))
    found.refused      # the differences for which `compare` would refuse
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import alignment, comparability, told
from analysis.comparability import Found, both
from analysis.diff_config.sources import WHOLE_RUN, Source
from analysis.pairing import pair
from analysis.reading.load import TaskRun
from analysis.rules import FORBIDS, Difference, of_rule
from analysis.told import Told

DONE = (None, "finished", "regraded")
Unknown = tuple[str, str]  # a task, and what cannot be told of it


@dataclass(frozen=True)
class ConfigDiff:
    """What two runs differ in, and what their files do not tell."""

    baseline: str
    candidate: str
    tasks: list[str]
    found: list[Difference]
    unknown: list[Unknown]
    allow: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def refused(self) -> list[Difference]:
        """Return the differences for which the runs are not compared."""
        return [one for one in self.found if one.effect == FORBIDS and one.kind not in self.allow]


def differing(
    baseline: Source, candidate: Source, logs: Collection[Path] = (), allow: Sequence[str] = ()
) -> ConfigDiff:
    """Return what two runs differ in, over the tasks that both have.

    Raises:
        ValueError: a damaged log.
    """
    tasks = [name for name in baseline.runs if name in candidate.runs]
    found: list[Difference] = []
    unknown: list[Unknown] = []
    if WHOLE_RUN in (*baseline.runs, *candidate.runs):
        tasks = []
        one, other = baseline.any_run, candidate.any_run
        found += in_rules("", comparability.recorded_differences(one, other))
        found += in_rules("", comparability.explanations(one, other))
        unknown.append(("", "a run has recorded no finished task: only settings are compared"))
    elif not tasks:
        found.append(of_rule("no common task", "", no_common(baseline, candidate)))
    rows = [task for task in tasks if task in baseline.with_rows and task in candidate.with_rows]
    found += of_rows(baseline, candidate, rows, logs)
    for task in tasks:
        one, other = baseline.runs[task], candidate.runs[task]
        if task not in rows:
            found += in_rules(task, comparability.recorded_differences(one, other))
            found += in_rules(task, counted_differences(one, other))
        found += in_rules(task, comparability.explanations(one, other))
        unknown += [(task, text) for text in unknown_of(one, other)]
    found += in_rules("", around(baseline, candidate))
    names = str(baseline.path), str(candidate.path)
    notices = (*baseline.notices, *candidate.notices)
    return ConfigDiff(*names, tasks, found, unknown, tuple(allow), notices)


def in_rules(task: str, found: Found) -> list[Difference]:
    """Return differences of a task as their rules have them."""
    return [of_rule(rule, task, text) for rule, text in found]


def of_rows(
    baseline: Source, candidate: Source, tasks: Sequence[str], logs: Collection[Path]
) -> list[Difference]:
    """Return the differences of tasks whose samples both sides have, as `compare` finds them."""
    if not tasks:
        return []
    arms = baseline.arm("baseline", tasks), candidate.arm("candidate", tasks)
    if logs:
        found = alignment.differences(alignment.align(*arms, logs)[0])
    else:
        pairs = [(arms[0].tasks[task], arms[1].tasks[task]) for task in tasks]
        found = [
            one
            for runs in pairs
            for one in comparability.differences(*runs, pair(*runs))
        ]  # fmt: skip
    for task in tasks:
        runs = arms[0].tasks[task], arms[1].tasks[task]
        if comparability.unmet_limit(*runs):
            found += in_rules(task, iter([comparability.of_unmet_limit(*runs)]))
    return found


def counted_differences(baseline: Told, candidate: Told) -> Found:
    """Yield what the records tell of questions and prompts, where the samples are not there."""
    arms = baseline, candidate
    counts = [n_docs(run) for run in arms]
    if None not in counts and counts[0] != counts[1]:
        yield "questions", both("number of questions", *counts)
    chosen = [told.settings_of(run).get("samples") or "all" for run in arms]
    if chosen[0] != chosen[1] and all(told.settings_of(run) for run in arms):
        yield "questions", both("questions chosen by --samples", *chosen)
    asked = [told.n_completions_of(run) for run in arms]
    if None in counts and None not in asked and asked[0] != asked[1]:
        yield "questions", both("completions asked for", *asked)
    repeats = [told.repeats_of(run) for run in arms]
    if None not in repeats and repeats[0] != repeats[1]:
        yield "samples per question", both("completions of a question", *repeats)
    shots = [told.n_shot_of(run) for run in arms]
    if None not in shots and shots[0] != shots[1]:
        yield "examples", both("examples in a prompt", *shots)
    if same_questions(baseline, candidate):
        name, hashes = prompt_hashes(baseline, candidate)
        if None not in hashes and hashes[0] != hashes[1]:
            yield "prompt", both(name, *hashes)


def n_docs(run: Told) -> int | None:
    """Return the number of questions asked, as far as anything tells."""
    return len(run.questions) if isinstance(run, TaskRun) else told.n_docs_of(run)


def same_questions(baseline: Told, candidate: Told) -> bool:
    """Say whether nothing tells that the questions differ: only then do hashes mean the prompts."""
    arms = baseline, candidate
    counts = {n_docs(run) for run in arms} - {None}
    chosen = [told.settings_of(run).get("samples") for run in arms]
    other_data = any(comparability.data_differences(baseline, candidate))
    return len(counts) < 2 and chosen[0] == chosen[1] and not other_data


def prompt_hashes(baseline: Told, candidate: Told) -> tuple[str, list[str | None]]:
    """Return what is hashed of the prompts on both sides, and the hashes, None where unknown."""
    arms = baseline, candidate
    ours = [told.entry_of(run).get("prompt_sha256") for run in arms]
    if None not in ours:
        return "sha256 of all prompts", ours
    theirs = [
        told.of_results(run, "task_hashes") or told.entry_of(run).get("task_hash") for run in arms
    ]
    return "lm-eval's hash of docs, prompts and targets", theirs


def unknown_of(baseline: Told, candidate: Told) -> Iterator[str]:
    """Yield what of a task cannot be compared, since a side does not tell it."""
    arms = baseline, candidate
    if not all(isinstance(run, TaskRun) for run in arms):
        known = prompt_hashes(baseline, candidate)[1]
        rows = [told.dataset_of(run).get("sha256") for run in arms]
        if None in rows and None in known:
            yield "whether the questions are the same (no samples, no sha256 of the rows)"
        if None in known:
            yield "whether the prompts are the same (no samples, no hash of them)"
        elif not same_questions(baseline, candidate):
            yield "whether the prompts are the same (the questions are not)"
    if None in [told.version_of(run) for run in arms]:
        yield "whether the task's version is the same"
    yield from comparability.unknown_sampling(baseline, candidate)


def around(baseline: Source, candidate: Source) -> Found:
    """Yield what the runs differ in as a whole: status, tasks, model, seed."""
    arms = baseline, candidate
    for name, arm in zip(("baseline", "candidate"), arms, strict=True):
        status = told.status_of(arm.any_run)
        if status not in DONE:
            yield "status", f"the {name} is not finished, its manifest says {status!r}"
    for name, arm, other in (("baseline", *arms), ("candidate", *arms[::-1])):
        alone = [task for task in arm.runs if task and task not in other.runs]
        if alone and any(task in other.runs for task in arm.runs):
            yield "tasks", f"only the {name} has {', '.join(alone)}"
    for rule, name, values in meant(*(arm.any_run for arm in arms)):
        if values[0] != values[1] and not (rule == "model" and None in values):
            yield rule, both(name, *values)


def meant(baseline: Told, candidate: Told) -> Iterator[tuple[str, str, list[object]]]:
    """Yield what two arms are meant to differ in: the model, where it is served, the seed."""
    arms = baseline, candidate
    given = [told.model_args_of(run) for run in arms]
    models = [run.file.model or one.get("model") for run, one in zip(arms, given, strict=True)]
    yield "model", "model", models
    yield "model", "base_url", [told.base_url_of(run) for run in arms]
    yield "seed", "seed", [told.base_seed_of(run) for run in arms]


def no_common(baseline: Source, candidate: Source) -> str:
    """Return the line about two runs without a common task."""
    sides = [", ".join(source.runs) for source in (baseline, candidate)]
    return f"no task in common: baseline has {sides[0]}; candidate has {sides[1]}"
