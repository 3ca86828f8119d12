"""Published figures, reproduced by the tables: external constants, through files and comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from analysis.compare import Comparison
from analysis.estimate import Estimate, Share
from analysis.render.cells import text
from analysis.tables.table import Cell, Kind, Table
from analysis.verdict import NO_VERDICT, verdict
from harness_tasks.records import read_jsonl
from tests.analysis.comparisons import (
    cells,
    compared,
    compared_paths,
    compared_tasks,
    counted,
    table_of,
)
from tests.analysis.runs import foreign_row, our_row, write_run
from tests.conftest import SHARED, needs_shared

pytestmark = needs_shared

OUTPUTS = SHARED / "data" / "outputs"
THINKING = OUTPUTS / "thinking_on_off"
LM_EVAL = OUTPUTS / "lm_eval_samples"
IFEVAL = OUTPUTS / "ifeval"
COUNTS = ("both", "candidate_only", "baseline_only", "neither")


def golden(name: str) -> Any:
    path = SHARED / "golden" / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def estimate(cell: Cell) -> Estimate:
    assert isinstance(cell, Estimate)
    return cell


@pytest.mark.parametrize(
    "row", golden("published.json").get("mcnemar", []), ids=lambda row: row["benchmark"]
)
def test_the_published_counts_give_the_published_tests(tmp_path: Path, row: dict[str, Any]) -> None:
    table = table_of("significance", compared(tmp_path, *counted(*row["table"])))
    found = cells(table, "quiz")
    assert found["p"] == pytest.approx(row["p"], abs=5e-5, rel=5e-3)
    assert f"McNemar {row['rule']}." in table.foot
    assert f"{estimate(found['cohens_h']).value:.3f}" == f"{row['h']:.3f}"
    assert found["label"] == row["label"]


@pytest.mark.parametrize("row", golden("published.json").get("wilson_95", []))
def test_the_published_counts_give_the_published_intervals(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    comparison = compared(tmp_path, *counted(row["k"], 0, 0, row["n"] - row["k"]))
    score = cells(table_of("scorecard", comparison), "quiz")["candidate"]
    low, high = row["ci"]
    assert text(score, Kind.PERCENT).endswith(f" [{low:.1f}, {high:.1f}]")


def discordant(n: int, candidate: int, baseline: int, p: float) -> tuple[int, int]:
    """Return the one split of discordant pairs with that printed p, by scipy."""
    found = []
    for lost in range(min(baseline, n - candidate) + 1):
        won = candidate - baseline + lost
        if won < 0 or won > candidate:
            continue
        exact = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
        corrected = stats.chi2.sf((abs(won - lost) - 1) ** 2 / max(won + lost, 1), 1)
        p_here = exact if won + lost < 25 else corrected
        if abs(p_here - p) <= (5e-5 if p >= 1e-4 else 5e-3 * p):
            found.append((won, lost))
    (only,) = found
    return only


def test_ifeval_by_category_is_as_published(tmp_path: Path) -> None:
    base: list[Any] = []
    cand: list[Any] = []
    published = golden("published.json")["ifeval_categories"]
    for category, n, candidate, baseline, p in published:
        right = round(n * candidate / 100), round(n * baseline / 100)
        won, lost = discordant(n, *right, p)
        both = right[0] - won
        solved = [(1, 1)] * both + [(0, 1)] * won + [(1, 0)] * lost
        solved += [(0, 0)] * (n - len(solved))
        for one, other in solved:
            for rows, strict in ((base, one), (cand, other)):
                rows.append(instruction(len(rows), f"{category}:kind", bool(strict)))
    table = table_of("ifeval-categories", compared(tmp_path, base, cand))
    assert len(table.rows) == len(published) == 9
    assert sum(n for n in table.column("n") if isinstance(n, int)) == 834
    for category, n, candidate, baseline, p in published:
        row = cells(table, "quiz", category)
        assert row["n"] == n
        assert round(100 * estimate(row["candidate"]).value, 1) == candidate
        assert round(100 * estimate(row["baseline"]).value, 1) == baseline
        assert row["p"] == pytest.approx(p, abs=5e-5, rel=5e-3)


def instruction(doc_id: int, kind: str, strict: bool) -> Any:
    """Return a row of lm-eval's own IFEval with one instruction."""
    return prompt(doc_id, [kind], [strict], [strict])


