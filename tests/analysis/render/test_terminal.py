from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from analysis.render import terminal
from analysis.render.cells import written_rows
from analysis.render.wrapping import BREAK, wrapped_text
from analysis.tables.table import Column, Kind, Table
from tests.analysis.render import sheets

TABLES = {
    "scorecard": sheets.scorecard(),
    "long name": sheets.scorecard("a/very:long_name-of_a_task" * 5),
    "no break": sheets.scorecard("x" * 300),
    "wide": sheets.wide(),
    "widest": sheets.wide(40),
    "hostile": sheets.hostile(),
    "chinese": sheets.scorecard("数学推理任务" * 20),
}


def printed(table: Table, width: int = 100, **options: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    terminal.print_table(table, console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 90, 100])
@pytest.mark.parametrize("name", TABLES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert max(map(cell_len, printed(TABLES[name], width).splitlines())) <= width


@pytest.mark.parametrize("width", [80, 90, 100])
@pytest.mark.parametrize("name", TABLES)
def test_every_number_stands_there_unbroken(name: str, width: int) -> None:
    table = TABLES[name]
    words = printed(table, width).split()
    numeric = [i for i, column in enumerate(table.columns) if column.kind is not Kind.TEXT]
    wanted = [word for row in written_rows(table) for i in numeric for word in row[i].split()]
    for word in set(wanted):
        assert words.count(word) >= wanted.count(word), word


@pytest.mark.parametrize("width", [80, 100])
def test_text_is_wrapped_and_never_cut(width: int) -> None:
    output = printed(sheets.long(3), width)
    flat = "".join(output.split())
    (_, _, text) = sheets.long(1).rows[0]
    assert flat.count("".join(str(text).split())) == 3
    assert "…" not in output


def test_text_wraps_after_its_joints_with_a_hanging_continuation() -> None:
    assert wrapped_text("distill_aime_2022_2024", 14) == ["distill_aime_", "  2022_2024"]
    assert wrapped_text("runs/base:long-name", 11) == ["runs/base:", "  long-name"]
    assert BREAK.split("a_b/c:d-e f") == ["a_", "b/", "c:", "d-", "e ", "f"]


@pytest.mark.parametrize("number", ["-3.5", "1e-05", "0.25", "1,319", "t=0.5"])
def test_a_number_within_text_is_not_broken(number: str) -> None:
    assert BREAK.split(number) == [number]


def test_a_first_cell_that_comes_again_runs_on_beside_the_rows() -> None:
    columns = (Column("task", "task"), Column("arm", "arm"), Column("text", "t"))
    rows = [("aaaa_bbbb_cccc_" * 6, arm, "word " * 14) for arm in ("baseline", "candidate")]
    lines = printed(Table("t", "T", columns, rows), 80).splitlines()
    (first, second) = (i for i, line in enumerate(lines) if " baseline" in line or "candid" in line)
    assert all("_" in line for line in lines[first:second])
    assert "".join(lines).count("aaaa_") == 6


def test_a_table_that_does_not_fit_sets_its_first_column_on_a_line_of_its_own() -> None:
    whole = sheets.scorecard()
    table = replace(whole, columns=whole.columns[:-1], rows=[row[:-1] for row in whole.rows])
    lines = printed(table, 80).splitlines()
    assert f" {sheets.LONG_TASK}" in lines
    assert any(line.startswith("  1,319  86.6 [82.5, 90.8]") for line in lines)


def test_columns_are_aligned() -> None:
    lines = printed(sheets.scorecard("gsm8k"), 100).splitlines()[1:5]
    ends = {line.rstrip()[-1] for line in lines}
    assert len({len(line) for line in lines}) == 1, lines
    assert ends == {"p", "─", "0", "8"}


def test_a_value_of_the_first_column_is_named_once() -> None:
    assert printed(sheets.scorecard("gsm8k"), 100).count("gsm8k") == 1


def test_more_columns_than_fit_are_shown_in_panels_that_repeat_their_keys() -> None:
    output = printed(sheets.wide(40), 80)
    for i in range(40):
        assert re.search(rf"\b{i}\b", output), i
    assert output.count("candidate") > 1


def test_each_panel_names_its_rows_by_as_many_columns_as_that_takes() -> None:
    numbers = sheets.wide(12).columns[2:]
    columns = (*(Column(name, name) for name in ("task", "by", "group")), *numbers)
    rows = [("quiz", "level", f"group {i}", *[123456.0] * 12) for i in range(4)]
    output = printed(Table("groups", "By group", columns, rows), 80)
    n_panels = output.count("─\n")
    assert n_panels > 1
    for i in range(4):
        assert output.count(f"group {i}") == n_panels


def test_columns_without_a_value_are_named_where_they_would_cost_a_panel() -> None:
    whole = sheets.wide(20)
    rows = [(*row[:4], *[None] * 18) for row in whole.rows]
    output = printed(replace(whole, rows=rows), 80)
    assert output.count("─\n") == 1
    said = " ".join(output.split())
    assert said.endswith("- in every row: " + ", ".join(f"column {i}" for i in range(2, 20)))
    narrow = replace(whole, columns=whole.columns[:6], rows=[row[:6] for row in rows])
    assert "every row" not in printed(narrow, 80)


def test_a_long_table_says_how_many_rows_are_in_the_file() -> None:
    output = printed(sheets.long(352))
    assert output.rstrip().endswith("… 312 more; --csv FILE has them all")
    assert len(re.findall(r"^ (?:quiz|    ) +\d+ +Find", output, re.MULTILINE)) == 40


def test_a_few_rows_too_many_are_shown_all_the_same() -> None:
    assert "more" not in printed(sheets.long(terminal.MOST_ROWS + 4))


def test_an_empty_table_says_why() -> None:
    assert printed(sheets.empty()) == "Nothing\n no task has a log\n"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert not {"\x1b", "\u202e"} & set(printed(sheets.hostile()))


def test_markup_of_rich_is_text() -> None:
    assert "[red]x[/red]" in printed(sheets.scorecard("[red]x[/red]"))


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    out = Terminal()
    made = terminal.console(out)
    terminal.write(made, "STOP: the grader failed", "bold red")
    terminal.print_table(sheets.scorecard(), made)
    return out.getvalue()


def test_colour_is_used_on_a_terminal_alone_and_not_against_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coloured = re.compile(r"\x1b\[[\d;]*3[0-7][\d;]*m")
    assert coloured.search(on_a_terminal(monkeypatch))
    quiet = on_a_terminal(monkeypatch, NO_COLOR="1")
    assert not coloured.search(quiet)
    assert "STOP: the grader failed" in quiet
    out = io.StringIO()
    terminal.write(terminal.console(out), "STOP: the grader failed", "bold red")
    assert out.getvalue() == "STOP: the grader failed\n"


@pytest.mark.parametrize(("columns", "width"), [("60", 80), ("90", 90), ("200", 100)])
def test_the_width_is_the_terminals_within_80_to_100(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setattr(sheets, "scorecard", lambda: sheets.long(3))
    rule = re.search(r"─+", on_a_terminal(monkeypatch, COLUMNS=columns))
    assert rule is not None
    assert width - 5 < len(rule.group()) < width


def test_a_terminal_without_utf8_gets_plain_marks() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    terminal.print_table(sheets.long(100), terminal.console(out))
    out.seek(0)
    text = out.read()
    assert "\\u" not in text
    assert "... 60 more" in text
    assert "-----" in text


def test_a_numeric_first_column_is_no_heading_line() -> None:
    column = Column("step", "step", Kind.COUNT)
    table = Table("t", "T", (column, Column("a", "a", Kind.PERCENT)), [(100, 0.5), (100, 0.6)])
    assert printed(table).count("100") == 2
