"""What the files of a run tell of how a task was asked: sampling, versions, server, data.

Owns where each of these stands in lm-eval's results and in our manifest, and under which one name.
Refuses to own which difference matters (`rules`) and the rows (`comparability`). A run without
samples, known by its manifest or results alone, is told of as well.

    sampling_of(run)            # {"temperature": 0.6, "max_tokens": 32768}, None where unknown
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from analysis.reading.exchanges import NOT_SAMPLING
from analysis.reading.folder import SamplesFile, literal, mapping

TOKEN_LIMIT = "max_tokens"
SAME_NAME = {
    "max_gen_toks": TOKEN_LIMIT,
    "max_new_tokens": TOKEN_LIMIT,
    "max_completion_tokens": TOKEN_LIMIT,
}
SAMPLING_FIELDS = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "do_sample", "num_beams"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty", TOKEN_LIMIT),
        *("reasoning_effort", "enable_thinking", "chat_template_kwargs", "extra_body"),
        *("stop", "until"),
    )
)
# Model arguments that stand elsewhere, or say which model and where.
NOT_COMPARED = frozenset(
    (
        *("model", "pretrained", "base_url", "run", "api_key_env", "peft", "tokenizer"),
        *("seed", "store", "system_prompt", "retry_truncated"),
    )
)
EMPTY: tuple[Any, ...] = (None, [], {}, "")


class Told(Protocol):
    """A task of one arm, with or without its samples."""

    @property
    def file(self) -> SamplesFile:
        """Return its files."""

    @property
    def gen_kwargs(self) -> tuple[str, ...]:
        """Return the distinct generation arguments of its rows, as JSON."""


@dataclass(frozen=True)
class Recorded:
    """A task of which only the manifest or the results file is known."""

    file: SamplesFile
    gen_kwargs: tuple[str, ...] = ()


def entry_of(run: Told) -> dict[str, Any]:
    """Return what the manifest says of the task."""
    return mapping(mapping(run.file.manifest.get("tasks")).get(run.file.task))


def asking_of(run: Told, name: str) -> Any:
    """Return what the manifest says that the task is asked with, finished or not; None for none."""
    return mapping(mapping(run.file.manifest.get("asking")).get(name)).get(run.file.task)


def dataset_of(run: Told) -> dict[str, Any]:
    """Return what the manifest says of the task's data set."""
    return mapping(entry_of(run).get("dataset"))


def settings_of(run: Told) -> dict[str, Any]:
    """Return the settings in the manifest: what was asked for, without secrets."""
    return mapping(run.file.manifest.get("settings"))


def of_results(run: Told, name: str) -> Any:
    """Return the task's part of a block of lm-eval's results, None where there is none."""
    return mapping(run.file.results.get(name)).get(run.file.task)


def version_of(run: Told) -> str | None:
    """Return the task's version as lm-eval or the manifest has it, None where neither tells."""
    told = of_results(run, "versions")
    told = entry_of(run).get("version") if told is None else told
    return None if told is None else str(told)


def n_docs_of(run: Told) -> int | None:
    """Return how many questions were asked, None where no file tells."""
    told = entry_of(run).get("n_docs")
    if told is None:
        told = mapping(of_results(run, "n-samples")).get("effective")
    return told if isinstance(told, int) else None


def n_completions_of(run: Told) -> int | None:
    """Return how many completions were asked for, finished or not, None where no file tells."""
    told = entry_of(run).get("n_samples", asking_of(run, "n_requests"))
    return told if isinstance(told, int) else None


def repeats_of(run: Told) -> int | None:
    """Return how many completions of each question were asked for, None where no file tells."""
    told = entry_of(run).get("repeats", run.file.task_config.get("repeats"))
    told = settings_of(run).get("repeats") if told is None else told
    return told if isinstance(told, int) else None


def n_shot_of(run: Told) -> int | None:
    """Return how many examples stood in each prompt, None where no file tells."""
    told = of_results(run, "n-shot")
    told = settings_of(run).get("num_fewshot") if told is None else told
    return told if isinstance(told, int) else None


def tier_of(run: Told) -> str | None:
    """Return the tier of reasoning that the task was asked in, None for none."""
    told = mapping(run.file.task_config.get("metadata")).get("tier") or entry_of(run).get("tier")
    return str(told).lower() if told else None


def retried_of(run: Told, what: str) -> dict[str, Any]:
    """Return what of the task was asked again, "truncated" or "errors"; {} for nothing.

    The manifest has it by task; without one, `local-chat` leaves the limit in lm-eval's results.
    """
    entry, task = entry_of(run), run.file.task
    if "retried" in entry:
        return mapping(mapping(entry["retried"]).get(what))
    recorded = mapping(run.file.config.get("retried"))
    if what == "truncated" and task in mapping(recorded.get("was")):
        return {TOKEN_LIMIT: recorded.get(TOKEN_LIMIT)}
    told = mapping(mapping(run.file.manifest.get("retried")).get(what))
    tasks = told.get("tasks")
    return {} if isinstance(tasks, list) and task and task not in tasks else told


def status_of(run: Told) -> str | None:
    """Return the status that the manifest gives the run, None where there is none."""
    told = run.file.manifest.get("status")
    return None if told is None else str(told)


