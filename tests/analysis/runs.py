"""Builds run folders as lm-eval writes them, for the tests of the analysis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness_tasks.reasoning import split
from harness_tasks.records import SampleRecord, Verdict
from proxy.exchange import Exchange, messages_sha256

TIME = "2026-01-31T10-00-00.000000"
Row = dict[str, Any]


def foreign_row(
    doc_id: int, value: Any, *, text: str = "the answer", metric: str = "exact_match", **more: Any
) -> Row:
    """Return a row of a task that is not ours."""
    return {
        "doc_id": doc_id,
        "doc": {"question": f"question {doc_id}"},
        "target": str(doc_id),
        "arguments": {"gen_args_0": {"arg_0": f"question {doc_id}", "arg_1": {"temperature": 0.0}}},
        "resps": [[text]],
        "filtered_resps": [text],
        "filter": "none",
        "metrics": [metric],
        "doc_hash": f"hash {doc_id}",
        metric: value,
        **more,
    }


def exchange(doc_id: int, **fields: Any) -> Exchange:
    """Return the student's exchange of a doc, under an id that no sample names."""
    messages = [{"role": "user", "content": f"question {doc_id}"}]
    return Exchange(
        request_id=f"proxy-{doc_id}",
        started_at="2026-01-31T10:00:00+00:00",
        endpoint="/v1/chat/completions",
        upstream="http://127.0.0.1:1",
        model_served="student-model",
        messages=messages,
        messages_sha256=messages_sha256(messages),
        **fields,
    )


def record(index: int, verdict: str, **more: Any) -> Row:
    """Return one of our per-sample records as JSON."""
    fields: dict[str, Any] = {
        "answer": "1",
        "truncated": False,
        "state": "none",
        "finish_reason": "stop",
    }
    return SampleRecord(
        sample_index=index, verdict=Verdict(verdict), **{**fields, **more}
    ).to_json()


def our_row(doc_id: int, verdicts: list[str], *, texts: list[str] | None = None) -> Row:
    """Return a row of one of our tasks with one record a verdict."""
    texts = texts or [f"answer {doc_id}"] * len(verdicts)
    row = foreign_row(doc_id, 0.0, metric="score")
    row["resps"] = [texts]
    row["samples"] = []
    for i, (verdict, text) in enumerate(zip(verdicts, texts, strict=True)):
        parts = split(text)
        sizes = {"reasoning_chars": len(parts.reasoning), "answer_chars": len(parts.answer_text)}
        row["samples"].append(record(i, verdict, **sizes))
    return row


def write_run(
    folder: Path,
    rows: list[Row],
    *,
    task: str = "quiz",
    time: str = TIME,
    config: dict[str, Any] | None = None,
    results: dict[str, Any] | None = None,
    model: str = "some-model",
) -> Path:
    """Write the samples and the results of one task, and return the run's folder."""
    inner = folder / model
    inner.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (inner / f"samples_{task}_{time}.jsonl").write_text(lines, encoding="utf-8")
    content = {
        "config": {"model": "hf", "model_args": {"pretrained": model}, **(config or {})},
        **(results or {}),
    }
    (inner / f"results_{time}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def pair_of_runs(
    folder: Path, baseline: list[Row], candidate: list[Row], **more: Any
) -> tuple[Path, Path]:
    """Write two runs of one task by two models."""
    return (
        write_run(folder / "base", baseline, model="base-model", **more),
        write_run(folder / "student", candidate, model="student-model", **more),
    )
