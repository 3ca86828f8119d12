"""What a model in this process is asked: prompt, sampling, seed and limit of each sample.

Owns where the sampling comes from (the preset, then the task, then --gen_kwargs), the limit on new
tokens, and what makes the numbers doubtful. Refuses to own generating (`in_process.engines`).

Example, the sampling of Qwen3 with lm-eval's own command:

    lm_eval --model vllm --model_args pretrained=Qwen/Qwen3-8B --apply_chat_template \
        --tasks distill_math500 --gen_kwargs preset=qwen3-thinking

Weakest first: greedy and 32,768 new tokens, the preset, the task's generation_kwargs as
--gen_kwargs changed them. A limit that nobody set, or that only the preset set, shrinks to what the
context leaves; one that was asked for and does not fit is refused.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_tasks.chat.settings import RequestFields, Settings, request_fields
from harness_tasks.completion import Completion
from harness_tasks.question_numbers import number_of
from harness_tasks.sampling import DEFAULT_SEED, PRESETS, seed_for

if TYPE_CHECKING:
    from harness_tasks.in_process.engines import Engine

log = logging.getLogger(__name__)

PRESET = "preset"
QUESTION = "distill-eval asks"  # stands for a question in a rendered chat template


@dataclass(frozen=True)
class Ask:
    """One sample that is to be made; `limit` is the most new tokens."""

    task: str
    sample_index: int
    prompt: str
    seed: int
    base_seed: int
    until: list[str]
    sampling: dict[str, Any]  # as the results tell it
    engine_fields: dict[str, Any]  # as the engine names it, without the limit
    limit_is_default: bool
    limit: int


def asks_of(requests: Sequence[Any], engine: Engine) -> list[Ask]:
    """Turn lm-eval's requests into asks; equal (task, doc_id) count as samples of one doc.

    Raises:
        ValueError: a field outside its range, an unknown preset, or one that the engine lacks.
    """
    seen: Counter[tuple[str, Any]] = Counter()
    known: dict[str, tuple[int, RequestFields, dict[str, Any]]] = {}
    asks = []
    for request in requests:
        prompt, given, *media = request.args
        task, doc_id = str(request.task_name), number_of(request)
        if media:
            raise ValueError(f"{task} has images or audio, which distill-eval does not grade")
        key = f"{task} {sorted(given.items(), key=str)}"
        if key not in known:
            known[key] = sampling_of(task, given, engine)
        base_seed, fields, engine_fields = known[key]
        sample_index = seen[task, doc_id]
        seen[task, doc_id] += 1
        asks.append(
            Ask(
                task=task,
                sample_index=sample_index,
                prompt=prompt,
                seed=seed_for(task, doc_id, sample_index, base_seed),
                base_seed=base_seed,
                until=fields.until,
                sampling=fields.sampling,
                engine_fields=engine_fields,
                limit_is_default=fields.limit_is_default,
                limit=fields.sampling["max_tokens"],
            )
        )
    return asks


def sampling_of(
    task: str, given: Mapping[str, Any], engine: Engine
) -> tuple[int, RequestFields, dict[str, Any]]:
    """Return base seed and sampling of one task, in our names and in the engine's.

    Raises:
        ValueError: as `asks_of`.
    """
    preset = given.get(PRESET)
    if preset is not None and preset not in PRESETS:
        raise ValueError(
            f"--gen_kwargs preset={preset} is none of {', '.join(PRESETS)} (`distill-eval presets`)"
        )
    seed = given.get("seed", DEFAULT_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"--gen_kwargs seed must be a whole number, got {seed!r}")
    rest = {name: value for name, value in given.items() if name not in (PRESET, "seed")}
    fields = request_fields(Settings(base_url="", preset=preset), rest, task)
    for name, loser, lost, winner, value in fields.overridden:
        log.warning("%s: %s sets %s=%s over the %s of %s", task, winner, name, value, lost, loser)
    asked = {name: value for name, value in fields.sampling.items() if name != "max_tokens"}
    return seed, fields, engine.fields_of(asked)


def fit(asks: Sequence[Ask], lengths: Sequence[int], window: int, default: int | None) -> list[Ask]:
    """Settle each task's limit by what its longest prompt leaves of the context.

    `default` is the limit that the model's own arguments set, None where they set none.

    Raises:
        ValueError: a prompt, or a limit that was asked for, does not fit.
    """
    longest: dict[str, int] = {}
    for ask, length in zip(asks, lengths, strict=True):
        longest[ask.task] = max(length, longest.get(ask.task, 0))
    settled: dict[str, int] = {}
    for ask in asks:
        if ask.task not in settled:
            settled[ask.task] = limit_of(ask, longest[ask.task], window, default)
    return [
        dataclasses.replace(
            ask,
            limit=settled[ask.task],
            sampling={**ask.sampling, "max_tokens": settled[ask.task]},
        )
        for ask in asks
    ]


def limit_of(ask: Ask, longest: int, window: int, default: int | None) -> int:
    """Return the most new tokens of one task's completions.

    Raises:
        ValueError: as `fit`.
    """
    room = window - longest
    if room < 1:
        raise ValueError(
            f"{ask.task}: its longest prompt has {longest} tokens, the model's context {window}: "
            "raise it in --model_args (max_length, or max_model_len for vllm)"
        )
    limit = ask.limit
    if ask.limit_is_default and default is not None:
        limit = default
    if limit <= room:
        return limit
    if ask.limit_is_default:
        log.warning(
            "%s: max_gen_toks is %d, not %d: the context of %d tokens leaves no more behind the "
            "longest prompt", ask.task, room, limit, window,
        )  # fmt: skip
        return room
    raise ValueError(
        f"{ask.task}: max_gen_toks={limit} and a prompt of {longest} tokens exceed the model's "
        f"context of {window}, and lm-eval would cut the prompt; give --gen_kwargs "
        f"max_gen_toks={room} or less, or raise the context in --model_args"
    )


def is_greedy(ask: Ask) -> bool:
    return ask.sampling.get("temperature") == 0


def doubts_before(asks: Sequence[Ask], lm: Any) -> Iterator[str]:
    """Yield what makes the samples doubtful, as far as it is known before they are made."""
    if asks and not is_templated(asks[0].prompt, lm):
        yield (
            "prompts go to the model without its chat template, as a text to be continued; a model "
            "that was trained on chats wants --apply_chat_template"
        )
    if asks and thinking_unsettled(lm):
        yield (
            "lm-eval hands enable_thinking=None to the chat template, which takes it for off: give "
            "--model_args ...,enable_thinking=true,think_end_token=</think> (our tasks leave that "
            "token aside) or enable_thinking=false"
        )
    for task in dict.fromkeys(ask.task for ask in asks if ask.sample_index and is_greedy(ask)):
        yield (
            f"{task}: several samples of one doc at temperature 0 are copies; set --gen_kwargs "
            "preset=NAME or temperature=T"
        )


def doubts_after(asks: Sequence[Ask], completions: Sequence[Completion]) -> Iterator[str]:
    """Yield what makes the completions doubtful."""
    thinks = any(c.reasoning_source or c.prefilled for c in completions)
    if thinks and any(is_greedy(ask) for ask in asks):
        yield (
            "the model reasons and was sampled at temperature 0, where reasoning models repeat "
            "themselves without end; use its preset: --gen_kwargs preset=deepseek-r1, "
            "qwen3-thinking or qwq"
        )


def thinking_unsettled(lm: Any) -> bool:
    """Tell whether the template renders `enable_thinking=None` unlike no word about it."""
    if getattr(lm, "enable_thinking", False) is not None:
        return False
    messages = [{"role": "user", "content": QUESTION}]
    try:
        plain = lm.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return bool(lm.apply_chat_template(messages) != plain)
    except Exception:  # noqa: BLE001 - see is_templated
        return False


def is_templated(prompt: str, lm: Any) -> bool:
    """Tell whether a prompt ends as the model's chat template does; True where it has none."""
    if not getattr(getattr(lm, "tokenizer", None), "chat_template", None):
        return True
    try:
        rendered = str(lm.apply_chat_template([{"role": "user", "content": QUESTION}]))
    except Exception:  # noqa: BLE001 - a template is a program of the model's; it may raise anything
        return True
    return prompt.endswith(rendered.rpartition(QUESTION)[2])
