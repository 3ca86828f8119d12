"""Aligning two arms of a task by doc and sample, and saying what did not align.

Owns the pairs. Refuses to own what the pairs are worth (`compare`) and whether the arms may be
compared (`comparability`). Two docs are the same when id, content and target are.

    pairs = pair(baseline_task, candidate_task)
    pairs.questions[0]                    # (Question of the baseline, Question of the candidate)
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.reading.load import TaskRun
from analysis.reading.question import Question, Sample


@dataclass(frozen=True)
class PairedQuestion:
    """One doc in both arms with the samples that both have, in the order of sample_index."""

    baseline: Question
    candidate: Question
    samples: tuple[tuple[Sample, Sample], ...]


@dataclass(frozen=True)
class Pairs:
    """What aligned, and what did not: docs of one arm only, changed docs, surplus samples."""

    questions: tuple[PairedQuestion, ...]
    baseline_only: tuple[int | str, ...]
    candidate_only: tuple[int | str, ...]
    changed: tuple[int | str, ...]
    baseline_surplus: int
    candidate_surplus: int


def same_doc(baseline: Question, candidate: Question) -> bool:
    """Say whether two rows of one doc_id hold the same question and the same target.

    What only one row tells (an older lm-eval wrote no doc_hash) is not held against it.
    """
    return (
        agree(baseline.doc_hash, candidate.doc_hash)
        and agree(baseline.doc_key, candidate.doc_key)
        and baseline.target == candidate.target
    )


def agree(one: str | None, other: str | None) -> bool:
    """Say whether two keys are equal, or one of them is not there to tell."""
    return one is None or other is None or one == other


def pair(baseline: TaskRun, candidate: TaskRun) -> Pairs:
    """Pair the samples of two arms by doc_id and sample_index."""
    questions: list[PairedQuestion] = []
    changed: list[int | str] = []
    baseline_surplus = candidate_surplus = 0
    for doc_id, one in baseline.questions.items():
        other = candidate.questions.get(doc_id)
        if other is None:
            continue
        if not same_doc(one, other):
            changed.append(doc_id)
            continue
        by_index = {sample.sample_index: sample for sample in other.samples}
        samples = tuple(
            (sample, by_index[sample.sample_index])
            for sample in one.samples
            if sample.sample_index in by_index
        )
        baseline_surplus += len(one.samples) - len(samples)
        candidate_surplus += len(other.samples) - len(samples)
        questions.append(PairedQuestion(one, other, samples))
    return Pairs(
        questions=tuple(questions),
        baseline_only=tuple(d for d in baseline.questions if d not in candidate.questions),
        candidate_only=tuple(d for d in candidate.questions if d not in baseline.questions),
        changed=tuple(changed),
        baseline_surplus=baseline_surplus,
        candidate_surplus=candidate_surplus,
    )
