"""The example reports in docs/example: `make example`.

    python benchmarks/example_reports.py --demo runs/demo/seed-0

`demo.html` is made of the demo's two runs. `math500.html` is made of the published completions of
gemma-2-27b-it and Sky-T1-27B on MATH-500, played back through the whole road, where the published
files are found (tests/conftest.py says where); no text of theirs goes into the page. The runs stay
in runs/published and are used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import REPO, SHARED
from tests.end_to_end import PAIRS, walk

EXAMPLES = Path("docs/example")
MATH = "distill_math500"


def main() -> None:
    """Write both reports, with paths as one sees them from the repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True, help="the folder of `make demo`")
    demo = parser.parse_args().demo
    os.chdir(REPO)
    report(demo / "eval", EXAMPLES / "demo.html")
    if not (SHARED / "data").is_dir():
        print(f"{EXAMPLES / 'math500.html'} stays as it is: no published files in {SHARED}")
        return
    runs = Path("runs/published") / MATH
    if not (runs / "done").exists():
        walk(MATH, runs.resolve())
        (runs / "done").touch()
    _, baseline, candidate = PAIRS[MATH]
    names = [
        "--baseline-name",
        baseline.split("__")[1],
        "--candidate-name",
        candidate.split("__")[1],
    ]
    report(runs, EXAMPLES / "math500.html", "--flips", "0", *names)


def report(runs: Path, out: Path, *options: str) -> None:
    """Run `distill-report html` on the two arms of a folder."""
    arms = [str(runs / arm) for arm in ("base", "student")]
    logs = [word for arm in arms for word in ("--log", f"{arm}/log")]
    command = [sys.executable, "-m", "analysis", "html", *arms, *logs, "--out", str(out), *options]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
