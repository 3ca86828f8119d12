"""CSV files of scores: what is read, and what is refused with file and line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from analysis.series.form import DEV, HELD_OUT
from analysis.series.tidy import read_groups, read_series
from tests.analysis.series.making import write_csv
from training.checkpoints.scores import Row
from training.checkpoints.scores import write_csv as write_sweep_csv


def test_shares_and_percentages_have_columns_of_their_own(tmp_path: Path) -> None:
    shares = read_series(write_csv(tmp_path / "a.csv", "run,task,score", [("a", "T", 0.874)]))
    percents = read_series(write_csv(tmp_path / "b.csv", "run,task,percent", [("a", "T", 87.4)]))
    assert shares.scores[0].value == percents.scores[0].value == Fraction(437, 500)


def test_counts_give_the_exact_score_and_fit_a_rounded_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "run,task,percent,n,correct", [("a", "T", 33.3, 30, 10)])
    score = read_series(path).scores[0]
    assert score.value == Fraction(1, 3)
    assert score.estimate.low == pytest.approx(0.192, abs=1e-3)  # Wilson, 10 of 30


def test_several_completions_of_a_question_make_no_narrower_interval(tmp_path: Path) -> None:
    rows = [("a", "T", 0.5, 300, 30), ("b", "T", 0.5, 30, 30)]
    several, single = read_series(
        write_csv(tmp_path / "a.csv", "run,task,score,n,n_docs", rows)
    ).scores
    assert several.estimate.low == single.estimate.low
    assert "at most" in several.estimate.method


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfRun, Task ,Score\r\n\r\na,T,0.5\r\n")
    assert read_series(path).scores[0].run == "a"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("run,task,score\na,T,87.4\n", r"a.csv:2: score must lie in 0..1, got 87.4; a percentage"),
        ("run,task,percent\na,T,-1\n", r"a.csv:2: percent must lie in 0..100"),
        ("run,task,score\na,T,nan\n", r"a.csv:2: score must be a number, got 'nan'"),
        ("run,task,score\na,T,1e400\n", r"must be a number"),
        ("run,task,score\na,,0.4\n", r"a.csv:2: the task is empty"),
        ("run,task,score\na,T\n", r"a.csv:2: 2 cells, and the header has 3"),
        ("run,task,score,step\na,T,0.4,1.5\n", r"a.csv:2: step must be a count, got '1.5'"),
        ("run,task,score,n\na,T,0.4,1e18\n", r"n must be a count"),
        ("run,task,correct,n\na,T,11,10\n", r"correct is 11 of 10"),
        ("run,task,score,correct,n\na,T,0.9,1,10\n", r"score is 0.9, but correct / n is 0.1"),
        ("run,task,score\na,T,0.4\na,T,0.5\n", r"run 'a' has two rows of 'T'"),
        ("run,task\na,T\n", r"needs a column score"),
        ("task,score\nT,0.4\n", r"needs the columns task and run \(or step\)"),
        ("run,task,score,score\na,T,1,1\n", r"column 'score' stands twice"),
        ("run,task,score\nbase,T,0.4\n", r"holds the baseline 'base' alone"),
        ("run,task,score\na,T,\n", r"no row with a score"),
        ("", r"it has nothing"),
        ("run;task;score\na;T;0,5\n", r"must be parted by commas, got 'run;task;score'"),
        ("run\ttask\tscore\na\tT\t0.5\n", r"must be parted by commas"),
        ("run,task,percent\na,T,0.839\nb,T,1\n", r"the largest percent is 1; shares go into"),
        ("run,task,score,percent\na,T,0.6,70\n", r"score is 0.6 and percent 70; give one"),
        ('run,task,score\n"a,T,0.4\n', r"not valid CSV"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=why) as refused:
        read_series(path)
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"run,task,score\n\xff,T,0.5\n")
    with pytest.raises(ValueError, match=r"a\.csv: not UTF-8"):
        read_series(path)


def test_the_baseline_is_the_row_without_a_step_or_the_one_that_is_named(tmp_path: Path) -> None:
    head = "run,step,task,score"
    rows = [("start", None, "T", 0.4), ("s1", 1, "T", 0.5)]
    assert read_series(write_csv(tmp_path / "a.csv", head, rows)).baseline[0].run == "start"
    rows.append(("other", None, "T", 0.45))
    path = write_csv(tmp_path / "b.csv", head, rows)
    with pytest.raises(ValueError, match="2 runs have no step"):
        read_series(path)
    assert read_series(path, "other").baseline[0].run == "other"
    with pytest.raises(ValueError, match="no run 'nobody'"):
        read_series(path, "nobody")


def test_settings_in_which_runs_differ_are_told(tmp_path: Path) -> None:
    rows = [("r1", "T", 0.4, 2e-5), ("sonnet", "T", 0.5, 2e-4), ("sonnet", "U", 0.5, 2e-4)]
    series = read_series(write_csv(tmp_path / "a.csv", "run,task,score,learning_rate", rows))
    assert series.notes == ("the runs also differ in learning_rate: 2e-05 (r1); 0.0002 (sonnet)",)


def test_a_score_may_stand_there_as_share_and_as_percentage(tmp_path: Path) -> None:
    rows = [("a", "T", 0.839, 83.9), ("b", "T", 0, 0)]
    series = read_series(write_csv(tmp_path / "a.csv", "run,task,score,percent", rows))
    assert [float(one.value) for one in series.scores] == [0.839, 0.0]


def test_runs_that_only_have_a_seed_are_named_by_it(tmp_path: Path) -> None:
    series = read_series(write_csv(tmp_path / "a.csv", "seed,task,percent",
                                   [(1, "T", 40), (2, "T", 50)]))  # fmt: skip
    assert [(one.run, one.step) for one in series.scores] == [("seed-1", 1), ("seed-2", 2)]
    rows = [("base", None, "T", 30), (None, 1, "T", 40), (None, 2, "T", 50)]
    series = read_series(write_csv(tmp_path / "b.csv", "run,seed,task,percent", rows))
    assert series.runs == ["seed-1", "seed-2"]


def test_a_file_with_arm_and_model_has_the_arm_for_its_run(tmp_path: Path) -> None:
    rows = [("base", "q", "T", 0.4), ("s1", "q", "T", 0.5)]
    series = read_series(write_csv(tmp_path / "a.csv", "arm,model,task,score", rows))
    assert series.runs == ["s1"]


def test_rows_without_a_score_are_counted(tmp_path: Path) -> None:
    rows = [("a", "T", 0.4), ("b", "T", None)]
    series = read_series(write_csv(tmp_path / "a.csv", "run,task,score", rows))
    assert series.runs == ["a"]
    assert "1 rows without a score are left out" in series.notes[0]


def test_several_series_of_one_file_are_told_apart(tmp_path: Path) -> None:
    rows = [("math", "a", "T", 0.4), ("code", "a", "T", 0.5)]
    path = write_csv(tmp_path / "a.csv", "series,run,task,score", rows)
    assert {name: float(one.scores[0].value) for name, one in read_groups(path).items()} == {
        "math": 0.4,
        "code": 0.5,
    }
    with pytest.raises(ValueError, match=r"2 series \(math, code\); name one with --series"):
        read_series(path)
    assert float(read_series(path, series="code").scores[0].value) == 0.5


def test_the_table_that_a_sweep_writes_is_read_with_its_parts(tmp_path: Path) -> None:
    rows = [
        Row("dev", "step-000100", 100, "T", 20, 20, 9, 0.45, 1, 0, 0),
        Row("dev", "step-000200", 200, "T", 20, 20, 11, 0.55, 0, 0, 0),
        Row("held_out", "step-000200", 200, "T", 80, 80, 40, 0.5, 3, 0, 0),
        Row("held_out", "base", None, "T", 80, 80, 32, 0.4, 0, 0, 0),
        Row("dev", "step-000300", 300, "T", 20, 20, 0, None, 0, 0, 20),
    ]
    write_sweep_csv(tmp_path / "sweep.csv", rows)
    series = read_series(tmp_path / "sweep.csv")
    assert [one.step for one in series.of("T", DEV)] == [100, 200]
    held = series.of("T", HELD_OUT)[0]
    assert series.difference(held).estimate.value == pytest.approx(0.1)
    assert not series.difference(series.of("T", DEV)[0]).estimate.defined
    assert (held.truncated.count, held.truncated.n) == (3, 80)
