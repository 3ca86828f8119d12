from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate, Share
from analysis.tables.catalogue import TableOptions
from analysis.tables.volumes import by_correctness, lengths, ratio, volume
from tests.analysis.runs import our_row
from tests.analysis.tables.arms import by_names, compared, exchange, foreign, log, thought, written
from tests.conftest import SHARED, needs_shared

API = {"model": "local-chat-completions", "model_args": {"model": "m"}}
CACHED = {"model": "local-chat-completions", "use_cache": "c"}
OPTIONS = TableOptions()


def value(cell: Any) -> float:
    assert isinstance(cell, Estimate)
    return cell.value


def pair_of_lengths(
    folder: Path, baseline: list[tuple[int, int]], candidate: list[tuple[int, int]]
) -> Comparison:
    """Compare completions of so many characters of reasoning and of answer."""
    arms = (
        [written(i, thought(*sizes)) for i, sizes in enumerate(arm)]
        for arm in (baseline, candidate)
    )
    return compared(folder, *arms)


def test_volume_gives_mean_and_median_of_both_parts_and_what_they_rest_on(tmp_path: Path) -> None:
    comparison = pair_of_lengths(
        tmp_path, [(0, 10), (0, 20), (0, 60)], [(100, 10), (200, 20), (900, 30)]
    )
    base, cand = by_names(volume(comparison, OPTIONS))
    assert (base["arm"], cand["arm"]) == ("baseline", "candidate")
    assert (value(cand["reasoning"]), value(cand["reasoning_median"])) == (400, 200)
    assert (value(base["answer"]), value(base["answer_median"])) == (30, 20)
    assert value(cand["reasoning_share"]) == pytest.approx(1200 / 1260)
    assert cand["with_reasoning"] == Share(3, 3)
    assert base["with_reasoning"] == Share(0, 3)
    assert (cand["n"], cand["known"], cand["tokens_known"], cand["seconds_known"]) == (3, 3, 0, 0)


def test_what_nothing_tells_is_unknown_and_said_to_be(tmp_path: Path) -> None:
    comparison = pair_of_lengths(tmp_path, [(0, 10)], [(5, 10)])
    table = volume(comparison, OPTIONS)
    tokens = by_names(table)[0]["tokens"]
    assert isinstance(tokens, Estimate)
    assert math.isnan(tokens.value)
    assert tokens.reason == "no sample whose size is known"
    said = "completion tokens, seconds: unknown in both arms of quiz (--log may tell)."
    assert table.notes == (said,)
    assert not [note for note in table.notes if note.startswith("reasoning")]


def test_a_log_gives_tokens_and_seconds_of_the_samples_that_it_holds(tmp_path: Path) -> None:
    rows = [foreign(i, "four") for i in range(3)]
    logs = log(
        tmp_path / "log",
        *(
            exchange(i, content="four", duration_s=2.0 * i, usage={"completion_tokens": 10 * i})
            for i in (1, 2)
        ),
    )
    _, cand = by_names(volume(compared(tmp_path, rows, rows, logs=(logs,)), OPTIONS))
    assert (cand["tokens_known"], value(cand["tokens"])) == (2, 15)
    assert (cand["seconds_known"], value(cand["seconds"])) == (2, 3.0)


def test_samples_of_one_question_are_averaged_before_questions_are(tmp_path: Path) -> None:
    rows = [
        our_row(0, ["correct"] * 2, texts=[thought(0, 10), thought(0, 30)]),
        our_row(1, ["correct"] * 2, texts=[thought(0, 100), thought(0, 100)]),
        our_row(2, ["correct"] * 2, texts=[thought(0, 100), thought(0, 100)]),
    ]
    base, _ = by_names(volume(compared(tmp_path, rows, rows), OPTIONS))
    assert (value(base["answer"]), value(base["answer_median"]), base["n"]) == (220 / 3, 100, 6)


def test_ratio_is_of_the_questions_known_in_both_arms(tmp_path: Path) -> None:
    base = [foreign(i, thought(100, 10)) for i in range(4)]
    cand = [foreign(i, thought(250, 10) if i < 2 else "short") for i in range(4)]
    comparison = compared(tmp_path, base, cand, config=API)  # content alone shows nothing
    rows = {row["figure"]: row for row in by_names(ratio(comparison, OPTIONS))}
    assert "completion tokens" not in rows
    found = rows["reasoning chars"]
    assert (found["n"], value(found["baseline"]), value(found["candidate"])) == (2, 100, 250)
    assert (value(found["difference"]), value(found["ratio"])) == (150, 2.5)


