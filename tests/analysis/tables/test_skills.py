"""Topics trained on against topics improved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.compare import Comparison
from analysis.tables.catalogue import TableOptions, find
from tests.analysis.runs import Row, foreign_row
from tests.analysis.series.making import first
from tests.analysis.tables.arms import compared
from tests.conftest import SHARED, needs_shared


def row(number: int, value: float, **tags: object) -> Row:
    made = foreign_row(number, value)
    made["doc"] = {"question": f"question {number}", **tags}
    return made


def arms(folder: Path, topics: dict[str, tuple[int, int]], n: int = 10) -> Comparison:
    """Return n questions a topic, of which each arm solves as many as the topic says."""
    base, student = [], []
    for at, (topic, (solved, now)) in enumerate(topics.items()):
        for i in range(n):
            base.append(row(at * n + i, float(i < solved), subject=topic, level=i % 2 + 1))
            student.append(row(at * n + i, float(i < now), subject=topic, level=i % 2 + 1))
    return compared(folder, base, student)


def train(folder: Path, counts: dict[str, int], field: str = "subject") -> TableOptions:
    path = folder / "questions.jsonl"
    lines = [
        json.dumps({"id": f"{topic}{i}", "question": f"{topic} {i}", "meta": {field: topic}})
        for topic, n in counts.items()
        for i in range(n)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return TableOptions(train=(path,))


def test_topics_are_matched_whatever_their_spelling(tmp_path: Path) -> None:
    comparison = arms(tmp_path, {"Counting & Probability": (2, 8), "Geometry": (5, 5)})
    options = train(tmp_path, {"counting_and_probability": 30, "astronomy": 10})
    table = find("skills").load()(comparison, options)
    found = first(table, topic="Counting & Probability")
    assert (found["by"], found["trained"]) == ("subject = meta.subject", 30)
    assert found["share"] == pytest.approx(0.75)
    assert found["difference"].value == pytest.approx(0.6)
    untrained = first(table, topic="Geometry")
    assert (untrained["trained"], untrained["share"]) == (0, 0.0)
    assert "1 values of meta.subject were trained on and are no subject of it" in table.notes[0]


def test_a_finer_tag_is_taken_before_levels_unless_another_is_asked_for(tmp_path: Path) -> None:
    comparison = arms(tmp_path, {"Algebra": (2, 8), "Geometry": (5, 5)})
    path = tmp_path / "questions.jsonl"
    lines = [
        json.dumps({"id": str(i), "question": "q", "level": f"Level {i % 2 + 1}",
                    "subject": "algebra"})
        for i in range(6)
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    by = find("skills").load()(comparison, TableOptions(train=(path,))).column("by")
    assert set(by) == {"subject = subject"}
    levels = find("skills").load()(comparison, TableOptions(train=(path,), by=("level",)))
    assert levels.column("by") == ["level = level"] * 2
    assert levels.column("trained") == [3, 3]


def test_training_that_helps_where_it_trained_shows_in_both_tests(tmp_path: Path) -> None:
    names = [f"topic {chr(97 + i)}" for i in range(10)]
    comparison = arms(tmp_path, {name: (5, 9 if i >= 5 else 4) for i, name in enumerate(names)})
    options = train(tmp_path, {name: 2 + 5 * i for i, name in enumerate(names)})
    found = first(find("skill-quadrants").load()(comparison, options))
    counts = [found[name] for name in ("high_improved", "low_improved", "high_not", "low_not")]
    assert counts == [5, 0, 0, 5]
    assert found["fisher_p"] == pytest.approx(2 / 252)  # of the 252 tables with these margins
    assert found["rho"].value > 0.8
    assert found["p"] < 0.01


@needs_shared
def test_the_published_quadrants_come_out_of_their_topics(tmp_path: Path) -> None:
    text = (SHARED / "golden" / "published.json").read_text(encoding="utf-8")
    told = json.loads(text)["quadrants"]
    # 41 topics: trained on five lines (high) or on one
    cases = [
        (name.startswith("high"), name.endswith("improved"))
        for name, count in told.items()
        for _ in range(count)
    ]
    topics = {f"topic {i}x": (1, 2 if better else 1) for i, (_, better) in enumerate(cases)}
    counts = {f"topic {i}x": 5 if high else 1 for i, (high, _) in enumerate(cases)}
    comparison = arms(tmp_path, topics, n=2)
    options = train(tmp_path, counts)
    assert len(find("skills").load()(comparison, options).rows) == 41
    found = first(find("skill-quadrants").load()(comparison, options))
    assert {
        "high_rep_improved": found["high_improved"],
        "low_rep_improved": found["low_improved"],
        "high_rep_not": found["high_not"],
        "low_rep_not": found["low_not"],
    } == told
    # R: fisher.test(matrix(c(17, 9, 11, 4), 2))$p.value
    assert found["fisher_p"] == pytest.approx(0.7337406, rel=1e-6)


def test_tags_that_match_nothing_are_named(tmp_path: Path) -> None:
    comparison = arms(tmp_path, {"Algebra": (2, 8), "Geometry": (5, 5)})
    table = find("skills").load()(comparison, train(tmp_path, {"chess": 3}))
    assert table.rows == []
    assert "none of its tags (level, subject) matches" in table.notes[0]
