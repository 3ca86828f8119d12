"""The one table that every number of a report comes from: a row for each paired sample and arm.

Owns `Item` and how a sample, its exchange and its text become one. Refuses to own any estimate:
counts, tests and volumes read these rows and nothing else, so a report cannot contradict itself.

    task           doc_id  sample_index  arm        verdict    score  truncated  reasoning_chars ...
    distill_gsm8k  0       0             baseline   correct    1.0    False      0
    distill_gsm8k  0       0             candidate  incorrect  0.0    False      812
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from analysis.comparability import Joined
from analysis.pairing import Pairs
from analysis.reading.doc import Instruction
from analysis.reading.exchanges import ExchangeIndex, Taken, Volume, Wanted, Wire, measure
from analysis.reading.load import Question, Sample, TaskRun
from analysis.reading.signs import Signs, signs_of
from harness_tasks.reasoning import split
from harness_tasks.records import Verdict

BASELINE, CANDIDATE = "baseline", "candidate"
ARMS = (BASELINE, CANDIDATE)
FROM_LOG, FROM_SAMPLES = "log", "samples file"
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
    finish_reason: str | None
    prompt_tokens: int | None
    duration_s: float | None  # of the exchange, None where no log has it
    ttft_s: float | None
    found_by: str | None  # how its exchange was found: FOUND_BY_ID, FOUND_BY_TEXT or None
    cached: bool | None  # answered from lm-eval's cache: not in the log, and the run used one
    signs: Signs | None  # of loops and of thinking; None where there is no text
    instructions: tuple[Instruction, ...]  # of IFEval
    row: int  # the row of the samples file that holds the texts, from 1


def build(
    baseline: TaskRun, candidate: TaskRun, pairs: Pairs, index: ExchangeIndex
) -> tuple[list[Item], Joined]:
    """Return the items of a task, baseline and candidate of a sample next to each other.

    The exchanges that were found come along for the comparison of what was sent.
    """
    taken = Taken()
    same_file = baseline.file.path == candidate.file.path  # one exchange is then both arms' own
    joiners = (
        Joiner(baseline, index, taken),
        Joiner(candidate, index, Taken() if same_file else taken),
    )
    items: list[Item] = []
    joined: Joined = []
    for paired in pairs.questions:
        for one, other in paired.samples:
            wires = joiners[0].find(paired.baseline, one), joiners[1].find(paired.candidate, other)
            items.append(joiners[0].item(paired.baseline, one, wires[0], BASELINE))
            items.append(joiners[1].item(paired.candidate, other, wires[1], CANDIDATE))
            joined.append((paired.baseline.doc_id, *wires))
    return items, joined


class Joiner:
    """Joins the samples of one arm of a task with their exchanges."""

    def __init__(self, task: TaskRun, index: ExchangeIndex, taken: Taken) -> None:
        self.task = task
        self.index = index
        self.taken = taken
        run = task.file.config.get("run") or task.file.manifest.get("run")
        self.run = str(run) if run else None
        backend = str(task.file.config.get("model") or "api")
        self.keeps_whole_text = not any(word in backend for word in API_BACKENDS)
        self.cached = True if task.file.config.get("use_cache") else None
        for question in task.questions.values():
            for sample in question.samples:
                taken.request_ids.update(self.request_ids(question, sample))

    def find(self, question: Question, sample: Sample) -> Wire | None:
        """Return the exchange of a sample, None where the logs hold none."""
        wanted = Wanted(
            request_ids=tuple(self.request_ids(question, sample)),
            messages_key=question.messages_key,
            text=sample.text,
            models=self.task.file.models,
        )
        return self.index.find(wanted, self.taken)

    def request_ids(self, question: Question, sample: Sample) -> Iterator[str]:
        """Yield the ids under which a sample's request may stand in the log."""
        if sample.record is not None and sample.record.request_id:
            yield sample.record.request_id
        elif self.run:
            yield f"{self.run}/{self.task.task}/{question.doc_id}/{sample.sample_index}"

    def item(self, question: Question, sample: Sample, wire: Wire | None, arm: str) -> Item:
        """Return the row of a sample."""
        volume, state, source = self.volume(sample, wire)
        request_ids = tuple(self.request_ids(question, sample))
        record = sample.record
        generated = sample.text is not None or record is not None
        told = record is not None and record.finish_reason is not None
        cut = not told and (state == "unclosed" or bool(wire and wire.truncated))
        unanswered = sample.verdict == Verdict.NO_ANSWER
        tokens = record.completion_tokens if record else None
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
            empty=sample.text is not None and not sample.text.strip(),
            name=question.name or str(question.doc_id),
            tags=question.tags,
            target=question.target,
            answer=record.answer if record else None,
            finish_reason=record.finish_reason if record else wire.finish_reason if wire else None,
            prompt_tokens=wire.prompt_tokens if wire else None,
            duration_s=wire.duration_s if wire else None,
            ttft_s=wire.ttft_s if wire else None,
            found_by=found_by(wire, request_ids) if wire else None,
            cached=self.cached if wire is None else False,
            signs=self.signs(sample, wire),
            instructions=sample.instructions,
            row=question.row,
        )

    def signs(self, sample: Sample, wire: Wire | None) -> Signs | None:
        """Return what the text shows: that of the exchange, else that of the samples file."""
        if wire is not None:
            return wire.signs
        if sample.text is None:
            return None
        parts = split(sample.text)
        return signs_of(parts.reasoning, parts.answer_text)

    def volume(self, sample: Sample, wire: Wire | None) -> tuple[Volume | None, str, str | None]:
        """Return the sizes of a completion, the state of its text, and where the sizes come from.

        Text that came through an API client which keeps `content` only, and shows no reasoning,
        proves nothing: the server may have sent the reasoning apart. Such a size is unknown.
        """
        if sample.text is None:
            return (wire.volume, "none", FROM_LOG) if wire else (None, "none", None)
        finish_reason = sample.record.finish_reason if sample.record else None
        parts = split(sample.text, finish_reason=finish_reason)
        if wire is not None:
            return wire.volume, parts.state, FROM_LOG
        by_us = sample.record is not None and sample.record.request_id is not None  # `local-chat`
        if by_us or self.keeps_whole_text or parts.reasoning:
            sizes = measure(parts.reasoning, parts.answer_text)
            if sample.record is not None:  # it knew what the server had split, the text may quote
                sizes = replace(
                    sizes,
                    reasoning_chars=sample.record.reasoning_chars,
                    answer_chars=sample.record.answer_chars,
                )
            return sizes, parts.state, FROM_SAMPLES
        return None, parts.state, None


def found_by(wire: Wire, request_ids: tuple[str, ...]) -> str:
    """Say how an exchange was found."""
    return FOUND_BY_ID if wire.request_id in request_ids else FOUND_BY_TEXT
