"""`make demo`: distillation from end to end, offline, on a CPU, within minutes.

A base model is trained from nothing, a teacher is asked, its traces are verified and filtered, LoRA
teaches the base to think before it answers, and both models are asked the same 200 held-out
questions through a real server and the logging proxy. Every command is printed before it runs; with
models of your own only paths and addresses change.

Example: `python -m demo.run --seed 1`; `make demo DEMO_SEED=1` is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.processes import Failed, listening, serving, step
from demo.stages import Stages, alone_in
from training.checkpoints.processes import free_port

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
TASK = "distill_demo_chain"
ARMS = ("base", "student")
N_QUESTIONS = 800
SUITE = tuple(REPO / name for name in ("harness_tasks", "proxy", "training", "demo"))
BASE_CODE = (HERE / "base_model.py", HERE / "chain.py")
INTERRUPTED = 130


@dataclass(frozen=True)
class Demo:
    """What is asked for, and where it goes; the tests make it smaller."""

    seed: int
    out: Path
    base_steps: int | None
    n_questions: int
    limit: int | None

    def sft_changes(self) -> list[str]:
        """Return what this run sets of demo/sft.yaml."""
        return [
            f"model.path={self.out / 'base'}",
            f"data.path={self.out / 'traces' / 'traces.jsonl'}",
            f"output_dir={self.out / 'sft'}",
            f"seed={self.seed}",
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="demo.run", description=__doc__.splitlines()[0])
    seed = os.environ.get("DEMO_SEED") or "0"
    parser.add_argument("--seed", type=int, default=seed, help="default: $DEMO_SEED or 0")
    parser.add_argument("--out", type=Path, help="default: runs/demo/seed-SEED")
    parser.add_argument("--base-steps", type=int, help="default: that of demo/base_model.py")
    parser.add_argument("--questions", type=int, default=N_QUESTIONS, help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="ask the first N held-out questions alone")
    given = parser.parse_args(argv)
    if given.seed < 0:
        parser.error(f"--seed must be at least 0, got {given.seed}")
    out = given.out or Path("runs") / "demo" / f"seed-{given.seed}"
    demo = Demo(given.seed, out, given.base_steps, given.questions, given.limit)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        with alone_in(demo.out):
            walk(demo)
    except Failed as failed:
        print(f"\ndemo: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    print(closing(demo, time.monotonic() - started))
    return 0


def walk(demo: Demo) -> None:
    """Do the six stages, or reuse what is there."""
    print(f"Everything goes to {demo.out}; a second run reuses it.")
    stages = Stages(demo.out, n_stages=6)
    make_base(demo, stages)
    make_traces(demo, stages)
    teach(demo, stages)
    fold(demo, stages)
    evaluate(demo, stages)
    compare(demo, stages)


def make_base(demo: Demo, stages: Stages) -> None:
    """Train the base from nothing."""
    stages.header("A base model, trained from nothing (a minute or two)")
    folder = demo.out / "base"
    of = {"seed": demo.seed, "steps": demo.base_steps}
    with stages.stage("base", folder, of, BASE_CODE) as fresh:
        if fresh:
            command = ["python", "-m", "demo.base_model", str(folder), "--seed", str(demo.seed)]
            step(*command, *(["--steps", str(demo.base_steps)] if demo.base_steps else []))


def make_traces(demo: Demo, stages: Stages) -> None:
    """Ask the teacher, and keep what stands up to the suite's graders."""
    stages.header("A teacher's traces, verified and filtered")
    folder, recipe = demo.out / "traces", as_typed(HERE / "traces.yaml")
    of = {"seed": demo.seed, "n": demo.n_questions}
    with stages.stage("traces", folder, of, SUITE) as fresh:
        if fresh:
            folder.mkdir(exist_ok=True)
            asked = folder / "questions.jsonl"
            n, seed = str(demo.n_questions), str(demo.seed)
            step("python", "-m", "demo.chain", "questions", "--n", n, "--seed", seed, into=asked)
            with listening("demo.teacher") as url:
                teacher = f"base_url={url}/v1,model=teacher,stream=false"
                traces = ["distill-train", "traces", str(asked), "--out", str(folder)]
                step(*traces, "--config", recipe, "--teacher", teacher, "--seed", seed)
    check_held_out(folder / "traces.jsonl")


def check_held_out(traces: Path) -> None:
    """Say that no question of the task is learnt from, by comparing all of them.

    Raises:
        Failed: one is.
    """
    from harness_tasks.docs import load_rows
    from training.records import read_traces

    learnt = {trace.question.question for trace in read_traces(traces)}
    asked = {row["question"] for row in load_rows("demo_chain")[0]}
    both = sorted(learnt & asked)
    if both:
        raise Failed(f"{len(both)} held-out questions are among the traces, such as {both[0]!r}")
    print(f"  none of the {len(asked)} held-out questions is among the {len(learnt)} learnt from")


