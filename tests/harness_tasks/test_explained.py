"""Errors that explain themselves end an interpreter in one line, others keep their traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPO

DATA_ERROR = "from harness_tasks import docs; docs.load('aime24', '/nowhere')"


def ended_by(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPO), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wrong_data_folder_is_one_line_and_exit_2_under_any_command() -> None:
    done = ended_by(DATA_ERROR)
    assert done.returncode == 2
    assert done.stderr.startswith("distill-eval: data folder '/nowhere' does not exist; aime24 ")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback_of_a_wrong_data_folder() -> None:
    done = ended_by(DATA_ERROR, DISTILL_EVAL_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_with_a_message_is_one_line_and_exit_130() -> None:
    code = (
        "from harness_tasks.explained import end_in_one_line; end_in_one_line()\n"
        "pressed = KeyboardInterrupt('interrupted'); pressed.explained = True; raise pressed"
    )
    done = ended_by(code)
    assert (done.returncode, done.stderr) == (130, "distill-eval: interrupted\n")


@pytest.mark.parametrize("error", ["ValueError('of another')", "KeyError('x')"])
def test_errors_of_others_keep_their_traceback(error: str) -> None:
    done = ended_by(
        f"from harness_tasks.explained import explained; explained({error}.__class__())"
        f"\nraise {error}"
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_caller_that_catches_it_sees_an_ordinary_error() -> None:
    code = "\n".join(
        ["try:", f"    {DATA_ERROR}", "except ValueError as wrong:", "    print(type(wrong))"]
    )
    done = ended_by(code)
    assert (done.stdout, done.returncode) == ("<class 'ValueError'>\n", 0)
