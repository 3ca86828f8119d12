from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.reading.texts import FROM_LOG, FROM_SAMPLES, Text, read_texts
from proxy.exchange import to_line
from tests.analysis.runs import exchange, foreign_row, our_row, pair_of_runs

API = {"model": "local-chat-completions"}


def compared(paths: tuple[Path, Path], **options: Any) -> Comparison:
    baseline, candidate = (read_arm(path.name, path, Choice()) for path in paths)
    return compare(baseline, candidate, Options(**options))


def test_only_the_rows_asked_for_come_with_question_target_and_texts(tmp_path: Path) -> None:
    texts = ["<think>why</think>one", "two"]
    rows = [our_row(i, ["correct", "incorrect"], texts=texts) for i in range(4)]
    comparison = compared(pair_of_runs(tmp_path, rows, rows))
    (shown,) = read_texts(comparison, "quiz", "candidate", [3]).values()
    assert (shown.question, shown.prompt, shown.target) == ("question 2", "question 2", "2")
    assert shown.doc == {"question": "question 2"}
    assert shown.texts == {
        0: Text("why", "one", "closed", FROM_SAMPLES),
        1: Text("", "two", "none", FROM_SAMPLES),
    }


@pytest.mark.parametrize("packed", [False, True])
def test_reasoning_that_the_server_sent_apart_comes_from_the_log(
    tmp_path: Path, packed: bool
) -> None:
    rows = [foreign_row(i, 1.0, text=f"answer {i}") for i in range(5)]
    paths = pair_of_runs(tmp_path, rows, rows, config=API)
    lines = b"".join(
        to_line(exchange(i, content=f"answer {i}", reasoning=f"thought {i}")) for i in (3, 1, 0, 2)
    )
    log = tmp_path / ("exchanges-1.jsonl.gz" if packed else "exchanges-1.jsonl")
    log.write_bytes(gzip.compress(lines) if packed else lines)
    comparison = compared(paths, logs=(log,))
    shown = read_texts(comparison, "quiz", "candidate", [1, 2, 4, 5])
    told = {row: one.texts[0] for row, one in shown.items()}
    assert told == {
        **{i + 1: Text(f"thought {i}", f"answer {i}", "server_split", FROM_LOG) for i in (0, 1, 3)},
        5: Text("", "answer 4", "none", FROM_SAMPLES),
    }


def test_a_doc_without_a_known_question_shows_its_prompt(tmp_path: Path) -> None:
    rows = [
        {**foreign_row(0, 1.0), "doc": doc} for doc in ({"x": 1}, None, "text", {"question": 3})
    ]
    for number, row in enumerate(rows):
        comparison = compared(pair_of_runs(tmp_path / str(number), [row], [row]))
        assert read_texts(comparison, "quiz", "baseline", [1])[1].question == "question 0"


def test_no_row_is_read_where_none_is_asked_for(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0)]
    comparison = compared(pair_of_runs(tmp_path, rows, rows))
    assert read_texts(comparison, "quiz", "baseline", []) == {}
