"""What makes the numbers of a run doubtful: said before it is asked, as it comes in, or at its end.

Owns the warnings about sampling, truncation, failures and empty answers. Refuses to own saying them
(`local_chat`). No lm_eval.

Example, a run whose limit is too small:

    distill_aime24: 4 of 20 completions so far were cut off at max_tokens=2048 (those that finished
    took up to 1,911 tokens): ...
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from harness_tasks.chat.asking import Job
from harness_tasks.chat.endpoint import Offered
from harness_tasks.chat.reply import shown
from harness_tasks.completion import Completion
from harness_tasks.sampling import PRESETS

# From so many completions of a task on, and so large a share of them cut off, it is said.
FEW = 10
CUT_OFF_SHARE = 0.05
EARLY = 0.9  # of max_tokens: below it something else ended the completion
THINKING = ("deepseek-r1", "qwen3-thinking", "qwq")  # presets of models that think
R1 = re.compile(r"deepseek[-_. ]?r1|r1[-_. ](?:distill|zero|0528)|openr1|open[-_]r1", re.IGNORECASE)
GREEDY = (
    "was sampled at temperature 0, where reasoning models repeat themselves without end; use its "
    "preset (preset=deepseek-r1, qwen3-thinking, qwq)"
)


@dataclass(frozen=True)
class Asked:
    """Who is about to be asked, and how."""

    model: str
    offered: Offered
    preset: str | None = None
    num_concurrent: int = 1

    @property
    def names(self) -> list[str]:
        """What the model is called: by the user, by the preset, and by the server's weights."""
        told = self.offered.told.get(self.model, {}).values()
        return [self.model, self.preset or "", *(one for one in told if isinstance(one, str))]


def before(jobs: Sequence[Job], asked_for: Asked) -> Iterator[str]:
    """Yield warnings of sampling that is not the model's, or that makes equal samples."""
    sampled = any(job.fields.sampling.get("temperature") != 0 for job in jobs)
    if asked_for.offered.kind == "transformers" and sampled:
        shared = (
            ", and its requests share one random generator: set num_concurrent=1 for samples that "
            "can be repeated"
        )
        yield (
            "transformers serve samples only where the model's generation_config.json says "
            f"do_sample{shared if asked_for.num_concurrent > 1 else ''}"
        )
    for task in dict.fromkeys(job.task for job in jobs if job.sample_index and is_greedy(job)):
        yield (
            f"{task}: several samples of one doc at temperature 0 are near copies; set temperature "
            "or preset in model_args"
        )
    if any(is_greedy(job) and asks_to_think(job, asked_for.preset) for job in jobs):
        yield f"a model that is asked to think {GREEDY}".replace("was sampled", "is sampled")
    if R1.search("\n".join(asked_for.names)) and any(has_system(job) for job in jobs):
        yield (
            "a system prompt is sent to an R1-style model, whose publisher advises none: it can "
            "keep the model from reasoning; leave out system_prompt (and --system_instruction)"
        )


def hints(jobs: Sequence[Job], asked_for: Asked) -> Iterator[str]:
    """Yield how many samples of a question the preset's publisher took, where this run has less."""
    preset = PRESETS.get(asked_for.preset or "")
    if preset is None:
        return
    asked = Counter(job.task for job in jobs)
    docs = Counter(job.task for job in jobs if not job.sample_index)
    for task, n in asked.items():
        published, own = preset.k_of(task), n // max(docs[task], 1)
        if published is not None and own < published:
            yield (
                f"{task}: the published scores of preset {asked_for.preset} have {published} "
                f"samples of each question, this run {own} (--repeats {published}, or "
                f"--metadata '{{\"repeats\": {published}}}')"
            )


def is_greedy(job: Job) -> bool:
    return job.fields.sampling.get("temperature") == 0


