"""What happens where lm-eval's own `hf` or `vllm` is asked for completions of our tasks.

Owns the step from lm-eval's requests to completions that tell what a server would: how each
ended, its number of tokens, whether the chat template opened the reasoning. Refuses to own what is
asked (`in_process.asks`), the two engines (`in_process.engines`) and grading (`results`). Requests
of other tasks go to lm-eval's own method as they came.

lm-eval by itself stops after 256 new tokens, cuts prompts from the left to make room for them,
drops the reasoning where `think_end_token` is set, and tells nobody which completions were cut off.

Example: `attach(HFLM, engines.HF())`, which `plugin` does when lm-eval has imported that class.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from harness_tasks import catalogue
from harness_tasks.completion import Completion, cut_at_stop, has_inline_reasoning
from harness_tasks.explained import explained
from harness_tasks.in_process.asks import Ask, asks_of, doubts_after, doubts_before, fit
from harness_tasks.in_process.engines import Engine, Generated
from harness_tasks.progress import bar
from harness_tasks.reasoning import opens_reasoning

log = logging.getLogger(__name__)

OUR_PREFIX = "distill_"
TOLD = "distill_eval_told"  # the attribute of a model that holds what its results tell of it


def attach(model_class: type[Any], engine: Engine) -> None:
    """Let a model class of lm-eval answer our tasks through an engine."""
    if getattr(model_class.generate_until, "of_distill_eval", False):
        return
    generate = model_class.generate_until
    describe = getattr(model_class, "get_model_info", None)

    @functools.wraps(generate)
    def generate_until(self: Any, requests: Sequence[Any], *args: Any, **kwargs: Any) -> list[str]:
        known = catalogue.tasks() if requests else {}
        ours = [is_ours(str(request.task_name), known) for request in requests]
        if not any(ours) or not engine.fits(self):
            return list(generate(self, requests, *args, **kwargs))
        rest = [r for r, own in zip(requests, ours, strict=True) if not own]
        chosen = [r for r, own in zip(requests, ours, strict=True) if own]
        mine = iter(complete(self, engine, chosen))
        theirs = iter(generate(self, rest, *args, **kwargs) if rest else ())
        return [next(mine) if own else next(theirs) for own in ours]

    def get_model_info(self: Any) -> dict[str, Any]:
        return {**(describe(self) if describe else {}), **getattr(self, TOLD, {})}

    generate_until.of_distill_eval = True  # type: ignore[attr-defined]
    model_class.generate_until = generate_until
    model_class.get_model_info = get_model_info


def is_ours(task: str, known: Any) -> bool:
    """Tell whether a task is of this suite, or by its name derived from one."""
    return task in known or task.startswith(OUR_PREFIX)


def complete(lm: Any, engine: Engine, requests: Sequence[Any]) -> list[Completion]:
    """Return a completion for each request of our tasks; the k-th of one doc is its sample k.

    Raises:
        ValueError: `--use_cache`, sampling that the engine does not know, or no room for a prompt.
    """
    try:
        refuse_cache(lm)
        asks = asks_of(requests, engine)
        lengths = engine.lengths(lm, [ask.prompt for ask in asks])
        asks = fit(asks, lengths, lm.max_length, engine.default_limit(lm))
    except ValueError as wrong:
        raise explained(wrong) from None
    for doubt in doubts_before(asks, lm):
        log.warning("%s", doubt)
    setattr(lm, TOLD, described(asks, engine))
    made: dict[int, Completion] = {}
    with thinking_kept(lm), bar(len(asks), f"{engine.name} in process", "req") as shown:
        for chosen in equal_sampling(asks, lengths):
            for batch in engine.batches(lm, chosen, lengths):
                told = engine.generate(lm, [asks[i] for i in batch])
                for index, generated in zip(batch, told, strict=True):
                    made[index] = completion_of(asks[index], generated, lm)
                shown.update(len(batch))
    done = [made[index] for index in range(len(asks))]
    for doubt in doubts_after(asks, done):
        log.warning("%s", doubt)
    return done


def refuse_cache(lm: Any) -> None:
    """Refuse lm-eval's --use_cache.

    Raises:
        ValueError: a cache is in use.
    """
    if getattr(lm.cache_hook, "dbdict", None) is not None:
        raise ValueError(
            "the tasks of distill-eval refuse --use_cache: its key knows neither the model nor the "
            "sample, so two models would share answers and k samples would be one; leave it out"
        )


@contextlib.contextmanager
def thinking_kept(lm: Any) -> Iterator[None]:
    """Leave `think_end_token` aside, which would take the reasoning away before it is seen."""
    token = getattr(lm, "think_end_token", None)
    if token is None:
        yield
        return
    log.warning(
        "think_end_token is left aside: distill-eval's tasks split the reasoning off themselves"
    )
    lm.think_end_token = None
    try:
        yield
    finally:
        lm.think_end_token = token


def equal_sampling(asks: Sequence[Ask], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of the asks that one batch may hold, longest prompts first."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, ask in enumerate(asks):
        groups[f"{sorted(ask.engine_fields.items())} {ask.limit}"].append(index)
    for group in groups.values():
        yield sorted(group, key=lambda index: -lengths[index])


def completion_of(ask: Ask, generated: Generated, lm: Any) -> Completion:
    """Build the completion, with the task's stop strings applied to its answer."""
    content = cut_at_stop(
        generated.text, ask.until, reasoning=None, finish_reason=generated.finish_reason
    )
    inline = has_inline_reasoning(content)
    return Completion(
        content=content,
        reasoning_source="inline" if inline else None,
        finish_reason=generated.finish_reason,
        usage={
            "prompt_tokens": generated.n_prompt_tokens,
            "completion_tokens": generated.n_tokens,
            "total_tokens": generated.n_prompt_tokens + generated.n_tokens,
        },
        sample_index=ask.sample_index,
        prefilled=not inline and opens_reasoning(ask.prompt),
    )


def described(asks: Sequence[Ask], engine: Engine) -> dict[str, Any]:
    """Return what lm-eval's results should tell, under the names that `local-chat` uses."""
    by_task = {ask.task: ask.sampling for ask in asks}
    first = next(iter(by_task.values()), {})
    return {
        "server": {"kind": f"{engine.name} in process", "version": engine.version()},
        "sampling": {
            k: v for k, v in first.items() if all(s.get(k) == v for s in by_task.values())
        },
        "sampling_by_task": by_task,
        "base_seed": asks[0].base_seed if asks else None,
        "seeded": engine.seeded,
    }
