"""May these two arms be compared: the differences that forbid it, and those worth a word.

Owns the rules. A difference of docs, prompts, graders or sampling is refused, unless the user
allows that kind; another server, quantisation or version is printed as a notice. A different model
and a different seed are what a comparison is for, and neither is a difference here.

    differences(baseline_task, candidate_task, pairs)
    # [Difference(kind="sampling", task="gsm8k", text="temperature: baseline 0.0, candidate 0.6")]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from analysis import trained
from analysis.pairing import Pairs, agree, same_doc
from analysis.reading.exchanges import NOT_SAMPLING
from analysis.reading.folder import mapping
from analysis.reading.joining import Wire
from analysis.reading.load import TaskRun
from analysis.reading.quality import CUT, FOREIGN, TORN
from analysis.reading.question import Question
from analysis.reading.texts import read_prompt

KINDS = ("docs", "prompts", "graders", "sampling")
SHOWN = 60  # characters of a value in a message
TOKEN_LIMIT = "max_tokens"
SAME_NAME = {
    "max_gen_toks": TOKEN_LIMIT,
    "max_new_tokens": TOKEN_LIMIT,
    "max_completion_tokens": TOKEN_LIMIT,
}
SAMPLING_FIELDS = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "do_sample", "num_beams"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty", TOKEN_LIMIT),
        *("reasoning_effort", "enable_thinking", "chat_template_kwargs", "extra_body"),
        *("stop", "until"),
    )
)
GRADER_FIELDS = ("metric_list", "filter_list", "process_results", "doc_to_target", "doc_to_choice")
PROMPT_FIELDS = ("system_instruction", "system_prompt")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
MODEL_NAMES = frozenset(
    ("model", "pretrained", "base_url", "run", "api_key_env", "peft", "tokenizer")
)
NOT_SENT = "not sent"
LEFT_OUT = (TORN, FOREIGN, CUT)  # lines of a samples file that may have been docs
EMPTY: tuple[Any, ...] = (None, [], {}, "")

Joined = list[tuple[int | str, Wire | None, Wire | None]]  # doc_id, baseline, candidate


class Difference(NamedTuple):
    """One thing in which two arms differ."""

    kind: str
    task: str
    text: str


def differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> list[Difference]:
    """Return what forbids comparing two arms of a task, one line each, both values named."""
    found = [
        *(("docs", text) for text in doc_differences(baseline, candidate, pairs)),
        *(("prompts", text) for text in prompt_differences(baseline, candidate, pairs)),
        *(("graders", text) for text in grader_differences(baseline, candidate)),
        *(("sampling", text) for text in sampling_differences(baseline, candidate)),
    ]
    return [Difference(kind, baseline.task, text) for kind, text in found]


def both(name: str, baseline: Any, candidate: Any) -> str:
    """Return the line that names two unequal values."""
    return f"{name}: baseline {show(baseline)}, candidate {show(candidate)}"


def show(value: Any) -> str:
    """Return a value short enough for one line."""
    text = value if value == NOT_SENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def doc_differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> Iterator[str]:
    """Yield differences of the questions asked."""
    if pairs.baseline_only or pairs.candidate_only:
        yield (
            f"doc ids: baseline {len(baseline.questions)} docs, candidate "
            f"{len(candidate.questions)}; {some(pairs.baseline_only)} only in the baseline, "
            f"{some(pairs.candidate_only)} only in the candidate{why_missing(baseline, candidate)}"
        )
    for doc_id in pairs.changed[:1]:
        one, other = baseline.questions[doc_id], candidate.questions[doc_id]
        more = f" (and {len(pairs.changed) - 1} more docs)" if len(pairs.changed) > 1 else ""
        what, values = "target", (one.target, other.target)
        if not agree(one.doc_hash, other.doc_hash):
            what, values = "doc_hash", (str(one.doc_hash), str(other.doc_hash))
        elif not agree(one.doc_key, other.doc_key):
            what, values = "content (sha256)", (str(one.doc_key), str(other.doc_key))
        yield f"doc {doc_id!r} {both(what, *values)}{more}"
    rows = [manifest_dataset(one).get("sha256") for one in (baseline, candidate)]
    if None not in rows and rows[0] != rows[1]:
        yield both("sha256 of the data set's rows", *rows)


def why_missing(baseline: TaskRun, candidate: TaskRun) -> str:
    """Say what the files themselves tell of docs that one arm lacks."""
    limits = [one.file.config.get("limit") for one in (baseline, candidate)]
    because = f" (limit {show(limits[0])} and {show(limits[1])})" if any(limits) else ""
    found = [one for run in (baseline, candidate) for one in run.quality if one.kind in LEFT_OUT]
    lost = "; ".join(f"{one.where}: {one.count} {one.kind}{'s' * (one.count > 1)}" for one in found)
    return f"{because} (left out as damaged: {lost})" if lost else because


def manifest_dataset(task: TaskRun) -> dict[str, Any]:
    """Return what the run's manifest says of the task's data set."""
    tasks = mapping(task.file.manifest.get("tasks"))
    return mapping(mapping(tasks.get(task.task)).get("dataset"))


def some(doc_ids: tuple[int | str, ...]) -> str:
    """Return a count with the first few ids."""
    if not doc_ids:
        return "none"
    first = ", ".join(str(one) for one in doc_ids[:3])
    return f"{len(doc_ids)} (doc {first}{', ...' if len(doc_ids) > 3 else ''})"


def prompt_differences(baseline: TaskRun, candidate: TaskRun, pairs: Pairs) -> Iterator[str]:
    """Yield differences of what was asked, doc by doc and around every doc."""
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
        yield f"doc {doc_id!r} {both(what, *values)}{more}"
    configs = baseline.file.config, candidate.file.config
    if all(configs):
        for name in PROMPT_FIELDS:
            told = [config.get(name) or None for config in configs]
            if told[0] != told[1]:
                yield both(name, *told)


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


def grader_differences(baseline: TaskRun, candidate: TaskRun) -> Iterator[str]:
    """Yield differences of how answers became verdicts."""
    for name in ("metric", "filter"):
        values = getattr(baseline, name), getattr(candidate, name)
        if values[0] != values[1]:
            yield both(name, *values)
    versions = [version(task) for task in (baseline, candidate)]
    if None not in versions and versions[0] != versions[1]:
        yield both("task version", *versions)
    configs = baseline.file.task_config, candidate.file.task_config
    if all(configs):
        for name in GRADER_FIELDS:
            texts = [without_addresses(config.get(name)) for config in configs]
            if texts[0] != texts[1]:
                yield both(name, *texts)


def version(task: TaskRun) -> str | None:
    """Return the task's version as lm-eval or the manifest has it, None where neither tells."""
    manifest = mapping(mapping(task.file.manifest.get("tasks")).get(task.task))
    told = mapping(task.file.results.get("versions")).get(task.task, manifest.get("version"))
    return None if told is None else str(told)