def prompt(doc_id: int, kinds: list[str], strict: list[bool], loose: list[bool]) -> Any:
    return foreign_row(
        doc_id,
        float(all(strict)),
        metric="prompt_level_strict_acc",
        doc={"key": doc_id, "instruction_id_list": kinds},
        inst_level_strict_acc=strict,
        inst_level_loose_acc=loose,
    )


def ifeval_rows(name: str) -> list[Any]:
    strict, loose = (
        list(read_jsonl(IFEVAL / f"mifeval_en__{name}.eval_results_{kind}.jsonl.gz"))
        for kind in ("strict", "loose")
    )
    return [
        prompt(
            i,
            one["instruction_id_list"],
            one["follow_instruction_list"],
            other["follow_instruction_list"],
        )
        for i, (one, other) in enumerate(zip(strict, loose, strict=True))
    ]


def test_real_ifeval_verdicts_give_their_published_totals(tmp_path: Path) -> None:
    names = ("gpt-4o-2024-08-06", "Qwen__Qwen2.5-7B-Instruct-GPTQ-Int4")
    comparison = compared(tmp_path, *(ifeval_rows(name) for name in names))
    score = cells(table_of("scorecard", comparison), "quiz")
    assert round(541 * estimate(score["baseline"]).value) == 455
    assert round(541 * estimate(score["candidate"]).value) == 395
    for name, n_rows in (("ifeval-categories", 9), ("ifeval-instructions", 25)):
        table = table_of(name, comparison)
        assert len(table.rows) == n_rows
        totals = [weighted(table, column) for column in ("baseline", "candidate")]
        assert totals == [739, 672]  # of 834: 88.6 and 80.6 as printed
        loose = [weighted(table, column) for column in ("baseline_loose", "candidate_loose")]
        assert loose == [761, 689]


def weighted(table: Table, column: str) -> int:
    """Return how many instructions were followed, from the shares of a column."""
    total = 0.0
    for n, cell in zip(table.column("n"), table.column(column), strict=True):
        share = cell.value if isinstance(cell, Estimate) else cell
        assert isinstance(n, int)
        assert isinstance(share, float)
        total += n * share
    return round(total)


def aime_rows(year: str) -> tuple[list[Any], list[Any]]:
    """Return the Qwen3-14B report's per-question results, base and distilled."""
    questions = golden("per_question.json")[year]
    base, distilled = (
        [
            foreign_row(
                q["doc_id"],
                float(q[arm]),
                target=q["answer"],
                doc={"question": f"{year} {q['doc_id']}", "problem_id": q.get("problem_id", "")},
            )
            for q in questions
        ]
        for arm in ("base", "distilled")
    )
    return base, distilled


def test_the_aime_report_is_rebuilt_from_its_own_rows(tmp_path: Path) -> None:
    comparison = compared_tasks(tmp_path, {year: aime_rows(year) for year in ("aime24", "aime25")})
    table = table_of("significance", comparison)
    row24, row25 = cells(table, "aime24"), cells(table, "aime25")
    # the report's test section prints 14/3/7/6 for 2024, and its own rows say otherwise
    assert [row24[name] for name in COUNTS] == [16, 1, 6, 7]
    assert [row25[name] for name in COUNTS] == [12, 1, 8, 9]
    assert f"{row24['p']:.4f} {row25['p']:.4f}" == "0.1250 0.0391"
    assert verdict(comparison).p == pytest.approx(0.0042, abs=1e-3)  # both years, of equal size
    score = cells(table_of("scorecard", comparison), "aime24")["baseline"]
    assert text(score, Kind.PERCENT) == "73.3 [55.6, 85.8]"  # 22 of 30, not the printed 21


def test_both_years_together_are_those_of_the_rows_too(tmp_path: Path) -> None:
    years = [aime_rows(year) for year in ("aime24", "aime25")]
    arms = [[row for year in years for row in year[arm]] for arm in (0, 1)]
    rows = [[{**row, "doc_id": i} for i, row in enumerate(arm)] for arm in arms]
    comparison = compared(tmp_path, rows[0], rows[1])
    found = cells(table_of("significance", comparison), "quiz")
    # printed: 26/4/15/15 and p = 0.0192
    assert [found[name] for name in COUNTS] == [28, 2, 14, 16]
    assert f"{found['p']:.4f}" == "0.0042"
    score = cells(table_of("scorecard", comparison), "quiz")["baseline"]
    assert estimate(score).value == 42 / 60  # the printed interval [55.8, 78.7] is that of 41


