from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from analysis.reading.scratch import Scratch
from tests.conftest import REPO

ENDED = """
import os, sys
from analysis.reading.scratch import Scratch
scratch = Scratch()
(scratch.path / "part").write_text("x")
os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_folder_is_removed_when_a_signal_ends_the_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", ENDED, str(int(number))]
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert done.returncode in (128 + number, -number)
    assert not list(tmp_path.iterdir())


def test_the_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    scratch = Scratch()
    scratch.close()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not scratch.path.exists()


def test_a_signal_that_somebody_handles_stays_theirs() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        scratch = Scratch()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        scratch.close()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_missing_temporary_folder_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OSError, match=r"no temporary folder for the logs .*; set TMPDIR"):
        Scratch()


def test_a_full_folder_is_told_with_what_to_do() -> None:
    scratch = Scratch()
    try:
        for problem in (OSError(errno.ENOSPC, "No space left"), duckdb.IOException("full\nmore")):
            with pytest.raises(OSError, match="set TMPDIR") as told, scratch.room():
                raise problem
            assert "\n" not in str(told.value)
        with pytest.raises(PermissionError), scratch.room():
            raise PermissionError(errno.EACCES, "a log that may not be read")
    finally:
        scratch.close()