def without_addresses(value: Any) -> str:
    """Return a configuration value as text in which a function has no memory address."""
    return ADDRESS.sub("", json.dumps(value, sort_keys=True, default=str))


def sampling_differences(baseline: TaskRun, candidate: TaskRun) -> Iterator[str]:
    """Yield differences of how completions were drawn; a field that only one arm sent is one."""
    arms = baseline, candidate
    first, second = sampling_of(baseline), sampling_of(candidate)
    if first is not None and second is not None:
        for name in sorted(first.keys() | second.keys()):
            values = first.get(name, NOT_SENT), second.get(name, NOT_SENT)
            if values[0] != values[1] and not (name == TOKEN_LIMIT and harmless_limit(*arms)):
                yield both(name, *values)
    repeats = [samples_per_doc(task) for task in arms]
    if repeats[0] != repeats[1]:
        yield both("samples per doc", *repeats)


def harmless_limit(baseline: TaskRun, candidate: TaskRun) -> bool:
    """Say whether one arm alone sent max_tokens, and nothing was cut off in either.

    `local-chat` does not send its default limit to a server whose window is smaller. That is worth
    a refusal only where a limit was met.
    """
    told = [recorded_sampling(task) for task in (baseline, candidate)]
    alone = all(told) and sum(TOKEN_LIMIT in normalised(one) for one in told) == 1
    return alone and not any(
        sample.truncated
        for task in (baseline, candidate)
        for question in task.questions.values()
        for sample in question.samples
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
        found.append(Difference("prompts", "", f"{text}, first doc {changed[0]!r}"))
    any_cut = any(one.truncated or other.truncated for _, one, other in both_found)
    values = sent([one for _, one, _ in both_found]), sent([other for *_, other in both_found])
    for name in sorted(values[0].keys() | values[1].keys()):
        one, other = values[0].get(name, NOT_SENT), values[1].get(name, NOT_SENT)
        unmet = name == TOKEN_LIMIT and NOT_SENT in (one, other) and not any_cut
        if one != other and not unmet:
            found.append(Difference("sampling", "", both(f"{name} on the wire", one, other)))
    return found


def samples_per_doc(task: TaskRun) -> int:
    """Return the largest number of completions that a doc has (1 for log-likelihood tasks)."""
    return max(max(len(q.samples), q.n_completions) for q in task.questions.values())


def sampling_of(task: TaskRun) -> dict[str, Any] | None:
    """Return the sampling of a run, None where no file tells it.

    What `local-chat` sent for this task, as it recorded it; else lm-eval's generation arguments,
    under those of the command line (`--gen_kwargs`), which win, and sampling fields among the model
    arguments.
    """
    recorded = recorded_sampling(task)
    if recorded:
        return normalised({k: v for k, v in recorded.items() if k not in NOT_SAMPLING})
    known: dict[str, Any] = {}
    for text in task.gen_kwargs:
        known.update(json.loads(text))
    extra = task.file.config.get("gen_kwargs")
    known.update(mapping(extra))
    known.update({k: v for k, v in task.file.model_args.items() if plain(k) in SAMPLING_FIELDS})
    if not task.file.results and not task.gen_kwargs:
        return None
    return normalised({k: v for k, v in known.items() if plain(k) in SAMPLING_FIELDS})


def recorded_sampling(task: TaskRun) -> dict[str, Any]:
    """Return the sampling that `local-chat` recorded, {} for other models.

    `sampling` holds only what all tasks of that run had in common, so the task's own goes first.
    """
    config, manifest = task.file.config, task.file.manifest
    told = (
        mapping(config.get("sampling_by_task")).get(task.task),
        mapping(mapping(manifest.get("tasks")).get(task.task)).get("sampling"),
        config.get("sampling"),
        manifest.get("sampling"),
    )
    return next((one for one in told if one and isinstance(one, dict)), {})


def sent(wires: list[Wire]) -> dict[str, Any]:
    """Return each sampling field that exchanges carried, with its value, or all of several."""
    values: dict[str, dict[str, Any]] = {}
    for wire in wires:
        for name, value in normalised(wire.sampling).items():
            values.setdefault(name, {})[json.dumps(value, sort_keys=True)] = value
    return {
        name: next(iter(found.values())) if len(found) == 1 else sorted(found)
        for name, found in values.items()
    }


def plain(name: str) -> str:
    """Return the one name of a field that servers and harnesses call differently."""
    return SAME_NAME.get(name, name)


def normalised(sampling: dict[str, Any]) -> dict[str, Any]:
    """Return sampling under plain names, without what says nothing: null, no stop strings."""
    return {plain(name): value for name, value in sampling.items() if value not in EMPTY}


def confounds(baseline: TaskRun, candidate: TaskRun) -> list[str]:
    """Return other differences between two runs that may explain a difference of scores."""
    arms = baseline, candidate
    first, second = circumstances(baseline), circumstances(candidate)
    told = bool(baseline.file.results and candidate.file.results)
    found = [
        both(name, first.get(name, NOT_SENT), second.get(name, NOT_SENT))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
        and ((name in first and name in second) or (told and name.startswith("model_args.")))
    ]
    if harmless_limit(baseline, candidate):
        limits = [(sampling_of(task) or {}).get(TOKEN_LIMIT, NOT_SENT) for task in arms]
        found.append(f"{both(TOKEN_LIMIT, *limits)}; nothing was cut off in either arm")
    found += trained.confounds(
        {"baseline": baseline.file.models, "candidate": candidate.file.models}
    )
    return found + unknown_sampling(baseline, candidate)


def unknown_sampling(baseline: TaskRun, candidate: TaskRun) -> list[str]:
    """Say where the sampling could not be compared, since a file that tells it is missing."""
    arms = (("baseline", baseline), ("candidate", candidate))
    silent = [name for name, task in arms if sampling_of(task) is None]
    if not silent:
        return []
    return [f"sampling of {' and '.join(silent)} unknown (no results*.json beside the samples)"]


def circumstances(task: TaskRun) -> dict[str, Any]:
    """Return what a run's files tell of the circumstances, leaving out what they do not."""
    file = task.file
    config, manifest = file.config, file.manifest
    recorded = mapping(manifest.get("server"))
    told = {
        "server": config.get("server") or (recorded if any(recorded.values()) else None),
        "data set revision": manifest_dataset(task).get("revision"),
        "lm-eval version": file.results.get("lm_eval_version") or manifest.get("lm_eval_version"),
        "suite version": manifest.get("suite_version"),
        "transformers version": file.results.get("transformers_version"),
        "model backend": config.get("model"),
        "model_dtype": config.get("model_dtype"),
        "max_length": file.results.get("max_length"),
        "batch_size": config.get("batch_size"),
        "chat_template_sha": file.results.get("chat_template_sha"),
        **{
            f"model_args.{name}": value
            for name, value in file.model_args.items()
            if name not in MODEL_NAMES and plain(name) not in SAMPLING_FIELDS
        },
    }
    return {name: value for name, value in told.items() if value is not None}