def asks_to_think(job: Job, preset: str | None) -> bool:
    """Tell whether the request itself, or its preset, is one for a model that thinks."""
    template = job.fields.sampling.get("chat_template_kwargs") or {}
    wanted = template.get("enable_thinking", template.get("thinking"))
    return bool(wanted) if wanted is not None else preset in THINKING


def has_system(job: Job) -> bool:
    return any(message.get("role") == "system" for message in job.messages)


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


def providers(completions: Sequence[Completion]) -> Iterator[str]:
    """Yield which providers a router asked, where it was more than one."""
    by_provider = Counter(c.provider for c in completions if c.provider)
    if len(by_provider) > 1:
        counts = ", ".join(f"{shown(name)} {n}" for name, n in by_provider.most_common(8))
        yield (
            f"completions come from {len(by_provider)} providers ({counts}), which may run "
            "different weights; pin one for both arms with extra_body, for OpenRouter "
            '{"provider": {"order": ["NAME"], "allow_fallbacks": false}}'
        )


@dataclass
class Cut:
    """How many completions of a task were cut off, and what the finished ones needed."""

    n: int = 0
    cut: int = 0
    said: int = 0  # how many were cut off when it was last said
    longest: int = 0  # tokens of the longest completion that finished
    limit: int | None = None  # max_tokens; None where the server's context was the limit
    early: int = 0  # how many of those cut off were far from max_tokens
    reached: int = 0  # tokens of the longest of these

    def add(self, job: Job, completion: Completion) -> None:
        """Count one completion."""
        self.n += 1
        self.limit = job.fields.sampling.get("max_tokens")
        told = completion.usage.get("completion_tokens")
        used = told if isinstance(told, int) else 0
        if completion.finish_reason != "length":
            self.longest = max(self.longest, used)
            return
        self.cut += 1
        if self.limit and 0 < used < EARLY * self.limit:
            self.early += 1
            self.reached = max(self.reached, used)

    @property
    def many(self) -> bool:
        """Whether so large a share was cut off that the score is about the limit."""
        return self.cut > 0 and self.cut >= CUT_OFF_SHARE * self.n

    def told(self, task: str, so_far: str = "") -> str:
        """Say what was cut off, and the ways on."""
        self.said = self.cut
        needed = (
            f" (those that finished took up to {self.longest:,} tokens)" if self.longest else ""
        )
        where, way = "by the server's context", "serve the model with a longer context"
        if self.limit and 2 * self.early > self.cut:
            where = (
                f"by the server at up to {self.reached:,} tokens, before max_tokens={self.limit}"
            )
            way = f"its context is too small, or it has a limit of its own: {way}"
        elif self.limit:
            where = f"at max_tokens={self.limit}"
            way = (
                f"raise max_tokens, or ask them again afterwards: distill-eval run "
                f"--retry-truncated --max-tokens {2 * self.limit} (with lm_eval: "
                f"store=FILE,retry_truncated={2 * self.limit})"
            )
        return (
            f"{task}: {self.cut} of {self.n} completions{so_far} were cut off {where}{needed} and "
            f"count as not solved; {way}"
        )


@dataclass
class Watch:
    """Looks at completions as they come in, and says what is wrong while it can still be mended."""

    say: Callable[[str], None]
    tasks: dict[str, Cut] = field(default_factory=dict)

    def note(self, job: Job, completion: Completion) -> None:
        """Take note of one completion; what was cut off is said again where it has doubled."""
        if completion.error:
            return
        if is_greedy(job) and (completion.reasoning or completion.reasoning_source):
            self.say(f"the model reasons and {GREEDY}")
        cut = self.tasks.setdefault(job.task, Cut())
        cut.add(job, completion)
        if cut.n >= FEW and cut.cut > 1 and cut.many and cut.cut >= 2 * cut.said:
            self.say(cut.told(job.task, " so far"))

    def at_end(self) -> None:
        """Say the last numbers of the tasks of which too many were cut off."""
        for task, cut in self.tasks.items():
            if cut.many and cut.cut != cut.said:
                self.say(cut.told(task))
