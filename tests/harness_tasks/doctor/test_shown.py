"""How findings look in a terminal and in a file, and as JSON; hostile text stays text."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import click
import pytest

from harness_tasks.doctor.finding import Context, Finding
from harness_tasks.doctor.shown import CLEAR, Progress, as_json, as_text, closing, printable
from tests.conftest import REPO

FINE = Finding("reachable", "pass", "vllm 0.32.0")
DOUBT = Finding("seeds", "warn", "one seed gave two texts", "no sample comes again", "ask singly")
WRONG = Finding("slots", "fail", "4 slots", "answers are cut", "--ctx-size 131072")
BROKEN = Finding("stream", "skip", "could not be checked: cut", broken=True)
HOSTILE = "a\x1b[2J\x9b31m\u202eb\ud800\nc"


def plain(text: str) -> str:
    return click.unstyle(text)


def test_a_finding_says_what_why_and_what_mends_it_on_lines_of_their_own() -> None:
    assert plain(as_text(DOUBT)).splitlines() == [
        "warn  seeds             one seed gave two texts",
        "      why: no sample comes again",
        "      fix: ask singly",
    ]
    assert plain(as_text(FINE)) == "pass  reachable         vllm 0.32.0"


@pytest.mark.parametrize("columns", [60, 80, 133])
def test_in_a_terminal_lines_break_at_words_and_stand_below_each_other(columns: int) -> None:
    words = [f"word{at}" for at in range(60)]
    finding = Finding("seeds", "warn", " ".join(words), " ".join(words), "x")
    lines = plain(as_text(finding, columns)).splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()).count(" ".join(words)) == 2
    found = [line for line in lines if "word" in line][: len(lines) // 2]
    assert {len(line) - len(line.lstrip()) for line in found[1:]} == {24}


def test_what_is_longer_than_a_line_is_not_cut_apart() -> None:
    url = "http://" + "a" * 100
    assert url in plain(as_text(Finding("reachable", "pass", url), 60))


def test_text_of_a_server_cannot_move_the_cursor_or_turn_words_round() -> None:
    shown = printable(HOSTILE)
    assert shown.isprintable()
    assert shown == r"a\x1b[2J\x9b31m\u202eb\ud800 c"
    for text in (as_text(Finding("models", "pass", HOSTILE)), as_json([DOUBT], Context())):
        assert all(ch.isprintable() or ch == "\n" for ch in plain(text))


def test_json_holds_every_finding_and_is_text_that_any_file_takes() -> None:
    hostile = Finding("models", "warn", HOSTILE, "é ☃", "y")
    text = as_json([FINE, hostile, BROKEN], Context(tasks=("distill_demo",), max_tokens=64))
    told = json.loads(text.encode("utf-8"))
    assert told["verdict"] == "warn"
    assert told["exit_code"] == 1
    assert told["counts"] == {"pass": 1, "warn": 1, "fail": 0, "skip": 1}
    assert told["server"] is None
    assert told["settings"]["max_tokens"] == 64
    assert [finding["status"] for finding in told["findings"]] == ["pass", "warn", "skip"]
    assert told["findings"][1]["why"] == "é ☃"
    assert told["findings"][2]["broken"] is True


@pytest.mark.parametrize(
    ("findings", "last", "named"),
    [
        ([FINE], "exit code 0", "pass: 1 pass"),
        ([FINE, DOUBT], "exit code 1", "warn: 1 pass, 1 warn"),
        ([DOUBT, WRONG, WRONG], "exit code 2", "mend before the run: slots"),
        ([FINE, BROKEN], "exit code 1", "could not be checked: stream"),
        ([], "exit code 1", "nothing was checked"),
    ],
)
def test_the_end_says_what_it_comes_to(findings: list[Finding], last: str, named: str) -> None:
    lines = plain(closing(findings, Context())).splitlines()
    assert lines[-1] == last
    assert named in "\n".join(lines)
    assert "only this machine was checked" in "\n".join(lines)


def test_checks_that_are_skipped_for_one_reason_share_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, other = (
        Finding(name, "skip", why, "", "")
        for name, why in (("a", "gone"), ("b", "gone"), ("c", "x"))
    )
    with Progress(quiet=False) as progress:
        for finding in (FINE, first, second, FINE, other, BROKEN):
            progress.found(finding)
    lines = [line.split() for line in plain(capsys.readouterr().out).splitlines()]
    shown = [line[:3] for line in lines if line[0] in ("pass", "skip")]
    assert shown[1] == ["skip", "2", "checks"]
    assert [line[1] for line in shown] == [FINE.check, "2", FINE.check, "c", BROKEN.check]
    assert "(a, b)" in " ".join(lines[1])


def in_terminal(columns: int, *argv: str) -> str:
    """Return what the command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "harness_tasks", "doctor", *argv]
    environ = {**os.environ, "COLUMNS": str(columns), "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        pieces = []
        with suppress(OSError):  # how Linux ends a terminal
            while piece := os.read(ours, 65536):
                pieces.append(piece)
    os.close(ours)
    assert process.returncode in (0, 1, 2)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def test_a_terminal_shows_what_is_being_checked_and_then_the_findings_alone() -> None:
    written = in_terminal(80)
    assert "] sandbox ..." in written
    # Each line is what stands behind the last time that it was cleared.
    lines = [plain(line.rpartition(CLEAR)[2]) for line in written.split("\n")]
    assert not any(line.endswith(" ...") for line in lines)
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines if line.startswith("pass")]
    assert "\x1b[32m" in written or "\x1b[33m" in written
