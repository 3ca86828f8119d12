r"""Our math grader and math-verify on labelled pairs, interleaved in one run.

Prints for each: right, false accepts, false rejects, total seconds, slowest pair; then the ratio of
the totals. Each pair goes to one grader and then to the other, so that both see the same machine.
math-verify runs in a process of its own, which is killed and counted as "not equal" at --limit
seconds; its start-up is not counted, ours is. Raw completions are split by our splitter for both.

    python benchmarks/math_grader.py --labels math_equivalence.jsonl

Rows: {"gold", "pred", "label": 0 or 1, "kind": "answer" or "raw", "category"}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness_tasks import reasoning
from harness_tasks.graders import math_answer

SHARED = Path(os.environ.get("DISTILL_EVAL_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LABELS = SHARED / "data" / "labels" / "math_equivalence.jsonl"


@dataclass
class Score:
    """What one grader did over all rows."""

    name: str
    n_rows: int = 0
    false_accepts: int = 0
    false_rejects: int = 0
    total_s: float = 0.0
    slowest_s: float = 0.0
    slowest: str = ""
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any], accepted: bool, took_s: float) -> None:
        """Count one verdict."""
        self.n_rows += 1
        self.total_s += took_s
        if took_s > self.slowest_s:
            self.slowest_s, self.slowest = took_s, f"{row['gold'][:40]!r} {row['pred'][:40]!r}"
        if accepted != bool(row["label"]):
            self.false_accepts += accepted
            self.false_rejects += not accepted
            self.wrong[row.get("category", "")] += 1

    def line(self) -> str:
        """Return the figures in one line."""
        n_right = self.n_rows - self.false_accepts - self.false_rejects
        return (
            f"{self.name:12} right {n_right}/{self.n_rows} = {n_right / self.n_rows:.2%}  "
            f"false accepts {self.false_accepts}  false rejects {self.false_rejects}  "
            f"total {self.total_s:.2f} s  slowest {self.slowest_s:.3f} s"
        )


def ours(row: dict[str, Any]) -> bool:
    """Grade one row with our grader."""
    if row["kind"] == "raw":
        answer_text = reasoning.split(row["pred"]).answer_text
        return math_answer.grade(answer_text, row["gold"]).verdict.value == "correct"
    return math_answer.equivalent(row["pred"], row["gold"]).verdict.value == "correct"


def serve_math_verify(pipe: Connection) -> None:
    """Answer rows with math-verify's verdict, in a child process."""
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    pipe.send("ready")
    while True:
        kind, gold, pred = pipe.recv()
        text = pred if kind == "raw" or "$" in pred or "boxed" in pred else f"${pred}$"
        target = gold if "$" in gold else f"${gold}$"
        try:
            pipe.send(bool(verify(parse(target), parse(text))))
        except Exception:  # noqa: BLE001 (whatever it raises is a pair that it does not accept)
            pipe.send(False)


class MathVerify:
    """math-verify in a process that is replaced when it hangs."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.start()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve_math_verify, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def __call__(self, row: dict[str, Any]) -> bool:
        """Grade one row; not equal where the limit runs out."""
        pred = reasoning.split(row["pred"]).answer_text if row["kind"] == "raw" else row["pred"]
        self.pipe.send((row["kind"], row["gold"], pred))
        if self.pipe.poll(self.limit_s):
            return bool(self.pipe.recv())
        self.stop()
        self.start()
        return False

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def timed(grader: Callable[[dict[str, Any]], bool], row: dict[str, Any], score: Score) -> None:
    """Grade one row and count it."""
    start = time.perf_counter()
    accepted = grader(row)
    score.add(row, accepted, time.perf_counter() - start)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--labels", type=Path, default=LABELS, help="JSON lines of labelled pairs")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds per pair, math-verify")
    parser.add_argument("--only-ours", action="store_true", help="leave math-verify out")
    options = parser.parse_args()
    if not options.labels.is_file():
        parser.error(f"no labelled pairs at {options.labels}; give a file with --labels")
    lines = options.labels.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    scores = {"ours": Score("ours")}
    if not options.only_ours:
        theirs = MathVerify(options.limit)
        scores["math-verify"] = Score("math-verify")
    for i, row in enumerate(rows):
        graders: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [("ours", ours)]
        if not options.only_ours:
            graders.insert(i % 2, ("math-verify", theirs))
        for name, grader in graders:
            timed(grader, row, scores[name])
    for score in scores.values():
        print(score.line())
        print(f"{'':12} wrong by category: {dict(score.wrong.most_common())}")
        print(f"{'':12} slowest pair: {score.slowest}")
    if not options.only_ours:
        theirs.stop()
        print(f"ratio of totals: {scores['math-verify'].total_s / scores['ours'].total_s:.1f}")


if __name__ == "__main__":
    main()
