from __future__ import annotations

import csv as reader
import io
import json
import math
from pathlib import Path

import pytest

from analysis.estimate import Estimate, Share, undefined
from analysis.render import csv, document
from analysis.render import json as as_json
from analysis.tables.table import Column, Kind, Table
from tests.analysis.render import sheets


def read(text: str) -> list[dict[str, str]]:
    return list(reader.DictReader(io.StringIO(text, newline="")))


def one_cell(cell: object, kind: Kind = Kind.PERCENT) -> Table:
    return Table("t", "T", (Column("a", "a", kind),), [(cell,)])  # type: ignore[list-item]


def test_csv_has_full_precision_and_a_column_for_each_limit() -> None:
    third = Estimate(1 / 3, 0.1 + 0.2, 2 / 3)
    (row,) = read(csv.table(one_cell(third)))
    assert {name: float(value) for name, value in row.items()} == {
        "a": 1 / 3,
        "a_low": 0.1 + 0.2,
        "a_high": 2 / 3,
    }


def test_csv_of_a_share_has_count_and_n() -> None:
    (row,) = read(csv.table(one_cell(Share(94, 500))))
    assert row == {"a": "0.188", "a_count": "94", "a_n": "500"}


def test_what_is_undefined_is_an_empty_cell() -> None:
    (row,) = read(csv.table(one_cell(undefined("why"))))
    assert set(row.values()) == {""}
    assert read(csv.table(one_cell(None))) == [{"a": ""}]


@pytest.mark.parametrize(
    "text", ["=1+1", "+A1", "@SUM(A1)", "-A1", "\tx", "\r=x", " =1", "-\\frac12"]
)
def test_no_text_is_a_formula(text: str) -> None:
    (row,) = read(csv.table(one_cell(text, Kind.TEXT)))
    assert row["a"] == "'" + text.replace("\r", "\n")


@pytest.mark.parametrize("text", ["-3", "+1.5e3", "x=1", "a@b", "-inf"])
def test_a_number_and_harmless_text_stay_as_they_are(text: str) -> None:
    (row,) = read(csv.table(one_cell(text, Kind.TEXT)))
    assert row["a"] == text


def test_csv_text_with_quotes_and_line_ends_comes_back() -> None:
    (row,) = read(csv.table(one_cell('a,"b"\nc', Kind.TEXT)))
    assert row["a"] == 'a,"b"\nc'


def test_a_carriage_return_ends_no_row() -> None:
    (row,) = read(csv.table(one_cell("a\r\nb\rc", Kind.TEXT)))
    assert row["a"] == "a\nb\nc"


def test_json_has_raw_numbers_and_a_reason_for_what_is_missing() -> None:
    table = as_json.table(sheets.scorecard("gsm8k"))
    first, second = table["rows"]
    assert first["baseline"] == {
        "value": 0.866,
        "low": 0.866 - 0.041,
        "high": 0.866 + 0.042,
        "method": "Wilson",
        "reason": None,
    }
    assert second["baseline"] == {"count": 45, "n": 90, "value": 0.5, "reason": None}
    assert second["difference"]["value"] is None
    assert second["difference"]["reason"] == "no completed sample"
    assert second["detectable"] is None
    assert table["columns"][1] == {"name": "n", "heading": "n", "kind": "count"}


def test_the_infinite_is_null_and_says_so() -> None:
    cell = as_json.cell(Estimate(math.inf, 1.5, math.inf))
    assert cell["value"] is None
    assert cell["reason"] == "infinite"
    assert cell["high_is_infinite"] is True
    assert as_json.cell(-math.inf) == {"value": None, "reason": "minus infinite"}


@pytest.mark.parametrize("table", [sheets.scorecard(), sheets.hostile(), sheets.empty()])
def test_json_text_holds_no_nan_and_comes_back(table: Table) -> None:
    text = document.text("json", [table])
    content = json.loads(text, parse_constant=pytest.fail)
    assert content["schema"] == document.SCHEMA_VERSION
    assert content["tables"][table.name] == as_json.table(table)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_no_file_holds_what_a_terminal_obeys(form: str) -> None:
    hostile = "a\x1b[2J\x9b2J\u202e\x00\x7f\ttab 中 é"
    text = document.text(form, [one_cell(hostile, Kind.TEXT)])
    assert not {"\x1b", "\x9b", "\u202e", "\x00", "\x7f"} & set(text)
    if form == "json":
        assert json.loads(text)["tables"]["t"]["rows"] == [{"a": hostile}]
    else:
        assert read(text) == [{"a": "a\\x1b[2J\\x9b2J\\u202e\\x00\\x7f\ttab 中 é"}]


def test_several_tables_need_a_folder(tmp_path: Path) -> None:
    tables = [sheets.scorecard(), sheets.hostile()]
    with pytest.raises(ValueError, match=r"2 tables \(scorecard, hostile\) need a folder"):
        document.text("csv", tables)
    files = document.write_csv_folder(tables, tmp_path / "new")
    assert [file.name for file in files] == ["scorecard.csv", "hostile.csv"]
    assert read(files[0].read_text(encoding="utf-8"))[0]["task"] == sheets.LONG_TASK


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path: Path) -> None:
    (file,) = document.write_csv_folder([one_cell("\ud800", Kind.TEXT)], tmp_path)
    assert "\\ud800" in file.read_text(encoding="utf-8")
