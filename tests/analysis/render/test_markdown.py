from __future__ import annotations

import re

import pytest

from analysis.render import markdown
from tests.analysis.render import sheets


def test_a_table_is_a_markdown_table_with_its_foot() -> None:
    lines = markdown.table(sheets.scorecard("gsm8k")).splitlines()
    assert lines[0] == "## Scorecard"
    assert lines[2] == "| task | n | baseline | candidate | difference | detectable | p |"
    assert lines[3] == "|---|---:|---:|---:|---:|---:|---:|"
    assert lines[4].startswith("| gsm8k | 1,319 | 86.6 [82.5, 90.8] |")
    assert lines[5].endswith("| 50.0 (45) | - | - | - | 3.10e-08 |")
    assert lines[7:12] == [
        "Wilson 95%.",
        "",
        "No number (-): no completed sample.",
        "",
        "Note: A note.",
    ]


def test_an_empty_table_says_why() -> None:
    assert markdown.table(sheets.empty()) == "## Nothing\n\nno task has a log\n"


def test_hostile_text_is_no_markup_and_breaks_no_row() -> None:
    text = markdown.table(sheets.hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 5
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4
    unescaped = re.sub(r"\\[^A-Za-z0-9\s]", "", text.replace("|---|---:|---|", ""))
    assert not {"`", "<", "[", "]", "*", "$", "_", "\x1b", "\u202e"} & set(unescaped)


@pytest.mark.parametrize("start", ["# x", "- x", "+ x", "= x", "1. x", "12) x", "--- x", "> x"])
def test_a_paragraph_begins_no_block(start: str) -> None:
    assert re.match(r"\d*\\", markdown.paragraph(start))


@pytest.mark.parametrize("link", ["http://x.example", "HTTPS://x.example", "www.x.example"])
def test_an_address_is_no_link(link: str) -> None:
    assert not re.search(r"://|www\.", markdown.escaped(link), re.IGNORECASE)


def test_a_p_that_is_a_bound_opens_no_tag() -> None:
    table = sheets.scorecard()
    (first, *_) = table.rows
    bound = type(table)("t", "T", table.columns, [(*first[:-1], 1e-300)])
    assert "\\<1e-300" in markdown.table(bound)
