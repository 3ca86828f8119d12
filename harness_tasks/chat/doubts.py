"""What makes the numbers of a run doubtful: said once, before it is asked or at its end.

Owns the warnings about sampling, failures and empty answers. Refuses to own saying them
(`local_chat`). No lm_eval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness_tasks.chat.asking import Job
from harness_tasks.chat.endpoint import Offered, Transport
from harness_tasks.completion import Completion


def before(jobs: Sequence[Job], offered: Offered, transport: Transport) -> Iterator[str]:
    """Yield warnings of sampling that makes equal samples, or that cannot be repeated."""
    sampled = any(job.fields.sampling.get("temperature") != 0 for job in jobs)
    if offered.kind == "transformers" and sampled:
        shared = (
            ", and its requests share one random generator: set num_concurrent=1 for samples that "
            "can be repeated"
        )
        yield (
            "transformers serve samples only where the model's generation_config.json says "
            f"do_sample{shared if transport.num_concurrent > 1 else ''}"
        )
    for task in dict.fromkeys(
        job.task for job in jobs if job.sample_index and job.fields.sampling.get("temperature") == 0
    ):
        yield (
            f"{task}: several samples of one doc at temperature 0 are near copies; set temperature "
            "or preset in model_args"
        )


def failures(completions: Sequence[Completion]) -> Iterator[str]:
    """Yield what failed, and what all completions lack."""
    failed = Counter(c.error for c in completions if c.error)
    if failed:
        causes = "; ".join(f"{n} x {cause}" for cause, n in failed.most_common(3))
        yield (
            f"{failed.total()} of {len(completions)} requests failed and are error samples, which "
            f"distill-eval's tasks leave out of the score: {causes}{'; ...' * (len(failed) > 3)}"
        )
    answered = [c for c in completions if not c.error]
    if answered and not any(c.content.strip() for c in answered):
        reasoned = any(c.reasoning for c in answered)
        cause = (
            ", with reasoning only: the server's reasoning parser is on for a model that does not "
            "close its reasoning, or max_tokens is too small"
            if reasoned
            else ": look at the server's log, and at its chat template"
        )
        yield f"all {len(answered)} completions came back without content{cause}"


def after(jobs: Sequence[Job], completions: Sequence[Completion]) -> Iterator[str]:
    """Yield what makes the completions doubtful."""
    thinks = any(c.reasoning or c.reasoning_source for c in completions if not c.error)
    if thinks and any(job.fields.sampling.get("temperature") == 0 for job in jobs):
        yield (
            "the model reasons and was sampled at temperature 0, where reasoning models repeat "
            "themselves without end; use its preset (preset=deepseek-r1, qwen3-thinking, qwq)"
        )