def test_flips_of_the_aime_report_are_named(tmp_path: Path) -> None:
    table = table_of("flips", compared(tmp_path, *aime_rows("aime24")))
    found = {kind: names_of(table, kind) for kind in ("only baseline", "only candidate")}
    assert found == {
        "only baseline": [
            *("2024-I-13", "2024-I-15", "2024-II-14", "2024-II-5", "2024-II-2", "2024-I-5"),
        ],
        "only candidate": ["2024-II-10"],
    }


def names_of(table: Table, solved_by: str) -> list[Cell]:
    pairs = zip(table.column("solved_by"), table.column("name"), strict=True)
    return [name for by, name in pairs if by == solved_by]


def test_every_aime_question_has_its_line(tmp_path: Path) -> None:
    table = table_of("questions", compared(tmp_path, *aime_rows("aime25")))
    questions = golden("per_question.json")["aime25"]
    assert table.column("target") == [q["answer"] for q in questions]
    assert table.column("baseline") == [float(q["base"]) for q in questions]
    assert table.column("candidate") == [float(q["distilled"]) for q in questions]


def test_humaneval_flips_are_listed_by_name(tmp_path: Path) -> None:
    rows = golden("per_question.json")
    lists = rows["humaneval_plus_only_distilled"], rows["humaneval_plus_only_base"]
    both, neither = ([f"{kind} {i}" for i in range(n)] for kind, n in (("both", 88), ("none", 24)))
    names = [*both, *lists[0], *lists[1], *neither]
    assert len(names) == 164
    base, distilled = (
        [
            foreign_row(i, float(name in solved), doc={"question": f"{i}", "task_id": name})
            for i, name in enumerate(names)
        ]
        for solved in ({*both, *lists[1]}, {*both, *lists[0]})
    )
    comparison = compared(tmp_path, base, distilled)
    table = table_of("flips", comparison)
    assert names_of(table, "only candidate") == lists[0]
    assert names_of(table, "only baseline") == lists[1]
    found = cells(table_of("significance", comparison), "quiz")
    assert found["p"] == pytest.approx(4.37e-10, rel=5e-3)


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_lm_evals_own_accuracies_are_found_again(metric: str) -> None:
    folders = [next(LM_EVAL.glob(name)) for name in ("teichai__unsloth_*", "teichai__TeichAI_*")]
    comparison = compared_paths(*folders, metric=metric)
    row = cells(table_of("scorecard", comparison), "arc_challenge")
    for folder, arm in zip(folders, ("baseline", "candidate"), strict=True):
        told = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        assert estimate(row[arm]).value == told["results"]["arc_challenge"][f"{metric},none"]
    for name in ("truncation", "repeats", "groups", "ifeval-categories", "noise"):
        table_of(name, comparison)  # a task without text: some are empty, and say why
    assert table_of("truncation", comparison).empty


def mrpmorris() -> Path:
    return next(LM_EVAL.glob("mrpmorris__*"))


def test_empty_answers_raise_the_alarm_instead_of_a_score(tmp_path: Path) -> None:
    samples = next(mrpmorris().glob("samples_*"))
    spoken = [
        {**row, "resps": [["#### 1"]], "filtered_resps": ["1"], "exact_match": 1.0}
        for row in read_jsonl(samples)
    ]
    results = json.loads((mrpmorris() / "results.json").read_text(encoding="utf-8"))
    other = write_run(tmp_path, spoken, task="gsm8k", results=results, config=results["config"])
    comparison = compared_paths(mrpmorris(), other, allow=("sampling",))
    found = verdict(comparison)
    assert found.finding == NO_VERDICT
    assert "50 of 50 completions of the baseline are empty" in found.sentence
    assert any("50 of 50 completions" in notice for notice in comparison.tasks[0].notices)
    row = cells(table_of("completion", comparison), "gsm8k", "baseline")
    assert row["empty"] == Share(50, 50)


MODELS = ("qwen3:8b", "qwen3.5:9b")
Assigned = dict[str, tuple[bool, bool]]


