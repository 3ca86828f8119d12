r"""lm-eval's `process_results` adaptors: from the completions of one doc to its metrics.

Owns the verdict rule (what a cut-off, failed or ungradable completion counts as) and the metrics
that reach lm-eval's table. Refuses to own the split (`reasoning`), extraction and equivalence
(`graders`). Works with any model of lm-eval: a plain `str` is judged by its text alone, a
`Completion` of `local-chat` also by its finish_reason, and by the reasoning the server sent apart.

Example, one doc with one sample:

    >>> math({"answer": "4"}, [[r"<think>2+2</think>\\boxed{4}"]])["score"]
    1.0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness_tasks.extract import boxed
from harness_tasks.graders import ALIKE, GRADERS, Grader
from harness_tasks.graders.grade import Grade
from harness_tasks.math_docs import gsm8k_target
from harness_tasks.reasoning import Split, split
from harness_tasks.records import SampleRecord, Verdict
from harness_tasks.repeats import Same, measures, with_votes

FAILED_REQUEST = "request failed: "  # how the reason of such a `grader_error` begins

Doc = dict[str, Any]
Metrics = dict[str, Any]


def has_box(answer_text: str) -> bool:
    return boxed(answer_text) is not None


def no_metrics(samples: Sequence[SampleRecord]) -> Metrics:
    return {}


@dataclass(frozen=True)
class Grading:
    """How the answers to one doc are graded.

    `grade` gets answer_text. `complete` tells whether a text that was cut off holds a whole answer
    already. `further` returns the task's own metrics from the samples without grader errors (there
    may be none, and a truncated one without `details`); a metric may be None, with an aggregation
    such as `mean_defined`. `alike` tells which answers of several samples are the same one, for
    maj@k; None where there is nothing to vote on. `pass_at` has the k below the number of samples
    for which pass@k is published.
    """

    grade: Callable[[str], Grade]
    complete: Callable[[str], bool] = has_box
    further: Callable[[Sequence[SampleRecord]], Metrics] = no_metrics
    alike: Same | None = None
    pass_at: tuple[int, ...] = ()


def math(doc: Doc, results: Sequence[Any]) -> Metrics:
    """Grade a doc whose target is a mathematical answer."""
    return doc_metrics(results, against(doc["answer"], GRADERS["math"], ALIKE["math"]))


def aime(doc: Doc, results: Sequence[Any]) -> Metrics:
    """Grade a doc whose target is an integer from 0 to 999."""
    return doc_metrics(results, against(doc["answer"], GRADERS["aime"], ALIKE["aime"]))


def gsm8k(doc: Doc, results: Sequence[Any]) -> Metrics:
    """Grade a doc whose target is the number after `####`."""
    return doc_metrics(results, against(gsm8k_target(doc), GRADERS["gsm8k"], ALIKE["gsm8k"]))


def against(target: str, grade: Grader, alike: Same | None = None) -> Grading:
    """Return the grading of boxed answers by a grader and its target."""
    return Grading(lambda answer_text: grade(answer_text, target), alike=alike)


def count_samples(per_doc: Sequence[Sequence[Any]]) -> int:
    """Aggregate the list-valued metric `samples`: how many completions were graded."""
    return sum(len(samples) for samples in per_doc)


def mean_defined(per_doc: Sequence[float | None]) -> float:
    """Aggregate a metric that some docs leave undefined (None); NaN where all do."""
    defined = [value for value in per_doc if value is not None]
    return fmean(defined) if defined else float("nan")


def doc_metrics(results: Sequence[Any], grading: Grading) -> Metrics:
    """Grade every sample of a doc; numbers are means over its samples.

    `score` leaves out grader errors and `score_completed` also what was cut off; the volume metrics
    leave out requests that failed. A metric that no sample defines is left out: lm-eval then
    averages over the docs that have it, and warns. `score_completed`, which every truncated doc
    lacks, is None instead and has its own aggregation. Several samples have avg@k, pass@k and maj@k
    besides. `samples` comes last, see `_boxed.yaml`.
    """
    completions = completions_of(results)
    samples = [grade_completion(c, i, grading) for i, c in enumerate(completions)]
    if grading.alike is not None and len(samples) > 1:
        samples = with_votes(samples, guarded_alike(grading.alike))
    repeated = measures(samples, voted=grading.alike is not None, pass_at=grading.pass_at)
    graded = [s for s in samples if s.verdict is not Verdict.GRADER_ERROR]
    answered = [s for s, c in zip(samples, completions, strict=True) if failure_of(c) is None]
    metrics = {
        "score": mean(s.verdict is Verdict.CORRECT for s in graded),
        "score_completed": mean(s.verdict is Verdict.CORRECT for s in graded if not s.truncated),
        "truncated": mean(s.truncated for s in samples),
        "no_answer": mean(s.verdict is Verdict.NO_ANSWER for s in samples),
        "grader_error": mean(s.verdict is Verdict.GRADER_ERROR for s in samples),
        "has_reasoning": mean(s.reasoning_chars > 0 for s in answered),
        "reasoning_chars": mean(s.reasoning_chars for s in answered),
        "answer_chars": mean(s.answer_chars for s in answered),
    }
    defined: Metrics = {name: value for name, value in metrics.items() if value is not None}
    defined["score_completed"] = metrics["score_completed"]
    further = {**repeated, **grading.further(graded)}
    return {**defined, **further, "samples": [sample.to_json() for sample in samples]}


def mean(values: Iterable[float]) -> float | None:
    """Return the mean, or None of no values: undefined is not zero."""
    numbers = [float(value) for value in values]
    return fmean(numbers) if numbers else None


def completions_of(results: Sequence[Any]) -> list[Any]:
    """Return the k completions of a doc: `[[c1..ck]]` from our empty filter, `[c1]` from others."""
    first = results[0]
    return list(first) if isinstance(first, list | tuple) else list(results)


def failure_of(completion: Any) -> str | None:
    """Return why there is no completion, or None where there is one."""
    if completion is None:
        return "the model returned None"
    error: str | None = getattr(completion, "error", None)
    return error


def split_completion(completion: str) -> Split:
    """Split a completion by all that is known of it; a plain `str` has only its text."""
    reasoning = getattr(completion, "reasoning", None)
    content = getattr(completion, "content", None) or "" if reasoning is not None else completion
    return split(
        str(content),
        reasoning=reasoning,
        finish_reason=getattr(completion, "finish_reason", None),
        prefilled=getattr(completion, "prefilled", False),
    )


def grade_completion(completion: Any, sample_index: int, grading: Grading) -> SampleRecord:
    """Return the record of one completion; no exception of a grader gets out."""
    failure = failure_of(completion)
    parts = Split("", "", "empty") if failure else split_completion(completion)
    finish_reason = getattr(completion, "finish_reason", None)
    truncated = not failure and (finish_reason == "length" or parts.state == "unclosed")
    if failure:
        graded = Grade(Verdict.GRADER_ERROR, None, f"{FAILED_REQUEST}{failure}")
    elif truncated and not grading.complete(parts.answer_text):
        graded = Grade(Verdict.TRUNCATED, None, "cut off before a complete answer")
    else:
        graded = guarded(grading.grade, parts.answer_text)
        if truncated and graded.verdict is Verdict.NO_ANSWER:
            graded = graded._replace(verdict=Verdict.TRUNCATED)
    return SampleRecord(
        sample_index=sample_index,
        verdict=graded.verdict,
        answer=graded.answer,
        truncated=truncated,
        state=parts.state,
        finish_reason=finish_reason,
        reasoning_chars=len(parts.reasoning.strip()),
        answer_chars=len(parts.answer_text.strip()),
        request_id=getattr(completion, "request_id", None),
        completion_tokens=(getattr(completion, "usage", None) or {}).get("completion_tokens"),
        reason=graded.reason,
        details=graded.details,
    )


def guarded(grade: Callable[[str], Grade], answer_text: str) -> Grade:
    """Grade, and turn every failure of the grader into `grader_error`."""
    try:
        return grade(answer_text)
    except Exception as broken:  # noqa: BLE001 - a broken grader is never a wrong answer
        return Grade(Verdict.GRADER_ERROR, None, f"{type(broken).__name__}: {broken}")


def guarded_alike(alike: Same) -> Same:
    """Take answers for different ones where the comparison breaks."""

    def same(answer: str, other: str) -> bool:
        try:
            return alike(answer, other)
        except Exception:  # noqa: BLE001 - what could not be compared was not shown to be the same
            return False

    return same
