"""The one table that every number of a report comes from: a row for each paired sample and arm.

Owns `Item` and how a sample, its exchange and its text become one. Refuses to own any estimate:
counts, tests and volumes read these rows and nothing else, so a report cannot contradict itself.

    task           doc_id  sample_index  arm        verdict    score  truncated  reasoning_chars ...
    distill_gsm8k  0       0             baseline   correct    1.0    False      0
    distill_gsm8k  0       0             candidate  incorrect  0.0    False      812
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.comparability import Joined
from analysis.pairing import Pairs
from analysis.reading import texts
from analysis.reading.doc import Instruction
from analysis.reading.joining import Wanted, Wire, join, marks_of
from analysis.reading.load import TaskRun
from analysis.reading.logs import Logs
from analysis.reading.measure import Volume
from analysis.reading.quality import (
    AMBIGUOUS,
    INCOMPLETE,
    NO_EXCHANGE,
    NO_SAMPLE,
    OTHER_MODEL,
    OTHER_TEXT,
    Finding,
)
from analysis.reading.question import Question, Sample
from analysis.reading.signs import Signs
from harness_tasks.records import Verdict

BASELINE, CANDIDATE = "baseline", "candidate"
ARMS = (BASELINE, CANDIDATE)
FROM_LOG, FROM_SAMPLES = texts.FROM_LOG, texts.FROM_SAMPLES
FOUND_BY_ID, FOUND_BY_TEXT = "request id", "messages and text"
API_BACKENDS = ("completion", "openai", "anthropic", "api")  # lm-eval models that keep content only


@dataclass(frozen=True, slots=True)
class Item:
    """One sample of one arm. Sizes are None where nothing tells them; so are flags."""

    task: str
    doc_id: int | str
    sample_index: int
    arm: str
    verdict: str | None
    score: float | None  # None: the grader failed, and the sample is left out
    truncated: bool | None  # None: no generated text, as in log-likelihood tasks
    no_answer: bool | None
    completion_tokens: int | None
    reasoning_chars: int | None
    reasoning_words: int | None
    answer_chars: int | None
    answer_words: int | None
    has_reasoning: bool | None
    volume_from: str | None  # "log", "samples file", or None
    in_log: bool
    end_known: bool  # a log or the record says whether the completion was cut off
    empty: bool  # the samples file holds an empty completion
    name: str  # what the benchmark calls the doc; its doc_id where the doc does not tell
    tags: Mapping[str, str]  # the doc's groups: {"subject": "Algebra", "level": "5"}
    target: str
    answer: str | None  # as extracted, None where nothing was or nothing tells
    ballot: str | None  # what it votes for among the samples of its doc, None without an answer
    finish_reason: str | None
    prompt_tokens: int | None
    duration_s: float | None  # of the exchange, None where no log has it
    ttft_s: float | None
    found_by: str | None  # how its exchange was found: FOUND_BY_ID, FOUND_BY_TEXT or None
    cached: bool | None  # answered from lm-eval's cache: not in the log, and the run used one
    signs: Signs | None  # of loops and of thinking; None where there is no text
    instructions: tuple[Instruction, ...]  # of IFEval
    row: int  # the line of the samples file that holds the texts, from 1
    log_at: tuple[str, int] | None = None  # file and byte of its exchange in the log


def open_logs(paths: Collection[Path], tasks: Iterable[TaskRun]) -> Logs:
    """Read the logs for what the samples of these tasks may ask for; close it after `build`.

    Raises:
        ValueError: no log there, or a file that holds lines and no exchange.
    """
    if not paths:
        return Logs()
    wanted = [one for task in tasks for one in Joiner(task).all_wanted()]
    return Logs.read(paths, marks_of(wanted), {one.request_id for one in wanted if one.request_id})


def build(
    baseline: TaskRun, candidate: TaskRun, pairs: Pairs, logs: Logs
) -> tuple[list[Item], Joined]:
    """Return the items of a task, baseline and candidate of a sample next to each other.

    The exchanges that were found come along for the comparison of what was sent.
    """
    first, second = Joiner(baseline), Joiner(candidate)
    couples = [(paired, *both) for paired in pairs.questions for both in paired.samples]
    wanted = (
        [first.wanted(paired.baseline, one) for paired, one, _ in couples],
        [second.wanted(paired.candidate, other) for paired, _, other in couples],
    )
    if baseline.file.path.samefile(candidate.file.path):  # one exchange is then both arms' own
        wires = [join(logs, own) for own in wanted]
    else:
        found = join(logs, [one for couple in zip(*wanted, strict=True) for one in couple])
        wires = [found[::2], found[1::2]]
    logs.used.update(wire.log_at for own in wires for wire in own if wire is not None)
    items: list[Item] = []
    joined: Joined = []
    for (paired, one, other), base, cand in zip(couples, *wires, strict=True):
        items.append(first.item(paired.baseline, one, base, BASELINE))
        items.append(second.item(paired.candidate, other, cand, CANDIDATE))
        joined.append((paired.baseline.doc_id, base, cand))
    return items, joined


class Joiner:
    """Joins the samples of one arm of a task with their exchanges."""

    def __init__(self, task: TaskRun) -> None:
        self.task = task
        self.models = task.file.models
        run = task.file.config.get("run") or task.file.manifest.get("run")
        self.run = str(run) if run else None
        backend = str(task.file.config.get("model") or "api")
        self.keeps_whole_text = not any(word in backend for word in API_BACKENDS)
        self.cached = True if task.file.config.get("use_cache") else None

    def all_wanted(self) -> Iterator[Wanted]:
        """Yield what is known of every sample, paired or not."""
        for question in self.task.questions.values():
            for sample in question.samples:
                yield self.wanted(question, sample)

    def wanted(self, question: Question, sample: Sample) -> Wanted:
        """Return what is known of a sample's exchange."""
        request_id = sample.request_id
        if not request_id and self.run:
            request_id = f"{self.run}/{self.task.task}/{question.doc_id}/{sample.sample_index}"
        return Wanted(
            request_id=request_id or None,
            messages_key=question.messages_key,
            text_key=sample.text.text_key if sample.text else None,
            models=self.models,
        )

    def item(self, question: Question, sample: Sample, wire: Wire | None, arm: str) -> Item:
        """Return the row of a sample."""
        volume, source = self.volume(sample, wire)
        text = sample.text
        generated = text is not None or sample.recorded
        told = sample.finish_reason is not None
        open_block = text is not None and text.state == "unclosed"
        cut = not told and (open_block or bool(wire and wire.truncated))
        unanswered = sample.verdict == Verdict.NO_ANSWER
        tokens = sample.completion_tokens
        if tokens is None and wire is not None:
            tokens = wire.completion_tokens
        return Item(
            task=self.task.task,
            doc_id=question.doc_id,
            sample_index=sample.sample_index,
            arm=arm,
            verdict=str(Verdict.TRUNCATED) if cut and unanswered else sample.verdict,
            score=sample.score,
            truncated=(sample.truncated or cut) if generated else None,
            no_answer=(sample.no_answer and not (cut and unanswered)) if generated else None,
            completion_tokens=tokens,
            reasoning_chars=volume.reasoning_chars if volume else None,
            reasoning_words=volume.reasoning_words if volume else None,
            answer_chars=volume.answer_chars if volume else None,
            answer_words=volume.answer_words if volume else None,
            has_reasoning=volume.reasoning_chars > 0 if volume else None,
            volume_from=source,
            in_log=wire is not None,
            end_known=told or wire is not None,
            empty=text is not None and text.empty,
            name=question.name or str(question.doc_id),
            tags=question.tags,
            target=question.target,
            answer=sample.answer,
            ballot=sample.ballot,
            finish_reason=wire.finish_reason
            if wire and not sample.recorded
            else sample.finish_reason,
            prompt_tokens=wire.prompt_tokens if wire else None,
            duration_s=wire.duration_s if wire else None,
            ttft_s=wire.ttft_s if wire else None,
            found_by=found_by(wire) if wire else None,
            cached=self.cached if wire is None else False,
            signs=wire.signs if wire else text.signs if text else None,
            instructions=sample.instructions,
            row=question.row,
            log_at=wire.log_at if wire else None,
        )

    def volume(self, sample: Sample, wire: Wire | None) -> tuple[Volume | None, str | None]:
        """Return the sizes of a completion, and where they come from.

        Text that came through an API client which keeps `content` only, and shows no reasoning,
        proves nothing: the server may have sent the reasoning apart. Such a size is unknown.
        """
        if wire is not None:
            return wire.volume, FROM_LOG
        by_us = sample.request_id is not None  # `local-chat` keeps the reasoning
        if sample.text and (by_us or self.keeps_whole_text or sample.text.shows_reasoning):
            return sample.text.volume, FROM_SAMPLES
        return None, None


