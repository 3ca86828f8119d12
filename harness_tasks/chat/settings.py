"""The model_args of `local-chat`, and which source wins where two set a sampling field.

Owns names, types, defaults and checks of model_args, and the fields of one request. Refuses to own
sending (`chat.client`) and lm-eval's side (`local_chat`). No lm_eval.

Example, the precedence, weakest first: greedy defaults, preset, generation_kwargs of the task,
model_args:

    >>> settings = read_settings({"base_url": "http://h:1", "preset": "qwq", "top_k": 30})
    >>> request_fields(settings, {"temperature": 0.5, "until": ["Q:"]}).sampling
    {'temperature': 0.5, 'top_p': 0.95, 'top_k': 30, 'max_tokens': 32768}
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from harness_tasks.chat.endpoint import Transport, servers_of
from harness_tasks.sampling import DEFAULT_SEED, FIELDS, PRESETS, WHOLE, SamplingConfig

# lm-eval hands these to every model; they have no meaning here.
OF_LM_EVAL = ("batch_size", "max_batch_size", "device", "trust_remote_code", "num_fewshot")
# What users of lm-eval's own API models write, and what it is called here.
OTHER_NAMES = {
    "pretrained": "model",
    "max_gen_toks": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "timeout": "timeout_s",
    "system_instruction": "system_prompt",
    "enable_thinking": 'chat_template_kwargs={"enable_thinking": false}',
}
TOKEN_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens")
# Set elsewhere, or harmful: a stop string fires inside the reasoning, n copies share one seed.
NOT_EXTRA = ("messages", "model", "stream", "seed", "stop", "n", *FIELDS)
SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "proxy-authorization", "cookie")
GENERATION_ONLY = ("until", "stop", "do_sample", "seed", *TOKEN_LIMITS, *FIELDS)


@dataclass(frozen=True)
class Settings:
    """Every model_arg; the documentation lists each with its default."""

    base_url: str
    model: str | None = None
    run: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    num_concurrent: int = 8
    preset: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    seed: int = DEFAULT_SEED
    timeout_s: float = 7200.0
    stall_timeout_s: float = 600.0
    max_retries: int = 5
    system_prompt: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    stream: bool = True
    prefilled: bool | None = None
    store: str | None = None
    retry_truncated: int | None = None
    wire_names: Mapping[str, str | None] = field(default_factory=dict)

    def transport(self) -> Transport:
        """Return how requests travel, with the key out of the environment.

        Raises:
            ValueError: the variable that api_key_env names is not set, or cannot be a header.
        """
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and self.api_key_env != Settings.api_key_env:
            raise ValueError(f"api_key_env names {self.api_key_env!r}, which is not set or empty")
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise ValueError(f"the key in {self.api_key_env} holds a character that no header may")
        first, *others = servers_of(self.base_url)
        return Transport(
            endpoint=first,
            others=tuple(others),
            api_key=key or None,
            headers=self.headers,
            num_concurrent=self.num_concurrent,
            timeout_s=self.timeout_s,
            stall_timeout_s=self.stall_timeout_s,
            max_retries=self.max_retries,
        )

    def explicit_sampling(self) -> dict[str, Any]:
        """Return the sampling fields that the user set one by one."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Read model_args as lm-eval parsed them: strings, numbers, booleans or JSON.

    Raises:
        ValueError: an unknown or refused name, or a value of the wrong kind; one line.
    """
    given = {k: v for k, v in given.items() if k not in OF_LM_EVAL and v is not None}
    for name in given:
        refuse_name(name)
    if not given.get("base_url"):
        raise ValueError(
            "base_url is missing; give the server, such as base_url=http://127.0.0.1:8000/v1"
        )
    settings = Settings(**{name: READERS[name](name, value) for name, value in given.items()})
    if settings.preset is not None and settings.preset not in PRESETS:
        raise ValueError(
            f"preset must be one of {', '.join(PRESETS)}, got {settings.preset!r}"
            + close_to(settings.preset, PRESETS)
        )
    SamplingConfig(**settings.explicit_sampling())
    for name in settings.extra_body:
        if name in NOT_EXTRA:
            raise ValueError(f"extra_body must not set {name!r}{instead_of(name)}")
    for name in settings.headers:
        if name.lower() in SECRET_HEADERS:
            raise ValueError(
                f"headers must not set {name!r}: lm-eval writes model_args into its results; put "
                "the key into the environment and name the variable with api_key_env"
            )
    if settings.retry_truncated is not None and settings.store is None:
        raise ValueError(
            "retry_truncated needs store=FILE, which holds what was cut off; "
            "`distill-eval run --retry-truncated --max-tokens N` knows its file by itself"
        )
    published = PRESETS[settings.preset].timeout_s if settings.preset else None
    if published is not None and "timeout_s" not in given:
        settings = dataclasses.replace(settings, timeout_s=published)
    return dataclasses.replace(settings, run=settings.run or secrets.token_hex(4))


def refuse_name(name: str) -> None:
    """Refuse a model_arg that does not exist, and a key in the open.

    Raises:
        ValueError: one line that names the next step.
    """
    if name in READERS:
        return
    if name in ("api_key", "openai_api_key", "token", "api_token"):
        raise ValueError(
            f"{name}= is refused: lm-eval writes model_args into its log and results; put the key "
            "into the environment (OPENAI_API_KEY, or the variable that api_key_env names)"
        )
    if name in OTHER_NAMES:
        raise ValueError(f"unknown model_arg {name!r}; here it is {OTHER_NAMES[name]}")
    hint = close_to(name, READERS) or f"; known are {', '.join(READERS)}"
    raise ValueError(f"unknown model_arg {name!r}{hint}")


def close_to(name: str, known: Mapping[str, Any]) -> str:
    """Return a hint at close names, empty where there is none."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def instead_of(name: str) -> str:
    """Say what sets a field that extra_body must not."""
    if name in FIELDS or name in ("model", "stream", "seed"):
        return f"; use the model_arg {name}"
    return {
        "stop": "; stop strings fire inside the reasoning (tasks' `until` is applied after it)",
        "n": "; use --repeats, which gives every sample a seed of its own",
        "messages": "; the task makes the messages",
    }[name]


