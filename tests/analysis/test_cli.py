from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.console import Console

from analysis.cli import cli
from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.render import terminal
from analysis.render.cells import written_rows
from analysis.tables import catalogue
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import Kind
from tests.analysis.runs import foreign_row, our_row, pair_of_runs, write_run

LONG_TASK = "distill_aime_2022_2024"
NEEDS_NOTHING = [entry.name for entry in catalogue.PAIR if not entry.needs]


def run(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [command, *map(str, arguments)])


def invoke(*arguments: str | Path) -> Result:
    return run("compare", *arguments)


@pytest.fixture
def arms(tmp_path: Path) -> tuple[Path, Path]:
    texts = ["<think>" + "so " * 400 + "</think>" + "because " * 200]
    baseline = [our_row(i, ["correct"]) for i in range(40)]
    candidate = [our_row(i, ["correct" if i % 3 else "incorrect"], texts=texts) for i in range(40)]
    return pair_of_runs(tmp_path, baseline, candidate, task=LONG_TASK)


def compared(arms: tuple[Path, Path]) -> Comparison:
    baseline, candidate = (read_arm("x", path, Choice()) for path in arms)
    return compare(baseline, candidate, Options())


def test_the_report_has_doubts_then_verdict_then_core_tables_then_notes(tmp_path: Path) -> None:
    rows = [our_row(i, ["correct"]) for i in range(40)]
    worse = [our_row(i, ["correct" if i % 3 else "truncated"]) for i in range(40)]
    result = invoke(*pair_of_runs(tmp_path, rows, worse, task=LONG_TASK))
    assert result.exit_code == 0, result.output
    core = [
        entry.load()(compared((tmp_path / "base", tmp_path / "student")), TableOptions())
        for entry in catalogue.PAIR
        if entry.core
    ]
    titles = [f"\n{table.title}\n" for table in core if table.rows]
    parts = ["baseline: ", "WARNING: ", "Hurt: -35.0 points", *titles, "note: "]
    places = [result.output.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_many_doubts_of_one_kind_are_folded_and_json_has_all(tmp_path: Path) -> None:
    names = [f"task{number}" for number in range(5)]
    rows = [our_row(i, ["correct" if i % 3 else "truncated"]) for i in range(30)]
    for name in names:
        arms = pair_of_runs(tmp_path, rows, rows, task=name)
    output = " ".join(invoke(*arms).output.split())
    assert "WARNING: 3 more of truncation on task2, task3, task4; --json has them" in output
    doubts = json.loads(invoke(*arms, "--json", "-").output)["warnings"]
    assert [one["task"] for one in doubts if one["kind"] == "truncation"] == names


def test_one_task_has_its_verdict_and_several_a_line_each(tmp_path: Path) -> None:
    rows = [our_row(i, ["correct"]) for i in range(9)]
    single = pair_of_runs(tmp_path / "one", rows, rows, task="first")
    assert "first: no difference" not in invoke(*single).output
    for folder, model in zip(single, ("base-model", "student-model"), strict=True):
        write_run(folder, rows, task="second", model=model)
    output = invoke(*single).output
    assert "first: no difference shown" in output
    assert "second: no difference shown" in output


def test_piped_output_is_plain_fits_100_columns_and_cuts_nothing(arms: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "analysis", "compare", *map(str, arms)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_of_any_table_is_wider_and_no_number_of_it_is_broken(
    arms: tuple[Path, Path], width: int
) -> None:
    for table in catalogue.made(compared(arms), TableOptions()):
        console = Console(file=io.StringIO(), width=width)
        terminal.print_table(table, console)
        assert isinstance(console.file, io.StringIO)
        output = console.file.getvalue()
        assert max(map(cell_len, output.splitlines())) <= width, table.name
        shown = written_rows(table)[: terminal.MOST_ROWS]
        numeric = [i for i, column in enumerate(table.columns) if column.kind is not Kind.TEXT]
        numbers = {word for row in shown for i in numeric for word in row[i].split()}
        assert numbers <= set(output.split()), table.name


@pytest.mark.parametrize("name", NEEDS_NOTHING)
def test_every_table_has_a_command(arms: tuple[Path, Path], name: str) -> None:
    result = run(name, *arms, "--json", "-")
    assert result.exit_code == 0, result.output
    content = json.loads(result.output, parse_constant=pytest.fail)
    assert content["schema"] == 2
    assert content["baseline"] == {"path": str(arms[0]), "model": "base-model"}
    (table,) = content["tables"].values()
    assert list(content["tables"]) == [name]
    names = [column["name"] for column in table["columns"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in names)
    assert table["rows"] or table["empty"]
    assert table["foot"] or not table["rows"]
    shown = run(name, *arms)
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(table["title"])


def test_a_table_reads_no_option_that_its_command_lacks(arms: tuple[Path, Path]) -> None:
    read: set[str] = set()

    class Watched(TableOptions):
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    own = {"by": "by", "margin": "margin", "budgets": "budget", "train": "train"}
    comparison = compared(arms)
    for entry in catalogue.PAIR:
        if not entry.needs:
            read.clear()
            entry.load()(comparison, Watched())
            assert {own[name] for name in read & own.keys()} <= set(entry.takes), entry.name


def test_a_table_of_training_data_says_what_it_needs(arms: tuple[Path, Path]) -> None:
    result = run("leakage", *arms)
    assert result.exit_code == 2
    assert result.stderr.startswith("distill-report: leakage needs --train: distill-report leakage")


@pytest.mark.parametrize("option", ["--json", "--csv", "--markdown", "--latex"])
def test_a_dash_writes_that_form_of_a_table_and_nothing_else(
    arms: tuple[Path, Path], option: str
) -> None:
    output = run("scorecard", *arms, option, "-").output
    if option == "--json":
        assert json.loads(output)["tables"]["scorecard"]["rows"][0]["task"] == LONG_TASK
    elif option == "--csv":
        (row,) = csv.DictReader(io.StringIO(output))
        assert float(row["difference"]) == pytest.approx(-14 / 40)
        assert float(row["difference_low"]) < float(row["difference"])
    elif option == "--markdown":
        assert output.startswith("## Scorecard")
        assert "-35.0 [" in output
    else:
        assert "\\toprule" in output
        assert "$-$35.0 [" in output


@pytest.mark.parametrize("option", ["--json", "--markdown", "--latex"])
def test_a_dash_writes_that_form_of_a_report_and_nothing_else(
    arms: tuple[Path, Path], option: str
) -> None:
    output = invoke(*arms, option, "-").output
    sentence = json.loads(invoke(*arms, "--json", "-").output)["verdict"]["sentence"]
    assert sentence.startswith("Hurt: -35.0 points")
    start = {"--json": "{", "--markdown": "# Comparison", "--latex": "% needs "}[option]
    assert output.startswith(start)
    assert "35.0 points" in output


def test_json_has_everything(arms: tuple[Path, Path]) -> None:
    report = json.loads(invoke(*arms, "--json", "-").output, parse_constant=pytest.fail)
    assert report["schema"] == 2
    assert list(report["tables"]) == NEEDS_NOTHING
    (task,) = report["tasks"]
    assert task["agreement"] == {"both": 26, "candidate_only": 0, "baseline_only": 14, "neither": 0}
    assert report["verdict"]["difference"]["value"] == task["difference"]["value"]
    assert {"warnings", "quality", "notices", "allowed", "seed"} <= report.keys()


@pytest.mark.parametrize("option", ["--markdown", "--latex"])
def test_a_file_has_the_core_tables_or_all_of_them(arms: tuple[Path, Path], option: str) -> None:
    short, whole = (invoke(*arms, option, "-", *more).output for more in ((), ("--all",)))
    marks = [f"% {entry.name}\n" for entry in catalogue.PAIR]
    if option == "--latex":
        assert [mark in short for mark in marks] == [entry.core for entry in catalogue.PAIR]
        assert [mark in whole for mark in marks] == [not one.needs for one in catalogue.PAIR]
    assert len(whole) > 2 * len(short)


def test_a_csv_folder_holds_every_table_and_the_items_that_they_come_from(
    arms: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tables"
    assert invoke(*arms, "--csv", folder).exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"items.csv", *(f"{name}.csv" for name in NEEDS_NOTHING)}
    with (folder / "items.csv").open(encoding="utf-8") as file:
        items = list(csv.DictReader(file))
    with (folder / "scorecard.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    for arm in ("baseline", "candidate"):
        scores = [float(item["score"]) for item in items if item["arm"] == arm]
        assert float(row[arm]) == pytest.approx(sum(scores) / len(scores))


@pytest.mark.parametrize("target", ["-", "one.csv", "a_file"])
def test_a_report_is_no_single_csv(arms: tuple[Path, Path], tmp_path: Path, target: str) -> None:
    (tmp_path / "a_file").touch()
    result = invoke(*arms, "--csv", target if target == "-" else tmp_path / target)
    assert result.exit_code == 2
    assert "distill-report scorecard" in result.stderr


def test_files_are_written_beside_the_tables(arms: tuple[Path, Path], tmp_path: Path) -> None:
    names = ("r.json", "r.csv", "r.md", "r.tex")
    targets = [tmp_path / "new" / name for name in names]
    options = zip(("--json", "--csv", "--markdown", "--latex"), targets, strict=True)
    result = run("scorecard", *arms, *(part for pair in options for part in pair))
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
    assert "too small to show" in task["detectable"]["reason"]


def test_a_refusal_exits_with_2_and_names_both_values(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", [our_row(0, ["correct"])], config={"sampling": {"top_p": 1}})
    student = write_run(
        tmp_path / "b", [our_row(0, ["correct"])], config={"sampling": {"top_p": 0.9}}
    )
    for command in ("compare", "scorecard"):
        result = run(command, base, student)
        assert result.exit_code == 2
        assert "top_p: baseline 1, candidate 0.9" in result.stderr
        assert "Traceback" not in result.stderr
        assert run(command, base, student, "--allow", "sampling").exit_code == 0


def test_bad_input_is_one_line_and_debug_shows_where_it_arose(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nowhere", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert isinstance(invoke(tmp_path / "nowhere", tmp_path, "--debug").exception, ValueError)


def test_a_file_that_cannot_be_written_is_one_line(arms: tuple[Path, Path]) -> None:
    file = arms[0].parent / "file"
    file.touch()
    for option, path, said in (
        ("--json", arms[0], "that is a folder; name a file in it"),
        ("--markdown", file / "table.md", f"{file} is a file, not a folder"),
        ("--csv", file / "new" / "table.csv", f"{file} is a file, not a folder"),
    ):
        result = run("scorecard", *arms, option, path)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"distill-report: {option} {path}: ")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_verdict_is_refused_where_graders_failed(tmp_path: Path) -> None:
    rows = [our_row(i, ["correct"]) for i in range(20)]
    failed = [our_row(0, ["grader_error"]), *rows[1:]]
    output = " ".join(invoke(*pair_of_runs(tmp_path, rows, failed)).output.split())
    assert "STOP: " in output
    assert "No verdict: the grader failed on 5.0% of the candidate's samples (1 of 20" in output


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
    assert "\\[bold\\]m\\|odel" in invoke(base, base, "--markdown", "-").output
    assert "[bold]m$|$odel" in invoke(base, base, "--latex", "-").output


def test_control_characters_reach_no_reader(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\x07\u202e\ud800 `*_ <b>"
    rows = [{**foreign_row(0, 1.0), "filter": hostile}]
    base = write_run(tmp_path / "a", rows, results={"model_name": hostile})
    for options in ((), ("--markdown", "-"), ("--latex", "-")):
        output = invoke(base, base, *options).output
        assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(output)
        assert "x1b" in output
    message = invoke(base, base, "--filter", "\x1b[2J").stderr
    assert "\x1b" not in message


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", [{**foreign_row(0, 1.0), "filter": "\ud800"}])
    result = invoke(base, base, "--json", tmp_path / "r.json", "--csv", tmp_path / "tables")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["tasks"][0]["filter"] == "\ud800"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_shows_an_example_that_can_be_typed(name: str) -> None:
    command = cli.commands[name]
    result = run(name, "--help")
    assert result.exit_code == 0
    output = re.sub(r"\\\n +", "", result.output)
    examples = re.findall(rf"^ +distill-report {name} (.+)$", output, re.MULTILINE)
    assert examples
    for example in examples:
        parser = command.make_parser(click.Context(command))
        options, left, _ = parser.parse_args(shlex.split(example))
        assert not left
        assert options.keys() & {param.name for param in command.params}


@pytest.mark.parametrize("entry", catalogue.PAIR, ids=lambda entry: entry.name)
def test_help_says_how_to_read_the_table(entry: catalogue.Entry) -> None:
    text = " ".join(run(entry.name, "--help").output.split())
    assert entry.help in text
    assert entry.reading in text
    shown = run(entry.name, "--help").output
    for option in ("by", "margin", "budget", "train"):
        assert (f"--{option} " in shown) == (option in entry.takes)


def test_the_group_lists_every_command_under_a_heading() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    for name in cli.commands:
        assert re.search(rf"^  {name} ", output, re.MULTILINE), name
    assert max(map(len, output.splitlines())) <= 100


def test_help_of_no_command_loads_a_library_that_computes() -> None:
    code = (
        "import sys\nfrom analysis.cli import cli\n"
        "for words in ([], *([name] for name in cli.commands)):\n"
        "    try: cli([*words, '--help'], prog_name='distill-report')\n"
        "    except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'statsmodels', 'torch', 'lm_eval', 'rich', 'duckdb',"
        " 'matplotlib', 'jinja2', 'httpx2', 'pyarrow', 'polars', 'sympy'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_of_many_tasks_those_that_show_nothing_are_counted_and_notes_alike_are_folded(
    tmp_path: Path,
) -> None:
    rows = [foreign_row(i, float(i % 2)) for i in range(40)]
    better = [foreign_row(i, 1.0) for i in range(40)]
    for number in range(57):
        name = f"subject_{number:02}"
        arms = pair_of_runs(tmp_path, rows, better if number == 7 else rows, task=name)
    output = " ".join(invoke(*arms).output.split())
    assert "subject_07: candidate higher (" in output
    assert "no difference shown on each of the other 56 tasks alone (after Holm)" in output
    assert output.count("in 40 samples without a log; alike on ") == 2
    named = "subject_00, subject_01, subject_02, subject_03, subject_04, subject_05 and 51 more"
    assert f"graded by exact_match, filter none: {named}" in output
    assert re.search(r" mean of .*… 18 more", output.partition("Agreement and test")[0])
    tasks = json.loads(invoke(*arms, "--json", "-").output)["tasks"]
    assert all(
        "no difference shown" in one["headline"] for one in tasks if one["task"][-2:] != "07"
    )


def test_a_filter_that_nobody_chose_is_said_with_the_others(tmp_path: Path) -> None:
    rows = [
        {**foreign_row(i, 1.0), "filter": name}
        for i in range(3)
        for name in ("strict-match", "flexible-extract")
    ]
    arms = pair_of_runs(tmp_path, rows, rows)
    said = "quiz: read under filter strict-match, the first of its samples, which hold"
    hint = "flexible-extract too (--filter quiz=flexible-extract)"
    assert f"{said} {hint}" in " ".join(invoke(*arms).output.split())
    assert said not in " ".join(invoke(*arms, "--filter", "strict-match").output.split())
