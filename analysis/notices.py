"""What a reader must know beside the numbers, as short sentences.

Owns the notices of a comparison: reruns, A/A, confounds, what did not pair, what a samples file
hides. Refuses to own refusals (`comparability`) and numbers (`compare`).

    ["A/A: both arms are the same file, so every difference is 0 by construction"]
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from analysis import comparability
from analysis.items import BASELINE, CANDIDATE, Item
from analysis.pairing import Pairs
from analysis.reading.folder import SamplesFile, mapping
from analysis.reading.load import Arm, TaskRun
from analysis.reading.logs import Logs
from analysis.reading.quality import AMBIGUOUS, INCOMPLETE, OTHER_MODEL, OTHER_TEXT, TORN
from analysis.rules import Difference

FINISHED = "finished"  # a run's status in its manifest
SHARE = "share"  # the word by which a notice of tasks with the same questions is known
TIMES = {2: "twice"}
MOSTLY = 0.5  # a share of empty completions above this is worth a notice


def of_arms(
    baseline: Arm, candidate: Arm, names: list[str], allowed: list[Difference]
) -> list[str]:
    """Return what to know of the two arms beside their scores; `allowed`: how they differ."""
    notices = [*baseline.notices, *candidate.notices]
    for arm in (baseline, candidate):
        status = arm.tasks[names[0]].file.manifest.get("status", FINISHED)
        if status != FINISHED:
            notices.append(f"the run of {arm.label} is not finished, its manifest says {status!r}")
    for arm, other in ((baseline, candidate), (candidate, baseline)):
        if lacking := [task for task in arm.tasks if task not in other.tasks]:
            notices.append(f"only {arm.label} has {', '.join(lacking)}: left out")
    first, second = (arm.tasks[names[0]].file for arm in (baseline, candidate))
    notices += of_one_model(first, second, alike=not allowed)
    for name in names:
        notices += of_direction(baseline.tasks[name])
        notices += comparability.confounds(baseline.tasks[name], candidate.tasks[name])
    notices += [f"allowed difference of {one.kind}, {one.task}: {one.text}" for one in allowed]
    return notices


def of_one_model(first: SamplesFile, second: SamplesFile, *, alike: bool) -> list[str]:
    """Say where one model, or one file, is both arms; `alike`: asked in the same way."""
    if first.path.resolve() == second.path.resolve():
        return ["A/A: both arms are the same file, so every difference is 0 by construction"]
    if first.model is None or first.model != second.model:
        return []
    if alike:
        return [f"A/A: both arms were answered by {first.model!r}; this is the noise floor"]
    return [f"both arms were answered by {first.model!r}, asked in two ways"]


def of_direction(task: TaskRun) -> list[str]:
    """Say where a higher score is the worse one."""
    if not lower_is_better(task):
        return []
    better = f"lower is better for {task.metric}"
    return [f"{task.task}: {better}, so a higher candidate is a worse one"]


def lower_is_better(task: TaskRun) -> bool:
    """Say whether lm-eval tells that a lower value of the metric is the better one."""
    told = mapping(mapping(task.file.results.get("higher_is_better")).get(task.file.task))
    return told.get(task.metric) is False


def of_shared(items: Iterable[Item]) -> list[str]:
    """Say which tasks ask the same questions: a mean over tasks counts those twice.

    Two docs are the same where the benchmark's own name, with a letter in it, and target are.
    """
    asked: dict[str, set[tuple[str, str]]] = {}
    for item in items:
        if item.arm == BASELINE and item.name != str(item.doc_id) and not item.name.isdecimal():
            asked.setdefault(item.task, set()).add((item.name, item.target))
    alike: dict[frozenset[tuple[str, str]], list[str]] = {}
    for task, questions in asked.items():
        alike.setdefault(frozenset(questions), []).append(task)
    told = [
        f"{' and '.join(tasks) if len(tasks) == 2 else ', '.join(tasks)} {SHARE} {len(questions)} "
        f"questions: the mean over tasks counts them {TIMES.get(len(tasks), f'{len(tasks)} times')}"
        for questions, tasks in alike.items()
        if len(tasks) > 1
    ]
    return told + [
        f"{of_one[0]} and {of_other[0]} {SHARE} {len(one & other)} questions: the mean over tasks "
        "counts them twice"
        for (one, of_one), (other, of_other) in combinations(alike.items(), 2)
        if one & other
    ]


def of_logs(logs: Logs, asked: bool) -> list[str]:
    """Return what to know of the logs."""
    notices = []
    if asked:
        notices.append(f"logs: {logs.counts['complete']} whole exchanges")
    for name, text in (
        (INCOMPLETE, "exchanges without a whole reply were passed over"),
        (TORN, "log files end in a line cut short by a crash"),
        (OTHER_MODEL, "samples were answered by another model in the log and were not joined"),
        (
            OTHER_TEXT,
            "samples have other text than the exchange of their request id: cut at a stop "
            "string, or a second run under one name",
        ),
        (AMBIGUOUS, "samples fit exchanges of several models and were joined with none"),
    ):
        if logs.counts[name]:
            notices.append(f"logs: {logs.counts[name]} {text}")
    return notices


def of_task(baseline: TaskRun, candidate: TaskRun, pairs: Pairs, rows: list[Item]) -> list[str]:
    """Return what to know of one task: what did not pair, and what the samples file hides."""
    notices = []
    for name, docs, surplus in (
        (BASELINE, pairs.baseline_only, pairs.baseline_surplus),
        (CANDIDATE, pairs.candidate_only, pairs.candidate_surplus),
    ):
        if docs or surplus:
            notices.append(f"unpaired in the {name}: {len(docs)} docs, {surplus} samples")
    if pairs.changed:
        notices.append(f"unpaired: {len(pairs.changed)} docs whose content or target differs")
    failed = sum(
        a.score is None or b.score is None for a, b in zip(rows[::2], rows[1::2], strict=True)
    )
    if failed:
        notices.append(f"{failed} pairs left out of the difference: a grader failed in an arm")
    for name, task in ((BASELINE, baseline), (CANDIDATE, candidate)):
        notices += of_samples(name, task, [item for item in rows if item.arm == name])
    return notices


def of_samples(name: str, task: TaskRun, rows: list[Item]) -> list[str]:
    """Return what to know of one arm's samples."""
    notices = []
    empty = sum(item.empty for item in rows)
    if empty > MOSTLY * len(rows):
        notices.append(
            f"{empty} of {len(rows)} completions of the {name} are empty in the samples file: "
            "was the reasoning sent apart and lost? (server's reasoning parser, --log)"
        )
    questions = task.questions.values()
    repeated = [q for q in questions if len(q.samples) > 1 and q.samples[0].text is not None]
    copies = sum(len({one.text and one.text.text_key for one in q.samples}) == 1 for q in repeated)
    if copies > MOSTLY * len(repeated):
        notices.append(
            f"{copies} of {len(repeated)} docs of the {name} have copies of one completion: was "
            "every sample drawn with the same seed, or greedily?"
        )
    if any(one.n_completions > len(one.samples) for one in questions):
        most = max(one.n_completions for one in questions)
        notices.append(
            f"the {name} has {most} completions a doc but one graded value ({task.metric}); "
            "volume is that of the first"
        )
    if any(item.truncated is not None for item in rows):
        unknown = sum(item.volume_from is None for item in rows)
        if unknown:
            notices.append(
                f"the volume of {unknown} of {len(rows)} completions of the {name} is unknown: "
                "they came through an API client that keeps only the content, and no log had them"
            )
    unseen = sum(item.truncated is False and not item.end_known for item in rows)
    if unseen:
        notices.append(
            f"truncation of the {name} is seen only as an open think block in {unseen} samples "
            "without a log"
        )
    return notices