def found_by(wire: Wire) -> str:
    """Say how an exchange was found."""
    return FOUND_BY_ID if wire.by_id else FOUND_BY_TEXT


def findings(runs: Iterable[TaskRun], logs: Logs, items: Iterable[Item]) -> list[Finding]:
    """Return what in the files was torn, foreign or without its other half."""
    found = [one for run in runs for one in run.quality] + logs.quality
    if logs.files:
        missing = Counter(f"{item.task}, {item.arm}" for item in items if not item.in_log)
        text = "samples that no exchange of the given logs is known to have answered"
        found += [Finding(NO_EXCHANGE, where, n, text) for where, n in missing.items()]
        found += [
            Finding(kind, "logs", n, text)
            for kind, text, n in (
                (NO_SAMPLE, "whole exchanges that answered no paired sample", logs.n_unused),
                (INCOMPLETE, "exchanges without a whole reply", logs.counts[INCOMPLETE]),
                (
                    OTHER_MODEL,
                    "samples whose request id another model has",
                    logs.counts[OTHER_MODEL],
                ),
                (OTHER_TEXT, "samples unlike the reply of their id", logs.counts[OTHER_TEXT]),
                (
                    AMBIGUOUS,
                    "samples that several models may have answered",
                    logs.counts[AMBIGUOUS],
                ),
            )
            if n
        ]
    return list(dict.fromkeys(found))
