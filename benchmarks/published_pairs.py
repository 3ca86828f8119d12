"""Two published pairs of real models, down the whole road: the tables of the README.

    python benchmarks/published_pairs.py runs/published

Plays back the published completions of gemma-2-27b-it and Sky-T1-27B on MATH-500, and of
Qwen2.5-3B-Instruct and its RL-tuned student on GSM8K, through the recorded-completions server, the
proxy and `lm_eval`, then runs `distill-report compare`. Needs the published files, see
tests/conftest.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.end_to_end import PAIRS, walk


def main(out: Path) -> None:
    """Evaluate both pairs into `out` and print their reports."""
    for task in PAIRS:
        base, student = walk(task, out.resolve() / task)
        logs = ["--log", str(base / "log"), "--log", str(student / "log")]
        command = [sys.executable, "-m", "analysis", "compare", str(base), str(student), *logs]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/published_pairs.py OUT_FOLDER")
    main(Path(sys.argv[1]))
