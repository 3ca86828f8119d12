"""Asking teachers, as a user does, against servers that fail in every way that is known."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.chat.store import Request, Store
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, Script, busy, chat, cut_off, fault, stream
from tests.training.traces.teaching import (
    SUMS,
    asked_number,
    make,
    reasons,
    report,
    rows,
    solved,
    teacher,
    traces,
    write_questions,
)
from training.records import Question, read_traces


def test_right_answers_are_kept_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        done = make(server.url, tmp_path)
    assert done.exit_code == 0, done.output
    kept = list(read_traces(tmp_path / "out" / "traces.jsonl"))
    assert [trace.id for trace in kept] == [f"q{n}/t/0" for n in range(6)]
    first = kept[0]
    assert (first.reasoning, first.answer_text) == ("0 and 0 make 0.", r"It is \boxed{0}.")
    assert (first.prompt_tokens, first.completion_tokens) == (5, 7)
    assert first.cost_usd == pytest.approx((5 * 1 + 7 * 2) / 1e6)
    assert first.messages[-1]["content"].endswith(r"your final answer within \boxed{}.")
    assert "pass rate" in done.output


def test_the_presets_are_those_of_the_issue(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path)
        body = server.requests[0].body
    assert (body["temperature"], body["max_tokens"]) == (0.2, 8192)
    settings = report(tmp_path)["settings"]["teachers"][0]
    assert (settings["timeout_s"], settings["preset"]) == (360.0, "teacher")


def test_each_sample_has_a_seed_of_its_own_that_a_rerun_repeats(tmp_path: Path) -> None:
    seeds = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with FakeUpstream(teacher()) as server:
            make(server.url, tmp_path / folder, "--samples", "2")
            seeds.append(sorted(request.body["seed"] for request in server.requests))
    assert len(set(seeds[0])) == 12
    assert seeds[0] == seeds[1]


@pytest.mark.parametrize(
    "first",
    [busy("0"), fault(500), fault(503, retry_after="0"), cut_off],
    ids=["429", "500", "503", "reset"],
)
def test_a_passing_fault_is_asked_again_and_costs_no_trace(first: Script, tmp_path: Path) -> None:
    with FakeUpstream(teacher({1: [first, solved(1)]})) as server:
        done = make(server.url, tmp_path)
        assert len(server.requests) == 7
    assert done.exit_code == 0, done.output
    assert report(tmp_path)["n_kept"] == 6


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with FakeUpstream([busy("1"), solved(0)]) as server:
        began = time.monotonic()
        make(server.url, tmp_path, questions=SUMS[:1])
    assert time.monotonic() - began >= 1


def test_a_stalled_stream_is_cut_and_asked_again(tmp_path: Path) -> None:
    slow = [b": waiting\n\n"] * 30

    def stalls(request: Received) -> Answer:
        return stream(slow, pause_s=0.1)

    with FakeUpstream(teacher({0: [stalls, solved(0)]})) as server:
        spec = f"base_url={server.url},model=fake,stall_timeout_s=0.3,max_retries=1"
        done = traces(tmp_path, "--teacher", spec, questions=SUMS[:1])
        assert len(server.requests) == 2
    assert done.exit_code == 0, done.output


def test_a_request_that_fails_for_good_is_recorded_and_asked_again_next_time(
    tmp_path: Path,
) -> None:
    with FakeUpstream(teacher({2: fault(400, "too long for this model")})) as server:
        done = make(server.url, tmp_path)
    assert done.exit_code == 1
    assert "1 samples have no completion" in done.output
    made = report(tmp_path)
    assert (made["n_traces"], made["n_kept"]) == (5, 5)
    assert "too long for this model" in made["missing"][0]["reason"]
    failed = [row for row in rows(tmp_path, "completions.jsonl") if row["error"]]
    assert [row["question_id"] for row in failed] == ["q2"]
    port = server.server.server_port
    with FakeUpstream(teacher()) as again:
        again_url = again.url
        text = (tmp_path / "out" / "completions.jsonl").read_text(encoding="utf-8")
        # The server is another one for the test alone: same endpoint in the store.
        moved = rekeyed(text, f"http://127.0.0.1:{port}/v1", again_url)
        (tmp_path / "out" / "completions.jsonl").write_text(moved, encoding="utf-8")
        done = make(again_url, tmp_path)
        assert [asked_number(request) for request in again.requests] == [2]
    assert done.exit_code == 0, done.output
    assert report(tmp_path)["n_kept"] == 6


def rekeyed(text: str, old: str, new: str) -> str:
    """Move a store to another endpoint, keys and all."""
    from harness_tasks.chat.store import Request

    moved = []
    for line in text.splitlines():
        row = json.loads(line)
        assert row["endpoint"] == old
        request = Request(
            row["role"], row["name"], new, row["question_id"], row["sample_index"], row["request"]
        )
        moved.append(json.dumps({**row, "endpoint": new, "key": request.key}))
    return "\n".join(moved) + "\n"


def test_each_kind_of_bad_completion_is_rejected_for_its_own_reason(tmp_path: Path) -> None:
    special: dict[int, Script | list[Script]] = {
        0: chat("<think>0 and 0 make", finish_reason="length"),
        1: chat("<think>1 and 1 make 2, so it is"),
        2: chat("I'm sorry, but I can't help with that."),
        3: chat(""),
        4: chat(r"<think>4 and 4 make 9.</think>\boxed{9}"),
        5: chat(r"\boxed{10}"),
    }
    with FakeUpstream(teacher(special)) as server:
        done = make(server.url, tmp_path)
    assert done.exit_code == 0, done.output
    assert reasons(tmp_path) == {
        "q0": "truncated", "q1": "no_closing_tag", "q2": "refusal", "q3": "empty",
        "q4": "incorrect", "q5": "no_reasoning",
    }  # fmt: skip
    assert (tmp_path / "out" / "traces.jsonl").read_text(encoding="utf-8") == ""


def test_a_completion_that_fills_its_limit_is_truncated_whatever_the_server_says(
    tmp_path: Path,
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 8192, "total_tokens": 8197}
    with FakeUpstream(teacher({0: solved(0, usage=usage)})) as server:
        make(server.url, tmp_path)
    assert reasons(tmp_path) == {"q0": "truncated"}


def test_reasoning_that_the_template_opened_is_found_from_the_others(tmp_path: Path) -> None:
    special: dict[int, Script | list[Script]] = {
        n: chat(rf"{n} and {n}.</think>\boxed{{{2 * n}}}") for n in range(1, 6)
    }
    special[0] = chat(r"Perhaps \boxed{0}, but let me", finish_reason="length")
    with FakeUpstream(teacher(special)) as server:
        make(server.url, tmp_path)
    (cut,) = rows(tmp_path, "rejected.jsonl")
    assert (cut["state"], cut["verdict"]) == ("unclosed", "truncated")
    assert cut["reasoning"].startswith("Perhaps")


def test_a_double_is_rejected(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path, "--samples", "2", questions=SUMS[:1])
    assert [row["reason"] for row in rows(tmp_path, "rejected.jsonl")] == ["duplicate"]


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "5"}, {"completion_tokens": -1}, {"cost": True}]
)
def test_wrong_usage_makes_the_cost_unknown_and_never_zero(
    usage: dict[str, Any], tmp_path: Path
) -> None:
    with FakeUpstream(teacher({0: solved(0, usage=usage)})) as server:
        done = make(server.url, tmp_path, questions=SUMS[:1])
    cost = report(tmp_path)["cost"]["by_model"]["teacher t"]
    assert (cost["cost_usd"], cost["prompt_tokens"]) == (None, None)
    assert rows(tmp_path, "traces.jsonl")[0]["cost_usd"] is None
    assert "unknown" in done.output


def test_the_cost_that_the_server_tells_counts_where_no_price_is_given(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "cost": 0.25}
    with FakeUpstream(solved(0, usage=usage)) as server:
        traces(tmp_path, "--teacher", f"base_url={server.url},model=fake", questions=SUMS[:1])
    assert report(tmp_path)["cost"]["by_model"]["teacher fake"]["cost_usd"] == 0.25


def test_no_more_is_asked_once_the_cost_limit_is_reached(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 500_000}  # a dollar each
    special: dict[int, Script | list[Script]] = {n: solved(n, usage=usage) for n in range(6)}
    with FakeUpstream(teacher(special)) as server:
        spec = f"base_url={server.url},model=m,price_in=1,price_out=2,concurrency=1"
        spec += ",max_tokens=1000000"
        done = traces(tmp_path, "--teacher", spec, "--max-cost-usd", "2")
        assert len(server.requests) == 2
        assert done.exit_code == 1
        assert "the cost limit of $2 is reached" in done.output
        done = traces(tmp_path, "--teacher", spec, "--max-cost-usd", "4")
        assert len(server.requests) == 4  # the two before count as well


def test_a_cost_limit_stops_where_the_cost_is_unknown(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        spec = f"base_url={server.url},model=m,concurrency=1"
        done = traces(tmp_path, "--teacher", spec, "--max-cost-usd", "2")
        assert len(server.requests) == 1
    assert "told no cost" in done.output


def test_two_teachers_of_one_model_never_share_a_row(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        specs = [f"base_url={server.url},model=fake,name={name}" for name in "ab"]
        done = traces(tmp_path, "--teacher", specs[0], "--teacher", specs[1])
        assert len(server.requests) == 12
    assert done.exit_code == 0, done.output
    found = rows(tmp_path, "completions.jsonl")
    assert len({row["key"] for row in found}) == 12
    by_teacher = report(tmp_path)["pass_rates"]["teacher"]
    assert [(row["value"], row["n_traces"]) for row in by_teacher] == [("a", 6), ("b", 6)]


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path)
        first = rows(tmp_path, "traces.jsonl")
        make(server.url, tmp_path)
        assert len(server.requests) == 6
    assert rows(tmp_path, "traces.jsonl") == first


@pytest.mark.parametrize(
    "changed", [["--seed", "7"], ["--set", "teachers=[]"], ["--system-prompt", "Be brief."]]
)
def test_changed_settings_are_asked_anew(changed: list[str], tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path)
        if changed[0] == "--set":
            other = f'teachers=[{{"base_url": "{server.url}", "model": "fake", "temperature": 1}}]'
            changed = ["--set", other]
        make(server.url, tmp_path, *changed)
        assert len(server.requests) == 12


def test_a_torn_last_line_is_dropped_and_asked_again(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path)
        path = tmp_path / "out" / "completions.jsonl"
        path.write_bytes(path.read_bytes()[:-20])
        done = make(server.url, tmp_path)
        assert len(server.requests) == 7
    assert done.exit_code == 0, done.output
    assert len({row["key"] for row in rows(tmp_path, "completions.jsonl")}) == 6


def test_a_full_disk_names_the_file_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "completions.jsonl"
    request = Request("teacher", "t", "http://h", "q1", 0, {"model": "fake"})
    with Store(path) as store:
        store.add(request, {"content": "4"}, None, None)
        written, real = path.read_bytes(), store.file

        class Full:
            def write(self, data: bytes) -> int:
                if real.tell() > len(written):
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real.write(data[:10])

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        monkeypatch.setattr(store, "file", Full())
        with pytest.raises(OSError, match=r"No space left on device: '.*completions.jsonl'"):
            store.add(request, {"content": "5"}, None, None)
    assert path.read_bytes() == written


def test_a_store_that_is_damaged_inside_is_set_aside_and_its_good_rows_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(teacher()) as server:
        make(server.url, tmp_path)
        n_asked = len(server.requests)
        path = tmp_path / "out" / "completions.jsonl"
        path.write_bytes(b"{nonsense\n" + path.read_bytes())
        done = make(server.url, tmp_path)
        assert len(server.requests) == n_asked
    assert done.exit_code == 0, done.output
    (aside,) = path.parent.glob("completions.jsonl.damaged-*")
    assert aside.read_bytes().startswith(b"{nonsense\n")
    assert str(aside) in caplog.text


def test_a_refused_key_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with FakeUpstream(fault(401, "no such key")) as server:
        done = make(server.url, tmp_path)
        assert len(server.requests) <= 6
    assert done.exit_code == 2
    assert "no such key" in done.output
    assert "Traceback" not in done.output


def test_where_nobody_answers_the_exit_code_is_2_and_says_why(tmp_path: Path) -> None:
    with FakeUpstream(fault(400, "no such thing")) as server:
        done = make(server.url, tmp_path, "--limit", "2")
    assert done.exit_code == 2
    assert "nobody answered: HTTP 400" in done.output
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_teacher_that_is_gone_does_not_end_the_others(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server, FakeUpstream(fault(404, "no model")) as gone:
        specs = [
            f"base_url={one.url},model=fake,name={name}"
            for one, name in ((server, "a"), (gone, "b"))
        ]
        done = traces(tmp_path, "--teacher", specs[0], "--teacher", specs[1])
    assert done.exit_code == 1
    assert report(tmp_path)["n_kept"] == 6
    assert "b was given up" in done.output


def test_the_key_is_sent_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("TEACHER_KEY", key)
    echo = fault(400, f"the key {key} may not do that")
    with FakeUpstream(teacher({1: echo})) as server:
        spec = f"base_url={server.url},model=m,api_key_env=TEACHER_KEY,max_retries=0"
        done = traces(tmp_path, "--teacher", spec)
        assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert key not in done.output
    for file in (tmp_path / "out").iterdir():
        assert key not in file.read_text(encoding="utf-8"), file


def test_values_of_headers_are_sent_and_never_written(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server:
        spec = f'{{base_url: "{server.url}", model: m, headers: {{X-Title: "hidden-value"}}}}'
        traces(tmp_path, "--teacher", spec)
        assert server.requests[0].headers["x-title"] == "hidden-value"
    for file in (tmp_path / "out").iterdir():
        assert "hidden-value" not in file.read_text(encoding="utf-8"), file


def test_no_more_requests_than_the_concurrency_are_on_the_way(tmp_path: Path) -> None:
    slow: dict[int, Script | list[Script]] = {n: solved(n, pause_s=0.01) for n in range(6)}
    with FakeUpstream(teacher(slow)) as server:
        spec = f"base_url={server.url},model=m,concurrency=2"
        traces(tmp_path, "--teacher", spec)
        assert server.most_at_once == 2


def test_code_is_verified_in_the_sandbox(tmp_path: Path) -> None:
    tests = {"kind": "stdio", "cases": [{"input": "3\n", "output": "6\n"}]}
    questions = [
        Question(f"c{n}", f"What is {n} + x? Double the input.", tests=tests) for n in (0, 1)
    ]
    right = "```python\nprint(2 * int(input()))\n```"
    wrong = "```python\nprint(6, end='!')\n```"
    special: dict[int, Script | list[Script]] = {
        0: chat(right, reasoning="double it"),
        1: chat(wrong, reasoning="guess"),
    }
    with FakeUpstream(teacher(special)) as server:
        done = make(server.url, tmp_path, questions=questions)
    assert done.exit_code == 0, done.output
    assert [row["question"]["id"] for row in rows(tmp_path, "traces.jsonl")] == ["c0"]
    assert reasons(tmp_path) == {"c1": "incorrect"}


def command(folder: Path, url: str, *options: str) -> list[str]:
    questions = write_questions(folder)
    spec = f"base_url={url},model=fake,name=t,concurrency=2"
    return [
        sys.executable, "-m", "training", "traces", str(questions), "--out", str(folder / "out"),
        "--no-decontaminate", "--teacher", spec, *options,
    ]  # fmt: skip


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def wait_for(n_rows: int, folder: Path) -> None:
    path = folder / "out" / "completions.jsonl"
    for _ in range(600):
        if path.is_file() and path.read_bytes().count(b"\n") >= n_rows:
            return
        time.sleep(0.05)
    raise AssertionError(f"{n_rows} rows did not come")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_without_asking_anything_twice(
    number: signal.Signals, tmp_path: Path
) -> None:
    slow: dict[int, Script | list[Script]] = {n: solved(n, pause_s=0.015) for n in range(6)}
    with FakeUpstream(teacher(slow)) as server:
        words = command(tmp_path, server.url, "--samples", "2")
        process = started(words)
        wait_for(3, tmp_path)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        if number != signal.SIGKILL:
            assert process.returncode == 130, said
            assert "the same command goes on from there" in said
            assert "Traceback" not in said
        path = tmp_path / "out" / "completions.jsonl"
        n_whole = path.read_bytes().count(b"\n")
        n_before = len(server.requests)
        assert 3 <= n_whole < 12
        again = subprocess.run(
            words, cwd=REPO, capture_output=True, text=True, check=False, timeout=60
        )
        assert again.returncode == 0, again.stderr
        assert len(server.requests) - n_before == 12 - n_whole
    assert report(tmp_path)["n_traces"] == 12


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    from harness_tasks.chat.store import Store

    (tmp_path / "out").mkdir()
    with FakeUpstream(teacher()) as server, Store(tmp_path / "out" / "completions.jsonl"):
        done = make(server.url, tmp_path)
    assert done.exit_code == 2
    assert "in use by another run" in done.output


def test_unknown_reasoning_tokens_are_none_and_told_ones_are_added(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 9}
    told = {**usage, "completion_tokens_details": {"reasoning_tokens": 4}}
    for name, said, total in (("a", usage, None), ("b", told, 4)):
        (tmp_path / name).mkdir()
        with FakeUpstream(solved(0, usage=said)) as server:
            make(server.url, tmp_path / name, questions=SUMS[:1])
        cost = report(tmp_path / name)["cost"]["by_model"]["teacher t"]
        assert cost["reasoning_tokens"] == total


def test_a_run_of_questions_that_the_server_refuses_does_not_stop_the_rest(tmp_path: Path) -> None:
    questions = [Question(f"q{n}", f"What is {n} + {n}?", answer=str(2 * n)) for n in range(20)]
    refused: dict[int, Script | list[Script]] = {n: fault(400, "too long") for n in range(2, 18)}
    with FakeUpstream(teacher(refused)) as server:
        spec = f"base_url={server.url},model=m,concurrency=1"
        traces(tmp_path, "--teacher", spec, questions=questions)
        assert len(server.requests) == 20
    assert report(tmp_path)["n_kept"] == 4


def test_questions_that_are_refused_again_do_not_keep_new_ones_from_being_asked(
    tmp_path: Path,
) -> None:
    questions = [Question(f"q{n}", f"What is {n} + {n}?", answer=str(2 * n)) for n in range(14)]
    refused: dict[int, Script | list[Script]] = {n: fault(400, "too long") for n in range(1, 12)}
    with FakeUpstream(teacher(refused)) as server:
        spec = f"base_url={server.url},model=m,concurrency=1,stream=false"
        traces(tmp_path, "--teacher", spec, questions=questions[:12])
        done = traces(tmp_path, "--teacher", spec, questions=questions)
        assert [asked_number(one) for one in server.requests[12:]] == list(range(1, 14))
    assert done.exit_code == 1
    assert report(tmp_path)["n_kept"] == 3


def test_an_endpoint_whose_first_requests_all_fail_is_given_up(tmp_path: Path) -> None:
    questions = [Question(f"q{n}", f"What is {n} + {n}?", answer=str(2 * n)) for n in range(20)]
    with FakeUpstream(fault(400, "no such template")) as server:
        spec = f"base_url={server.url},model=m,concurrency=1"
        done = traces(tmp_path, "--teacher", spec, questions=questions)
        assert len(server.requests) == 2 * 8  # each without stream_options as well
    assert done.exit_code == 2
    assert "was given up: HTTP 400" in done.output


def test_a_judge_that_is_given_up_makes_the_exit_code_1(tmp_path: Path) -> None:
    with FakeUpstream(teacher()) as server, FakeUpstream(fault(401, "bad key")) as judge:
        done = make(server.url, tmp_path, "--judge", f"base_url={judge.url},model=j")
    assert done.exit_code == 1
    assert "j was given up" in done.output
    assert set(reasons(tmp_path).values()) == {"judge_unscored"}


def test_the_only_model_that_a_server_offers_is_asked_where_none_is_named(tmp_path: Path) -> None:
    with FakeUpstream(teacher(), models=["the-one"]) as server:
        done = traces(tmp_path, "--teacher", f"base_url={server.url}")
        assert server.requests[0].body["model"] == "the-one"
    assert done.exit_code == 0, done.output
    with FakeUpstream(teacher(), models=["a", "b"]) as server:
        done = traces(tmp_path, "--teacher", f"base_url={server.url},name=n")
    assert done.exit_code == 2
    assert "it offers a, b" in done.output


def test_a_server_that_names_no_model_is_looked_at_once(tmp_path: Path) -> None:
    with FakeUpstream(teacher(), models=["a", "b"]) as server:
        traces(tmp_path, "--teacher", f"base_url={server.url},name=n")
        listings = [one for one in server.received if one.path == "/v1/models"]
        assert len(listings) == 1
