from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.estimate import Estimate, Share, undefined
from analysis.render import document
from analysis.render.added import read_tables
from analysis.tables.table import Column, Kind, Table

WHOLE = Table(
    "steps",
    "Steps",
    (
        Column("task", "task"),
        Column("n", "n", Kind.COUNT),
        Column("score", "score, %", Kind.PERCENT),
        Column("odds", "odds", Kind.RATIO),
        Column("cut", "cut off", Kind.PERCENT),
        Column("best", "best", Kind.FLAG),
        Column("p", "p", Kind.P),
    ),
    [
        ("a", 30, Estimate(0.5, 0.3, 0.7, "Wilson"), math.inf, Share(3, 30), True, 0.04),
        ("b", None, undefined("none"), Estimate(2.0, 1.0, math.inf), Share(None, 0), False, 1.0),
        (None, 0, 0.25, -math.inf, 0.5, None, float("nan")),
    ],
    foot="Made so.",
    notes=("Careful.",),
)  # fmt: skip


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_what_a_command_wrote_is_read_back_as_it_was(tmp_path: Path) -> None:
    empty = Table("none", "Nothing", (), [], empty="there is no run")
    path = write(tmp_path / "made.json", document.text("json", [WHOLE, empty]))
    read = read_tables(path)
    assert document.text("json", read) == document.text("json", [WHOLE, empty])
    assert repr(read[1]) == repr(empty)
    assert repr(read[0].rows[0]) == repr(WHOLE.rows[0])


def columns(kind: str = "count") -> list[dict[str, str]]:
    return [{"name": "n", "heading": "n", "kind": kind}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ([], "expected a JSON object"),
        ({"schema": 2}, "holds no tables"),
        ({"tables": {"t": {"columns": columns("colour")}}}, "a kind of text, count"),
        ({"tables": {"t": {"columns": [3]}}}, "got 3"),
        ({"tables": {"t": {"columns": columns(), "rows": [{"n": "many"}]}}}, "row 1, column 'n'"),
        ({"tables": {"t": {"columns": columns(), "rows": [{"n": [1]}]}}}, "row 1, column 'n'"),
        (
            {"tables": {"t": {"columns": columns(), "rows": [{"n": {"value": "x", "low": 1}}]}}},
            "expected a number or null, got 'x'",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(
    tmp_path: Path, content: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_tables(write(tmp_path / "odd.json", content))
    assert "\n" not in str(refused.value)
    assert "odd.json" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file: .*absent\.json"):
        read_tables(tmp_path / "absent.json")
