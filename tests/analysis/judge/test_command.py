"""`distill-report judge` as a user runs it: resumed, killed, refused, limited."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.analysis.judge.judging import (
    arms,
    effort,
    first,
    judge,
    judged,
    judgments,
    longer,
    notes,
    prompt_of,
    row_of,
    shown,
    spec,
    tables,
    texts,
    whole,
)
from tests.analysis.runs import foreign_row, our_row, pair_of_runs, write_run
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, chat, fault


def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def replies(folder: Path) -> Path:
    return folder / "judged" / "replies.jsonl"


def test_every_pair_is_asked_in_both_orders_and_once(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server:
        done = judged(tmp_path, arms(tmp_path, 5), spec(server.url, "it"))
        asked = [shown(request) for request in server.requests]
        body = server.requests[0].body
    assert done.exit_code == 0, done.output
    assert len(asked) == len(set(asked)) == 10
    assert {(b, a) for a, b in asked} == set(asked)
    assert (body["temperature"], body["max_tokens"]) == (0.0, 8192)
    assert body["model"] == "fake"


def test_the_same_command_asks_nothing_twice(tmp_path: Path) -> None:
    runs = arms(tmp_path, 6)
    with FakeUpstream(judge(effort)) as server:
        first_time = judged(tmp_path, runs, spec(server.url, "it"))
        before = len(server.requests)
        again = judged(tmp_path, runs, spec(server.url, "it"))
        assert len(server.requests) == before == 12
        judged(tmp_path, runs, spec(server.url, "it", temperature=0.5))
        assert len(server.requests) == 24  # another sampling is another request
    assert "12 replies asked, 0 found" in first_time.output
    assert "0 replies asked, 12 found" in again.output
    assert "12 requests, 12 of them answered already" in again.output
    cost = tables(tmp_path)["effort-cost"][0]
    assert (cost["replies"], cost["prompt_tokens"], cost["completion_tokens"]) == (12, 12000, 600)


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    runs = arms(tmp_path, 40)

    def slowly(request: Received) -> Answer:
        time.sleep(0.02)
        return judge(effort)(request)

    with FakeUpstream(slowly) as server:
        words = ["judge", *map(str, runs), "--out", str(tmp_path / "judged")]
        words += ["--judge", spec(server.url, "it", concurrency=2)]
        process = subprocess.Popen(
            [sys.executable, "-m", "analysis", *words],
            cwd=REPO,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while len(server.requests) < 15 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        stored = replies(tmp_path).read_bytes().count(b"\n")
        assert 0 < stored < 80
        before = Counter(map(prompt_of, server.requests))
        done = judged(tmp_path, runs, spec(server.url, "it", concurrency=2))
        n_asked = len(server.requests) - before.total()
        twice = sum(count > 1 for count in Counter(map(prompt_of, server.requests)).values())
    assert done.exit_code == 0, done.output
    assert n_asked == 80 - stored
    assert twice <= 2  # those under way when it was killed, whose replies nobody has
    assert tables(tmp_path)["effort"][0]["pairs"] == 40


def test_a_run_that_is_told_to_end_says_how_to_go_on(tmp_path: Path) -> None:
    def slowly(request: Received) -> Answer:
        time.sleep(0.05)
        return judge(effort)(request)

    with FakeUpstream(slowly) as server:
        words = ["judge", *map(str, arms(tmp_path, 40)), "--out", str(tmp_path / "judged")]
        words += ["--judge", spec(server.url, "it", concurrency=2)]
        command = [sys.executable, "-m", "analysis", *words]
        process = subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while len(server.requests) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert replies(tmp_path).read_bytes().endswith(b"\n")


def test_damaged_lines_are_passed_over_named_and_asked_again(tmp_path: Path) -> None:
    runs = arms(tmp_path, 6)
    with FakeUpstream(judge(effort)) as server:
        judged(tmp_path, runs, spec(server.url, "it"))
        lines = replies(tmp_path).read_bytes().splitlines(keepends=True)
        lines[2] = lines[2][:100] + b"\n"
        lines[5] = b'{"schema": 99}\n'
        lines[7] = b"\xff\xfe\n"
        replies(tmp_path).write_bytes(b"".join(lines) + b'{"schema": 1, "key": "torn')
        done = judged(tmp_path, runs, spec(server.url, "it"))
        assert len(server.requests) == 12 + 3
    assert done.exit_code == 0, done.output
    assert "3 damaged lines (3, 6, 8) were passed over" in done.output
    assert tables(tmp_path)["effort"][0]["pairs"] == 6


def test_a_judge_that_cannot_be_reached_has_no_vote_and_the_others_go_on(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server:
        gone = spec(f"http://127.0.0.1:{closed_port()}/v1", "gone")
        done = judged(tmp_path, arms(tmp_path, 20), spec(server.url, "here"), gone)
    assert done.exit_code == 1
    assert "requests got no reply" in done.output
    made = tables(tmp_path)
    row = row_of(made["effort-judges"], "gone")
    assert (row["pairs"], row["unanswered"], row["malformed"]) == (0, 20, 0)
    assert row["candidate"]["value"] is None
    assert made["effort"][0]["pairs"] == 20
    assert made["effort"][0]["unanimous"]["value"] is None  # one vote agrees with nobody
    assert "judge gone: 20 of 20 pairs have no vote, as a request failed" in notes(tmp_path)
    assert whole(tmp_path)["requests"]["failed"] == 40


def test_with_no_judge_in_reach_nothing_is_said(tmp_path: Path) -> None:
    gone = spec(f"http://127.0.0.1:{closed_port()}/v1", "gone")
    done = judged(tmp_path, arms(tmp_path, 3), gone)
    assert done.exit_code == 1
    assert "Positions" not in done.output  # nor any other table
    assert "─" not in done.output
    assert "nothing listens" in done.output
    assert tables(tmp_path)["effort"] == []
    assert all(row["verdict"] is None for row in judgments(tmp_path))


def test_a_request_that_fails_now_and_then_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    runs = arms(tmp_path, 4)
    good = judge(effort)
    with FakeUpstream([good, good, good, fault(400, "too long"), good]) as server:
        once = judged(tmp_path, runs, spec(server.url, "it", concurrency=1))
        n_pairs = tables(tmp_path)["effort"][0]["pairs"]
        again = judged(tmp_path, runs, spec(server.url, "it", concurrency=1))
        assert len(server.requests) == 8 + 1
    assert (once.exit_code, again.exit_code) == (1, 0)
    assert "too long" in once.output
    assert (n_pairs, tables(tmp_path)["effort"][0]["pairs"]) == (3, 4)


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server:
        one = spec(server.url, "it", price_in=2, price_out=10)
        done = judged(tmp_path, arms(tmp_path, 10), one, options=["--dry-run"])
        assert server.received == []
    assert done.exit_code == 0, done.output
    assert "10 pairs x 2 orders x 1 judges = 20 requests, 0 of them answered" in done.output
    assert "tokens in, 8,000 out (at most 163,840)" in done.output
    assert "at most $1.6" in done.output
    assert not (tmp_path / "judged").exists()


def test_a_limit_takes_of_every_benchmark_and_keeps_what_a_smaller_one_took(tmp_path: Path) -> None:
    for arm in ("base", "student"):
        for task, n in (("long", 40), ("short", 10)):
            rows = [foreign_row(i, 1.0, text=f"{arm} {task} {i}") for i in range(n)]
            write_run(tmp_path / arm, rows, task=task, model=f"{arm}-model")
    runs = tmp_path / "base", tmp_path / "student"
    with FakeUpstream(judge(effort)) as server:
        done = judged(tmp_path, runs, spec(server.url, "it"), options=["--limit", "10"])
        assert done.exit_code == 0, done.output
        few = {(row["task"], row["doc_id"]) for row in judgments(tmp_path)}
        judged(tmp_path, runs, spec(server.url, "it"), options=["--limit", "25"])
        more = {(row["task"], row["doc_id"]) for row in judgments(tmp_path)}
        assert len(server.requests) == 50
        judged(tmp_path, runs, spec(server.url, "it"), options=["--limit", "10", "--seed", "2"])
        other = {(row["task"], row["doc_id"]) for row in judgments(tmp_path)}
    assert Counter(task for task, _ in few) == {"long": 8, "short": 2}
    assert few < more
    assert other != few
    assert len(tables(tmp_path)["effort-benchmarks"]) == 2


def test_reasoning_is_shown_without_its_tags_and_left_out_on_demand(tmp_path: Path) -> None:
    text = "<think>let me see</think>It is 4."
    runs = texts(tmp_path, [text], ["It is 5."])
    with FakeUpstream(judge(first)) as server:
        judged(tmp_path, runs, spec(server.url, "it"))
        seen = set(shown(server.requests[0]))
        judged(tmp_path, runs, spec(server.url, "it"), options=["--part", "answer"])
        answers = set(shown(server.requests[-1]))
    assert seen == {"let me see\n\nIt is 4.", "It is 5."}
    assert answers == {"It is 4.", "It is 5."}


def test_the_task_that_was_put_is_shown(tmp_path: Path) -> None:
    with FakeUpstream(judge(first)) as server:
        judged(tmp_path, texts(tmp_path, ["one"], ["two"]), spec(server.url, "it"))
        assert "question 0" in prompt_of(server.requests[0])


def test_a_pair_without_text_is_left_out_and_counted(tmp_path: Path) -> None:
    runs = texts(tmp_path, ["one", "", "<think>cut"], ["two", "two", "two"])
    with FakeUpstream(judge(first)) as server:
        judged(tmp_path, runs, spec(server.url, "it"), options=["--part", "answer"])
        assert len(server.requests) == 2
    assert "quiz: 2 pairs were not judged (no text of baseline)" in notes(tmp_path)
    assert whole(tmp_path)["left_out"] == [{"task": "quiz", "why": "no text of baseline", "n": 2}]


def test_arms_without_any_text_are_refused(tmp_path: Path) -> None:
    done = judged(tmp_path, texts(tmp_path, [""], [""]), spec("http://127.0.0.1:1/v1", "it"))
    assert done.exit_code == 2
    assert "no pair to judge: quiz: 1 with no text of baseline and distilled" in done.output


def test_the_buckets_are_those_of_who_was_right(tmp_path: Path) -> None:
    scores = [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, None)]
    arms = [
        [foreign_row(i, pair[arm], text=f"arm {arm}, {i}") for i, pair in enumerate(scores)]
        for arm in (0, 1)
    ]
    with FakeUpstream(judge(effort)) as server:
        judged(tmp_path, pair_of_runs(tmp_path, *arms), spec(server.url, "it"))
    assert [row["bucket"] for row in judgments(tmp_path)] == [
        "both correct",
        "both wrong",
        "only baseline correct",
        "only distilled correct",
        "a grader failed",
    ]
    assert {row["bucket"] for row in tables(tmp_path)["effort-buckets"]} == {
        row["bucket"] for row in judgments(tmp_path)
    }


def test_several_samples_of_a_question_are_one_vote(tmp_path: Path) -> None:
    rows = [
        [
            our_row(
                i, ["correct"] * 4, texts=[f"arm {arm} {i} {k} " + "check " * arm for k in range(4)]
            )
            for i in range(5)
        ]
        for arm in (0, 1)
    ]
    with FakeUpstream(judge(effort)) as server:
        judged(tmp_path, pair_of_runs(tmp_path, *rows), spec(server.url, "it"))
    total = tables(tmp_path)["effort"][0]
    assert total["pairs"] == 20
    assert total["p"] == pytest.approx(2 * 0.5**5)  # five questions, not twenty pairs
    assert "bootstrap" in total["candidate"]["method"]


def test_the_cost_limit_stops_the_asking(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server:
        one = spec(server.url, "it", price_in=1000, price_out=0, concurrency=1)
        done = judged(tmp_path, arms(tmp_path, 10), one, options=["--max-cost-usd", "3"])
        assert len(server.requests) == 3  # a dollar each
    assert done.exit_code == 1
    assert "the cost limit of $3 is reached" in done.output
    assert tables(tmp_path)["effort-cost"][0]["cost_usd"] == pytest.approx(3.0)


def test_the_key_is_sent_and_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with FakeUpstream(judge(effort)) as server:
        done = judged(tmp_path, arms(tmp_path, 2), spec(server.url, "it", api_key_env="JUDGE_KEY"))
        assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret"
    written = "".join(path.read_text() for path in (tmp_path / "judged").iterdir())
    assert "sk-very-secret" not in written + done.output


def test_requests_are_bounded_by_the_judges_concurrency(tmp_path: Path) -> None:
    def slowly(request: Received) -> Answer:
        time.sleep(0.02)
        return judge(effort)(request)

    with FakeUpstream(slowly) as server:
        judged(tmp_path, arms(tmp_path, 15), spec(server.url, "it", concurrency=3))
        assert 1 < server.most_at_once <= 3


def test_a_reasoning_judges_thoughts_are_split_off(tmp_path: Path) -> None:
    thoughtful = chat("JUDGMENT: Neither", reasoning="Maybe\nJUDGMENT: A\nor not.")
    with FakeUpstream(thoughtful) as server:
        judged(tmp_path, arms(tmp_path, 3), spec(server.url, "it"))
    assert tables(tmp_path)["effort"][0]["similar"]["value"] == 1.0


def test_arms_whose_lengths_do_not_overlap_are_warned_of(tmp_path: Path) -> None:
    runs = texts(
        tmp_path, [f"short {i}" for i in range(30)], [f"long {i} " * 30 for i in range(30)]
    )
    with FakeUpstream(judge(longer)) as server:
        judged(tmp_path, runs, spec(server.url, "it"))
    assert "only 0 of 30 pairs are about equally long" in notes(tmp_path)
    row = row_of(tables(tmp_path)["effort-lengths"], "majority")
    assert (row["matched_pairs"], row["regressed"]["value"]) == (0, None)


def test_text_of_any_kind_gets_there_and_back(tmp_path: Path) -> None:
    nasty = "\ud800 \x00 \x1b[31m \u202e </script> {a} \\frac{1}{2} <<<TASK 1>>>"
    with FakeUpstream(judge(lambda a, b: "A" if "frac" in a else "B")) as server:
        done = judged(tmp_path, texts(tmp_path, ["plain"], [nasty]), spec(server.url, "it"))
        seen = {text for request in server.requests for text in shown(request)}
    assert done.exit_code == 0, done.output
    assert seen == {"plain", nasty}
    assert judgments(tmp_path)[0]["verdict"] == "candidate"
    assert "\x1b" not in done.output


def test_help_loads_nothing_that_computes() -> None:
    code = (
        "import contextlib, sys\nsys.argv = ['distill-report', 'judge', '--help']\n"
        "from analysis.cli import main\nwith contextlib.suppress(SystemExit): main()\n"
        "print({'scipy', 'pandas', 'duckdb', 'httpx2', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
    assert "--judge" in done.stdout


def test_a_server_with_one_model_needs_no_name_of_it(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort), models=["only-one"]) as server:
        done = judged(tmp_path, arms(tmp_path, 2), f"base_url={server.url},name=it")
        assert {request.body["model"] for request in server.requests} == {"only-one"}
    assert done.exit_code == 0, done.output


def test_tables_go_where_the_other_commands_put_them(tmp_path: Path) -> None:
    out = tmp_path / "csv"
    with FakeUpstream(judge(effort)) as server:
        judged(
            tmp_path,
            arms(tmp_path, 4),
            spec(server.url, "it"),
            options=["--csv", str(out), "--markdown", str(tmp_path / "effort.md")],
        )
    assert len(list(out.glob("effort*.csv"))) == len(tables(tmp_path)) == 9
    assert "distilled %" in (tmp_path / "effort.md").read_text(encoding="utf-8")


def test_the_files_say_what_was_asked_and_by_whom(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server:
        judged(tmp_path, arms(tmp_path, 2), spec(server.url, "it", price_in=1, price_out=2))
    told = whole(tmp_path)
    assert told["judges"][0]["name"] == "it"
    assert told["judges"][0]["sampling"] == {"temperature": 0.0, "max_tokens": 8192}
    assert "JUDGMENT: Neither" in told["words"]
    assert (told["part"], told["seed"], told["n_pairs"]) == ("whole", 1234, 2)
    row = json.loads(replies(tmp_path).read_text(encoding="utf-8").splitlines()[0])
    assert row["reply"]["content"].startswith("Compared.")
    assert "<<<RESPONSE A" in row["request"]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("options", "judges", "message"),
    [
        ([], [], "no judge: give --judge"),
        ([], ["model=x"], "base_url is missing"),
        ([], ["base_url=nowhere"], "base_url must look like"),
        ([], ["base_url=http://127.0.0.1:1/v1,pirce_in=1"], "pirce_in"),
        ([], ["base_url=http://127.0.0.1:1/v1,price_in=1"], "price_in and price_out go together"),
        ([], ["base_url=http://127.0.0.1:1/v1,api_key=sk-1"], "api_key= is refused"),
        (["--limit", "0"], ["base_url=http://127.0.0.1:1/v1"], "--limit must be at least 1"),
        (["--max-cost-usd", "0"], ["base_url=http://127.0.0.1:1/v1"], "--max-cost-usd must be > 0"),
        ([], ["base_url=http://127.0.0.1:1/v1"] * 2, "two judges are called 'model'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], judges: list[str], message: str
) -> None:
    done = judged(tmp_path, arms(tmp_path, 2), *judges, options=options)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "judged").exists()


def test_one_model_under_two_names_is_told_of(tmp_path: Path) -> None:
    with FakeUpstream(judge(effort)) as server, FakeUpstream(judge(effort)) as other:
        judges = spec(server.url, "one"), spec(server.url, "two"), spec(other.url, "three")
        assert judged(tmp_path, arms(tmp_path, 5), *judges).exit_code == 0
    told = notes(tmp_path)
    assert "judges one and two are one model (fake at " in told
    assert "three are one model" not in told


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judged").write_text("", encoding="utf-8")
    with FakeUpstream(judge(effort)) as server:
        done = judged(tmp_path, arms(tmp_path, 2), spec(server.url, "it"))
    assert done.exit_code == 2
    assert "judged is a file; give a folder" in done.stderr


def test_ctrl_c_while_the_arms_are_read_ends_as_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("analysis.judge.command.read_comparison", pressed)
    done = judged(tmp_path, arms(tmp_path, 2), spec("http://127.0.0.1:1/v1", "it"))
    assert (done.exit_code, done.stderr.strip()) == (130, "interrupted")
