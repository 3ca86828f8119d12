from __future__ import annotations

import re
import shlex

import click
import pytest

from analysis.cli import cli
from analysis.reading.load import METRIC_PRIORITY
from analysis.render.document import SCHEMA_VERSION
from analysis.rules import KINDS
from analysis.tables import catalogue
from tests.conftest import REPO

NAMES = ("reports", "tables", "judge")
PAGES = {name: (REPO / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
REPORTS, TABLES = PAGES["reports"], PAGES["tables"]
SECTIONS = re.findall(r"^## (.+)$", TABLES, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_option_of_every_command_is_documented(name: str) -> None:
    for option in (name for param in cli.commands[name].params for name in param.opts):
        if option.startswith("--"):
            assert any(f"`{option}" in page for page in PAGES.values()), option


def test_every_command_is_documented() -> None:
    for name in cli.commands:
        assert any(f"distill-report {name} " in page for page in PAGES.values()), name


def test_every_table_has_its_section_in_the_order_of_the_report() -> None:
    names = [entry.name for entry in catalogue.PAIR]
    assert SECTIONS[: len(names)] == names
    assert set(SECTIONS) <= set(cli.commands)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_pages_can_be_typed(name: str) -> None:
    page = PAGES[name].replace("\\\n", " ")
    lines = re.findall(r"^ {4}distill-report ([^\n]+)$", page, re.MULTILINE)
    assert lines
    assert not re.findall(r"^distill-report .*", page, re.MULTILINE), "not set as code"
    for line in lines:
        name, *words = shlex.split(line, comments=True)
        command = cli.commands[name]
        parser = command.make_parser(click.Context(command))
        _, left, _ = parser.parse_args(words)
        assert not left, line


def test_every_kind_of_difference_can_be_allowed_and_is_documented() -> None:
    assert all(f"`{kind}`" in REPORTS for kind in KINDS)


def test_the_documented_priority_of_metrics_is_the_real_one() -> None:
    assert "  ".join(METRIC_PRIORITY) in REPORTS


def test_the_documented_schema_is_the_real_one() -> None:
    assert f"`schema` is {SCHEMA_VERSION}." in REPORTS
