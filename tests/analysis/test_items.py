from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from proxy.exchange import to_line
from tests.analysis.runs import exchange, our_row, pair_of_runs

API = {"model": "local-chat-completions"}  # lm-eval's own client, which keeps the content only


def run(folder: Path, baseline: list[Any], candidate: list[Any], **options: Any) -> Comparison:
    paths = pair_of_runs(folder, baseline, candidate, config=API)
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    return compare(arms[0], arms[1], Options(**options))


def by_api(verdict: str, text: str) -> list[Any]:
    row = our_row(0, [verdict], texts=[text])
    row["samples"][0]["finish_reason"] = None
    return [row]


def log(folder: Path, **more: Any) -> Path:
    path = folder / "exchanges-1.jsonl"
    path.write_bytes(to_line(exchange(0, **more)))
    return path


def test_reasoning_that_an_api_client_lost_is_unknown_for_our_tasks_too(tmp_path: Path) -> None:
    comparison = run(tmp_path, by_api("correct", "4"), by_api("correct", "4"))
    assert {item.reasoning_chars for item in comparison.items} == {None}
    assert all(figure.baseline_known == 0 for figure in comparison.tasks[0].volume)
    notices = comparison.tasks[0].notices
    assert any("truncation of the baseline is seen only as" in notice for notice in notices)


def test_reasoning_that_local_chat_kept_is_known_without_a_log(tmp_path: Path) -> None:
    rows = by_api("correct", "4")
    rows[0]["samples"][0]["request_id"] = "run/quiz/0/0"
    assert run(tmp_path, rows, rows).items[0].reasoning_chars == 0


def test_a_cut_that_only_the_log_tells_is_truncation_and_not_a_missing_answer(
    tmp_path: Path,
) -> None:
    baseline, candidate = by_api("no_answer", "hm"), by_api("no_answer", "well")
    cut = log(tmp_path, content="well", reasoning="so", finish_reason="length")
    task = run(tmp_path, baseline, candidate, logs=(cut,)).tasks[0]
    assert (task.baseline.truncated.count, task.baseline.no_answer.count) == (0, 1)
    assert (task.candidate.truncated.count, task.candidate.no_answer.count) == (1, 0)
    assert task.volume[0].candidate.value == 2.0


def test_an_exchange_is_counted_for_one_sample_of_one_arm(tmp_path: Path) -> None:
    rows = by_api("correct", "4")
    paths = pair_of_runs(tmp_path, rows, rows, config=API)
    for path in paths:  # one model served twice, and the log of one of the two runs
        for results in path.rglob("results_*.json"):
            results.write_text(results.read_text(encoding="utf-8").replace("base-", "student-"))
    options = Options(logs=(log(tmp_path, content="4", finish_reason="stop"),))
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    assert sum(item.in_log for item in compare(arms[0], arms[1], options).items) == 1


def test_an_exchange_is_counted_once_though_two_tasks_ask_the_same(tmp_path: Path) -> None:
    rows = by_api("correct", "4")
    for task in ("quiz", "quiz_too"):
        paths = pair_of_runs(tmp_path, rows, rows, task=task, config=API)
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    options = Options(logs=(log(tmp_path, content="4", finish_reason="stop"),))
    found = [item for item in compare(arms[0], arms[1], options).items if item.in_log]
    assert [(item.task, item.arm) for item in found] == [("quiz", "candidate")]


def test_an_exchange_that_a_sample_of_another_task_names_is_not_found_by_text(
    tmp_path: Path,
) -> None:
    for task, request_id in (("quiz", None), ("quiz_too", "proxy-0")):
        rows = by_api("correct", "4")
        rows[0]["samples"][0]["request_id"] = request_id
        paths = pair_of_runs(tmp_path, rows, rows, task=task, config=API)
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    options = Options(logs=(log(tmp_path, content="4", finish_reason="stop"),))
    found = [item for item in compare(arms[0], arms[1], options).items if item.in_log]
    assert [(item.task, item.arm) for item in found] == [("quiz_too", "candidate")]


def test_one_file_under_two_names_is_one_run(tmp_path: Path) -> None:
    _, run_folder = pair_of_runs(tmp_path, [], by_api("correct", "4"), config=API)
    (tmp_path / "again").symlink_to(run_folder)
    arms = [read_arm(path.name, path, Choice()) for path in (run_folder, tmp_path / "again")]
    options = Options(logs=(log(tmp_path, content="4", finish_reason="stop"),))
    assert all(item.in_log for item in compare(arms[0], arms[1], options).items)
