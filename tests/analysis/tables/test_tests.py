from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.estimate import Estimate
from analysis.stats.equivalence import tost_paired
from analysis.stats.paired import PairedTable, newcombe_difference, odds_ratio, tango_difference
from analysis.stats.power import exact_power, needed_n
from analysis.stats.proportions import clopper_pearson
from tests.analysis.comparisons import (
    cells,
    compared,
    compared_paths,
    compared_tasks,
    counted,
    graded,
    table_of,
)
from tests.analysis.runs import foreign_row, pair_of_runs

TABLE = PairedTable(both=12, candidate_only=1, baseline_only=8, neither=9)


def test_significance_shows_who_solved_what_and_every_p(tmp_path: Path) -> None:
    table = table_of("significance", compared(tmp_path, *counted(*TABLE)))
    row = cells(table, "quiz")
    counts = [row[name] for name in ("both", "candidate_only", "baseline_only", "neither")]
    assert counts == list(TABLE)
    assert row["p"] == row["exact_p"] == pytest.approx(2 * 10 / 2**9)
    assert row["mid_p"] == pytest.approx((2 * 10 - 9) / 2**9)
    assert row["label"] == "Small"
    assert "McNemar exact" in table.foot


def test_adjusted_p_values_stand_only_beside_several_tests(tmp_path: Path) -> None:
    def columns(n: int) -> set[str]:
        tasks = {f"task{i}": counted(3, 9, 1, 2) for i in range(n)}
        table = table_of("significance", compared_tasks(tmp_path / str(n), tasks))
        return {column.name for column in table.columns} & {"holm_p", "bh_p"}

    assert columns(1) == set()
    assert columns(2) == {"holm_p"}
    assert columns(3) == {"holm_p", "bh_p"}


def test_holm_and_bh_are_those_of_all_tasks(tmp_path: Path) -> None:
    tasks = {"a": counted(0, 8, 0, 0), "b": counted(0, 6, 0, 0), "c": counted(0, 1, 1, 0)}
    table = table_of("significance", compared_tasks(tmp_path, tasks))
    p = [2 / 2**8, 2 / 2**6, 1.0]
    assert table.column("holm_p") == pytest.approx([3 * p[0], 2 * p[1], 1.0])
    assert table.column("bh_p") == pytest.approx([3 * p[0], 3 * p[1] / 2, 1.0])


def test_no_discordant_pair_gives_one_and_no_odds(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(3, 0, 0, 2))
    row = cells(table_of("significance", comparison), "quiz")
    assert (row["p"], row["exact_p"], row["mid_p"]) == (1.0, 1.0, 1.0)
    odds = cells(table_of("intervals", comparison), "quiz", "Clopper-Pearson; exact of the odds")
    assert isinstance(odds["odds_ratio"], Estimate)
    assert odds["odds_ratio"].reason == "no discordant pair"


def test_repeated_scores_have_a_test_but_no_counts(tmp_path: Path) -> None:
    base, cand = graded([["incorrect"] * 2] * 8), graded([["correct", "incorrect"]] * 8)
    row = cells(table_of("significance", compared(tmp_path, base, cand)), "quiz")
    assert row["both"] is None
    assert row["p"] == pytest.approx(2 / 2**8)
    assert isinstance(row["exact_p"], float)
    assert math.isnan(row["exact_p"])


def test_intervals_hold_every_method_of_single_samples(tmp_path: Path) -> None:
    table = table_of("intervals", compared(tmp_path, *counted(*TABLE)))
    wilson = cells(table, "quiz", "Wilson; Newcombe's of the difference")
    exact = cells(table, "quiz", "Clopper-Pearson; exact of the odds")
    assert wilson["difference"] == newcombe_difference(TABLE)
    assert isinstance(exact["baseline"], Estimate)
    assert (exact["baseline"].low, exact["baseline"].high) == clopper_pearson(20, 30)
    assert exact["odds_ratio"] == odds_ratio(TABLE)
    tango = cells(table, "quiz", "Tango's score interval")["difference"]
    assert tango == tango_difference(TABLE)
    normal = cells(table, "quiz", "normal, paired")["difference"]
    assert isinstance(normal, Estimate)
    spread = math.sqrt((9 - 7 * 7 / 30) / 29 / 30)
    assert normal.low == pytest.approx(-7 / 30 - 1.959964 * spread, abs=1e-6)


