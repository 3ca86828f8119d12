"""The run manifest: what a run asked, of which model, with which sampling, and where the files lie.

Owns `manifest.json` in a run's folder (DESIGN 4.5): written when the run starts, completed when it
ends, however it ends. Refuses to own running (`run`) and comparing (`analysis`).

Example, shortened:

    {"schema": 1, "run": "base", "status": "finished", "suite_version": "0.1.0",
     "tasks": {"distill_math500": {"version": 1.0, "n_docs": 500, "repeats": 1,
               "dataset": {"hub_id": "HuggingFaceH4/MATH-500", "sha256": "f4ba...", ...},
               "prompt_sha256": "..."}},
     "sampling": {"temperature": 0.6, ...}, "model": {"requested": "...", "served": "...", ...}}
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness_tasks.records import parse_object, read_jsonl
from harness_tasks.sources import DatasetInfo

SCHEMA_VERSION = 1
FILE_NAME = "manifest.json"
HIDDEN = "***"

Manifest = dict[str, Any]

# A value that follows one of these names is a secret: `token=...`, `"api_key": "..."`. The name of
# the environment variable (`api_key_env=`) is none, and `max_tokens=` is no token. Headers may hold
# a secret under any name.
SECRET_NAME = r"(?:\w*_)?(?:token|api_key|password|secret|authorization|cookie)"
SECRETS = re.compile(
    rf"""(?ix)
    ( (?<![\w]) {SECRET_NAME} = | ["'] {SECRET_NAME} ["'] \s* : \s* )
    ( "[^"]*" | '[^']*' | [^,\s}}]+ )
    """
)
HEADERS = re.compile(r"""(\bheaders=|["']headers["']\s*:\s*)\{[^{}]*\}""")
URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def redacted(text: str) -> str:
    """Return the text with values of secrets replaced by ***."""
    text = SECRETS.sub(rf"\1{HIDDEN}", HEADERS.sub(rf"\1{HIDDEN}", text))
    return URL_PASSWORD.sub(f"{HIDDEN}@", text)


def without_secrets(value: Any) -> Any:
    """Return a copy of plain data in which secrets are replaced by ***, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if re.fullmatch(SECRET_NAME, str(key), re.IGNORECASE)
            else without_secrets(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(part) for part in value]
    return redacted(value) if isinstance(value, str) else value


def version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def started(run: str, argv: Sequence[str], settings: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a run that begins now."""
    return {
        "schema": SCHEMA_VERSION,
        "run": run,
        "status": "running",
        "created_at": now(),
        "finished_at": None,
        "suite_version": version_of("distill-eval"),
        "lm_eval_version": version_of("lm_eval"),
        "argv": [redacted(arg) for arg in argv],
        "settings": without_secrets(settings),
        "tasks": {},
        "sampling": None,
        "base_seed": None,
        "model": {"requested": None, "served": None, "base_url": None},
        "server": {"kind": None, "version": None},
        "isolation": None,
        "results": [],
        "retried": None,
        "asking": None,
        "process": None,
        "error": None,
    }


def read(folder: Path) -> Manifest | None:
    """Return the folder's manifest, or None where there is none.

    Raises:
        ValueError: the file is no manifest of this schema.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    manifest = parse_object(path.read_text(encoding="utf-8", errors="replace"), str(path))
    if manifest.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: manifest has schema {manifest.get('schema')!r}, this version reads "
            f"{SCHEMA_VERSION}"
        )
    return manifest


def write(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest so that a reader sees the old one or the new one, never half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    draft = folder / f".{FILE_NAME}.{os.getpid()}"
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        draft.replace(path)
    except OSError as full:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OSError(full.errno, full.strerror, str(path)) from full
    return path


def all_failed(manifest: Mapping[str, Any], tasks: Iterable[str]) -> str | None:
    """Say that every request of these tasks failed, None where one did not."""
    entries = [manifest["tasks"][task] for task in tasks]
    n_samples = sum(entry.get("n_samples") or 0 for entry in entries)
    n_errors = sum(entry.get("n_errors") or 0 for entry in entries)
    if not n_samples or n_errors < n_samples:
        return None
    cause = next((entry["error"] for entry in entries if entry.get("error")), "no cause told")
    return f"all {n_samples} requests failed: {cause}"


def measured(manifest: Mapping[str, Any]) -> set[str]:
    """Return the tasks that a run has finished; one whose requests all failed it has not."""
    return {
        name
        for name, entry in (manifest.get("tasks") or {}).items()
        if not entry.get("n_samples") or entry.get("n_errors") != entry["n_samples"]
    }


def add_results(
    manifest: Manifest, folder: Path, results_path: Path, loaded: Mapping[str, DatasetInfo]
) -> list[str]:
    """Fill in what one of lm-eval's results files, and the samples files beside it, tell.

    Returns the names of its tasks.

    Raises:
        OSError: a samples file is missing: lm-eval reports a failure to write it in its log only.
        ValueError: the results file is no JSON object, or a samples file is damaged.
    """
    results = parse_object(results_path.read_text(encoding="utf-8"), str(results_path))
    config = results.get("config") or {}
    for task in results.get("configs") or {}:
        before = manifest["tasks"].get(task) or {}
        entry = task_entry(task, results, results_path, loaded)
        manifest["tasks"][task] = entry | {"retried": retried(task, before, entry, config)}
    manifest["retried"] = retried_of_all(manifest["tasks"])
    manifest["sampling"] = config.get("sampling")
    manifest["base_seed"] = config.get("base_seed")
    manifest["model"] = model_entry(config)
    manifest["server"] = server_entry(config.get("server"))
    manifest["results"].append(str(results_path.relative_to(folder)))
    return list(results.get("configs") or {})


def model_entry(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name the model; models other than `local-chat` tell what they were asked for only."""
    given = config.get("model_args")
    model_args: Mapping[str, Any] = given if isinstance(given, dict) else {}
    named = model_args.get("model") or model_args.get("pretrained") or config.get("model")
    base_url = config.get("base_url") or model_args.get("base_url")
    return {
        "requested": config.get("model_requested") or named,
        "served": config.get("model_served"),
        "base_url": redacted(str(base_url)) if base_url else None,
    }


def server_entry(told: Any) -> dict[str, Any]:
    """Return kind and version of the server, each None where it did not tell."""
    if isinstance(told, Mapping):
        kind = told.get("kind") or told.get("name")
        return {"kind": kind, "version": told.get("version")}
    return {"kind": told or None, "version": None}


def task_entry(
    task: str, results: Mapping[str, Any], results_path: Path, loaded: Mapping[str, DatasetInfo]
) -> dict[str, Any]:
    """Describe one task of a results file."""
    config = results["configs"][task]
    info = loaded.get((config.get("dataset_kwargs") or {}).get("source", ""))
    prompt_sha256, n_docs = prompts(samples_path(results_path, task))
    told = (results.get("config") or {}).get("completions") or {}
    counted = told.get(task) or counts_of_samples(samples_path(results_path, task))
    return {
        "version": (results.get("versions") or {}).get(task),
        "dataset": dataclasses.asdict(info) if info else None,
        "prompt_sha256": prompt_sha256,
        "n_docs": n_docs,
        "repeats": config.get("repeats", 1),
        "tier": (config.get("metadata") or {}).get("tier"),
        "sampling": (results.get("config") or {}).get("sampling_by_task", {}).get(task),
        "task_hash": (results.get("task_hashes") or {}).get(task),
        **counted,
        "samples": samples_path(results_path, task).name,
    }


def retried(
    task: str, before: Mapping[str, Any], entry: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what of a task was asked again, now and earlier; None where nothing was.

    The samples files that this replaces stay on disk, and are named.
    """
    earlier = before.get("retried") or {}
    told = dict(earlier)
    replaced = [*earlier.get("replaced", ()), *([before["samples"]] if "samples" in before else ())]
    again = (before.get("n_errors") or 0) - (entry.get("n_errors") or 0)
    if again > 0:
        n_before = (earlier.get("errors") or {}).get("n_samples", 0)
        told["errors"] = {"n_samples": n_before + again, "at": now()}
    truncated = config.get("retried") or {}
    if task in truncated.get("was", {}):
        was = (earlier.get("truncated") or {}).get("was", truncated["was"][task])
        told["truncated"] = {
            "max_tokens": truncated["max_tokens"],
            "was": was,
            "n_samples": truncated["n_samples"].get(task, 0),
            "at": now(),
        }
    return told | {"replaced": replaced} if told else None


def retried_of_all(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what of a run was asked again, all tasks together; None where nothing was."""
    found: dict[str, Any] = {}
    for name, entry in tasks.items():
        for kind in ("errors", "truncated"):
            one = (entry.get("retried") or {}).get(kind)
            if one:
                total = found.setdefault(kind, {**one, "n_samples": 0, "tasks": []})
                total["n_samples"] += one["n_samples"]
                total["tasks"].append(name)
    return found or None


def counts_of_samples(path: Path) -> dict[str, int]:
    """Count completions and those cut off, for models that do not count them themselves.

    Such a model answers in this process: it has no requests that fail.
    """
    n_samples: dict[Any, int] = {}
    cut: dict[Any, int] = {}
    for row in read_jsonl(path):
        records = row.get("samples")
        doc = row.get("doc_id")
        if isinstance(records, list):
            n_samples[doc] = len(records)
            cut[doc] = sum(bool(one.get("truncated")) for one in records if isinstance(one, dict))
        else:
            responses = row.get("resps")
            first = responses[0] if isinstance(responses, list) and responses else None
            n_samples[doc] = len(first) if isinstance(first, list) else 1
    return {"n_samples": sum(n_samples.values()), "n_errors": 0, "n_truncated": sum(cut.values())}


def samples_path(results_path: Path, task: str) -> Path:
    """Return the samples file that lm-eval writes beside a results file."""
    stamp = results_path.stem.removeprefix("results_")
    return results_path.with_name(f"samples_{task}_{stamp}.jsonl")


def prompts(path: Path) -> tuple[str, int]:
    """Return the sha256 over all prompts of a samples file, by doc_id, and the number of docs.

    A prompt counts as the messages that go on the wire, so that runs with and without
    `--apply_chat_template` agree where they sent the same.

    Raises:
        OSError: the file is missing.
        ValueError: the file is damaged.
    """
    if not path.is_file():
        raise OSError(
            f"lm-eval wrote no samples file {path}: the samples are lost; its log above tells "
            "why (a full disk, or text that is not valid Unicode)"
        )
    shas = {
        int(row["doc_id"]): hashlib.sha256(canonical_prompt(row)).hexdigest()
        for row in read_jsonl(path)
    }
    lines = "\n".join(f"{doc_id} {sha}" for doc_id, sha in sorted(shas.items()))
    return hashlib.sha256(lines.encode()).hexdigest(), len(shas)


def canonical_prompt(row: Mapping[str, Any]) -> bytes:
    """Return the messages of a sample's first request as canonical JSON."""
    arguments = row["arguments"]
    first = next(iter(arguments.values())) if isinstance(arguments, dict) else arguments[0]
    prompt = first["arg_0"] if isinstance(first, dict) else first[0]
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    messages = parsed_messages(prompt) or [{"role": "user", "content": prompt}]
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", errors="surrogatepass")


def parsed_messages(prompt: Any) -> list[Any] | None:
    """Return the messages that a chat-template prompt holds as JSON, or None for plain text."""
    if not isinstance(prompt, str) or not prompt.startswith("["):
        return None
    try:
        messages = json.loads(prompt)
    except (ValueError, RecursionError):
        return None
    is_messages = isinstance(messages, list) and all(
        isinstance(message, dict) and "role" in message for message in messages
    )
    return messages if is_messages and messages else None