def thinking(model: str, mode: str) -> dict[str, dict[str, Any]]:
    path = THINKING / f"{model.replace(':', '-')}__think-{mode}.jsonl.gz"
    return {row["item_id"]: row for row in read_jsonl(path)}


def usable(row: dict[str, Any]) -> bool:
    return bool(row["content"].strip())


def thinking_cells(model: str) -> list[dict[str, Any]]:
    summary = json.loads((THINKING / "summary.json").read_text(encoding="utf-8"))
    return [cell for cell in summary["cells"] if cell["model"] == model]


def assigned(cell: dict[str, Any], off: dict[str, Any], on: dict[str, Any]) -> Assigned:
    """Return which item each mode solved: the published counts, laid over the real completions.

    The files hold no verdicts. Unusable completions are wrong; of those with thinking on, as many
    were solved without it as the published figures of usable pairs leave.
    """
    ids = [one for one in on if on[one]["type"] == cell["type"]]
    both_usable = [one for one in ids if usable(on[one]) and usable(off[one])]
    flips, pairs = cell["flips"], cell["paired_usable_only"]
    lost_usable = flips["on_only"] - round(pairs["mean"] * pairs["n"])
    lost = flips["off_only"] - lost_usable
    both = cell["on"]["correct"] - flips["on_only"]
    counts = [((True, True), both), ((False, True), flips["on_only"]), ((True, False), lost_usable)]
    verdicts = [pair for pair, count in counts for _ in range(count)]
    verdicts += [(False, False)] * (len(both_usable) - len(verdicts))
    # what was cut off and yet holds an answer goes last, so that it is rather wrong than right
    ordered = sorted(both_usable, key=lambda one: on[one]["done_reason"] == "length")
    found = dict(zip(ordered, verdicts, strict=True))
    rest = [one for one in ids if one not in found]
    found |= {one: (number < lost, False) for number, one in enumerate(rest)}
    return found


def completion_row(number: int, row: dict[str, Any], correct: bool) -> Any:
    """Return a real completion as a row of ours."""
    was_cut = row["done_reason"] == "length"
    verdict = "correct" if correct else "incorrect"
    if not usable(row):
        verdict = "truncated" if was_cut else "no_answer"
    reasoning = f"<think>{row['thinking']}" if row.get("thinking") else ""
    closed = "</think>" if reasoning and (usable(row) or not was_cut) else ""
    made = our_row(number, [verdict], texts=[f"{reasoning}{closed}{row['content']}"])
    made["samples"][0].update(truncated=was_cut, finish_reason="length" if was_cut else "stop")
    return made


def thinking_comparison(
    folder: Path, model: str, kept: Callable[[dict[str, Any], dict[str, Any]], bool]
) -> Comparison:
    """Return thinking off against thinking on, a task for each kind of item."""
    off, on = thinking(model, "off"), thinking(model, "on")
    tasks = {}
    for cell in thinking_cells(model):
        solved = assigned(cell, off, on)
        ids = [one for one in solved if kept(off[one], on[one])]
        tasks[cell["type"]] = (
            [completion_row(i, off[one], solved[one][0]) for i, one in enumerate(ids)],
            [completion_row(i, on[one], solved[one][1]) for i, one in enumerate(ids)],
        )
    return compared_tasks(folder, tasks)


