"""Three published pairs of real models, down the whole road: the table of the README.

    python benchmarks/published_pairs.py runs/published

Plays back the published completions of gemma-2-27b-it and Sky-T1-27B on MATH-500, and of
Qwen2.5-3B-Instruct and its RL-tuned student on GSM8K (without and with a think block), and of
gpt-4o and Qwen2.5-7B-Instruct on IFEval, through the recorded-completions server, the proxy and
`lm_eval`, then runs `distill-report compare`, and `distill-report html` into each pair's folder.
Needs the published files, see tests/conftest.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.end_to_end import PAIRS, walk


def main(out: Path) -> None:
    """Evaluate each pair into `out`, print its report and write its page."""
    for task in PAIRS:
        base, student = walk(task, out.resolve() / task)
        logs = ["--log", str(base / "log"), "--log", str(student / "log")]
        arms = [str(base), str(student), *logs]
        report = [sys.executable, "-m", "analysis"]
        subprocess.run([*report, "compare", *arms], check=True)
        page = out.resolve() / task / "report.html"
        subprocess.run([*report, "html", *arms, "--out", str(page)], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/published_pairs.py OUT_FOLDER")
    main(Path(sys.argv[1]))
