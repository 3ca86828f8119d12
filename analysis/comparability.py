"""May these two arms be compared: the differences that forbid it, and those worth a word.

Owns how differences are found, in the rows and in the files of two runs. Refuses to own what each
of them means (`rules`) and where the files tell it (`told`). A different model and a different seed
are what a comparison is for.

    differences(baseline_task, candidate_task, pairs)
    # [Difference("sampling", "gsm8k", "temperature: baseline 0.0, candidate 0.6", "sampling")]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from analysis import told, trained
from analysis.pairing import Pairs, agree, same_doc
from analysis.reading.joining import Wire
from analysis.reading.load import TaskRun
from analysis.reading.quality import CUT, FOREIGN, TORN
from analysis.reading.question import Question
from analysis.reading.texts import read_prompt
from analysis.rules import Difference, of_rule
from analysis.told import TOKEN_LIMIT, Told

SHOWN = 60  # characters of a value in a message
GRADER_FIELDS = ("metric_list", "filter_list", "process_results", "doc_to_target", "doc_to_choice")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
NOT_SENT = "not sent"
NOT_RETRIED = "not asked again"
LEFT_OUT = (TORN, FOREIGN, CUT)  # lines of a samples file that may have been docs

Found = Iterator[tuple[str, str]]  # the rule and the text of each difference
Joined = list[tuple[int | str, Wire | None, Wire | None]]  # doc_id, baseline, candidate


def differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> list[Difference]:
    """Return what forbids comparing two arms of a task, one line each, both values named."""
    found = [
        *doc_differences(baseline, candidate, pairs),
        *prompt_differences(baseline, candidate, pairs),
        *grader_differences(baseline, candidate),
        *recorded_differences(baseline, candidate, unmet=unmet_limit(baseline, candidate)),
        *repeat_differences(baseline, candidate),
    ]
    return [of_rule(rule, baseline.task, text) for rule, text in found]


def recorded_differences(baseline: Told, candidate: Told, *, unmet: bool = False) -> Found:
    """Yield what the files tell of two runs with and without samples: all but their rows.

    `unmet`: a token limit that one arm alone sent was not met, and is none.
    """
    yield from data_differences(baseline, candidate)
    yield from around_differences(baseline, candidate)
    yield from rule_differences(baseline, candidate)
    yield from sampling_differences(baseline, candidate, unmet=unmet)
    yield from retried_differences(baseline, candidate)


def both(name: str, baseline: Any, candidate: Any) -> str:
    """Return the line that names two unequal values."""
    return f"{name}: baseline {show(baseline)}, candidate {show(candidate)}"


def show(value: Any) -> str:
    """Return a value short enough for one line."""
    text = value if value == NOT_SENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def doc_differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> Found:
    """Yield differences of the questions asked."""
    if pairs.baseline_only or pairs.candidate_only:
        missing = (
            f"{some(pairs.baseline_only)} only in the baseline, {some(pairs.candidate_only)} only "
            f"in the candidate{why_missing(baseline, candidate)}"
        )
        sizes = f"baseline {len(baseline.questions)} docs, candidate {len(candidate.questions)}"
        yield "questions", f"doc ids: {sizes}; {missing}"
    for doc_id in pairs.changed[:1]:
        one, other = baseline.questions[doc_id], candidate.questions[doc_id]
        more = f" (and {len(pairs.changed) - 1} more docs)" if len(pairs.changed) > 1 else ""
        what, values = "target", (one.target, other.target)
        if not agree(one.doc_hash, other.doc_hash):
            what, values = "doc_hash", (str(one.doc_hash), str(other.doc_hash))
        elif not agree(one.doc_key, other.doc_key):
            what, values = "content (sha256)", (str(one.doc_key), str(other.doc_key))
        yield "questions", f"doc {doc_id!r} {both(what, *values)}{more}"


def data_differences(baseline: Told, candidate: Told) -> Found:
    """Yield differences of the data set that the questions were taken from."""
    rows = [told.dataset_of(one).get("sha256") for one in (baseline, candidate)]
    if None not in rows and rows[0] != rows[1]:
        yield "data set", both("sha256 of the data set's rows", *rows)


def why_missing(baseline: TaskRun, candidate: TaskRun) -> str:
    """Say what the files themselves tell of docs that one arm lacks."""
    limits = [one.file.config.get("limit") for one in (baseline, candidate)]
    because = f" (limit {show(limits[0])} and {show(limits[1])})" if any(limits) else ""
    found = [one for run in (baseline, candidate) for one in run.quality if one.kind in LEFT_OUT]
    lost = "; ".join(f"{one.where}: {one.count} {one.kind}{'s' * (one.count > 1)}" for one in found)
    return f"{because} (left out as damaged: {lost})" if lost else because


def some(doc_ids: tuple[int | str, ...]) -> str:
    """Return a count with the first few ids."""
    if not doc_ids:
        return "none"
    first = ", ".join(str(one) for one in doc_ids[:3])
    return f"{len(doc_ids)} (doc {first}{', ...' if len(doc_ids) > 3 else ''})"


def prompt_differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> Found:
    """Yield differences of what was asked, doc by doc."""
    changed = [
        (doc_id, one, other)
        for doc_id, one in baseline.questions.items()
        if (other := candidate.questions.get(doc_id))
        and same_doc(one, other)
        and not same_prompt(one, other)
    ]
    for doc_id, one, other in changed[:1]:
        more = f" (and {len(changed) - 1} more docs)" if len(changed) > 1 else ""
        what, values = "prompt_hash", (str(one.prompt_hash), str(other.prompt_hash))
        if one.prompt_form != other.prompt_form:
            prompts = (
                read_prompt(task.file.path, question.row)
                for task, question in ((baseline, one), (candidate, other))
            )
            what, values = "prompt", from_difference(*prompts)
        yield "prompt", f"doc {doc_id!r} {both(what, *values)}{more}"


def around_differences(baseline: Told, candidate: Told) -> Found:
    """Yield differences of what stood around every prompt."""
    around = [told.around_prompts(one) for one in (baseline, candidate)]
    for name in around[0]:
        if name in around[1] and around[0][name] != around[1][name]:
            yield "system prompt", both(name, around[0][name], around[1][name])
    tiers = [told.tier_of(one) for one in (baseline, candidate)]
    if tiers[0] != tiers[1]:
        yield "tier", both("tier of reasoning", *tiers)


def same_prompt(one: Question, other: Question) -> bool:
    """Say whether two rows asked the same; hashes are compared where the texts are alike."""
    if one.prompt_key and other.prompt_key and one.prompt_key != other.prompt_key:
        return False
    return one.prompt_form != other.prompt_form or agree(one.prompt_hash, other.prompt_hash)


def from_difference(one: str, other: str) -> tuple[str, str]:
    """Return both prompts from shortly before the place where they part."""
    pairs = zip(one, other, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    start = max((min(len(one), len(other)) if same is None else same) - 10, 0)
    return one[start:], other[start:]


def grader_differences(baseline: TaskRun, candidate: TaskRun) -> Found:
    """Yield differences of the values that the samples are graded by."""
    for name in ("metric", "filter"):
        values = getattr(baseline, name), getattr(candidate, name)
        if values[0] != values[1]:
            yield "grading", both(name, *values)


def rule_differences(baseline: Told, candidate: Told) -> Found:
    """Yield differences of how answers became verdicts, as the files have it."""
    versions = [told.version_of(one) for one in (baseline, candidate)]
    if None not in versions and versions[0] != versions[1]:
        yield "task version", both("task version", *versions)
    configs = baseline.file.task_config, candidate.file.task_config
    if all(configs):
        for name in GRADER_FIELDS:
            texts = [without_addresses(config.get(name)) for config in configs]
            if texts[0] != texts[1]:
                yield "grading", both(name, *texts)


def without_addresses(value: Any) -> str:
    """Return a configuration value as text in which a function has no memory address."""
    return ADDRESS.sub("", json.dumps(value, sort_keys=True, default=str))


def sampling_differences(baseline: Told, candidate: Told, *, unmet: bool = False) -> Found:
    """Yield differences of how completions were drawn; a field that only one arm sent is one."""
    first, second = told.sampling_of(baseline), told.sampling_of(candidate)
    if first is None or second is None:
        return
    names = first.keys() | second.keys()
    if told.all_sampling_of(baseline) != told.all_sampling_of(candidate):
        names = first.keys() & second.keys()  # what rows alone do not tell may have been sent
    for name in sorted(names):
        values = first.get(name, NOT_SENT), second.get(name, NOT_SENT)
        if values[0] != values[1] and not (name == TOKEN_LIMIT and unmet):
            yield "sampling", both(name, *values)


def retried_differences(baseline: Told, candidate: Told) -> Found:
    """Yield that one arm alone asked its cut-off samples again, or both with unlike limits."""
    retried = [told.retried_of(one, "truncated") for one in (baseline, candidate)]
    limits = [one.get(TOKEN_LIMIT) if one else NOT_RETRIED for one in retried]
    if limits[0] != limits[1]:
        yield "retried truncated", both("cut-off samples, asked again with max_tokens", *limits)


def repeat_differences(baseline: TaskRun, candidate: TaskRun) -> Found:
    """Yield that the arms have unlike numbers of completions of a question."""
    repeats = [samples_per_doc(task) for task in (baseline, candidate)]
    if repeats[0] != repeats[1]:
        yield "samples per question", both("samples per doc", *repeats)


def unmet_limit(baseline: TaskRun, candidate: TaskRun) -> bool:
    """Say whether one arm alone sent max_tokens, and nothing was cut off in either.

    `local-chat` does not send its default limit to a server whose window is smaller. That is worth
    a refusal only where a limit was met.
    """
    recorded = [told.recorded_sampling(task) for task in (baseline, candidate)]
    alone = sum(TOKEN_LIMIT in told.normalised(one) for one in recorded) == 1
    return (
        all(recorded)
        and alone
        and not any(
            sample.truncated
            for task in (baseline, candidate)
            for question in task.questions.values()
            for sample in question.samples
        )
    )


def wire_differences(joined: Joined) -> list[Difference]:
    """Return what the logs show to differ where both arms' exchanges were found."""
    found: list[Difference] = []
    both_found = [
        (doc_id, one, other)
        for doc_id, one, other in joined
        if one is not None and other is not None
    ]
    changed = [doc for doc, one, other in both_found if one.messages_key != other.messages_key]
    if changed:
        text = f"messages on the wire: unequal for {len(changed)} of {len(both_found)} samples"
        found.append(of_rule("prompt", "", f"{text}, first doc {changed[0]!r}"))
    any_cut = any(one.truncated or other.truncated for _, one, other in both_found)
    values = sent([one for _, one, _ in both_found]), sent([other for *_, other in both_found])
    for name in sorted(values[0].keys() | values[1].keys()):
        one, other = values[0].get(name, NOT_SENT), values[1].get(name, NOT_SENT)
        unmet = name == TOKEN_LIMIT and NOT_SENT in (one, other) and not any_cut
        if one != other and not unmet:
            found.append(of_rule("sampling", "", both(f"{name} on the wire", one, other)))
    return found


