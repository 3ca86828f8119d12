from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPO


def test_the_benchmark_measures_the_report_beside_its_peer() -> None:
    sizes = ["--exchanges", "300", "--samples", "100", "--cut", "100", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, REPO / "benchmarks" / "analysis.py", *sizes, "--command", "compare"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "distill-report compare: 300 exchanges, 100 samples" in done.stdout
    assert "seconds, pandas / distill-report on 100 exchanges:" in done.stdout
    assert "peak_bytes, pandas / distill-report on 100 exchanges:" in done.stdout
