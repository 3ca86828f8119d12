from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.estimate import Share
from analysis.tables.catalogue import TableOptions
from analysis.tables.match import match
from tests.analysis.tables.arms import by_names, compared, exchange, foreign, log, written
from tests.conftest import SHARED, needs_shared

OPTIONS = TableOptions()
CACHED = {"model": "local-chat-completions", "use_cache": "answers.db"}


def test_samples_are_counted_by_the_way_they_were_found(tmp_path: Path) -> None:
    rows = [written(i, f"answer {i}", request_id=f"student-{i}") for i in range(4)]
    plain = [foreign(i, f"answer {i}") for i in range(4)]
    by_id = log(tmp_path / "a", *(exchange(i, content=f"answer {i}") for i in (0, 1)))
    comparison = compared(tmp_path, plain, rows, logs=(by_id,), allow=("graders", "prompts"))
    base, cand = by_names(match(comparison, OPTIONS))
    assert cand["found"] == Share(2, 4)
    assert (cand["by_id"], cand["by_text"], cand["cached"], cand["not_found"]) == (2, 0, 0, 2)
    assert base["found"] == Share(0, 4)


def test_without_an_id_messages_and_text_decide(tmp_path: Path) -> None:
    rows = [foreign(i, f"answer {i}") for i in range(3)]
    logs = log(tmp_path / "log", *(exchange(i, content=f"answer {i}") for i in (0, 2)))
    _, cand = by_names(match(compared(tmp_path, rows, rows, logs=(logs,)), OPTIONS))
    assert (cand["by_id"], cand["by_text"], cand["not_found"]) == (0, 2, 1)
    assert (cand["sizes_from_log"], cand["sizes_from_samples"], cand["sizes_unknown"]) == (2, 1, 0)


def test_answers_of_a_cache_are_counted_apart_and_named(tmp_path: Path) -> None:
    rows = [foreign(i, f"answer {i}") for i in range(8)]
    logs = log(tmp_path / "log", exchange(3, content="answer 3"))
    table = match(compared(tmp_path, rows, rows, logs=(logs,), config=CACHED), OPTIONS)
    cand = by_names(table)[1]
    assert (cand["cached"], cand["not_found"], cand["sizes_unknown"]) == (7, 0, 7)
    assert table.notes[1] == (
        "quiz, candidate: answered from lm-eval's cache, not in this run: 0, 1, 2, 4, 5 and 2 more."
    )


def test_without_a_log_the_table_says_so(tmp_path: Path) -> None:
    rows = [foreign(0, "four")]
    table = match(compared(tmp_path, rows, rows), OPTIONS)
    assert "No log was given" in table.notes[0]
    assert by_names(table)[0]["found"] == Share(0, 1)


def published() -> list[Any]:
    path = SHARED / "golden" / "published.json"
    return json.loads(path.read_text(encoding="utf-8"))["log_match_rates"] if path.exists() else []


@needs_shared
@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row[0]} {row[1]}")
def test_the_published_match_rates_come_out_as_printed(tmp_path: Path, row: list[Any]) -> None:
    _, _, matched, n = row
    rows = [foreign(i, f"answer {i}") for i in range(n)]
    logs = log(tmp_path / "log", *(exchange(i, content=f"answer {i}") for i in range(matched)))
    comparison = compared(tmp_path, rows, rows, logs=(logs,), config=CACHED)
    _, cand = by_names(match(comparison, OPTIONS))
    assert cand["found"] == Share(matched, n)
    assert (cand["cached"], cand["not_found"]) == (n - matched, 0)