def read_text(name: str, value: Any) -> str:
    """Read a string; lm-eval makes numbers of strings that look like one."""
    if isinstance(value, dict | list | bool):
        raise ValueError(f"{name} must be text, got {value!r}")
    return str(value).strip()


def read_servers(name: str, value: Any) -> str:
    """Read the address of a server, or of several: a list, or one text with `|` between them."""
    given = value if isinstance(value, list | tuple) else [value]
    text = " ".join(read_text(name, one) for one in given)
    return "|".join(endpoint.base for endpoint in servers_of(text))


def read_int(low: int) -> Callable[[str, Any], int]:
    """Build a reader of whole numbers from `low` on."""

    def read(name: str, value: Any) -> int:
        number = read_number(-float("inf"))(name, value)
        if number != int(number) or number < low:
            raise ValueError(f"{name} must be a whole number >= {low}, got {value!r}")
        return int(number)

    return read


def read_number(above: float) -> Callable[[str, Any], float]:
    """Build a reader of finite numbers above a bound."""

    def read(name: str, value: Any) -> float:
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not above < number < float("inf"):
            bound = "" if above == -float("inf") else f" above {above:g}"
            raise ValueError(f"{name} must be a number{bound}, got {value!r}")
        return number

    return read


def read_bool(name: str, value: Any) -> bool:
    """Read true or false, as JSON or as text."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError(f"{name} must be true or false, got {value!r}")


def read_object(name: str, value: Any) -> dict[str, Any]:
    """Read a JSON object, parsed already or as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as bad:
            raise ValueError(
                f"{name} must be a JSON object, got {value!r}; one with a comma in it only passes "
                "when all of --model_args is JSON"
            ) from bad
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object, got {value!r}")
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as bad:
        raise ValueError(f"{name} must hold JSON values only: {bad}") from bad
    return value


def read_headers(name: str, value: Any) -> dict[str, str]:
    """Read headers; neither values nor a value that is no header are shown."""
    headers = {key: str(text) for key, text in read_object(name, value).items()}
    for key, text in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key):
            raise ValueError(f"headers holds a name that no header may have: {key!r}")
        if not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError(f"the value of the header {key!r} holds a character that none may")
    return headers


def read_wire_names(name: str, value: Any) -> dict[str, str | None]:
    """Read what an API calls our fields; null leaves a field out."""
    names = read_object(name, value)
    for field_name, other in names.items():
        if field_name not in (*FIELDS, "seed"):
            raise ValueError(
                f"{name} names {field_name!r}, which is none of {', '.join(FIELDS)} and seed"
            )
        if not (other is None or (isinstance(other, str) and re.fullmatch(r"\w{1,64}", other))):
            raise ValueError(f"{name}: {field_name} must be a field's name or null, got {other!r}")
    return names


