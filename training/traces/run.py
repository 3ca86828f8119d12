"""A whole run: who is asked what, all at once, until all is there or something ends it.

Owns the order of a run, the workers, signals, and what is missing at the end. Refuses to own one
sample (`flow`), the choice (`select`) and the report (`report`).

Example: `made = make_traces(chosen, questions, Path("traces"))`
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness_tasks import reasoning
from harness_tasks.chat.model import Budget, FailedError, Model, NotAskedError, completion_of
from harness_tasks.chat.store import Store
from harness_tasks.completion import Completion
from harness_tasks.progress import bar
from harness_tasks.records import Verdict
from harness_tasks.sandbox import n_workers
from harness_tasks.side_by_side import all_or_none, cancelled_by_signals
from training.records import Question, Trace
from training.traces.flow import Flow, prefills
from training.traces.prompts import teacher_messages
from training.traces.settings import Asked, TracesSettings
from training.traces.student import failed_by, text_key
from training.traces.verify import graded_trace

log = logging.getLogger(__name__)

COMPLETIONS = "completions.jsonl"


@dataclass
class Made:
    """What a run has made; `missing` counts samples without a completion by teacher and reason."""

    traces: list[Trace] = field(default_factory=list)
    barred: dict[str, str] = field(default_factory=dict)
    missing: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    n_jobs: int = 0
    stopped: list[str] = field(default_factory=list)
    total: dict[str, Any] = field(default_factory=dict)


def make_traces(
    chosen: TracesSettings, questions: Sequence[Question], out: Path, barred: dict[str, str]
) -> Made:
    """Ask for all samples of all questions that are not barred, and grade them.

    Raises:
        ValueError: the store is in use. KeyboardInterrupt: Ctrl-C or SIGTERM; all
            replies so far are in the store.
    """
    # They log every request at INFO.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    path = out / COMPLETIONS
    with Store(path) as store:
        if store.damage:
            log.warning("%s", store.damage)
        run = Run(chosen, questions, store, dict(barred))
        try:
            asyncio.run(run.whole())
        except (asyncio.CancelledError, KeyboardInterrupt) as stopped:
            raise KeyboardInterrupt(
                f"interrupted: {len(store.places)} replies are in {path} ({store.total.shown()}); "
                "the same command goes on from there"
            ) from stopped
        run.made.total = store.total.to_json()
        return run.made


class Run:
    """One run over an open store."""

    def __init__(
        self,
        chosen: TracesSettings,
        questions: Sequence[Question],
        store: Store,
        barred: dict[str, str],
    ) -> None:
        self.chosen = chosen
        self.questions = questions
        self.store = store
        self.budget = Budget(store, chosen.max_cost_usd)
        self.made = Made(barred=barred)

    def open_questions(self) -> list[Question]:
        """Return the questions that are to be asked."""
        return [question for question in self.questions if question.id not in self.made.barred]

    async def whole(self) -> None:
        """Ask the student first, where one is set, then the teachers."""
        with cancelled_by_signals(), ThreadPoolExecutor(n_workers(), "grade") as pool:
            try:
                async with AsyncExitStack() as stack:
                    await self.student_first(stack, pool)
                    await self.teachers(stack, pool)
            except asyncio.CancelledError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    async def opened(self, stack: AsyncExitStack, asked: Asked) -> Model[Any]:
        """Open the connections of one model."""
        return await stack.enter_async_context(Model(asked, self.store, self.budget))

    async def student_first(self, stack: AsyncExitStack, pool: ThreadPoolExecutor) -> None:
        """Ask the student, and bar what it solves."""
        student = self.chosen.student
        if student is None or student.endpoint is None:
            return
        model = await self.opened(stack, student.endpoint)
        questions = self.open_questions()
        jobs = [(question, k) for question in questions for k in range(student.n_samples)]
        scores: dict[str, list[float]] = {}

        async def ask(job: tuple[Question, int]) -> None:
            question, k = job
            system = model.asked.system_prompt
            messages = teacher_messages(question, self.chosen.prompts, system)
            row = await model.ask("student", question.id, k, messages, self.chosen.seed)
            completion = completion_of(row, bool(model.asked.prefilled))
            trace = await asyncio.get_running_loop().run_in_executor(
                pool, graded_trace, question, model.name, completion, messages, k
            )
            if trace.verdict is not Verdict.GRADER_ERROR:
                right = float(trace.verdict is Verdict.CORRECT)
                scores.setdefault(text_key(question.question), []).append(right)

        label = f"student {model.name}"
        await self.workers(jobs, ask, model.asked.concurrency, label, lambda _: model.name)
        self.made.costs[f"student {model.name}"] = model.tally.to_json()
        self.made.stopped += [model.given_up] if model.given_up else []
        self.made.barred |= failed_by(questions, scores, student.max_score)

    async def teachers(self, stack: AsyncExitStack, pool: ThreadPoolExecutor) -> None:
        """Ask all teachers side by side, each within its own concurrency."""
        chosen = self.chosen
        teachers = [await self.opened(stack, asked) for asked in chosen.teachers]
        judge = await self.opened(stack, chosen.judge) if chosen.judge else None
        checker = await self.opened(stack, chosen.checker) if chosen.checker else None
        flow = Flow(chosen, pool, judge, checker)
        jobs = [
            (teacher, question, k)
            for question in self.open_questions()
            for k in range(chosen.samples)
            for teacher in teachers
        ]
        self.made.n_jobs = len(jobs)
        found: dict[int, Trace] = {}

        async def ask(job: tuple[int, tuple[Model[Any], Question, int]]) -> None:
            at, (teacher, question, k) = job
            found[at] = await flow.sample(teacher, question, k)

        # Each teacher has workers of its own: a slow one does not hold up the others. Some more
        # than its requests are for what waits for a grader or a judge.
        await asyncio.gather(
            *(
                self.workers(
                    [(at, job) for at, job in enumerate(jobs) if job[0] is teacher],
                    ask,
                    teacher.asked.concurrency
                    + n_workers()
                    + (judge.asked.concurrency if judge else 0)
                    + (checker.asked.concurrency if checker else 0),
                    f"traces {teacher.name}",
                    lambda job: job[1][0].name,
                )
                for teacher in teachers
            )
        )
        everyone = [("teacher", teacher) for teacher in teachers]
        everyone += [("judge", judge)] if judge else []
        everyone += [("checker", checker)] if checker else []
        for role, model in everyone:
            self.made.costs[f"{role} {model.name}"] = model.tally.to_json()
            self.made.stopped += [model.given_up] if model.given_up else []
        self.made.stopped += [self.budget.reached] if self.budget.reached else []
        self.made.traces = self.settled(teachers, [found[at] for at in sorted(found)])

    async def workers(
        self,
        jobs: Sequence[Any],
        work: Callable[[Any], Awaitable[None]],
        n: int,
        label: str,
        name_of_job: Callable[[Any], str],
    ) -> None:
        """Do all jobs, `n` at once; a job without a completion is counted, and the rest go on."""
        waiting = iter(jobs)
        with bar(len(jobs), label, "sample") as shown:

            async def worker() -> None:
                for job in waiting:
                    try:
                        await work(job)
                    except FailedError as failed:
                        self.made.missing[name_of_job(job), "failed", str(failed)] += 1
                    except NotAskedError as why:
                        self.made.missing[name_of_job(job), "not asked", str(why)] += 1
                    shown.set_postfix_str(self.store.total.shown(), refresh=False)
                    shown.update()

            await all_or_none([worker() for _ in range(min(n, len(jobs)))])

    def settled(self, teachers: Sequence[Model[Any]], traces: list[Trace]) -> list[Trace]:
        """Read again what a teacher cut off inside reasoning that its template had opened.

        Only all completions together tell that; such a text has no tag of its own.
        """
        for teacher in teachers:
            own = [trace for trace in traces if trace.teacher == teacher.name]
            if teacher.asked.prefilled is None and prefills(own):
                traces = [
                    as_reasoning(trace) if trace.teacher == teacher.name else trace
                    for trace in traces
                ]
        return traces


def as_reasoning(trace: Trace) -> Trace:
    """Read a text without any tag that was cut off as reasoning that the template had opened."""
    if trace.state != reasoning.NONE or trace.finish_reason != "length":
        return trace
    completion = Completion(
        content=trace.answer_text, finish_reason=trace.finish_reason, prefilled=True
    )
    again = graded_trace(
        trace.question, trace.teacher, completion, trace.messages, trace.sample_index
    )
    changed = ("reasoning", "answer_text", "state", "verdict", "answer", "truncated")
    return dataclasses.replace(trace, **{name: getattr(again, name) for name in changed})