def teach(demo: Demo, stages: Stages) -> None:
    """Train an adapter on the traces."""
    stages.header("LoRA: the student learns from the traces")
    folder, of = demo.out / "sft", {"set": demo.sft_changes()}
    with stages.stage("sft", folder, of, SUITE, after=["base", "traces"]) as fresh:
        if fresh:
            changes = [word for change in of["set"] for word in ("--set", change)]
            command = ["distill-train", "sft", as_typed(HERE / "sft.yaml"), *changes]
            step(*command, "--show", "1")
            step(*command)


def fold(demo: Demo, stages: Stages) -> None:
    """Merge adapter and base."""
    stages.header("Adapter and base become one checkpoint")
    folder = demo.out / "student"
    with stages.stage("student", folder, {}, SUITE, after=["sft"]) as fresh:
        if fresh:
            step("distill-train", "merge", str(demo.out / "sft"), "--out", str(folder))


def evaluate(demo: Demo, stages: Stages) -> None:
    """Serve both models, the proxy before each, and ask them the held-out questions."""
    stages.header(f"Both models answer the held-out questions of {TASK}")
    with ExitStack() as server:
        upstream = None
        for arm in ARMS:
            folder = demo.out / "eval" / arm
            of = {"limit": demo.limit}
            with stages.stage(f"eval-{arm}", folder, of, SUITE, after=[arm]) as fresh:
                if fresh:
                    shutil.rmtree(folder, ignore_errors=True)  # what a stopped run logged
                    upstream = upstream or server.enter_context(serving_models(demo))
                    ask(demo, arm, folder, upstream)


@contextmanager
def serving_models(demo: Demo) -> Iterator[str]:
    """Serve what lies in the demo's folder: this server loads the folder that a request names."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["transformers", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with serving(*command, "--device", "cpu", cwd=demo.out, ready=f"{url}/health"):
        yield url


def ask(demo: Demo, arm: str, folder: Path, upstream: str) -> None:
    """Run lm_eval on one arm, through a proxy that logs it.

    Both arms are greedy, though a model that reasons should not be: this one is too small to lose
    itself, and its server samples only where the model's own settings say so.
    """
    print("  greedy, since both are tiny: with larger models, heed what local-chat says of that")
    with listening("proxy", "--quiet", "--upstream", upstream, "--log", f"{folder}/log") as url:
        model_args = f"base_url={url}/v1,model={arm},run={arm},preset=greedy,max_tokens=128"
        command = ["lm_eval", "--model", "local-chat", "--tasks", TASK]
        command += ["--model_args", f"{model_args},num_concurrent=1"]
        command += ["--output_path", str(folder), "--log_samples"]
        step(*command, *(["--limit", str(demo.limit)] if demo.limit else []))


def compare(demo: Demo, stages: Stages) -> None:
    """Set the arms side by side."""
    stages.header("Did it help, and at what cost?")
    arms = [str(demo.out / "eval" / arm) for arm in ARMS]
    logs = [word for arm in arms for word in ("--log", f"{arm}/log")]
    command = ["distill-report", "compare", *arms, *logs]
    files = {"--markdown": "report.md", "--json": "report.json", "--csv": "csv"}
    step(*command, *(word for flag, name in files.items() for word in (flag, str(demo.out / name))))


def closing(demo: Demo, seconds: float) -> str:
    """Return the last words: the result in a line, where the files are, and what to do next."""
    (task,) = json.loads((demo.out / "report.json").read_text())["tasks"]
    return f"""
Seed {demo.seed}: {result(task)}
This took {seconds:.0f} s. The files lie in {demo.out}:
  base/  student/     two checkpoints; any server loads them
  traces/             traces.jsonl (learnt from), rejected.jsonl (and why not), report.md
  sft/                the run: config.yaml, metrics.jsonl, curves.png, adapter/, a model card
  eval/base  eval/student   what lm_eval wrote, and in log/ every exchange as the proxy saw it
  report.md  report.json  csv/        the tables above; in json and csv all others too
Every table and every question, as a page for a browser:
  distill-report html {as_typed(demo.out)}/eval/base {as_typed(demo.out)}/eval/student
Next, with models of your own:
  distill-train bank gsm8k=train.jsonl --out questions --benchmarks-dir DIR
  distill-train traces questions/questions.jsonl --out traces --teacher base_url=URL,model=NAME
  distill-train sft sft-r1-math --set data.path=traces/traces.jsonl --set output_dir=RUN --show 3
  distill-train serve-hint RUN
  distill-eval run --run base --tasks distill_math500 --model_args base_url=http://127.0.0.1:8766/v1
  distill-eval tasks     lists what else there is; README.md says how to compare two models"""


def as_typed(path: Path) -> str:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def result(task: dict[str, Any]) -> str:
    """Return the comparison in a sentence."""
    base, student = (f"{task[side]['score']['value']:.1%}" for side in ("baseline", "candidate"))
    alone = task["agreement"]
    return (
        f"base {base} right, student {student} of {task['n_pairs']} held-out questions; "
        f"{alone['candidate_only']} solved by the student alone, {alone['baseline_only']} by the "
        f"base alone (exact McNemar p = {task['test']['exact_p']:.1g})."
    )


if __name__ == "__main__":
    sys.exit(main())
