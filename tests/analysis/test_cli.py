from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from analysis.cli import cli
from analysis.compare import Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.sheets import NARROWEST, p_text, rich_table, sheets
from analysis.stats.paired import SMALLEST_P
from tests.analysis.runs import foreign_row, our_row, pair_of_runs, write_run

LONG_TASK = "distill_aime_2022_2024"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


@pytest.fixture
def arms(tmp_path: Path) -> tuple[Path, Path]:
    texts = ["<think>" + "so " * 400 + "</think>" + "because " * 200]
    baseline = [our_row(i, ["correct"]) for i in range(40)]
    candidate = [our_row(i, ["correct" if i % 3 else "incorrect"], texts=texts) for i in range(40)]
    return pair_of_runs(tmp_path, baseline, candidate, task=LONG_TASK)


def test_the_report_has_every_section_and_a_headline(arms: tuple[Path, Path]) -> None:
    result = invoke(*arms)
    assert result.exit_code == 0, result.output
    assert f"{LONG_TASK}: candidate lower (p=0.0001)" in result.output
    for section in ("Scorecard", "Agreement and test", "Completion", "Reasoning volume"):
        assert section in result.output


def test_piped_output_is_plain_fits_100_columns_and_cuts_nothing(arms: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "analysis", "compare", *map(str, arms)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    lines = done.stdout.splitlines()[2:]  # the arms' paths stay in one piece
    assert max(map(len, lines)) <= 100
    assert "100% / 100%" in done.stdout


@pytest.mark.parametrize("option", ["--json", "--csv", "--markdown"])
def test_a_dash_writes_that_format_and_nothing_else(arms: tuple[Path, Path], option: str) -> None:
    output = invoke(*arms, option, "-").output
    if option == "--json":
        assert json.loads(output)["schema"] == 1
    elif option == "--csv":
        (row,) = csv.DictReader(io.StringIO(output))
        assert float(row["difference"]) == pytest.approx(-14 / 40)
        assert row["agreement_baseline_only"] == "14"
    else:
        assert output.startswith("# Comparison")
        assert "| 26 | 14 | 0 | 0 |" in output


def test_a_csv_folder_holds_the_items_that_every_number_comes_from(
    arms: tuple[Path, Path], tmp_path: Path
) -> None:
    assert invoke(*arms, "--csv", tmp_path / "tables").exit_code == 0
    with (tmp_path / "tables" / "items.csv").open(encoding="utf-8") as file:
        items = list(csv.DictReader(file))
    with (tmp_path / "tables" / "summary.csv").open(encoding="utf-8") as file:
        (summary,) = csv.DictReader(file)
    for arm in ("baseline", "candidate"):
        scores = [float(item["score"]) for item in items if item["arm"] == arm]
        assert float(summary[f"{arm}_score"]) == pytest.approx(sum(scores) / len(scores))
    assert (tmp_path / "tables" / "volume.csv").is_file()


def test_files_are_written_beside_the_tables(arms: tuple[Path, Path], tmp_path: Path) -> None:
    targets = [tmp_path / "new" / name for name in ("r.json", "r.csv", "r.md")]
    options = zip(("--json", "--csv", "--markdown"), targets, strict=True)
    result = invoke(*arms, *(part for pair in options for part in pair))
    assert "Scorecard" in result.output
    assert all(target.is_file() and f"wrote {target}" in result.output for target in targets)


def test_a_number_that_does_not_exist_is_null_with_a_reason(tmp_path: Path) -> None:
    rows: list[Any] = [our_row(i, ["correct", "incorrect"]) for i in range(3)]
    report = json.loads(invoke(*pair_of_runs(tmp_path, rows, rows), "--json", "-").output)
    (task,) = report["tasks"]
    assert task["agreement"] is None
    assert task["test"]["mid_p"] is None
    assert "McNemar" in task["test"]["reason"]
    assert task["detectable"]["value"] is None
    assert "spread" in task["detectable"]["reason"]


def test_a_refusal_exits_with_2_and_names_both_values(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", [our_row(0, ["correct"])], config={"sampling": {"top_p": 1}})
    student = write_run(
        tmp_path / "b", [our_row(0, ["correct"])], config={"sampling": {"top_p": 0.9}}
    )
    result = invoke(base, student)
    assert result.exit_code == 2
    assert "top_p: baseline 1, candidate 0.9" in result.stderr
    assert "Traceback" not in result.stderr
    assert invoke(base, student, "--allow", "sampling").exit_code == 0


def test_bad_input_is_one_line_and_debug_shows_where_it_arose(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nowhere", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert isinstance(invoke(tmp_path / "nowhere", tmp_path, "--debug").exception, ValueError)


def test_a_headline_is_refused_where_graders_failed(tmp_path: Path) -> None:
    rows = [our_row(i, ["correct"]) for i in range(20)]
    failed = [our_row(0, ["grader_error"]), *rows[1:]]
    output = invoke(*pair_of_runs(tmp_path, rows, failed)).output
    assert "no headline: the grader failed on 5.0% of the candidate's samples (1 of 20" in output


def test_metric_and_filter_are_chosen_by_task_and_named(tmp_path: Path) -> None:
    rows = [
        {**foreign_row(i, 1.0, metric="acc"), "acc_norm": 0.0, "filter": name}
        for i in range(3)
        for name in ("strict", "loose")
    ]
    output = invoke(
        *pair_of_runs(tmp_path, rows, rows), "--metric", "quiz=acc", "--filter", "loose"
    ).output
    assert "quiz: graded by acc, filter loose" in output


def test_a_model_name_is_no_markup(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0, text="[red]x[/red]")]
    base = write_run(tmp_path / "a", rows, model="[bold]m|odel")
    output = invoke(base, base).output
    assert "[bold]m|odel" in output
    assert "m\\|odel" in invoke(base, base, "--markdown", "-").output


def test_control_characters_reach_neither_terminal_nor_markdown(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\x07\u202e\ud800 `*_ <b>"
    rows = [{**foreign_row(0, 1.0), "filter": hostile}]
    base = write_run(tmp_path / "a", rows, results={"model_name": hostile})
    for options in ((), ("--markdown", "-")):
        output = invoke(base, base, *options).output
        assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(output)
        assert "\\x1b" in output
    message = invoke(base, base, "--filter", "\x1b[2J").stderr
    assert "\x1b" not in message


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", [{**foreign_row(0, 1.0), "filter": "\ud800"}])
    result = invoke(base, base, "--json", tmp_path / "r.json", "--csv", tmp_path / "tables")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["tasks"][0]["filter"] == "\ud800"


def test_a_tiny_p_is_printed_as_a_bound() -> None:
    assert p_text(SMALLEST_P) == "<1e-300"
    assert p_text(3.13e-08) == "3.13e-08"


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_number_is_broken_at_any_width(arms: tuple[Path, Path], width: int) -> None:
    baseline, candidate = (read_arm("x", path, Choice()) for path in arms)
    comparison = compare(baseline, candidate, Options())
    for sheet in sheets(comparison):
        console = Console(file=io.StringIO(), width=max(width, NARROWEST), record=True)
        console.print(rich_table(sheet))
        words = set(console.export_text().split())
        numbers = {word for row in sheet.rows for cell in row[2:] for word in cell.split()}
        assert numbers <= words


def test_help_loads_no_library_that_computes() -> None:
    code = (
        "import sys\nfrom analysis.cli import cli\n"
        "try: cli(['compare', '--help'], prog_name='distill-report')\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'statsmodels', 'torch', 'lm_eval', 'rich'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
