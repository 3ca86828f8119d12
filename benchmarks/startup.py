"""What the import hook costs an interpreter that never imports lm-eval.

    python benchmarks/startup.py

Times the `.pth` line itself in-process (many repetitions, the finder removed each time) and, as the
named peer, whole interpreter starts with and without it, interleaved in one run. Prints medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness_tasks

LINE = Path(harness_tasks.__file__).with_name("distill_eval_autoload.pth").read_text()
N_LINES = 5_000
N_STARTS = 60


def line_cost_us() -> float:
    """Return the median cost of executing the `.pth` line, in microseconds."""
    code = compile(LINE, "distill_eval_autoload.pth", "exec")
    costs = []
    for _ in range(N_LINES):
        before = time.perf_counter()
        exec(code)
        costs.append(time.perf_counter() - before)
        del sys.meta_path[0]
    return statistics.median(costs) * 1e6


def start_ms(folder: str) -> float:
    """Return the duration of one interpreter start that processes the `.pth` files of a folder."""
    code = f"import site; site.addsitedir({folder!r})"
    before = time.perf_counter()
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env=dict(os.environ))
    return (time.perf_counter() - before) * 1e3


def main() -> None:
    """Print both measurements."""
    print(f"the .pth line: {line_cost_us():.1f} us (median of {N_LINES:,})")
    with tempfile.TemporaryDirectory() as bare, tempfile.TemporaryDirectory() as hooked:
        Path(bare, "a.pth").write_text("import sys\n")
        Path(hooked, "a.pth").write_text(LINE)
        pairs = [(start_ms(bare), start_ms(hooked)) for _ in range(N_STARTS)]
    without, with_hook = (statistics.median(column) for column in zip(*pairs, strict=True))
    difference = statistics.median(b - a for a, b in pairs)
    print(f"interpreter start: {without:.2f} ms with an empty .pth, {with_hook:.2f} ms with ours")
    print(f"median paired difference: {difference:+.3f} ms over {N_STARTS} interleaved pairs")


if __name__ == "__main__":
    main()
