from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate
from analysis.stats.multiplicity import benjamini_hochberg, holm
from analysis.tables.groups import MOST_GROUPS, natural
from tests.analysis.comparisons import cells, compared, compared_tasks, table_of
from tests.analysis.runs import foreign_row, our_row


def tagged(doc_id: int, value: float, **tags: Any) -> Any:
    return foreign_row(doc_id, value, doc={"question": f"question {doc_id}", **tags})


def by_level(folder: Path) -> Comparison:
    """Level 1: 8 of 8 gained; level 2: 6 of 8 gained; level 10: 1 gained, 1 lost."""
    base, cand = [], []
    solved = {1: [(0, 1)] * 8, 2: [(0, 1)] * 6 + [(1, 1)] * 2, 10: [(0, 1), (1, 0)]}
    for level, couples in solved.items():
        for one, other in couples:
            doc_id = len(base)
            base.append(tagged(doc_id, one, level=level, subject="Algebra"))
            cand.append(tagged(doc_id, other, level=level, subject="Algebra"))
    return compared(folder, base, cand)


def test_every_group_has_its_scores_and_mcnemars_p(tmp_path: Path) -> None:
    table = table_of("groups", by_level(tmp_path), by=("level",))
    assert table.column("group") == ["1", "2", "10"]
    assert table.column("n") == [8, 8, 2]
    assert table.column("p") == pytest.approx([2 / 2**8, 2 / 2**6, 1.0])
    row = cells(table, "quiz", "level", "2")
    assert isinstance(row["baseline"], Estimate)
    assert (row["baseline"].value, row["baseline"].method) == (0.25, "Wilson")


def test_holm_and_bh_are_those_of_the_groups_of_one_tag(tmp_path: Path) -> None:
    table = table_of("groups", by_level(tmp_path))
    p = [2 / 2**8, 2 / 2**6, 1.0]
    levels = [row for row in table.rows if row[1] == "level"]
    assert [row[-2] for row in levels] == pytest.approx(holm(p))
    assert [row[-1] for row in levels] == pytest.approx(benjamini_hochberg(p))


def test_a_tag_with_one_group_is_left_out_and_said(tmp_path: Path) -> None:
    table = table_of("groups", by_level(tmp_path))
    assert set(table.column("by")) == {"level"}
    assert "quiz, subject: all docs are in one group, 'Algebra'" in table.notes


def test_groups_are_of_each_task_apart(tmp_path: Path) -> None:
    rows = [tagged(i, float(i % 2), difficulty=("easy", "hard")[i % 2]) for i in range(4)]
    table = table_of("groups", compared_tasks(tmp_path, {"a": (rows, rows), "b": (rows, rows)}))
    assert table.column("task") == ["a", "a", "b", "b"]
    assert table.column("p") == [1.0] * 4


def test_a_group_that_no_doc_tells_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no doc tells its topic; the docs have subject, level"):
        table_of("groups", by_level(tmp_path), by=("topic",))


def test_docs_without_groups_leave_the_table_empty_with_the_reason(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0)]
    assert "no doc tells" in table_of("groups", compared(tmp_path, rows, rows)).empty


@pytest.mark.parametrize("n", [5, MOST_GROUPS + 1])
def test_a_tag_that_names_single_docs_is_left_out(tmp_path: Path, n: int) -> None:
    rows = [tagged(i, 1.0, source=f"page {i}") for i in range(n)]
    rows.append(tagged(n, 1.0, source="page 0") if n > 5 else tagged(n, 1.0, source="page 5"))
    table = table_of("groups", compared(tmp_path, rows, rows))
    assert "left out" in table.notes[0]
    assert "no tag has at least two groups" in table.empty


def test_repeated_samples_are_tested_by_question(tmp_path: Path) -> None:
    base, cand = [], []
    for i in range(12):
        doc = {"doc": {"question": f"question {i}", "level": i % 2}}
        base.append({**our_row(i, ["incorrect", "incorrect"]), **doc})
        cand.append({**our_row(i, ["correct", "incorrect"]), **doc})
    row = cells(table_of("groups", compared(tmp_path, base, cand)), "quiz", "level", "0")
    assert row["n"] == 6
    assert row["p"] == pytest.approx(2 / 2**6)
    assert isinstance(row["difference"], Estimate)
    assert row["difference"].value == 0.5


def test_a_group_whose_grader_failed_has_no_figures(tmp_path: Path) -> None:
    base = [tagged(i, 1.0, level=i % 2) for i in range(4)]
    cand = [tagged(i, None if i % 2 else 1.0, level=i % 2) for i in range(4)]
    row = cells(table_of("groups", compared(tmp_path, base, cand)), "quiz", "level", "1")
    assert row["n"] == 0
    assert isinstance(row["baseline"], Estimate)
    assert row["baseline"].reason == "no question with a score in both arms"


def test_groups_are_sorted_as_a_reader_counts() -> None:
    names = ["Level 10", "hard", "Level 2", "easy", "medium", "Algebra"]
    expected = ["easy", "medium", "hard", "Algebra", "Level 2", "Level 10"]
    assert sorted(names, key=natural) == expected
    assert sorted(["10", "9", "abc", "²"], key=natural) == ["9", "10", "abc", "²"]