@pytest.mark.parametrize("model", MODELS)
def test_thinking_on_and_off_gives_the_published_intervals(tmp_path: Path, model: str) -> None:
    comparison = thinking_comparison(tmp_path, model, lambda off, on: True)
    table, completion = (table_of(name, comparison) for name in ("intervals", "completion"))
    for cell in thinking_cells(model):
        wilson = cells(table, cell["type"], "Wilson; Newcombe's of the difference")
        for mode, arm in (("off", "baseline"), ("on", "candidate")):
            score = estimate(wilson[arm])
            published = [cell[mode][name] for name in ("accuracy", "acc_lo", "acc_hi")]
            assert [score.value, score.low, score.high] == pytest.approx(published, abs=1e-6)
            truncated = cells(completion, cell["type"], arm)["truncated"]
            assert truncated == Share(cell[mode]["truncated"], 40)
        normal = estimate(cells(table, cell["type"], "normal, paired")["difference"])
        published = [cell["paired"][name] for name in ("mean", "lo", "hi")]
        assert [normal.value, normal.low, normal.high] == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_usable_pairs_alone_give_the_published_intervals(tmp_path: Path, model: str) -> None:
    comparison = thinking_comparison(tmp_path, model, lambda off, on: usable(off) and usable(on))
    table = table_of("intervals", comparison)
    for cell in thinking_cells(model):
        normal = estimate(cells(table, cell["type"], "normal, paired")["difference"])
        published = [cell["paired_usable_only"][name] for name in ("mean", "lo", "hi")]
        assert [normal.value, normal.low, normal.high] == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_truncation_bounds_and_transitions_fit_the_published_counts(
    tmp_path: Path, model: str
) -> None:
    comparison = thinking_comparison(tmp_path, model, lambda off, on: True)
    bounds, moved = (table_of(name, comparison) for name in ("truncation", "transitions"))
    flips = table_of("flips", comparison)
    for cell in thinking_cells(model):
        task = cell["type"]
        assert cells(moved, task, "right")["total"] == cell["off"]["correct"]
        rows = [row for row in moved.rows if row[0] == task]
        names = [column.name for column in moved.columns]
        ended = {name: sum(row[names.index(name)] for row in rows) for name in names[2:]}
        assert ended["right"] == cell["on"]["correct"]
        assert ended["truncated"] + ended.get("no_answer", 0) >= 40 - cell["on"]["usable"]
        assert ended["truncated"] <= cell["on"]["truncated"]
        kinds = [row[1] for row in flips.rows if row[0] == task]
        assert kinds.count("only candidate") == cell["flips"]["on_only"]
        assert kinds.count("only baseline") == cell["flips"]["off_only"]
        if cell["on"]["truncated"] + cell["off"]["truncated"]:
            answered = cells(bounds, task, "left out if unanswered")
            assert answered["n"] == cell["paired_usable_only"]["n"]
            difference = estimate(answered["difference"])
            assert difference.value == pytest.approx(cell["paired_usable_only"]["mean"])


def test_a_normal_interval_of_four_flips_does_not_show_a_loss(tmp_path: Path) -> None:
    """The summary calls this cell "hurts": its interval leaves out 0, and McNemar's p is 0.125."""
    comparison = thinking_comparison(tmp_path, "qwen3.5:9b", lambda off, on: True)
    normal = cells(table_of("intervals", comparison), "overthink", "normal, paired")["difference"]
    assert estimate(normal).high < 0.0
    tango = cells(table_of("intervals", comparison), "overthink", "Tango's score interval")
    found = cells(table_of("significance", comparison), "overthink")
    assert (found["baseline_only"], found["candidate_only"]) == (4, 0)
    assert found["p"] == pytest.approx(0.125)
    assert estimate(tango["difference"]).high == pytest.approx(0.0, abs=0.02)


def test_the_deductions_of_the_larger_model_are_lost_to_the_budget(tmp_path: Path) -> None:
    comparison = thinking_comparison(tmp_path, "qwen3.5:9b", lambda off, on: True)
    table = table_of("truncation", comparison)
    reported = cells(table, "deduct", "as reported")["difference"]
    best = cells(table, "deduct", "wrong / right: best case")["difference"]
    assert estimate(reported).value == pytest.approx(-0.85)
    assert estimate(best).value >= -0.025  # 34 of 40 were cut off: nothing is known of them


def test_the_verdict_on_a_real_pair_is_its_published_test(tmp_path: Path) -> None:
    folder = OUTPUTS / "math500"
    base, student = (
        [
            foreign_row(i, float(row["score"][0]), text=row["code"][0])
            for i, row in enumerate(read_jsonl(folder / f"skythought__{name}.jsonl.gz"))
        ]
        for name in ("gemma-2-27b-it", "Sky-T1-math-correct-5K-27B")
    )
    comparison = compared(tmp_path, base, student)
    sentence = verdict(comparison).sentence
    assert sentence.startswith("No difference shown: +2.8 points [-1.6, +7.2] on quiz (500 q")
    assert "a true difference of 6.3 points would be seen four times in five" in sentence
    gains = cells(table_of("truncation", comparison), "quiz", "left out in both")
    assert estimate(gains["difference"]).low > 0.0  # 94 long chains of thought were cut off