def test_ratio_has_an_interval_and_none_over_a_baseline_of_nothing(tmp_path: Path) -> None:
    sizes = [(10 * (1 + i % 7), 20 + i) for i in range(40)]
    comparison = pair_of_lengths(
        tmp_path, [(0, a) for _, a in sizes], [(r, 2 * a) for r, a in sizes]
    )
    rows = {row["figure"]: row for row in by_names(ratio(comparison, OPTIONS))}
    answer = rows["answer chars"]["ratio"]
    assert isinstance(answer, Estimate)
    assert (answer.low, answer.value, answer.high) == pytest.approx((2.0, 2.0, 2.0))
    reasoning, difference = rows["reasoning chars"]["ratio"], rows["reasoning chars"]["difference"]
    assert isinstance(reasoning, Estimate)
    assert isinstance(difference, Estimate)
    assert reasoning.reason == "the baseline is 0"
    assert difference.low < difference.value < difference.high


def test_lengths_are_medians_of_whole_completions_with_an_exact_interval(tmp_path: Path) -> None:
    base = [(0, 10 + i) for i in range(9)]
    cand = [(5, 9 + 2 * i) for i in range(9)]
    (row,) = by_names(lengths(pair_of_lengths(tmp_path, base, cand), OPTIONS))
    found = row["baseline"]
    assert isinstance(found, Estimate)
    assert (found.value, found.low, found.high) == (14, 11, 17)  # 2nd and 8th of 9: 96.1%
    assert (row["unit"], row["baseline_n"], value(row["candidate"])) == ("characters", 9, 22)
    assert value(row["candidate_longer"]) == 1.0


def test_tokens_have_a_line_of_their_own_where_they_are_known(tmp_path: Path) -> None:
    rows = [[written(i, "a", completion_tokens=n * (i + 1)) for i in range(3)] for n in (10, 7)]
    found = by_names(lengths(compared(tmp_path, *rows), OPTIONS))
    assert [row["unit"] for row in found] == ["characters", "tokens"]
    assert (value(found[1]["baseline"]), value(found[1]["candidate"])) == (20, 14)
    assert value(found[1]["candidate_longer"]) == 0.0


def test_right_and_wrong_are_told_apart_and_what_was_cut_off_is_counted(tmp_path: Path) -> None:
    base = [written(i, thought(100 * (i + 1), 5), "correct") for i in range(3)]
    base += [written(3, thought(1_000, 5), "incorrect")]
    base += [written(4, "<think>" + "r" * 3_000, "truncated", truncated=True, state="unclosed")]
    table = by_correctness(compared(tmp_path, base, base), OPTIONS)
    row = by_names(table)[0]
    assert (row["right_n"], value(row["right"]), value(row["right_median"])) == (3, 200, 200)
    assert (row["wrong_n"], value(row["wrong"]), row["wrong_truncated"]) == (2, 2_000, 1)
    assert value(row["correlation"]) == pytest.approx(-0.8660254)  # Spearman, scipy.stats
    assert row["p"] == pytest.approx(0.2)  # 24 of 120 orders, exact
    assert "not that length harms" in table.notes[0]


def test_failed_graders_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    rows = [written(0, thought(9, 5)), written(1, thought(99, 5), "grader_error")]
    row = by_names(by_correctness(compared(tmp_path, rows, rows), OPTIONS))[0]
    assert (row["right_n"], row["wrong_n"]) == (1, 0)
    assert math.isnan(value(row["wrong"]))


@pytest.mark.parametrize("table", [volume, ratio, lengths, by_correctness])
def test_a_log_likelihood_task_has_no_such_table(tmp_path: Path, table: Any) -> None:
    row = foreign(0, "")
    row["resps"] = [[[-1.0, False]], [[-2.0, True]]]
    found = table(compared(tmp_path, [row], [row]), OPTIONS)
    assert list(found.rows) == []
    assert found.empty == "no task of this comparison generates text"


