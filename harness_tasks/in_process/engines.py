"""The two models of lm-eval that generate in this process: `hf` (transformers) and `vllm`.

Owns which of their own methods are called, with which fields, and how it is known that a completion
was cut off. Refuses to own which samples are made (`in_process.asks`). Tried with lm-eval 0.4.11 to
0.4.13; neither torch, transformers nor vllm is imported here.

Seeds: vLLM has a generator for each request, so every sample gets a seed of its own and repeats
whatever else is asked. In transformers a batch shares one generator, which is seeded by the batch's
first sample: with batch_size=1 a sample repeats by itself, else with the same batch.

Example: `HF().generate(lm, asks)` returns texts with their finish_reason and number of tokens.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from harness_tasks.in_process.asks import Ask
from harness_tasks.reasoning import NONE, split

DEFAULT_OF_LM_EVAL = 256
# What `hf` samples with unless it is told: the model's generation_config.json, and top_k 50.
NOT_IN_HF = ("presence_penalty", "frequency_penalty")
NEUTRAL = {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}


class Generated(NamedTuple):
    """One completion; finish_reason is "stop" or "length", None where neither is sure."""

    text: str
    finish_reason: str | None
    n_prompt_tokens: int
    n_tokens: int


class Engine(Protocol):
    """How one model class of lm-eval generates; `seeded` says what a seed belongs to."""

    name: str
    seeded: str

    def fits(self, lm: Any) -> bool:
        """Tell whether this model is of the kind that the engine knows."""

    def version(self) -> str | None:
        """Return the version of what generates."""

    def default_limit(self, lm: Any) -> int | None:
        """Return the limit on new tokens that the model's arguments set, None for lm-eval's 256."""

    def fields_of(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Return sampling fields as the engine names them.

        Raises:
            ValueError: one that it does not know.
        """

    def lengths(self, lm: Any, prompts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each prompt."""

    def batches(
        self, lm: Any, places: Sequence[int], lengths: Sequence[int]
    ) -> Iterator[Sequence[int]]:
        """Cut the places into what is generated at once; `lengths` are those of all prompts."""

    def generate(self, lm: Any, asks: Sequence[Ask]) -> list[Generated]:
        """Generate one batch; all have the same sampling and limit."""


class HF:
    """transformers, in batches that share one random generator."""

    name = "hf"
    seeded = "batch"

    def fits(self, lm: Any) -> bool:
        return getattr(lm, "backend", "causal") == "causal"

    def version(self) -> str | None:
        return version_of("transformers")

    def default_limit(self, lm: Any) -> int | None:
        return other_than_default(lm.max_gen_toks)

    def fields_of(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        for name in NOT_IN_HF:
            if sampling.get(name):
                raise ValueError(
                    f"model hf has no {name}, and {name}={sampling[name]} is asked for; use vllm, "
                    "or leave out the preset and give the other fields with --gen_kwargs"
                )
        passed = {name: value for name, value in sampling.items() if name not in NOT_IN_HF}
        if not passed.get("temperature"):
            told = {k: v for k, v in passed.items() if k not in ("top_k", "top_p", "min_p")}
            return {"repetition_penalty": 1.0, **told, "do_sample": False, "temperature": 0.0}
        told = {**NEUTRAL, **passed, "do_sample": True}
        return {**told, "top_k": max(0, told["top_k"])}

    def lengths(self, lm: Any, prompts: Sequence[str]) -> list[int]:
        known = {prompt: len(lm.tok_encode(prompt)) for prompt in set(prompts)}
        return [known[prompt] for prompt in prompts]

    def batches(
        self, lm: Any, places: Sequence[int], lengths: Sequence[int]
    ) -> Iterator[Sequence[int]]:
        size = lm.batch_size if lm.batch_size != "auto" else lm._detect_batch_size()
        yield from cut(places, int(size))

    def generate(self, lm: Any, asks: Sequence[Ask]) -> list[Generated]:
        ends = end_tokens(lm)
        from lm_eval.utils import set_torch_seed

        context, mask = lm.tok_batch_encode([ask.prompt for ask in asks])
        width = context.shape[1]
        set_torch_seed(asks[0].seed)
        made = lm._model_generate(
            context=context.to(lm.device),
            attention_mask=mask.to(lm.device),
            stop=[lm.tok_decode([lm.eot_token_id], skip_special_tokens=False)],
            max_length=width + asks[0].limit,
            **asks[0].engine_fields,
        )
        rows = made[:, width:].tolist()
        n_prompt = mask.sum(dim=1).tolist()
        return [
            told_of(lm, row, ends, asks[0].limit, int(n))
            for row, n in zip(rows, n_prompt, strict=True)
        ]


class VLLM:
    """vLLM's offline engine; a batch is all there is, unless batch_size says otherwise."""

    name = "vllm"
    seeded = "sample"

    def fits(self, lm: Any) -> bool:
        return hasattr(lm, "_model_generate")

    def version(self) -> str | None:
        return version_of("vllm")

    def default_limit(self, lm: Any) -> int | None:
        return other_than_default(lm.max_gen_toks)

    def fields_of(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        return dict(sampling)

    def lengths(self, lm: Any, prompts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in lm.tok_encode(list(prompts))]

    def batches(
        self, lm: Any, places: Sequence[int], lengths: Sequence[int]
    ) -> Iterator[Sequence[int]]:
        # 1 is what lm-eval's command line says unless told: vLLM would wait for each completion.
        whole = lm.batch_size in ("auto", 1)
        for batch in cut(places, len(places) if whole else int(lm.batch_size)):
            yield from within(tokens_at_once(lm), batch, lengths)

    def generate(self, lm: Any, asks: Sequence[Ask]) -> list[Generated]:
        sampling_params = importlib.import_module("vllm").SamplingParams
        eos = lm.tokenizer.decode(lm.eot_token_id)
        made = with_progress(lm)(
            requests=lm.tok_encode([ask.prompt for ask in asks]),
            generate=True,
            sampling_params=[
                # lm-eval's own: special tokens stay, since some open and close reasoning.
                sampling_params(
                    max_tokens=ask.limit,
                    stop=[eos] if eos else [],
                    seed=ask.seed,
                    skip_special_tokens=False,
                    spaces_between_special_tokens=False,
                    **ask.engine_fields,
                )
                for ask in asks
            ],
        )
        return [
            Generated(
                text=output.outputs[0].text,
                finish_reason=output.outputs[0].finish_reason,
                n_prompt_tokens=len(output.prompt_token_ids or ()),
                n_tokens=len(output.outputs[0].token_ids),
            )
            for output in made
        ]


def tokens_at_once(lm: Any) -> int | None:
    """Return how many prompt tokens one batch may have on a CPU, None for any number.

    There vLLM 0.32 dies of a seeded request whose prompt it reads in parts ("CPU Generator does
    not use offset"), which it does where the prompts exceed this number.
    """
    if not importlib.import_module("vllm.platforms").current_platform.is_cpu():
        return None
    config = lm.model.llm_engine.vllm_config.scheduler_config
    return int(config.max_num_batched_tokens)


def within(
    budget: int | None, places: Sequence[int], lengths: Sequence[int]
) -> Iterator[Sequence[int]]:
    """Yield stretches whose prompts have at most `budget` tokens together, one place at least."""
    if budget is None:
        yield places
        return
    start = used = 0
    for at, place in enumerate(places):
        if at > start and used + lengths[place] > budget:
            yield places[start:at]
            start, used = at, 0
        used += lengths[place]
    yield places[start:]


def with_progress(lm: Any) -> Callable[..., Any]:
    """Return lm-eval's call of vLLM, which shows progress only where batch_size is "auto"."""

    def generate(**call: Any) -> Any:
        size, lm.batch_size = lm.batch_size, "auto"
        try:
            return lm._model_generate(**call)
        finally:
            lm.batch_size = size

    return generate


def told_of(
    lm: Any, row: Sequence[int], ends: set[int], limit: int, n_prompt_tokens: int
) -> Generated:
    """Read one row of `hf`: what comes after the first end token is padding."""
    n_tokens = next((i for i, token in enumerate(row) if token in ends), len(row))
    tokens = list(row[:n_tokens])
    ended = n_tokens < len(row)
    finish_reason = "stop" if ended else "length" if n_tokens >= limit else None
    return Generated(text_of(lm, tokens), finish_reason, n_prompt_tokens, n_tokens + ended)


def text_of(lm: Any, tokens: list[int]) -> str:
    """Decode without special tokens, unless some mark the reasoning (gpt-oss, Magistral)."""
    text: str = lm.tok_decode(tokens)
    whole: str = lm.tok_decode(tokens, skip_special_tokens=False)
    hidden = whole != text and split(text).state == NONE and split(whole).state != NONE
    return whole if hidden else text


def end_tokens(lm: Any) -> set[int]:
    """Return the tokens that end a completion, by the tokenizer and by the generation config."""
    config = getattr(lm.model, "generation_config", None)
    told = getattr(config, "eos_token_id", None)
    found = told if isinstance(told, list | tuple) else [told]
    return {int(token) for token in (*found, lm.eot_token_id) if token is not None}


def other_than_default(limit: int) -> int | None:
    return None if limit == DEFAULT_OF_LM_EVAL else limit


def cut(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield stretches of at most `size`."""
    for start in range(0, len(places), max(1, size)):
        yield places[start : start + max(1, size)]


def version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
