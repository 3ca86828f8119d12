from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.compare import Comparison
from analysis.estimate import Estimate, Share
from analysis.stats.paired import PairedTable, newcombe_difference
from analysis.tables.budget import budget, cost
from analysis.tables.catalogue import TableOptions
from harness_tasks.records import read_jsonl
from tests.analysis.runs import our_row
from tests.analysis.tables.arms import by_names, compared, exchange, foreign, log, written
from tests.conftest import SHARED, needs_shared

OPTIONS = TableOptions()
RIGHT, WRONG = "correct", "incorrect"


def value(cell: Any) -> float:
    assert isinstance(cell, Estimate)
    return cell.value


def arm(*samples: tuple[str, int | None]) -> list[Any]:
    """Return rows of one completion each: its verdict and its tokens."""
    return [
        written(i, f"answer {i}", verdict, completion_tokens=tokens)
        for i, (verdict, tokens) in enumerate(samples)
    ]


def small_pair(folder: Path) -> Comparison:
    return compared(
        folder,
        arm((RIGHT, 10), (RIGHT, 30), (WRONG, 20), (WRONG, 40)),
        arm((RIGHT, 100), (RIGHT, 300), (RIGHT, 500), (WRONG, 900)),
    )


def test_a_completion_over_the_budget_solves_nothing_in_either_arm(tmp_path: Path) -> None:
    table = budget(small_pair(tmp_path), TableOptions(budgets=(500, 20)))
    low, high = by_names(table)
    assert (low["tokens"], value(low["baseline"]), value(low["candidate"])) == (20, 0.25, 0.0)
    assert (low["baseline_cut"], low["candidate_cut"]) == (Share(2, 4), Share(4, 4))
    assert (high["tokens"], value(high["baseline"]), value(high["candidate"])) == (500, 0.5, 0.75)
    assert high["candidate_cut"] == Share(1, 4)
    assert high["difference"] == newcombe_difference(PairedTable(2, 1, 0, 1))
    assert "counts as not solved" in table.foot


def test_budgets_are_chosen_from_the_data_up_to_what_nothing_exceeds(tmp_path: Path) -> None:
    rows = by_names(budget(small_pair(tmp_path), OPTIONS))
    assert [row["tokens"] for row in rows] == [16, 32, 64, 128, 256, 512, 1024]
    last = rows[-1]
    assert (last["baseline_cut"], last["candidate_cut"]) == (Share(0, 4), Share(0, 4))
    assert value(last["difference"]) == 0.25  # that of the comparison itself


def test_no_more_than_eight_budgets_are_chosen(tmp_path: Path) -> None:
    tokens = [2**i for i in range(4, 16)]
    rows = arm(*((RIGHT, one) for one in tokens))
    found = by_names(budget(compared(tmp_path, rows, rows), OPTIONS))
    assert [row["tokens"] for row in found] == tokens[4:]


def test_accuracy_never_falls_with_the_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arms = [
        arm(*(((RIGHT, WRONG)[rng.integers(2)], int(rng.integers(1, 4000))) for _ in range(60)))
        for _ in range(2)
    ]
    rows = by_names(budget(compared(tmp_path, *arms), OPTIONS))
    for name in ("baseline", "candidate"):
        scores = [value(row[name]) for row in rows]
        assert scores == sorted(scores)


def test_only_samples_of_known_tokens_count_and_their_number_is_shown(tmp_path: Path) -> None:
    base = arm((RIGHT, 10), (RIGHT, None), (WRONG, 10))
    cand = arm((RIGHT, 10), (RIGHT, 10), (RIGHT, 10))
    (row,) = by_names(budget(compared(tmp_path, base, cand), TableOptions(budgets=(64,))))
    assert (row["n"], value(row["baseline"]), value(row["candidate"])) == (2, 0.5, 1.0)


def test_repeated_samples_are_resampled_by_question(tmp_path: Path) -> None:
    def rows(tokens: Sequence[int]) -> list[Any]:
        made = [our_row(i, [RIGHT, RIGHT], texts=["a", "b"]) for i in range(6)]
        for i, row in enumerate(made):
            for sample, n in zip(row["samples"], tokens, strict=True):
                sample["completion_tokens"] = n + i
        return made

    comparison = compared(tmp_path, rows((10, 20)), rows((10, 200)))
    (row,) = by_names(budget(comparison, TableOptions(budgets=(100,))))
    assert (row["n"], value(row["baseline"]), value(row["candidate"])) == (6, 1.0, 0.5)
    assert row["candidate_cut"] == Share(6, 12)
    difference = row["difference"]
    assert isinstance(difference, Estimate)
    assert "bootstrap" in difference.method