def samples_per_doc(task: TaskRun) -> int:
    """Return the largest number of completions that a doc has (1 for log-likelihood tasks)."""
    return max(max(len(q.samples), q.n_completions) for q in task.questions.values())


def sent(wires: list[Wire]) -> dict[str, Any]:
    """Return each sampling field that exchanges carried, with its value, or all of several."""
    values: dict[str, dict[str, Any]] = {}
    for wire in wires:
        for name, value in told.normalised(wire.sampling).items():
            values.setdefault(name, {})[json.dumps(value, sort_keys=True)] = value
    return {
        name: next(iter(found.values())) if len(found) == 1 else sorted(found)
        for name, found in values.items()
    }


def confounds(baseline: TaskRun, candidate: TaskRun) -> list[str]:
    """Return other differences between two runs that may explain a difference of scores."""
    found = [*explanations(baseline, candidate)]
    if unmet_limit(baseline, candidate):
        found.append(of_unmet_limit(baseline, candidate))
    return [text for _, text in found] + unknown_sampling(baseline, candidate)


def of_unmet_limit(baseline: Told, candidate: Told) -> tuple[str, str]:
    """Return the difference of a limit that one arm alone sent and none met."""
    limits = [
        (told.sampling_of(task) or {}).get(TOKEN_LIMIT, NOT_SENT) for task in (baseline, candidate)
    ]
    return "unmet limit", f"{both(TOKEN_LIMIT, *limits)}; nothing was cut off in either arm"


