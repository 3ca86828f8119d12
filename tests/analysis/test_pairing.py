from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.pairing import pair
from analysis.reading.load import Choice, TaskRun, read_arm
from tests.analysis.runs import foreign_row, our_row, pair_of_runs


def tasks(folder: Path, baseline: list[Any], candidate: list[Any]) -> list[TaskRun]:
    paths = pair_of_runs(folder, baseline, candidate)
    return [read_arm(path.name, path, Choice()).tasks["quiz"] for path in paths]


def test_samples_pair_by_doc_and_index_whatever_their_order(tmp_path: Path) -> None:
    first = [our_row(0, ["correct", "incorrect"]), our_row(1, ["incorrect", "correct"])]
    second = [our_row(1, ["incorrect", "incorrect"]), our_row(0, ["correct", "correct"])]
    pairs = pair(*tasks(tmp_path, first, second))
    found = {
        q.baseline.doc_id: [(a.sample_index, b.sample_index) for a, b in q.samples]
        for q in pairs.questions
    }
    assert found == {0: [(0, 0), (1, 1)], 1: [(0, 0), (1, 1)]}


def test_docs_of_one_arm_only_are_reported(tmp_path: Path) -> None:
    first = [foreign_row(i, 1.0) for i in (0, 1)]
    pairs = pair(*tasks(tmp_path, first, [foreign_row(i, 1.0) for i in (1, 2, 3)]))
    assert (pairs.baseline_only, pairs.candidate_only) == ((0,), (2, 3))


@pytest.mark.parametrize(
    "change", [{"doc_hash": "other"}, {"target": "other"}, {"doc": {"question": "other"}}]
)
def test_a_changed_doc_does_not_pair(tmp_path: Path, change: dict[str, Any]) -> None:
    pairs = pair(*tasks(tmp_path, [foreign_row(0, 1.0)], [{**foreign_row(0, 1.0), **change}]))
    assert pairs.changed == (0,)
    assert pairs.questions == ()


def test_a_doc_pairs_where_only_one_arm_holds_its_hash(tmp_path: Path) -> None:
    pairs = pair(*tasks(tmp_path, [foreign_row(0, 1.0)], [foreign_row(0, 1.0, doc_hash=None)]))
    assert len(pairs.questions) == 1


def test_surplus_samples_are_counted(tmp_path: Path) -> None:
    first, second = [our_row(0, ["correct"])], [our_row(0, ["correct"] * 4)]
    pairs = pair(*tasks(tmp_path, first, second))
    assert (pairs.baseline_surplus, pairs.candidate_surplus) == (0, 3)
