"""The run manifest: what it takes from lm-eval's files, and what never gets into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import manifest
from harness_tasks.sources import DatasetInfo

INFO = DatasetInfo("math500", "HuggingFaceH4/MATH-500", "6e4e", 500, "ab12", "hub")


def sample(doc_id: int, prompt: Any) -> dict[str, Any]:
    return {"doc_id": doc_id, "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}}


def write_run(folder: Path, samples: list[dict[str, Any]], **config: Any) -> Path:
    """Write a results file with its samples file, as lm-eval does."""
    results = {
        "config": config,
        "configs": {"distill_math500": {"dataset_kwargs": {"source": "math500"}, "repeats": 4}},
        "versions": {"distill_math500": 1.0},
        "task_hashes": {"distill_math500": "cafe"},
    }
    there = folder / "model"
    there.mkdir(parents=True)
    path = there / "results_2026-01-01T00-00-00.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in samples)
    name = "samples_distill_math500_2026-01-01T00-00-00.jsonl"
    (there / name).write_text(lines, encoding="utf-8")
    return path


def finished(folder: Path, samples: list[dict[str, Any]], **config: Any) -> manifest.Manifest:
    record = manifest.started("base", [], {})
    path = write_run(folder, samples, **config)
    manifest.add_results(record, folder, path, {"math500": INFO})
    return record


def test_a_finished_run_tells_what_was_asked(tmp_path: Path) -> None:
    record = finished(
        tmp_path,
        [sample(0, "a"), sample(1, "b"), sample(1, "b")],
        model="local-chat",
        model_requested="m",
        model_served="org/m",
        base_url="http://127.0.0.1:1/v1",
        sampling={"temperature": 0.6},
        server={"kind": "vllm", "version": "0.9"},
    )
    task = record["tasks"]["distill_math500"]
    assert (task["version"], task["repeats"], task["n_docs"]) == (1.0, 4, 2)
    assert task["dataset"]["sha256"] == "ab12"
    assert record["sampling"] == {"temperature": 0.6}
    assert record["model"] == {
        "requested": "m",
        "served": "org/m",
        "base_url": "http://127.0.0.1:1/v1",
    }
    assert record["server"] == {"kind": "vllm", "version": "0.9"}
    assert record["results"] == ["model/results_2026-01-01T00-00-00.json"]


@pytest.mark.parametrize(
    ("told", "kind"), [(None, None), ("vllm", "vllm"), ({"name": "llama.cpp"}, "llama.cpp")]
)
def test_a_server_that_tells_little_is_recorded_as_told(told: Any, kind: str | None) -> None:
    assert manifest.server_entry(told) == {"kind": kind, "version": None}


def test_other_models_are_named_by_their_arguments(tmp_path: Path) -> None:
    record = finished(tmp_path, [sample(0, "a")], model="hf", model_args={"pretrained": "gpt2"})
    assert record["model"] == {"requested": "gpt2", "served": None, "base_url": None}
    assert record["sampling"] is None


def test_prompts_have_one_sha256_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", [sample(0, "a"), sample(1, "b")])
    other = finished(tmp_path / "b", [sample(1, "b"), sample(0, "a")])
    changed = finished(tmp_path / "c", [sample(0, "a"), sample(1, "c")])
    sha256 = [r["tasks"]["distill_math500"]["prompt_sha256"] for r in (one, other, changed)]
    assert sha256[0] == sha256[1] != sha256[2]


@pytest.mark.parametrize(
    "prompt",
    [
        '[{"role": "user", "content": "Wie groß?"}]',
        ['[{"role": "user", "content": "Wie groß?"}]'],
        '[{"content": "Wie groß?", "role": "user"}]',
    ],
)
def test_a_chat_template_that_adds_nothing_changes_no_prompt(prompt: Any) -> None:
    plain = manifest.canonical_prompt(sample(0, "Wie groß?"))
    assert manifest.canonical_prompt(sample(0, prompt)) == plain


@pytest.mark.parametrize("prompt", ["[1, 2]", "[", "[]", '[{"content": "x"}]'])
def test_a_question_that_looks_like_json_stays_a_question(prompt: str) -> None:
    assert json.loads(manifest.canonical_prompt(sample(0, prompt)))[0]["content"] == prompt


def test_arguments_as_lists_are_read_too() -> None:
    row = {"doc_id": 0, "arguments": [["a", {}]]}
    assert manifest.canonical_prompt(row) == manifest.canonical_prompt(sample(0, "a"))


def test_a_lost_samples_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = write_run(tmp_path, [])
    manifest.samples_path(path, "distill_math500").unlink()
    with pytest.raises(OSError, match="lm-eval wrote no samples file"):
        manifest.add_results(manifest.started("base", [], {}), tmp_path, path, {})


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("api_key=sk-1,model=m", "api_key=***,model=m"),
        ("token=hf_1", "token=***"),
        ("HF_TOKEN=hf_1", "HF_TOKEN=***"),
        ('{"api_key": "sk-1", "x": 1}', '{"api_key": ***, "x": 1}'),
        ("{'Authorization': 'Bearer s e c'}", "{'Authorization': ***}"),
        ("headers={'X-Mine': 'a, b'},model=m", "headers=***,model=m"),
        ('{"headers": {"X-Mine": "ab"}, "model": "m"}', '{"headers": ***, "model": "m"}'),
        ("base_url=http://me:pw@host:1/v1", "base_url=http://***@host:1/v1"),
        ("api_key_env=MY_KEY,max_tokens=100", "api_key_env=MY_KEY,max_tokens=100"),
        ("--tasks", "--tasks"),
    ],
)
def test_secrets_are_never_written(text: str, hidden: str) -> None:
    assert manifest.redacted(text) == hidden


def test_secrets_are_hidden_at_any_depth_of_the_settings(tmp_path: Path) -> None:
    settings = {"model_args": {"headers": {"Authorization": "Bearer sk-1"}, "max_tokens": 5}}
    record = manifest.started("base", ["--model_args", "api_key=sk-1"], settings)
    text = manifest.write(tmp_path, record).read_text(encoding="utf-8")
    assert "sk-1" not in text
    assert record["settings"]["model_args"]["max_tokens"] == 5


def test_the_manifest_is_replaced_as_a_whole(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 1, "run": "a"})
    manifest.write(tmp_path, {"schema": 1, "run": "b"})
    assert manifest.read(tmp_path) == {"schema": 1, "run": "b"}
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 2}'])
def test_a_damaged_manifest_is_refused_with_its_path(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"manifest\.json: "):
        manifest.read(tmp_path)


def add(record: manifest.Manifest, folder: Path, stamp: str, **config: Any) -> None:
    """Write a results file with its samples file, and take them up."""
    path = write_run(folder, [sample(0, "a")], **config)
    for name in list(path.parent.iterdir()):
        name.rename(folder / name.name.replace("2026-01-01", stamp))
    path.parent.rmdir()
    results = folder / path.name.replace("2026-01-01", stamp)
    assert manifest.add_results(record, folder, results, {}) == ["distill_math500"]


def told(n_errors: int = 0, n_truncated: int = 0) -> dict[str, Any]:
    one = {"n_samples": 9, "n_errors": n_errors, "n_truncated": n_truncated, "error": None}
    return {"distill_math500": one}


def test_completions_are_counted_as_the_model_counted_them(tmp_path: Path) -> None:
    record = finished(tmp_path, [sample(0, "a")], completions=told(2, 3))
    task = record["tasks"]["distill_math500"]
    assert (task["n_samples"], task["n_errors"], task["n_truncated"]) == (9, 2, 3)
    assert task["samples"] == "samples_distill_math500_2026-01-01T00-00-00.jsonl"
    assert (task["retried"], record["retried"]) == (None, None)


def test_other_models_are_counted_by_their_samples(tmp_path: Path) -> None:
    graded = [{"truncated": True}, {"truncated": False}]
    rows = [
        {**sample(0, "a"), "resps": [["x", "y"]], "samples": graded},
        {**sample(1, "b"), "resps": [["x", "y"]]},
        {**sample(1, "b"), "resps": [["x", "y"]], "filter": "another"},
    ]
    task = finished(tmp_path, rows)["tasks"]["distill_math500"]
    assert (task["n_samples"], task["n_errors"], task["n_truncated"]) == (4, 0, 1)


def test_what_was_asked_again_is_told_and_adds_up(tmp_path: Path) -> None:
    record = manifest.started("base", [], {})
    add(record, tmp_path, "2026-01-01", completions=told(3, 4))
    add(record, tmp_path, "2026-01-02", completions=told(1, 4))
    larger = {
        "max_tokens": 200,
        "was": {"distill_math500": 50},
        "n_samples": {"distill_math500": 4},
    }
    add(record, tmp_path, "2026-01-03", completions=told(1, 1), retried=larger)
    larger = {**larger, "max_tokens": 400, "n_samples": {"distill_math500": 4}}
    add(record, tmp_path, "2026-01-04", completions=told(0, 0), retried=larger)
    task = record["tasks"]["distill_math500"]["retried"]
    assert task["errors"]["n_samples"] == 3
    assert (task["truncated"]["max_tokens"], task["truncated"]["was"]) == (400, 50)
    assert task["replaced"] == [
        f"samples_distill_math500_2026-01-0{day}T00-00-00.jsonl" for day in (1, 2, 3)
    ]
    whole = record["retried"]
    assert (whole["truncated"]["n_samples"], whole["truncated"]["tasks"]) == (
        4,
        ["distill_math500"],
    )
    assert whole["errors"]["n_samples"] == 3


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((5, 5), "all 10 requests failed: HTTP 400"),
        ((5, 4), None),
        ((0, 0), None),
    ],
)
def test_a_run_of_which_everything_failed_is_known(
    errors: tuple[int, int], expected: str | None
) -> None:
    tasks = {
        name: {"n_samples": 5, "n_errors": n, "error": "HTTP 400" if n else None}
        for name, n in zip("ab", errors, strict=True)
    }
    assert manifest.all_failed({"tasks": tasks}, ["a", "b"]) == expected
    assert manifest.measured({"tasks": tasks}) == {
        name for name, entry in tasks.items() if entry["n_errors"] != 5
    }
