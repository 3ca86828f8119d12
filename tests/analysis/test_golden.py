"""Published figures, reproduced: external constants, each from the file that it is named after."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Options, TaskComparison, compare
from analysis.reading.load import Choice, read_arm
from analysis.stats.paired import PairedTable, mcnemar
from analysis.stats.proportions import cohens_h, h_label, wilson_interval
from harness_tasks.records import read_jsonl
from tests.analysis.runs import foreign_row, pair_of_runs
from tests.conftest import SHARED, needs_shared

pytestmark = needs_shared

GOLDEN = SHARED / "golden"
OUTPUTS = SHARED / "data" / "outputs"
ARC = OUTPUTS / "lm_eval_samples"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def test_mcnemar_h_and_label_equal_every_published_row() -> None:
    rows = golden("published.json")["mcnemar"]
    assert len(rows) == 5
    for row in rows:
        table = PairedTable(*row["table"])  # both, candidate only, baseline only, neither
        found = mcnemar(table)
        h = cohens_h(
            (table.both + table.candidate_only) / table.n,
            (table.both + table.baseline_only) / table.n,
        )
        assert found.rule == row["rule"]
        assert found.p == pytest.approx(row["p"], abs=5e-5, rel=5e-3)
        assert f"{h:.3f}" == f"{row['h']:.3f}"
        assert h_label(h) == row["label"]


def test_wilson_intervals_equal_every_published_row() -> None:
    rows = golden("published.json")["wilson_95"]
    assert len(rows) == 8
    for row in rows:
        printed = [round(100 * limit, 1) for limit in wilson_interval(row["k"], row["n"])]
        assert printed == row["ci"]


def question_rows(years: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
    questions = [q for year in years for q in golden("per_question.json")[year]]
    arms = ([q["base"] for q in questions], [q["distilled"] for q in questions])
    base, distilled = ([foreign_row(i, v) for i, v in enumerate(arm)] for arm in arms)
    return base, distilled


@pytest.mark.parametrize(
    ("years", "p"),
    [(("aime24",), "0.1250"), (("aime25",), "0.0391"), (("aime24", "aime25"), "0.0042")],
)
def test_per_question_results_give_their_own_p(
    tmp_path: Path, years: tuple[str, ...], p: str
) -> None:
    task = compare_rows(tmp_path, *question_rows(years))
    assert f"{task.test.p:.4f}" == p
    if years == ("aime24",):  # the report's own test section has 14/3/7/6, against its rows
        assert task.agreement == (16, 1, 6, 7)


def compare_rows(folder: Path, baseline: list[Any], candidate: list[Any]) -> TaskComparison:
    paths = pair_of_runs(folder, baseline, candidate)
    return compare_paths(*paths)


def compare_paths(baseline: Path, candidate: Path, metric: str | None = None) -> TaskComparison:
    choice = Choice(metrics={"": metric} if metric else {})
    arms = [read_arm(path.name, path, choice) for path in (baseline, candidate)]
    return compare(arms[0], arms[1], Options()).tasks[0]


def verdicts(benchmark: str, name: str) -> dict[str, bool]:
    """Return the published verdicts of one model by item."""
    folder = OUTPUTS / benchmark.split()[0]
    if benchmark.endswith("(plus)"):
        with gzip.open(folder / f"{name}_eval_results.json.gz", "rt", encoding="utf-8") as file:
            items = json.load(file)["eval"].items()
        return {
            task: rows[0]["base_status"] == rows[0]["plus_status"] == "pass" for task, rows in items
        }
    return {str(row["idx"]): row["score"][0] for row in read_jsonl(folder / f"{name}.jsonl.gz")}


def pair_rows() -> list[Any]:
    return golden("pairs.json") if GOLDEN.is_dir() else []


@pytest.mark.parametrize(
    "row",
    [row for row in pair_rows() if not row["benchmark"].startswith("arc")],
    ids=lambda row: f"{row['benchmark']} {row['a'][:14]}",
)
def test_published_verdicts_give_the_published_pair(tmp_path: Path, row: dict[str, Any]) -> None:
    first, second = (verdicts(row["benchmark"], row[name]) for name in ("a", "b"))
    assert first.keys() == second.keys()
    task = compare_rows(
        tmp_path,
        [foreign_row(i, first[item]) for i, item in enumerate(first)],
        [foreign_row(i, second[item]) for i, item in enumerate(first)],
    )
    assert_pair(task, row)


def assert_pair(task: TaskComparison, row: dict[str, Any]) -> None:
    assert task.agreement is not None
    assert (task.n_pairs, task.agreement.baseline_only, task.agreement.candidate_only) == (
        row["n"],
        row["a_only"],
        row["b_only"],
    )
    assert task.agreement.both + task.agreement.baseline_only == row["a_correct"]
    assert task.agreement.both + task.agreement.candidate_only == row["b_correct"]
    assert task.test.exact_p == pytest.approx(row["exact_p"], rel=5e-4)


def test_a_real_lm_eval_pair_is_compared_as_it_was_published() -> None:
    row = next(row for row in pair_rows() if row["benchmark"].startswith("arc"))
    baseline = ARC / f"{row['a']}__arc_challenge"
    candidate = next(ARC.glob("teichai__TeichAI_*__arc_challenge"))
    assert_pair(compare_paths(baseline, candidate, "acc_norm"), row)
