"""Training data: composition, statistics by the columns of the published table, buckets, topics."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.tables.dataset import dataset
from harness_tasks.records import Verdict
from tests.analysis.series.making import first, invoke
from tests.conftest import SHARED, needs_shared
from training.records import Question, Trace, write_records
from training.traces.report import statistics_rows


def trace(number: int, think: int, answer: int = 4, **more: Any) -> Trace:
    fields: dict[str, Any] = {
        "teacher": "r1",
        "kept": True,
        "verdict": Verdict.CORRECT,
        "meta": {},
        "source": "numina",
        **more,
    }
    question = Question(
        id=f"q{number}",
        question=f"question {number}",
        answer="4",
        source=fields.pop("source"),
        meta=fields.pop("meta"),
    )
    return Trace(
        id=f"q{number}/r1/0",
        question=question,
        sample_index=0,
        messages=[{"role": "user", "content": "asked"}],
        reasoning="r" * think,
        answer_text="a" * answer,
        state="closed",
        finish_reason="stop",
        truncated=False,
        answer="4",
        **fields,
    )


def written(path: Path, *traces: Trace) -> Path:
    write_records(path, traces)
    return path


@needs_shared
def test_the_published_buckets_come_out_of_a_traces_file(tmp_path: Path) -> None:
    text = (SHARED / "golden" / "published.json").read_text(encoding="utf-8")
    told = json.loads(text)["think_length_buckets"]
    edges, counts = told["edges_chars"], told["counts"]
    lengths = [
        (low if n % 2 else high - 1)
        for low, high, count in zip(edges, [*edges[1:], 30_000], counts, strict=True)
        for n in range(count)
    ]
    path = written(tmp_path / "t.jsonl", *(trace(i, size) for i, size in enumerate(lengths)))
    table = dataset([path])[2]
    assert table.column("chars") == [
        "none", "1-499", "500-1999", "2000-4999", "5000-19999", "20000 and more",
    ]  # fmt: skip
    assert table.column("traces") == [0, *counts]
    assert sum(table.column("traces")) == told["n"]  # type: ignore[arg-type]


@needs_shared
def test_the_published_statistics_have_their_columns_and_their_rule(tmp_path: Path) -> None:
    text = (SHARED / "golden" / "published.json").read_text(encoding="utf-8")
    told = json.loads(text)["trace_statistics"]
    # 101 lengths with the published median and p95 in their places, and their mean
    lengths = {}
    for name, median, mean, p95 in zip(
        told["columns"], told["median_chars"], told["mean_chars"], told["p95_chars"], strict=True
    ):
        low = [median - 1] * 50
        high = [median + 1] * 44 + [p95] * 6
        rest = round(101 * mean) - sum(low) - median - sum(high)
        spread = np.full(50, rest // 50) if rest < 0 else np.zeros(50, dtype=int)
        low = [value + int(extra) for value, extra in zip(low, spread, strict=True)]
        if rest > 0:  # the largest one takes what is missing
            high[-1] += rest
        lengths[name] = [*low, median, *high]
    traces = [
        trace(1000 * number + i, size - 4, source=name)
        for number, (name, sizes) in enumerate(lengths.items())
        for i, size in enumerate(sizes)
    ]
    table = dataset([written(tmp_path / "t.jsonl", *traces)])[1]
    for at, name in enumerate(told["columns"]):
        row = first(table, source=name)
        assert (row["generated"], row["available"], row["used"]) == (101, 101, 101)
        assert row["median_chars"] == told["median_chars"][at]
        assert row["p95_chars"] == told["p95_chars"][at]
        assert row["mean_chars"] == pytest.approx(told["mean_chars"][at], abs=1)


def test_the_figures_are_those_that_the_training_command_prints(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    traces = [
        trace(
            i,
            int(rng.integers(0, 6000)),
            source=["numina", "gsm8k"][i % 2],
            verdict=Verdict.CORRECT if i % 3 else Verdict.INCORRECT,
            kept=i % 3 == 1,
        )
        for i in range(60)
    ]
    table = dataset([written(tmp_path / "t.jsonl", *traces)])[1]
    names = [column.name for column in table.columns]
    assert [dict(zip(names, row, strict=True)) for row in table.rows] == statistics_rows(traces)


def test_composition_counts_source_verdict_and_kept(tmp_path: Path) -> None:
    traces = [trace(0, 5), trace(1, 5), trace(2, 5, kept=False, verdict=Verdict.INCORRECT)]
    table = dataset([written(tmp_path / "t.jsonl", *traces)])[0]
    assert first(table, source="numina", kept="yes")["n"] == 2
    assert first(table, verdict="incorrect", kept="no")["share"] == pytest.approx(1 / 3)
    assert first(table, source="all")["n"] == 3


def test_topics_count_questions_lines_and_what_is_used(tmp_path: Path) -> None:
    traces = [
        trace(0, 5, meta={"subject": "algebra"}),
        trace(0, 6, meta={"subject": "algebra"}, kept=False),
        trace(1, 5, meta={"subject": "geometry"}),
    ]
    path = written(tmp_path / "t.jsonl", *traces)
    table = dataset([path])[3]
    row = first(table, topic="algebra")
    assert (row["field"], row["questions"], row["n"], row["used"]) == ("meta.subject", 1, 2, 1)
    assert row["share"] == pytest.approx(0.5)
    by_source = dataset([path], "source")[3]
    assert by_source.column("topic") == ["numina"]


def test_damaged_lines_are_counted_and_named_and_the_rest_is_used(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", trace(0, 5), trace(1, 5))
    with path.open("ab") as out:
        out.write(b'{"question": 7}\n[1]\n\n{"question": {"id": "x", "question": "ok"}}\n{"que')
    notes = dataset([path])[0].notes
    assert "3 of 6 lines of the training data could not be used" in notes[0]
    assert "t.jsonl:3: no question in it" in notes[0]
    assert "t.jsonl:7" in notes[0]


def test_questions_alone_have_sources_and_topics_and_no_traces(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    write_records(path, [Question(id="a", question="1+1?", answer="2", source="gsm8k", level="3")])
    composition, statistics, thinking, topics = dataset([path])
    assert first(composition, source="gsm8k")["kept"] == "-"
    assert statistics.rows == []
    assert "no traces" in statistics.empty
    assert "no traces" in thinking.empty
    assert first(topics)["field"] == "level"


def test_files_of_others_are_read_by_the_names_in_use(tmp_path: Path) -> None:
    rows = [
        {"problem": "1+1?", "reasoning_content": "abc", "response": "2", "is_correct": True},
        {"messages": [{"role": "user", "content": "2+2?"},
                      {"role": "assistant", "content": "<think>abcd</think>4"}]},
    ]  # fmt: skip
    path = tmp_path / "t.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    table = dataset([path])[1]
    (row,) = table.rows
    assert row[2:5] == (2, 1, 2)
    assert row[6] == pytest.approx((4 + 5) / 2)


def test_several_files_stand_apart_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [
        written(tmp_path / "t.jsonl", trace(0, 5), trace(1, 600)),
        written(tmp_path / "b" / "t.jsonl", trace(0, 5)),
    ]
    composition, statistics, thinking, _ = dataset(paths)
    assert statistics.column("file") == [str(path) for path in paths]
    assert statistics.column("used") == [2, 1]
    assert first(composition, file=str(paths[1]), source="all")["n"] == 1
    assert first(thinking, file=str(paths[0]), chars="500-1999")["traces"] == 1


def test_a_file_without_a_usable_line_and_a_folder_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "t.jsonl"
    empty.write_text('{"a": 1}\n', encoding="utf-8")
    done = invoke("dataset", empty)
    assert done.exit_code == 2
    assert "no line holds a question or a trace" in done.stderr
    assert "expected a file" in invoke("dataset", tmp_path).stderr


@needs_shared
def test_published_traces_are_counted_as_their_card_says() -> None:
    folder = SHARED / "data" / "outputs" / "distill_traces"
    tables = dataset([folder / "luckyIITR__deepseek-reasoner_pcmb.jsonl.gz"])
    assert first(tables[0], source="all")["n"] == 413
    row = first(tables[1])
    assert (row["teacher"], row["available"], row["used"]) == ("deepseek-reasoner", 413, 413)
    assert sum(tables[2].column("traces")) == 413  # type: ignore[arg-type]
    assert {"biology", "physics", "chemistry"} <= set(tables[3].column("topic"))