def test_intervals_of_repeated_samples_know_that_they_share_questions(tmp_path: Path) -> None:
    base = graded([["correct"] * 4] * 5 + [["incorrect"] * 4] * 5)
    cand = graded([["correct"] * 4] * 7 + [["incorrect"] * 4] * 3)
    table = table_of("intervals", compared(tmp_path, base, cand))
    assert table.column("method") == ["question bootstrap", "t, clustered by question"]
    for method in table.column("method"):
        row = cells(table, "quiz", str(method))
        assert isinstance(row["baseline"], Estimate)
        assert row["baseline"].value == 0.5
        # ten questions, not forty samples: Wilson of 20 / 40 would be 0.30 wide
        assert row["baseline"].high - row["baseline"].low > 0.5


def test_intervals_of_one_question_say_why_there_are_none(tmp_path: Path) -> None:
    base, cand = graded([["correct", "incorrect"]]), graded([["correct", "correct"]])
    table = table_of("intervals", compared(tmp_path, base, cand))
    for row in table.rows:
        difference = row[4]
        assert isinstance(difference, Estimate)
        assert difference.value == 0.5
        assert math.isnan(difference.low)
        assert difference.reason


def test_questions_of_one_group_may_be_alike_in_the_intervals(tmp_path: Path) -> None:
    rows = [
        [
            {
                **foreign_row(i, float(i % 7 < right)),
                "doc": {"question": str(i), "topic": str(i % 7)},
            }
            for i in range(70)
        ]
        for right in (3, 5)
    ]
    comparison = compared(tmp_path, *rows)
    alone = cells(table_of("intervals", comparison), "quiz", "normal, paired")["difference"]
    table = table_of("intervals", comparison, by=("topic",))
    row = cells(table, "quiz", "t, clustered by topic")
    assert isinstance(row["difference"], Estimate)
    assert isinstance(alone, Estimate)
    assert row["difference"].value == pytest.approx(2 / 7)
    # seven groups of ten equal questions: a t of seven values
    half = stats.t.isf(0.025, 6) * np.std([1, 1, 0, 0, 0, 0, 0], ddof=1) / math.sqrt(7)
    assert row["difference"].high - row["difference"].value == pytest.approx(half)
    assert row["difference"].low < 0.0 < alone.low
    with pytest.raises(ValueError, match="no doc tells its passage"):
        table_of("intervals", comparison, by=("passage",))


def test_the_scores_and_the_difference_of_a_line_agree(tmp_path: Path) -> None:
    base = graded([["correct"] * 4] * 5 + [["incorrect"] * 4] * 5)
    cand = graded([["correct"] * 4] * 4 + [["incorrect", *["grader_error"] * 3]] * 6)
    table = table_of("intervals", compared(tmp_path, base, cand))
    for method in table.column("method"):
        row = cells(table, "quiz", str(method))
        scores = [row["baseline"], row["candidate"], row["difference"]]
        values = [one.value for one in scores if isinstance(one, Estimate)]
        assert values == pytest.approx([0.5, 0.4, -0.1])


def test_power_is_that_of_showing_the_margin(tmp_path: Path) -> None:
    row = cells(table_of("equivalence", compared(tmp_path, *counted(300, 60, 40, 100))), "quiz")
    assert isinstance(row["power"], Estimate)
    assert row["power"].value == exact_power(0.03, 0.2, 500)
    base, cand = graded([["correct"] * 2] * 9), graded([["correct", "incorrect"]] * 9)
    row = cells(table_of("equivalence", compared(tmp_path / "k", base, cand)), "quiz")
    assert isinstance(row["power"], Estimate)
    assert "alike" in str(row["power"].reason)


def test_no_number_of_questions_below_six_shows_a_difference(tmp_path: Path) -> None:
    base = graded([["incorrect"] * 2] * 8)
    cand = graded([["correct"] * 2] * 7 + [["correct", "incorrect"]])
    row = cells(table_of("equivalence", compared(tmp_path, base, cand)), "quiz")
    assert isinstance(row["needed_n"], Estimate)
    assert row["needed_n"].value == 6.0


