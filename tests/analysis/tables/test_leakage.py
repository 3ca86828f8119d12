"""Training prompts in the benchmarks: which questions leaked, and the scores without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.tables.catalogue import TableOptions, find
from tests.analysis.runs import Row, foreign_row
from tests.analysis.series.making import first
from tests.analysis.tables.arms import compared

NUMBERS = ("seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen")
PLACES = ("river", "market", "harbour", "orchard", "library", "bakery", "station", "meadow")


def question(number: int) -> str:
    """Return a question of its own words, longer than an n-gram."""
    one, place = NUMBERS[number % 8], PLACES[number // 8 % 8]
    return (
        f"Near the {place} {one} painters carry {number + 20} ladders past {number + 3} fences, "
        f"and every {place} guard counts {one} shadows before noon; how many ladders does the "
        f"{one} painter of the {place} leave behind?"
    )


def row(number: int, value: float) -> Row:
    made = foreign_row(number, value)
    made["doc"] = {"question": question(number)}
    return made


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Return 40 questions; the candidate solves the first ten on top of what the baseline does."""
    base = [row(i, float(i >= 20)) for i in range(40)]
    student = [row(i, float(i >= 20 or i < 10)) for i in range(40)]
    return compared(tmp_path, base, student)


def train(folder: Path, texts: list[str], **more: Any) -> TableOptions:
    path = folder / "questions.jsonl"
    lines = [json.dumps({"id": f"t{i}", "question": text, **more}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return TableOptions(train=(path,))


def test_the_gain_is_gone_without_the_leaked_questions(
    comparison: Comparison, tmp_path: Path
) -> None:
    options = train(tmp_path, [question(i).upper() for i in range(10)] + ["What is 1 + 1?"])
    found = first(find("leakage").load()(comparison, options))
    assert (found["leaked"].count, found["leaked"].n) == (10, 40)
    assert found["difference"].value == pytest.approx(0.25)
    assert found["difference_clean"].value == 0.0
    assert found["p_clean"] == 1.0
    assert found["baseline_clean"].value == pytest.approx(20 / 30)
    assert found["difference_leaked"].value == pytest.approx(1.0)


def test_each_leak_is_named_with_the_training_question(
    comparison: Comparison, tmp_path: Path
) -> None:
    options = train(tmp_path, ["Say: " + question(3) + " Then rest.", "nothing of the kind"])
    table = find("leaked").load()(comparison, options)
    (found,) = [dict(zip([c.name for c in table.columns], one, strict=True)) for one in table.rows]
    assert (found["doc"], found["trained"]) == ("3", "t0")
    assert (found["baseline"], found["candidate"]) == (0.0, 1.0)
    assert found["how"] == "exact"


def test_unlike_training_data_leaks_nothing(comparison: Comparison, tmp_path: Path) -> None:
    options = train(tmp_path, ["What is 1 + 1?", "Name a river."])
    assert first(find("leakage").load()(comparison, options))["leaked"].count == 0
    assert "none of 2 training questions" in find("leaked").load()(comparison, options).empty


def test_what_was_not_trained_on_is_no_leak(comparison: Comparison, tmp_path: Path) -> None:
    options = train(tmp_path, [question(0)], kept=False)
    with pytest.raises(ValueError, match="no line holds a question"):
        find("leakage").load()(comparison, options)


def test_without_training_data_the_tables_say_so(comparison: Comparison) -> None:
    for name in ("leakage", "leaked", "skills", "skill-quadrants"):
        table = find(name).load()(comparison, TableOptions())
        assert table.rows == []
        assert "--train" in table.empty
