from __future__ import annotations

from analysis.cli import KINDS, cli
from analysis.comparability import KINDS as DIFFERENCE_KINDS
from analysis.reading.load import METRIC_PRIORITY
from tests.conftest import REPO

REPORTS = (REPO / "docs" / "reports.md").read_text(encoding="utf-8")


def test_every_option_of_every_command_is_documented() -> None:
    for command in cli.commands.values():
        for option in (name for param in command.params for name in param.opts):
            if option.startswith("--"):
                assert f"`{option}" in REPORTS, option


def test_every_kind_of_difference_can_be_allowed_and_is_documented() -> None:
    assert KINDS == DIFFERENCE_KINDS
    assert all(f"`{kind}`" in REPORTS for kind in KINDS)


def test_the_documented_priority_of_metrics_is_the_real_one() -> None:
    assert "  ".join(METRIC_PRIORITY) in REPORTS
