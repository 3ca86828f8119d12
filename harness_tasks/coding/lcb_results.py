"""LiveCodeBench for lm-eval: the metrics of a problem, and grading in parallel before them.

Owns what a task of LiveCodeBench reports beside the metrics of every task: `pass_at_1`, and the
score by difficulty and by platform. Refuses to own grading (`lcb_grader`) and the verdict rule
(`harness_tasks.results`). The grader, and so the sandbox, is imported when something is graded.

Example, in the YAML: `process_results: !function harness_tasks.coding.lcb_results.lcb`
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from harness_tasks.batch import GradedAhead
from harness_tasks.coding.lcb_docs import DIFFICULTIES, PLATFORMS
from harness_tasks.coding.lcb_extract import has_code
from harness_tasks.graders.grade import Grade
from harness_tasks.records import SampleRecord, Verdict
from harness_tasks.repeats import PASS_AT
from harness_tasks.results import Doc, Grading, Metrics, doc_metrics, mean


def grade(doc: Doc, answer_text: str) -> Grade:
    from harness_tasks.coding import lcb_grader

    return lcb_grader.grade(doc, answer_text)


def grading(doc: Doc) -> Grading:
    """Return how the answers to one problem are graded."""
    # LiveCodeBench publishes pass@1 and pass@5, of 10 samples; public tests alone measure neither.
    pass_at = () if doc["public_only"] else PASS_AT
    return Grading(partial(grade, doc), has_code, partial(further, doc), pass_at=pass_at)


def further(doc: Doc, samples: Sequence[SampleRecord]) -> Metrics:
    """Return the metrics of one problem; of a group that it is not in, None.

    `pass_at_1` is the mean over the samples. Public tests alone do not measure it.
    """
    score = mean(sample.verdict is Verdict.CORRECT for sample in samples)
    groups = {
        **{name: name == doc["difficulty"] for name in DIFFICULTIES},
        **{name: name == doc["platform"] for name in PLATFORMS},
    }
    metrics = {f"score_{name}": score if within else None for name, within in groups.items()}
    return metrics if doc["public_only"] else {"pass_at_1": score, **metrics}


AHEAD = GradedAhead(grading)


def lcb(doc: Doc, results: Sequence[Any]) -> Metrics:
    """Grade the samples of one problem."""
    return doc_metrics(results, AHEAD(doc))


def lcb_ahead(resps: Sequence[Sequence[Any]], docs: Sequence[Doc]) -> Sequence[Sequence[Any]]:
    """Grade the answers of a task in parallel; an lm-eval filter that changes nothing."""
    return AHEAD.fill(resps, docs)