def read_run(name: str, value: Any) -> str:
    """Read the run's name, which becomes the first part of every request id."""
    run = read_text(name, value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", run):
        raise ValueError(
            f"run must be letters, digits, '.', '_' and '-', at most 100 of them, got {value!r}"
        )
    return run


def read_variable(name: str, value: Any) -> str:
    """Read the name of an environment variable; what is none may be a key and is not shown."""
    variable = read_text(name, value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise ValueError(f"{name} must be the name of an environment variable, not the key itself")
    return variable


READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "base_url": read_servers,
    "model": read_text,
    "run": read_run,
    "api_key_env": read_variable,
    "num_concurrent": read_int(1),
    "preset": read_text,
    **{name: read_int(-1) if name in WHOLE else read_number(-float("inf")) for name in FIELDS},
    "seed": read_int(-(2**63)),
    "timeout_s": read_number(0),
    "stall_timeout_s": read_number(0),
    "max_retries": read_int(0),
    "system_prompt": read_text,
    "chat_template_kwargs": read_object,
    "extra_body": read_object,
    "headers": read_headers,
    "stream": read_bool,
    "prefilled": read_bool,
    "store": read_text,
    "retry_truncated": read_int(1),
    "wire_names": read_wire_names,
}


@dataclass(frozen=True)
class RequestFields:
    """What one task's requests have in common beside model and messages.

    `overridden` names each field that two sources set differently: (field, loser, its value,
    winner, its value).
    """

    sampling: dict[str, Any]
    until: list[str]
    seed: int
    overridden: list[tuple[str, str, Any, str, Any]]
    limit_is_default: bool  # nobody set max_tokens but the preset or the default
    wire_names: Mapping[str, str | None] = field(default_factory=dict)


def request_fields(
    settings: Settings, generation_kwargs: Mapping[str, Any], task_name: str = ""
) -> RequestFields:
    """Merge the sources; `until` comes out apart, since it must not reach the server.

    A preset may have a max_tokens of its own for the task of this name.

    Raises:
        ValueError: a generation_kwargs value outside its range, a misspelt field, or `n`.
    """
    task, passed_on = from_task(generation_kwargs)
    preset = PRESETS[settings.preset].for_task(task_name).to_request() if settings.preset else {}
    mine = settings.explicit_sampling()
    overridden = [
        (name, "the task's generation_kwargs", task[name], "model_args", mine[name])
        for name in FIELDS
        if name in task and name in mine and task[name] != mine[name]
    ] + [
        (name, f"preset {settings.preset}", preset[name], "the task's generation_kwargs", value)
        for name, value in task.items()
        if name in preset and name not in mine and preset[name] != value
    ]
    config = SamplingConfig(**{**PRESETS["greedy"].to_request(), **preset, **task, **mine})
    template = dict(settings.chat_template_kwargs)
    left_out = [name for name, other in settings.wire_names.items() if other is None]
    return RequestFields(
        sampling={
            **{k: v for k, v in config.to_request().items() if k not in left_out},
            **passed_on,
            **({"chat_template_kwargs": template} if template else {}),
            **settings.extra_body,
        },
        until=stops_of(generation_kwargs),
        seed=settings.seed,
        overridden=overridden,
        limit_is_default="max_tokens" not in {**task, **mine},
        wire_names=settings.wire_names,
    )


def from_task(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a task's sampling fields under our names, and what is passed on as it is."""
    if given.get("n") not in (None, 1):
        raise ValueError(
            f"generation_kwargs sets n={given['n']!r}; use repeats, with a seed for each sample"
        )
    fields = {
        name: READERS[name](name, given[name]) for name in FIELDS if given.get(name) is not None
    }
    for name in TOKEN_LIMITS:
        if given.get(name) is not None:
            fields["max_tokens"] = read_int(1)(name, given[name])
            break
    if given.get("do_sample") is False:
        fields["temperature"] = 0.0
    passed_on = {
        k: v for k, v in given.items() if k not in (*GENERATION_ONLY, "n") and v is not None
    }
    for name in passed_on:
        meant = difflib.get_close_matches(name, [*FIELDS, *GENERATION_ONLY], n=1, cutoff=0.88)
        if meant:
            raise ValueError(
                f"generation_kwargs sets {name!r}; did you mean {meant[0]!r}? "
                "A field that only the server knows goes into extra_body of --model_args"
            )
    return fields, passed_on


def stops_of(generation_kwargs: Mapping[str, Any]) -> list[str]:
    """Return the stop strings of a task."""
    stops: list[str] = []
    for name in ("until", "stop"):
        value = generation_kwargs.get(name) or []
        stops += [value] if isinstance(value, str) else [str(stop) for stop in value]
    return [stop for stop in stops if stop]


def request_id_of(run: str, task: str, doc_id: Any, sample_index: int) -> str:
    """Build the id of one sample; what a header cannot hold of the task's name is quoted."""
    return f"{run}/{quote(str(task), safe='+:@,=')}/{doc_id}/{sample_index}"