def test_without_tokens_the_table_says_where_they_come_from(tmp_path: Path) -> None:
    rows = [foreign(i, "four") for i in range(3)]
    comparison = compared(tmp_path, rows, rows)
    for table in (budget(comparison, OPTIONS), cost(comparison, OPTIONS)):
        assert list(table.rows) == []
        assert "--log" in table.empty


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--budget must be at least 1 token, got 0"):
        budget(small_pair(tmp_path), TableOptions(budgets=(0,)))


def test_cost_is_all_tokens_over_all_solved_questions(tmp_path: Path) -> None:
    (row,) = by_names(cost(small_pair(tmp_path), OPTIONS))
    assert (row["unit"], row["baseline_n"], row["n"]) == ("tokens", 4, 4)
    assert (value(row["baseline"]), value(row["candidate"])) == (100 / 2, 1800 / 3)
    assert value(row["ratio"]) == pytest.approx(12)


def test_cost_has_the_interval_of_a_paired_bootstrap(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    tokens, solved = rng.integers(100, 900, 80), rng.random(80) < 0.5
    rows = arm(*((RIGHT if ok else WRONG, int(n)) for ok, n in zip(solved, tokens, strict=True)))
    (row,) = by_names(cost(compared(tmp_path, rows, rows), OPTIONS))
    found = row["candidate"]
    other = stats.bootstrap(
        (tokens, solved.astype(float)),
        lambda x, y, axis: x.mean(axis=axis) / y.mean(axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(6),
    ).confidence_interval
    assert isinstance(found, Estimate)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), rel=0.05)
    ratio = row["ratio"]
    assert isinstance(ratio, Estimate)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.0, 1.0, 1.0))


def test_the_cost_of_nothing_solved_is_undefined_and_says_why(tmp_path: Path) -> None:
    comparison = compared(tmp_path, arm((WRONG, 10), (WRONG, 10)), arm((RIGHT, 5), (WRONG, 5)))
    (row,) = by_names(cost(comparison, OPTIONS))
    base, ratio = row["baseline"], row["ratio"]
    assert isinstance(base, Estimate)
    assert isinstance(ratio, Estimate)
    assert math.isnan(base.value)
    assert (base.reason, ratio.reason) == (
        "no question was solved",
        "no question was solved in an arm",
    )
    assert value(row["candidate"]) == 10.0


def test_seconds_have_a_line_where_a_log_tells_them(tmp_path: Path) -> None:
    rows = [foreign(i, "four", float(i)) for i in range(2)]
    logs = log(tmp_path / "log", *(exchange(i, content="four", duration_s=3.0) for i in range(2)))
    (row,) = by_names(cost(compared(tmp_path, rows, rows, logs=(logs,)), OPTIONS))
    assert (row["unit"], row["baseline_n"], row["candidate_n"], row["n"]) == ("seconds", 0, 2, 0)
    assert value(row["candidate"]) == 6.0
    assert math.isnan(value(row["baseline"]))


def test_an_error_rate_is_no_solved_question(tmp_path: Path) -> None:
    rows = arm((RIGHT, 10), (WRONG, 20))
    told = {"results": {"higher_is_better": {"quiz": {"verdict": False}}}}
    comparison = compared(tmp_path, rows, rows, **told)
    for table in (budget(comparison, OPTIONS), cost(comparison, OPTIONS)):
        assert list(table.rows) == []
        assert "Left out, since lower is better: quiz." in table.notes


@needs_shared
def test_thinking_costs_more_and_needs_its_budget_in_a_published_pair(tmp_path: Path) -> None:
    """Qwen3-8B with thinking off and on, 200 published replies with their token counts."""
    arms = [
        [
            written(
                i,
                f"<think>{row['thinking']}</think>{row['content']}",
                RIGHT if row["done_reason"] == "stop" else "truncated",
                completion_tokens=row["eval_count"],
                truncated=row["done_reason"] == "length",
            )
            for i, row in enumerate(
                read_jsonl(
                    SHARED / "data/outputs/thinking_on_off" / f"qwen3-8b__think-{mode}.jsonl.gz"
                )
            )
        ]
        for mode in ("off", "on")
    ]
    comparison = compared(tmp_path, *arms)
    rows = by_names(budget(comparison, OPTIONS))
    assert rows[-1]["tokens"] == 4096  # num_predict of both runs
    assert (rows[-1]["baseline_cut"], rows[-1]["candidate_cut"]) == (Share(2, 200), Share(11, 200))
    first, last = rows[0]["difference"], rows[-1]["difference"]
    assert isinstance(first, Estimate)
    assert first.high < 0
    assert value(last) == value(comparison.tasks[0].difference)
    ratio = by_names(cost(comparison, OPTIONS))[0]["ratio"]
    assert isinstance(ratio, Estimate)
    assert ratio.low > 1
