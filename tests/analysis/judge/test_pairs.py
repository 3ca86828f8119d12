"""Which pairs are drawn, and what of them is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.compare import Comparison, Options, compare
from analysis.judge.pairs import ANSWER, WHOLE, choose, with_texts
from analysis.reading.load import Choice, read_arm
from proxy.exchange import messages_sha256, to_line
from tests.analysis.judge.judging import texts
from tests.analysis.runs import exchange, foreign_row, write_run


def comparison_of(folder: Path, base: list[str], student: list[str]) -> Comparison:
    arms = texts(folder, base, student)
    read = [read_arm(str(path), path, Choice()) for path in arms]
    return compare(read[0], read[1], Options())


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("two")
    for arm in ("base", "student"):
        for task, n in (("long", 90), ("short", 10)):
            rows = [foreign_row(i, 1.0, text=f"{arm} {i}") for i in range(n)]
            write_run(folder / arm, rows, task=task, model=f"{arm}-model")
    read = [read_arm(arm, folder / arm, Choice()) for arm in ("base", "student")]
    return compare(read[0], read[1], Options())


@pytest.mark.parametrize(("limit", "short"), [(10, 1), (20, 2), (50, 5), (100, 10), (500, 10)])
def test_benchmarks_give_in_proportion(two_tasks: Comparison, limit: int, short: int) -> None:
    chosen = choose(two_tasks.items, limit, seed=1)
    assert len(chosen) == min(limit, 100)
    assert Counter(one.task for one, _ in chosen)["short"] == short


def test_a_larger_limit_keeps_a_smaller_ones_pairs(two_tasks: Comparison) -> None:
    taken: set[tuple[str, int | str]] = set()
    for limit in range(1, 101):
        chosen = {(one.task, one.doc_id) for one, _ in choose(two_tasks.items, limit, seed=3)}
        assert taken < chosen
        taken = chosen


def test_couples_are_of_one_sample(two_tasks: Comparison) -> None:
    for base, student in choose(two_tasks.items, 30, seed=1):
        assert (base.task, base.doc_id, base.sample_index) == (
            student.task, student.doc_id, student.sample_index
        )  # fmt: skip
        assert (base.arm, student.arm) == ("baseline", "candidate")


def test_the_same_seed_draws_the_same_pairs(two_tasks: Comparison) -> None:
    drawn = [choose(two_tasks.items, 20, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_tags_of_reasoning_are_not_shown(tmp_path: Path) -> None:
    comparison = comparison_of(tmp_path, ["<think>hm</think>4"], ["just 4"])
    couples = choose(comparison.items, None, 1)
    pairs, left_out = with_texts(comparison, couples, WHOLE)
    assert (pairs[0].baseline.text, pairs[0].candidate.text) == ("hm\n\n4", "just 4")
    assert left_out == []
    answers, _ = with_texts(comparison, couples, ANSWER)
    assert (answers[0].baseline.text, answers[0].candidate.text) == ("4", "just 4")


def test_reasoning_that_only_the_log_has_is_shown(tmp_path: Path) -> None:
    runs = texts(tmp_path, ["4"], ["4"])
    sent = [{"role": "user", "content": "question 0"}]
    logged = replace(
        exchange(0), content="4", reasoning="I count.", messages=sent,
        messages_sha256=messages_sha256(sent), status=200, finish_reason="stop",
    )  # fmt: skip
    log = tmp_path / "log"
    log.mkdir()
    (log / "exchanges-00000.jsonl").write_bytes(to_line(logged))
    read = [read_arm(str(path), path, Choice()) for path in runs]
    comparison = compare(read[0], read[1], Options(logs=(log,)))
    pairs, _ = with_texts(comparison, choose(comparison.items, None, 1), WHOLE)
    assert pairs[0].candidate.text == "I count.\n\n4"
    assert pairs[0].baseline.text == "4"
