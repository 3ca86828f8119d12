"""One sample of one question: asked, checked and repaired, graded, judged.

Owns this order and what of it a trace remembers. Refuses to own asking (`chat.model`), grading
(`verify`), the words (`prompts`) and the choice among traces (`select`).

Example: `trace = await Flow(...).sample(teacher, question, 0)`
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from harness_tasks import reasoning
from harness_tasks.chat.cost import usage_of
from harness_tasks.chat.model import FailedError, Model, NotAskedError, completion_of
from harness_tasks.chat.reply import shown
from harness_tasks.chat.store import as_mapping
from harness_tasks.completion import Completion
from harness_tasks.records import Verdict
from harness_tasks.results import split_completion
from training.records import Question, Trace
from training.traces.opinions import read_check, read_score
from training.traces.prompts import (
    CHECK,
    JUDGE,
    judge_messages,
    repair_message,
    teacher_messages,
)
from training.traces.settings import Checker, Judge, TracesSettings
from training.traces.verify import graded_trace

OPINION_GIVEN = (Verdict.CORRECT, Verdict.GRADER_ERROR)


@dataclass
class Draft:
    """What a teacher has given so far: its rows, and what the checker said of them."""

    row: dict[str, Any]
    rows: list[dict[str, Any]]
    checks: list[dict[str, Any]] = field(default_factory=list)
    ok: bool | None = None

    def meta(self) -> dict[str, Any]:
        """Return what the trace remembers of checks and repairs."""
        if not self.checks:
            return {}
        return {"checks": {"ok": self.ok, "rounds": self.checks, "n_repairs": len(self.rows) - 1}}


@dataclass(frozen=True)
class Flow:
    """How samples are made in one run; `pool` grades beside the requests."""

    chosen: TracesSettings
    pool: Executor
    judge: Model[Any] | None = None
    checker: Model[Any] | None = None

    async def sample(self, teacher: Model[Any], question: Question, index: int) -> Trace:
        """Return the trace of one sample; `kept` is still open.

        Raises:
            NotAskedError, FailedError: the teacher gave no completion.
        """
        messages = teacher_messages(question, self.chosen.prompts, teacher.asked.system_prompt)
        row = await teacher.ask("teacher", question.id, index, messages, self.chosen.seed)
        draft = Draft(row, [row])
        if self.checker is not None:
            await self.check(self.checker, teacher, question, index, messages, draft)
        completion = completion_of(draft.row, bool(teacher.asked.prefilled))
        trace = await self.graded(question, teacher.name, completion, messages, index)
        trace = with_costs(trace, draft)
        return trace if self.judge is None else await self.judged(self.judge, trace)

    async def graded(
        self,
        question: Question,
        teacher: str,
        completion: Completion,
        messages: list[dict[str, Any]],
        index: int,
    ) -> Trace:
        """Grade in the pool, while other requests go on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self.pool, graded_trace, question, teacher, completion, messages, index
        )

    async def check(
        self,
        checker: Model[Any],
        teacher: Model[Any],
        question: Question,
        index: int,
        messages: list[dict[str, Any]],
        draft: Draft,
    ) -> None:
        """Let the checker look, and the teacher repair, until it is content or the rounds are over.

        What goes wrong on the way ends the checking, and leaves the last whole draft.
        """
        asked = checker.asked
        assert isinstance(asked, Checker), "a checker has a checker's settings"
        talk = list(messages)
        for number in range(1, asked.rounds + 2):
            parts = split_completion(completion_of(draft.row, bool(teacher.asked.prefilled)))
            note: dict[str, Any] = {"round": number}
            draft.checks.append(note)
            try:
                about = judge_messages(asked.prompt, CHECK, question, *parts[:2], asked.show_target)
                role = f"check {number} of {teacher.name}"
                reply = await checker.ask(role, question.id, index, about, self.chosen.seed)
                said = text_of(reply)
                opinion = read_check(said)
                note["said"] = said
                draft.ok = note["ok"] = None if opinion is None else opinion.ok
                if opinion is None or opinion.ok or number > asked.rounds:
                    return
                note["faults"] = opinion.faults
                talk += [
                    {"role": "assistant", "content": parts.answer_text},
                    repair_message(asked.repair_prompt, opinion.faults),
                ]
                note["repair_asked"] = talk[-1]["content"]
                role = f"repair {number}"
                draft.row = await teacher.ask(
                    role, question.id, index, list(talk), self.chosen.seed
                )
                draft.rows.append(draft.row)
            except (FailedError, NotAskedError) as fault:
                note["error"] = str(fault)
                return

    async def judged(self, judge: Model[Any], trace: Trace) -> Trace:
        """Let the judge score a trace that may be kept; what is no score is None with a reason."""
        asked = judge.asked
        assert isinstance(asked, Judge), "a judge has a judge's settings"
        if asked.judged == "correct" and (trace.truncated or trace.verdict not in OPINION_GIVEN):
            return trace
        about = judge_messages(
            asked.prompt, JUDGE, trace.question, trace.reasoning, trace.answer_text,
            asked.show_target,
        )  # fmt: skip
        try:
            role = f"judge of {trace.teacher}"
            reply = await judge.ask(
                role, trace.question.id, trace.sample_index, about, self.chosen.seed
            )
        except (FailedError, NotAskedError) as fault:
            return with_meta(trace, judge_reason=f"the judge was not heard: {fault}")
        said = text_of(reply)
        score = read_score(said)
        if score is None:
            return with_meta(trace, judge_reason=f"no score in the reply: {shown(said)}")
        return replace(trace, judge={**score._asdict(), "model": judge.name, "said": said})


def with_meta(trace: Trace, **more: Any) -> Trace:
    """Return a trace that remembers more."""
    return replace(trace, meta={**trace.meta, **more})


def with_costs(trace: Trace, draft: Draft) -> Trace:
    """Add tokens of the last draft, the cost of all drafts, and what they were sampled with.

    The teacher's cost alone: the report has the judge's and the checker's.
    """
    usage = usage_of(as_mapping(draft.row["reply"].get("usage")))
    costs = [row.get("cost_usd") for row in draft.rows]
    known = [cost for cost in costs if cost is not None]
    body = draft.row["request"]
    more = {"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else {}
    return replace(
        trace,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=sum(known) if len(known) == len(costs) else None,
        sampling={name: value for name, value in body.items() if name != "messages"},
        meta={**trace.meta, **more, **draft.meta()},
    )


def text_of(row: dict[str, Any]) -> str:
    """Return what a judge or a checker said, without its own reasoning."""
    return split_completion(completion_of(row, False)).answer_text.strip()


def prefills(traces: list[Trace]) -> bool:
    """Tell whether a teacher's template opens the reasoning: most completions only close it."""
    told = [
        trace.state
        for trace in traces
        if trace.state != reasoning.SERVER_SPLIT
        and not (trace.state == reasoning.NONE and trace.finish_reason == "length")
    ]
    return told.count(reasoning.ORPHAN_CLOSE) > len(told) / 2
