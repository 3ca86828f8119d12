from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.estimate import Estimate, Share
from analysis.stats.paired import PairedTable, newcombe_difference
from analysis.stats.proportions import wilson_interval
from analysis.tables.behaviour import behaviour, loops
from analysis.tables.catalogue import TableOptions
from harness_tasks.records import read_jsonl
from tests.analysis.runs import our_row
from tests.analysis.tables.arms import by_names, compared, foreign, written
from tests.conftest import SHARED, needs_shared

OPTIONS = TableOptions()
DOUBT = "<think>Wait, no. Maybe it is 5. Let me check.</think>It is 5."  # 9 + 3 words
PLAIN = "It is five."
LOOP = "<think>" + "so again and " * 200


def value(cell: Any) -> float:
    assert isinstance(cell, Estimate)
    return cell.value


def test_behaviours_are_counted_by_words_and_by_completion(tmp_path: Path) -> None:
    base = [written(i, PLAIN) for i in range(4)]
    cand = [written(i, DOUBT if i < 3 else PLAIN) for i in range(4)]
    rows = {
        row["behaviour"]: row
        for row in by_names(behaviour(compared(tmp_path, base, cand), OPTIONS))
    }
    assert len(rows) == 6
    for name in ("backtracking", "uncertainty", "verification"):
        found = rows[name]
        assert value(found["candidate"]) == pytest.approx(1000 * 3 / (3 * 12 + 3))
        assert value(found["baseline"]) == 0.0
        assert (value(found["baseline_share"]), value(found["candidate_share"])) == (0.0, 0.75)
        assert found["difference"] == newcombe_difference(PairedTable(0, 3, 0, 1))
    none = rows["backward chaining"]["candidate"]
    assert isinstance(none, Estimate)
    assert (none.value, none.reason) == (0.0, "none seen: no interval")


def test_a_rate_by_words_has_the_interval_of_the_ratio(tmp_path: Path) -> None:
    base = [written(i, PLAIN) for i in range(30)]
    cand = [written(i, DOUBT if i % 3 else PLAIN) for i in range(30)]
    rows = by_names(behaviour(compared(tmp_path, base, cand), OPTIONS))
    found = rows[0]["candidate"]
    assert isinstance(found, Estimate)
    assert 0 < found.low < found.value < found.high
    assert "ratio" in found.method


def test_several_samples_of_a_question_count_once(tmp_path: Path) -> None:
    texts = [DOUBT, PLAIN]
    rows = [our_row(i, ["correct"] * 2, texts=texts) for i in range(8)]
    table = behaviour(compared(tmp_path, rows, rows), OPTIONS)
    row = by_names(table)[0]
    assert (row["n"], value(row["candidate_share"]), value(row["difference"])) == (8, 0.5, 0.0)


def test_content_that_an_api_client_kept_is_no_whole_text(tmp_path: Path) -> None:
    rows = [foreign(i, "so again and " * 100) for i in range(4)]
    comparison = compared(tmp_path, rows, rows, config={"model": "local-chat-completions"})
    table = behaviour(comparison, OPTIONS)
    assert list(table.rows) == []
    assert "--log" in table.empty
    (row,) = by_names(loops(comparison, OPTIONS))  # what was kept shows its loops all the same
    assert value(row["baseline"]) == 1.0


def test_a_completion_of_no_words_has_no_rate(tmp_path: Path) -> None:
    rows = [written(i, "", "no_answer") for i in range(4)]
    row = by_names(behaviour(compared(tmp_path, rows, rows), OPTIONS))[0]
    assert isinstance(row["baseline"], Estimate)
    assert row["baseline"].reason == "no completion has a word"


def test_loops_are_a_paired_rate_and_told_among_the_truncated(tmp_path: Path) -> None:
    base = [written(i, PLAIN) for i in range(10)]
    cut = {"truncated": True, "state": "unclosed"}
    cand = [
        *(written(i, LOOP, "truncated", **cut) for i in range(3)),
        written(3, "<think>cut off in time", "truncated", **cut),
        *(written(i, PLAIN) for i in range(4, 10)),
    ]
    (row,) = by_names(loops(compared(tmp_path, base, cand), OPTIONS))
    found = row["candidate"]
    assert isinstance(found, Estimate)
    assert (found.value, (found.low, found.high)) == (0.3, pytest.approx(wilson_interval(3, 10)))
    assert row["difference"] == newcombe_difference(PairedTable(0, 3, 0, 7))
    assert row["candidate_truncated"] == Share(3, 4)
    assert row["baseline_truncated"] == Share(0, 0)


@pytest.mark.parametrize("table", [behaviour, loops])
def test_a_log_likelihood_task_shows_neither(tmp_path: Path, table: Any) -> None:
    row = foreign(0, "")
    row["resps"] = [[[-1.0, False]], [[-2.0, True]]]
    found = table(compared(tmp_path, [row], [row]), OPTIONS)
    assert list(found.rows) == []
    assert "has a text" in found.empty


@needs_shared
def test_a_published_pair_shows_its_loops_and_its_doubts(tmp_path: Path) -> None:
    """MATH-500, gemma-2-27b-it and the same size distilled: read from the published completions."""
    names = ("gemma-2-27b-it", "Sky-T1-math-correct-5K-27B")
    arms = [
        [
            foreign(row["idx"], row["code"][0], float(row["score"][0]))
            for row in read_jsonl(SHARED / "data/outputs/math500" / f"skythought__{name}.jsonl.gz")
        ]
        for name in names
    ]
    comparison = compared(tmp_path, *arms)
    (row,) = by_names(loops(comparison, OPTIONS))
    assert (row["n"], value(row["baseline"]), value(row["candidate"])) == (500, 0.0, 73 / 500)
    rows = {one["behaviour"]: one for one in by_names(behaviour(comparison, OPTIONS))}
    for name in ("verification", "backtracking", "alternatives", "uncertainty"):
        base, cand = rows[name]["baseline"], rows[name]["candidate"]
        assert isinstance(base, Estimate)
        assert isinstance(cand, Estimate)
        assert cand.low > base.high
