"""`distill-eval presets`: every field of every preset, readable and as JSON."""

from __future__ import annotations

import json

from click.testing import CliRunner

from harness_tasks.cli import main
from harness_tasks.presets_command import row_of
from harness_tasks.sampling import PRESETS
from tests.conftest import REPO


def shown(*options: str) -> str:
    done = CliRunner().invoke(main, ["presets", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_table_has_a_row_for_each_preset_and_a_column_for_each_field_that_one_sets() -> None:
    head, *lines = shown().splitlines()
    columns = head.split()
    assert columns[0] == "preset"
    assert columns[-2:] == ["max_tokens", "k"]
    rows = {line.split()[0]: line for line in lines[: len(PRESETS)]}
    assert list(rows) == list(PRESETS)
    for name, preset in PRESETS.items():
        cells = dict(zip(columns, rows[name].split(), strict=False))
        for field, value in preset.to_request().items():
            assert float(cells[field].strip(";").replace(",", "")) == value
    assert "32,768; AIME 38,912" in rows["qwen3-thinking"]
    assert "AIME 64; LiveCodeBench 8; IFEval 1" in rows["qwq"]


def test_the_columns_are_aligned_and_every_remark_and_source_is_shown() -> None:
    head, *lines = shown().splitlines()
    at = head.index("max_tokens")
    for line in lines[: len(PRESETS)]:
        assert line[at - 1] == " "
        assert line[at].isdigit()
    for preset in PRESETS.values():
        assert preset.source in "\n".join(lines)
        assert preset.note in "\n".join(lines)


def test_the_json_is_what_is_sent() -> None:
    told = json.loads(shown("--json"))
    assert {name: one["sampling"] for name, one in told.items()} == {
        name: preset.to_request() for name, preset in PRESETS.items()
    }
    assert told["qwen3-thinking"]["max_tokens_by_task"] == {"AIME": 38912}
    assert told["thesis"]["k"] == {"any": 2}
    assert told["teacher"]["timeout_s"] == 360
    assert all(one["source"] for one in told.values())


def test_the_page_about_running_has_the_same_table() -> None:
    page = (REPO / "docs" / "running.md").read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        told, *fields = row_of(name, preset)
        assert told == name
        assert f"| `{name}` | {' | '.join(fields)} |" in page
