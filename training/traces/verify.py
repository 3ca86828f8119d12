"""From a completion to a graded trace, and the reasons for which one is no training data.

Owns the reasons that a trace carries in itself. Refuses to own the split, the graders and the
verdict rule (`harness_tasks`), and the choice among good traces (`select`).

A reason is a word, and behind a colon what makes it plain: "incorrect: answered 5". Words: empty,
truncated, no_closing_tag, refusal, ungraded, no_answer, incorrect, no_reasoning, too_short,
too_long, checker_faults, judge_unscored, judge_incorrect, judge_quality; `select` adds its own.

Example: `why_not(trace, Selection(), judged=False, n_tokens=None)` is None for a good trace.
"""

from __future__ import annotations

import re
from typing import Any

from harness_tasks import reasoning
from harness_tasks.chat.reply import shown
from harness_tasks.records import Verdict
from harness_tasks.results import grade_completion, split_completion
from training.grading import grading_of
from training.records import Question, Trace
from training.traces.settings import Selection

# "I cannot find a smaller one" is mathematics: what is declined has to be named.
REFUSAL = re.compile(
    r"\W*(?:i['\u2019]?m (?:really |very |so )?sorry|i apologi[sz]e|sorry|unfortunately)?"
    r"[\s,.;:!-]*(?:but )?"
    r"(?:as an ai\b[^.]{0,80}?)?"
    r"i(?: can(?:no|['\u2019])t| am (?:not able|unable) to| won['\u2019]t(?: be able to)?"
    r"|['\u2019]m (?:not able|unable) to"
    r"| (?:must|have to) decline(?: to)?| do(?:n['\u2019]t| not) feel comfortable)\s+"
    r"(?:help|assist|provide|answer|comply|fulfil|do that|continue|discuss|engage|create|generate"
    r"|write|solve|complete|this|that|your|with|answering|providing|helping)",
    re.IGNORECASE,
)
MAX_REFUSAL_CHARS = 1500
FILTERED = ("content_filter", "content_filtered", "refusal", "safety", "SAFETY")


def graded_trace(
    question: Question,
    teacher: str,
    completion: Any,
    messages: list[dict[str, Any]],
    sample_index: int = 0,
) -> Trace:
    """Split and grade one completion; `kept` is still open."""
    record = grade_completion(completion, sample_index, grading_of(question))
    parts = split_completion(completion)
    code = question.tests is not None  # the code itself stands in answer_text
    meta: dict[str, Any] = {"grade_reason": record.reason} if record.reason else {}
    if record.details:
        meta["grade_details"] = record.details
    if served := getattr(completion, "model_served", None):
        meta["model_served"] = served
    return Trace(
        id=f"{question.id}/{teacher}/{sample_index}",
        question=question,
        teacher=teacher,
        sample_index=sample_index,
        messages=messages,
        reasoning=parts.reasoning,
        answer_text=parts.answer_text,
        state=parts.state,
        finish_reason=record.finish_reason,
        truncated=record.truncated,
        verdict=record.verdict,
        answer=None if code else record.answer,
        kept=False,
        meta=meta,
    )


def why_not(trace: Trace, chosen: Selection, *, judged: bool, n_tokens: int | None) -> str | None:
    """Return why a trace is no training data, None where nothing speaks against it.

    `judged` says that a judge is set; `n_tokens` is None where no tokenizer is.
    """
    return (
        why_unusable(trace)
        or (None if chosen.keep == "all" else why_wrong(trace))
        or why_shape(trace, chosen, n_tokens)
        or (why_not_perfect(trace, chosen, judged) if chosen.keep == "perfect" else None)
    )


def why_unusable(trace: Trace) -> str | None:
    """Return why nobody should learn from a trace, be it right or wrong."""
    if not trace.reasoning.strip() and not trace.answer_text.strip():
        filtered = trace.finish_reason in FILTERED
        return f"refusal: {trace.finish_reason}" if filtered else "empty"
    if trace.finish_reason == "length":
        return "truncated"
    if trace.state == reasoning.UNCLOSED:
        return "no_closing_tag"
    if trace.verdict is not Verdict.CORRECT and is_refusal(trace):
        return f"refusal: {shown(trace.answer_text)[:120]}"
    if not trace.answer_text.strip():
        return "no_answer: nothing behind the reasoning"
    return None


def is_refusal(trace: Trace) -> bool:
    """Tell whether the teacher declined; a long text that begins so goes on to an answer."""
    text = trace.answer_text.strip()
    declined = len(text) <= MAX_REFUSAL_CHARS and REFUSAL.match(text) is not None
    return trace.finish_reason in FILTERED or declined


def why_wrong(trace: Trace) -> str | None:
    """Return what the graders say against a trace; a grader that broke says nothing of it."""
    said = shown(str(trace.meta.get("grade_reason") or ""))[:200]
    if trace.verdict is Verdict.GRADER_ERROR:
        return f"ungraded: {said}"
    if trace.verdict is Verdict.CORRECT:
        return None
    if trace.verdict is Verdict.INCORRECT and trace.answer is not None:
        said = f"answered {shown(trace.answer)[:80]}"
    return f"{trace.verdict}: {said}" if said else str(trace.verdict)


def why_shape(trace: Trace, chosen: Selection, n_tokens: int | None) -> str | None:
    """Return what is wrong with the length of a trace, or that it does not reason."""
    if chosen.require_reasoning and not trace.reasoning.strip():
        return "no_reasoning: --allow-no-reasoning keeps such traces"
    n_chars = len(trace.reasoning.strip()) + len(trace.answer_text.strip())
    sizes = [
        (n_chars, chosen.min_chars, chosen.max_chars, "characters"),
        (n_tokens, chosen.min_tokens, chosen.max_tokens, "tokens"),
    ]
    for size, low, high, unit in sizes:
        if size is not None and low is not None and size < low:
            return f"too_short: {size} {unit}"
        if size is not None and high is not None and size > high:
            return f"too_long: {size} {unit}"
    return None


def why_not_perfect(trace: Trace, chosen: Selection, judged: bool) -> str | None:
    """Return what a judge or a checker says against a trace."""
    if (trace.meta.get("checks") or {}).get("ok") is False:
        return "checker_faults"
    if not judged:
        return None
    if trace.judge is None:
        return f"judge_unscored: {shown(str(trace.meta.get('judge_reason') or ''))[:200]}"
    if trace.judge["correct"] != 1:
        return "judge_incorrect"
    if trace.judge["quality"] < chosen.min_quality:
        return f"judge_quality: {trace.judge['quality']}"
    return None
