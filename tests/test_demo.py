"""`make demo`: the page about it says what it prints, and its files lie where it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

PAGE = (REPO / "demo" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_demo_prints_the_table_of_its_page_and_leaves_its_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPO / "demo" / "run.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no model is running" in done.stdout
    agreement = next(line.split() for line in done.stdout.splitlines() if " Medium" in line)
    assert agreement[:5] == ["distill_demo", "19", "3", "14", "4"]
    for row in ("| base correct | 19 | 3 |", "| base not correct | 14 | 4 |"):
        assert row in PAGE
    assert "Next, with a server of your own" in done.stdout
    assert "repeat themselves" not in done.stderr, "the demo gives no bad example"
    (out,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in out.iterdir()} == {"base", "student", "report.md", "csv"}
    for arm in ("base", "student"):
        for pattern in ("samples_distill_demo_*.jsonl", "results_*.json", "exchanges-*.jsonl"):
            assert len(list((out / arm).rglob(pattern))) == 1, pattern
