"""What each kind of server says of itself on paths of its own, as seen on real ones.

vLLM 0.32, llama-server 0.5 and transformers serve 5.23 were asked (docs/servers.md); SGLang, Ollama
and OpenRouter are written from their documentation. The answers to chat requests are those of
`tests.misbehaving`, but for the fields that this table names.

Example: `IMAGES["vllm"].gets["/version"](state)` returns `{"version": "0.32.0"}`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulated_model import BEGIN, tokens_of


class State(Protocol):
    """What an image needs to know of the server that wears it."""

    @property
    def names(self) -> list[str]: ...
    @property
    def context(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def adapters(self) -> Mapping[str, str]: ...
    @property
    def own_stop(self) -> str | None: ...
    @property
    def thinks(self) -> bool: ...
    def prompt_of(self, body: Mapping[str, Any]) -> str: ...
    def sent_prompt(self, body: Mapping[str, Any]) -> str: ...
    def ids_of(self, text: str) -> list[int]: ...
    def text_of(self, ids: list[int]) -> str: ...
    def raw_completion(self, body: dict[str, Any]) -> dict[str, Any]: ...


Said = dict[str, Any] | list[Any] | str
Told = Callable[[State], Said]


@dataclass(frozen=True)
class Image:
    """How a kind of server differs; `gets` and `posts` are told by path, the API's prefix left out.

    `whole_context`: a request above the context is refused, else cut at its end. `refuses` are
    fields that it answers with HTTP 422, `more` stands in every completion, and `unparsed` is the
    field, with its value, by which a request asks for text that no parser of reasoning has seen.
    """

    models: Told
    gets: Mapping[str, Told] = field(default_factory=dict)
    posts: Mapping[str, Callable[[State, dict[str, Any]], Said]] = field(default_factory=dict)
    reasoning_field: str = "reasoning_content"
    api: str = "/v1"
    whole_context: bool = True
    refuses: tuple[str, ...] = ()
    any_model: bool = False
    lists_cache: bool = False
    """What it lists is not what it can serve."""
    more: Mapping[str, Any] = field(default_factory=dict)
    unparsed: tuple[str, Any] = ("", None)
    done: bool = True
    """A stream ends with `[DONE]`."""


def listed(owner: str, **more: Any) -> Told:
    """Build a list of models, each with `max_model_len` where `more` does not say otherwise."""

    def models(state: State) -> Said:
        entries = [{"id": n, "object": "model", "owned_by": owner, **more} for n in state.names]
        return {"object": "list", "data": entries}

    return models


def vllm_models(state: State) -> Said:
    base = state.names[0]
    entries = []
    for name in state.names:
        if name in state.adapters:
            told = {"root": f"/adapters/{name}", "parent": base}
        else:
            told = {"root": f"/models/{name}", "parent": None, "max_model_len": state.context}
        entries.append({"id": name, "object": "model", "owned_by": "vllm", **told})
    return {"object": "list", "data": entries}


def tokenize(state: State, body: dict[str, Any]) -> Said:
    text = body["prompt"] if "prompt" in body else state.sent_prompt(body)
    texts = tokens_of(text) if body.get("return_token_strs") else None
    ids = state.ids_of(text)
    told = {"count": len(ids), "max_model_len": state.context, "tokens": ids}
    return {**told, "token_strs": texts}


def detokenize(state: State, body: dict[str, Any]) -> Said:
    return {"prompt": state.text_of(body["tokens"])}


def sglang_info(state: State) -> Said:
    settings = {"model_path": state.names[0], "tp_size": 1, "mem_fraction_static": 0.8}
    sizes = {"context_length": state.context, "max_total_num_tokens": 8 * state.context}
    return {**settings, **sizes, "version": "0.5.3"}


def sglang_models(state: State) -> Said:
    entries = [
        {
            "id": n,
            "object": "model",
            "owned_by": "sglang",
            "root": n,
            "max_model_len": state.context,
        }
        for n in state.names
    ]
    return {"object": "list", "data": entries}


def llama_models(state: State) -> Said:
    meta = {"n_ctx": state.context, "n_ctx_train": 40960, "n_params": 1}
    entry = {"id": state.names[0], "object": "model", "owned_by": "llamacpp", "meta": meta}
    return {"object": "list", "data": [entry], "models": [{"name": state.names[0]}]}


def llama_props(state: State) -> Said:
    defaults = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
    stops = {"stop": [state.own_stop]} if state.own_stop else {}
    return {
        "default_generation_settings": {"n_ctx": state.context, "params": {**defaults, **stops}},
        "total_slots": state.slots,
        "model_alias": state.names[0],
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "build_info": "b6500-abcdef",
    }


def llama_slots(state: State) -> Said:
    one = {"n_ctx": state.context, "speculative": False, "is_processing": False}
    return [{"id": at, **one} for at in range(state.slots)]


def llama_tokenize(state: State, body: dict[str, Any]) -> Said:
    # A template that writes the mark, and a vocabulary that adds it: two of them, but llama.cpp
    # does not add a second.
    text = body["content"]
    if body.get("add_special") and not text.startswith(BEGIN):
        text = BEGIN + text
    ids = state.ids_of(text)
    if not body.get("with_pieces"):
        return {"tokens": ids}
    return {"tokens": [{"id": i, "piece": t} for i, t in zip(ids, tokens_of(text), strict=True)]}


def llama_template(state: State, body: dict[str, Any]) -> Said:
    return {"prompt": state.sent_prompt(body)}


def openrouter_models(state: State) -> Said:
    told = {
        "context_length": state.context,
        "top_provider": {"context_length": state.context, "max_completion_tokens": None},
        "supported_parameters": ["max_tokens", "temperature", "seed", "reasoning"],
        "pricing": {"prompt": "0.0000001", "completion": "0.0000002"},
    }
    return {"data": [{"id": name, "canonical_slug": name, **told} for name in state.names]}


def ollama_show(state: State, body: dict[str, Any]) -> Said:
    stops = ["<|im_end|>", *([state.own_stop] if state.own_stop else [])]
    lines = [f"num_ctx {state.context}", *(f'stop "{stop}"' for stop in stops)]
    return {
        "parameters": "\n".join(lines),
        "template": "{{ .Prompt }}",
        "details": {"family": "qwen3"},
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
        "capabilities": ["completion", *(["thinking"] if state.thinks else [])],
    }


def ollama_loaded(state: State) -> Said:
    return {
        "models": [{"name": n, "model": n, "context_length": state.context} for n in state.names]
    }


def transformers_paths(_: State) -> Said:
    paths = ("/v1/chat/completions", "/v1/responses", "/load_model", "/reset", "/v1/models")
    return {"openapi": "3.1.0", "paths": {path: {} for path in paths}}


def api_paths(_: State) -> Said:
    return {"openapi": "3.1.0", "paths": {"/v1/chat/completions": {}, "/v1/models": {}}}


IMAGES: Mapping[str, Image] = {
    "vllm": Image(
        vllm_models,
        {
            "/version": lambda _: {"version": "0.32.0"},
            "/health": lambda _: "",
            "/openapi.json": api_paths,
        },
        {
            "/tokenize": tokenize,
            "/detokenize": detokenize,
            "/v1/completions": lambda state, body: state.raw_completion(body),
        },
        reasoning_field="reasoning",
        more={"system_fingerprint": "vllm-0.32.0-6e69efb8"},
    ),
    "sglang": Image(
        sglang_models,
        {
            "/get_server_info": sglang_info,
            "/server_info": sglang_info,
            "/get_model_info": lambda s: {"model_path": s.names[0], "is_generation": True},
            "/model_info": lambda s: {"model_path": s.names[0], "is_generation": True},
            "/openapi.json": api_paths,
        },
        {"/tokenize": tokenize, "/detokenize": detokenize},
        unparsed=("separate_reasoning", False),
    ),
    "llamacpp": Image(
        llama_models,
        {
            "/props": llama_props,
            "/slots": llama_slots,
            "/health": lambda _: {"status": "ok"},
        },
        {
            "/apply-template": llama_template,
            "/tokenize": llama_tokenize,
        },
        unparsed=("reasoning_format", "none"),
        whole_context=False,
        any_model=True,
        more={"system_fingerprint": "b6500-abcdef"},
    ),
    "transformers": Image(
        listed("cache"),
        {"/openapi.json": transformers_paths, "/health": lambda _: {"status": "ok"}},
        refuses=("top_k", "min_p", "repetition_penalty"),
        any_model=True,
        lists_cache=True,
        done=False,
    ),
    "ollama": Image(
        listed("library"),
        {
            "/": lambda _: "Ollama is running",
            "/api/version": lambda _: {"version": "0.12.3"},
            "/api/tags": lambda s: {"models": [{"name": n, "model": n} for n in s.names]},
            "/api/ps": ollama_loaded,
        },
        {"/api/show": ollama_show},
        reasoning_field="reasoning",
        whole_context=False,
        more={"system_fingerprint": "fp_ollama"},
    ),
    "openrouter": Image(
        openrouter_models,
        {"/api/v1/key": lambda _: {"data": {"label": "sk-or-v1-abc", "limit": None}}},
        reasoning_field="reasoning",
        api="/api/v1",
        more={"provider": "DeepInfra"},
    ),
}