def test_equivalence_is_shown_by_many_questions_and_not_by_few(tmp_path: Path) -> None:
    many = PairedTable(900, 20, 20, 60)
    comparison = compared_tasks(tmp_path, {"many": counted(*many), "few": counted(9, 0, 0, 1)})
    table = table_of("equivalence", comparison, margin=0.03)
    row = cells(table, "many")
    assert row["p"] == tost_paired(many, 0.03).p
    assert row["equivalent"] is True
    assert isinstance(row["difference"], Estimate)
    assert -0.03 < row["difference"].low < 0.0 < row["difference"].high < 0.03
    assert cells(table, "few")["equivalent"] is False


def test_equivalence_of_several_tasks_is_judged_by_holms_p(tmp_path: Path) -> None:
    near = PairedTable(800, 22, 14, 64)
    margin = 0.021
    p = tost_paired(near, margin).p
    assert 0.0125 < p < 0.05
    tasks = {f"task{i}": counted(*near) for i in range(4)}
    table = table_of("equivalence", compared_tasks(tmp_path, tasks), margin=margin)
    assert table.column("holm_p") == pytest.approx([4 * p] * 4)
    assert table.column("equivalent") == [False] * 4


def test_a_loss_within_the_margin_is_not_worse(tmp_path: Path) -> None:
    gain = PairedTable(500, 90, 10, 400)
    row = cells(table_of("equivalence", compared(tmp_path, *counted(*gain))), "quiz")
    assert row["equivalent"] is False
    assert isinstance(row["not_worse_p"], float)
    assert row["not_worse_p"] < 1e-6
    assert row["needed_n"] == needed_n(0.08, 0.1)


def test_an_error_rate_is_turned_round_before_it_is_not_worse(tmp_path: Path) -> None:
    told = {"higher_is_better": {"quiz": {"error_rate": False}}}
    first, second = (
        [foreign_row(i, float(i < ones), metric="error_rate") for i in range(200)]
        for ones in (60, 20)
    )
    comparison = compared_paths(*pair_of_runs(tmp_path, first, second, results=told))
    row = cells(table_of("equivalence", comparison), "quiz")
    assert isinstance(row["difference"], Estimate)
    assert row["difference"].value == pytest.approx(0.2)
    assert row["difference"].low > 0.0
    assert isinstance(row["not_worse_p"], float)
    assert row["not_worse_p"] < 1e-6


def test_questions_needed_for_repeated_samples_follow_from_the_spread(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"]] * 9 + [["correct", "correct"]])
    cand = graded([["correct", "correct"]] * 6 + [["incorrect", "incorrect"]] * 4)
    comparison = compared(tmp_path, base, cand)
    row = cells(table_of("equivalence", comparison), "quiz")
    differences = [0.5] * 6 + [-0.5] * 3 + [-1.0]
    mean = sum(differences) / 10
    variance = sum((one - mean) ** 2 for one in differences) / 9
    expected = math.ceil((1.959964 + 0.841621) ** 2 * variance / mean**2)
    assert isinstance(row["needed_n"], Estimate)
    assert row["needed_n"].value == expected


def test_no_difference_at_all_needs_no_number_of_questions(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(5, 1, 1, 5))
    needed = cells(table_of("equivalence", comparison), "quiz")["needed_n"]
    assert isinstance(needed, Estimate)
    assert not needed.defined


def test_a_margin_in_points_is_refused(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(5, 1, 1, 5))
    with pytest.raises(ValueError, match="margin must lie in"):
        table_of("equivalence", comparison, margin=3.0)


def test_a_task_without_graded_pairs_is_named_in_every_table(tmp_path: Path) -> None:
    paths = pair_of_runs(tmp_path, [foreign_row(0, None)], [foreign_row(0, 1.0)])
    comparison = compared_paths(*paths)
    for name in ("significance", "intervals", "equivalence"):
        assert table_of(name, comparison).rows[0][0] == "quiz"