def model_args_of(run: Told) -> dict[str, Any]:
    """Return the model's arguments, of the manifest where no results file has them."""
    return run.file.model_args or mapping(settings_of(run).get("model_args"))


def base_url_of(run: Told) -> str | None:
    """Return the server's address, None where no file tells."""
    recorded = mapping(run.file.manifest.get("model")).get("base_url")
    return run.file.config.get("base_url") or recorded or model_args_of(run).get("base_url")


def base_seed_of(run: Told) -> int | None:
    """Return the seed that the seeds of all samples are made of, None where no file tells."""
    told = (run.file.config.get("base_seed"), run.file.manifest.get("base_seed"))
    return next((one for one in told if one is not None), model_args_of(run).get("seed"))


def sampling_of(run: Told) -> dict[str, Any] | None:
    """Return the sampling of a run, None where no file tells it.

    What `local-chat` sent for this task, as it recorded it; else lm-eval's generation arguments,
    under those of the command line (`--gen_kwargs`), which win, and sampling fields among the model
    arguments.
    """
    recorded = recorded_sampling(run)
    if recorded:
        return normalised({k: v for k, v in recorded.items() if k not in NOT_SAMPLING})
    known = told_sampling(run)
    return known if known or run.file.results else None


def all_sampling_of(run: Told) -> bool:
    """Tell whether a field that `sampling_of` lacks was not sent: rows alone do not tell it."""
    return bool(recorded_sampling(run) or run.file.results)


def told_sampling(run: Told) -> dict[str, Any]:
    """Return the sampling that the rows of a run and its arguments tell, which may not be all."""
    known: dict[str, Any] = {}
    for text in run.gen_kwargs:
        known.update(json.loads(text))
    given = run.file.config.get("gen_kwargs") or settings_of(run).get("gen_kwargs")
    known.update(arguments(given))
    known.update({k: v for k, v in model_args_of(run).items() if plain(k) in SAMPLING_FIELDS})
    return normalised({k: v for k, v in known.items() if plain(k) in SAMPLING_FIELDS})


def arguments(given: Any) -> dict[str, Any]:
    """Return arguments that are an object, or text such as `temperature=0.6,top_p=0.95`."""
    if not isinstance(given, str):
        return mapping(given)
    pairs = (part.split("=", 1) for part in given.split(",") if "=" in part)
    return {name.strip(): literal(value.strip()) for name, value in pairs}


def recorded_sampling(run: Told) -> dict[str, Any]:
    """Return the sampling that `local-chat` recorded, {} for other models.

    `sampling` holds only what all tasks of that run had in common, so the task's own goes first.
    """
    config, manifest = run.file.config, run.file.manifest
    told = (
        mapping(config.get("sampling_by_task")).get(run.file.task),
        entry_of(run).get("sampling"),
        asking_of(run, "sampling"),
        config.get("sampling"),
        manifest.get("sampling"),
    )
    return next((one for one in told if one and isinstance(one, dict)), {})


def plain(name: str) -> str:
    """Return the one name of a field that servers and harnesses call differently."""
    return SAME_NAME.get(name, name)


def normalised(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return sampling under plain names, without what says nothing: null, no stop strings."""
    return {plain(name): value for name, value in sampling.items() if value not in EMPTY}


def around_prompts(run: Told) -> dict[str, Any]:
    """Return the system prompts around every prompt by name, {} where no file would tell."""
    config, results, settings = run.file.config, run.file.results, settings_of(run)
    if not (config or settings):
        return {}
    asked = [one.get("system_instruction") for one in (config, results, settings)]
    own = [config.get("system_prompt"), model_args_of(run).get("system_prompt")]
    return {
        "system_instruction": next(filter(None, asked), None),
        "system_prompt": next(filter(None, own), None),
    }


def circumstances(run: Told) -> dict[str, tuple[str, Any]]:
    """Return what a run's files tell of the circumstances, by name, with the rule of each."""
    file = run.file
    config, manifest = file.config, file.manifest
    recorded = mapping(manifest.get("server"))
    versions = {
        "lm-eval version": file.results.get("lm_eval_version") or manifest.get("lm_eval_version"),
        "suite version": manifest.get("suite_version"),
        "transformers version": file.results.get("transformers_version"),
    }
    server = {
        "server": config.get("server") or (recorded if any(recorded.values()) else None),
        "model backend": config.get("model") or settings_of(run).get("model"),
        "model_dtype": config.get("model_dtype"),
        "max_length": file.results.get("max_length"),
        "batch_size": config.get("batch_size"),
        "chat_template_sha": file.results.get("chat_template_sha"),
    }
    given = {
        f"model_args.{name}": value
        for name, value in model_args_of(run).items()
        if name not in NOT_COMPARED and plain(name) not in SAMPLING_FIELDS
    }
    told = {
        **{name: ("server", value) for name, value in server.items()},
        "data set revision": ("revision", dataset_of(run).get("revision")),
        **{name: ("versions", value) for name, value in versions.items()},
        **{name: ("model arguments", value) for name, value in given.items()},
    }
    return {name: (rule, value) for name, (rule, value) in told.items() if value is not None}