def test_an_unknown_reasoning_length_is_no_row_of_zeros(tmp_path: Path) -> None:
    rows = [foreign(i, "four") for i in range(3)]
    comparison = compared(tmp_path, rows, rows, config=API)
    assert "known in both arms" in ratio(comparison, OPTIONS).empty
    assert lengths(comparison, OPTIONS).empty == "no sample whose size is known"
    row = by_names(by_correctness(comparison, OPTIONS))[0]
    assert (row["right_n"], row["wrong_n"]) == (0, 0)
    assert math.isnan(value(row["correlation"]))


def published(name: str) -> list[Any]:
    path = SHARED / "golden" / "published.json"
    return json.loads(path.read_text(encoding="utf-8"))[name] if path.exists() else []


def spread(total: int, n: int) -> list[int]:
    """Return n whole numbers, unequal ones, of this sum."""
    numbers = [total // n] * n
    numbers[-1] += total - sum(numbers)
    for i in range(0, n - 1, 2):
        moved = numbers[i] // 2
        numbers[i], numbers[i + 1] = numbers[i] - moved, numbers[i + 1] + moved
    return numbers


@needs_shared
@pytest.mark.parametrize("row", published("reasoning_volume"), ids=lambda row: f"{row[0]} {row[1]}")
def test_the_published_volumes_come_out_as_printed(tmp_path: Path, row: list[Any]) -> None:
    """Items of the printed means: the published report took unknown reasoning for 0, as here."""
    _, _, n, reasoning, answer, printed_share, printed_with, seconds = row
    n_with = round(n * printed_with / 100)
    sizes = [*spread(reasoning * n, n_with), *[0] * (n - n_with)] if n_with else [0] * n
    texts = [thought(r, a) for r, a in zip(sizes, spread(answer * n, n), strict=True)]
    rows = [foreign(i, text) for i, text in enumerate(texts)]
    logs = log(
        tmp_path / "log",
        *(exchange(i, content=text, duration_s=seconds) for i, text in enumerate(texts)),
    )
    _, cand = by_names(volume(compared(tmp_path, rows, rows, logs=(logs,)), OPTIONS))
    assert (cand["n"], cand["known"], cand["seconds_known"]) == (n, n, n)
    assert f"{value(cand['reasoning']):.0f}" == str(reasoning)
    assert f"{value(cand['answer']):.0f}" == str(answer)
    assert f"{100 * value(cand['reasoning_share']):.0f}" == str(printed_share)
    assert isinstance(cand["with_reasoning"], Share)
    assert f"{100 * cand['with_reasoning'].value:.1f}" == f"{printed_with:.1f}"
    assert f"{value(cand['seconds']):.1f}" == f"{seconds:.1f}"


@needs_shared
def test_the_published_artefact_of_one_logged_sample_is_named_by_its_n(tmp_path: Path) -> None:
    """AIME 2025, distilled: 29 of 30 answers came from a cache, and 773 is 1/30 of one trace."""
    row = next(
        row for row in published("reasoning_volume") if row[:2] == ["distilled", "AIME 2025"]
    )
    rows = [foreign(i, "a" * 2168) for i in range(30)]
    reasoning = "r" * (row[3] * 30)
    logs = log(tmp_path / "log", exchange(7, content="a" * 2168, reasoning=reasoning))
    comparison = compared(tmp_path, rows, rows, logs=(logs,), config=CACHED)
    _, cand = by_names(volume(comparison, OPTIONS))
    assert (cand["n"], cand["known"], value(cand["reasoning"])) == (30, 1, 23_190)
    assert cand["with_reasoning"] == Share(1, 1)


@needs_shared
@pytest.mark.parametrize(
    "row", published("length_vs_correctness"), ids=lambda row: f"{row[0]} {row[1]}"
)
def test_the_published_lengths_by_correctness_come_out_as_printed(
    tmp_path: Path, row: list[Any]
) -> None:
    _, _, right, wrong = row
    sizes = [*spread(right * 6, 6), *spread(wrong * 4, 4)]
    verdicts = ["correct"] * 6 + ["incorrect"] * 4
    rows = [
        written(i, thought(size, 9), verdict)
        for i, (size, verdict) in enumerate(zip(sizes, verdicts, strict=True))
    ]
    found = by_names(by_correctness(compared(tmp_path, rows, rows), OPTIONS))[1]
    assert f"{value(found['right']):.0f}" == str(right)
    assert f"{value(found['wrong']):.0f}" == str(wrong)