def explanations(baseline: Told, candidate: Told) -> Found:
    """Yield what the files tell of two runs that may explain a difference and forbids nothing."""
    arms = baseline, candidate
    first, second = told.circumstances(baseline), told.circumstances(candidate)
    whole = bool(baseline.file.results) == bool(candidate.file.results)
    for name in dict.fromkeys((*first, *second)):
        values = [one[name][1] if name in one else NOT_SENT for one in (first, second)]
        rule = (first.get(name) or second[name])[0]
        shared = name in first and name in second
        if values[0] != values[1] and (shared or (whole and rule == "model arguments")):
            yield rule, both(name, *values)
    errors = [bool(told.retried_of(one, "errors")) for one in arms]
    if errors[0] != errors[1]:
        yield "retried errors", both("failed requests were asked again", *errors)
    models = {"baseline": baseline.file.models, "candidate": candidate.file.models}
    for text in trained.confounds(models):
        yield "training", text


def unknown_sampling(baseline: Told, candidate: Told) -> list[str]:
    """Say where the sampling could not be compared, since a file that tells it is missing."""
    arms = {"baseline": baseline, "candidate": candidate}
    silent = [name for name, task in arms.items() if told.sampling_of(task) is None]
    part = [name for name, task in arms.items() if not told.all_sampling_of(task)]
    where = "(no results*.json, nothing in a manifest)"
    if silent:
        return [f"sampling of {' and '.join(silent)} unknown {where}"]
    return [f"sampling of {part[0]} known in part only {where}"] if len(part) == 1 else []
