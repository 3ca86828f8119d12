"""The README's first screen, its commands and the tutorial's: typed, with recorded answers.

What stands for something of the reader's own (a model, a teacher's key, the hub's questions) is
replaced by something small that needs no network; the rest is typed as it stands.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.generate.schemas import words
from harness_tasks.records import read_jsonl, write_jsonl
from tests import test_tutorial as tutorial
from tests.conftest import REPO
from tests.training import tiny
from tests.typing_pages import commands_of, replaced, typed

README = (REPO / "README.md").read_text(encoding="utf-8")
COMMANDS = commands_of(README)
RECORDED = REPO / "tests" / "recorded_demo"
SERVER = (
    "python -m proxy.recorded_server --completions {file} --model {name} "
    "--listen 127.0.0.1:{port} &"
)
# Serves checkpoints with vLLM for hours: tests/training/checkpoints/test_sweep.py runs it, small.
TOO_LONG = ("distill-train sweep",)
FIRST_SCREEN_LINES = 42


def test_the_first_screen_has_what_it_must_in_order() -> None:
    screen = "\n".join(README.splitlines()[:FIRST_SCREEN_LINES])
    wanted = (
        "# distill-eval", "how sure are we?", "| difference, points |", "published_pairs.py",
        "make demo", "make test", "distill-proxy", "distill-eval run", "distill-report compare",
        "exchanges-*.jsonl", "samples_*.jsonl", "traces.jsonl", "report.html", "docs/tutorial.md",
        "#what-the-numbers-mean", "docs/catalogue.md", "docs/adding_a_task.md", "docs/schemas.md",
        "CHANGELOG.md",
    )  # fmt: skip
    places = [screen.find(words) for words in wanted]
    assert -1 not in places, wanted[places.index(-1)]
    assert places == sorted(places)


def test_every_command_is_typed_by_one_of_these_tests() -> None:
    rest = [line for line in COMMANDS if not line.startswith(("make ", *TOO_LONG))]
    assert sorted(rest) == sorted([*ASKING, *TRAINING])
    assert [line for line in COMMANDS if line.startswith(TOO_LONG)]


ASKING = [
    line
    for line in COMMANDS
    if line.startswith(("distill-eval", "distill-proxy", "distill-report", "lm_eval"))
]
TRAINING = [
    line for line in COMMANDS if line.startswith("distill-train") and not line.startswith(TOO_LONG)
]


def test_the_tutorial_goes_slowly_through_the_same_commands() -> None:
    assert len(set(ASKING) & set(tutorial.COMMANDS)) >= 6


@pytest.mark.slow
def test_asking_and_comparing(tmp_path: Path) -> None:
    """The tutorial's commands, then those of the README that it lacks, in one folder.

    The questions that ship with the package stand for those of the hub.
    """
    own = {"distill_math500": "distill_demo", "distill_gsm8k": "distill_demo --limit 10"}
    road = [line for line in tutorial.COMMANDS if line.startswith("distill-")]
    servers = [
        SERVER.format(file=RECORDED / f"{arm}.jsonl", name=arm, port=port)
        for arm, port in (("base", 8080), ("student", 8081))
    ]
    # A server that plays back has faults that the doctor finds.
    lines = dict.fromkeys([*road, *ASKING])
    asked = [f"{line} || test $? -le 2" if " doctor " in line else line for line in lines]
    told = typed("\n".join([*servers, *(replaced(line, own) for line in asked)]), tmp_path)
    assert [part for part in ("Scorecard", "reachable", "base-4") if part not in told] == []
    for name, n_samples in (("base", 40), ("student", 40), ("base-4", 40), ("plain", 10)):
        (path,) = (tmp_path / "runs" / name).rglob("samples_*.jsonl")
        assert sum(len(row["samples"]) for row in read_jsonl(path)) == n_samples
    assert (tmp_path / "runs" / "rehearsal-student" / "manifest.json").is_file()
    told_and_written(tmp_path / "runs" / "base")
    assert list((tmp_path / "runs" / "log").glob("exchanges-*.jsonl*"))
    assert (tmp_path / "report.html").stat().st_size > 100_000


def told_and_written(folder: Path) -> None:
    """Check that docs/schemas.md tells every field that a real run has written."""
    told = words()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["status"] == "finished"
    assert set(manifest) <= set(told["manifest"])
    for entry in manifest["tasks"].values():
        assert set(entry) <= set(told["manifest-task"])
    row = next(iter(read_jsonl(folder / "completions.jsonl")))
    assert set(row) <= set(told["store-row"])


def questions(folder: Path) -> None:
    """Write two data sets in the form of those that the README names, and a teacher's answers."""
    import pandas as pd

    sums = [(a, b) for a in range(2, 8) for b in range(3, 7)]
    asked = {f"Find the value of {a} times {b} plus {a}.": a * b + a for a, b in sums}
    rows = [
        {"problem": q, "solution": rf"\boxed{{{a}}}", "source": "own"} for q, a in asked.items()
    ]
    pd.DataFrame(rows[:16]).to_parquet(folder / "NuminaMath.parquet")
    jee = [
        {"question": row["problem"], "gold": str(asked[row["problem"]]), "type": "Integer"}
        for row in rows[16:]
    ]
    (folder / "jeebench.json").write_text(json.dumps(jee), encoding="utf-8")
    replies = (
        {
            "question": question,
            "reasoning": "I add it up.",
            "content": rf"It is \boxed{{{answer}}}.",
        }
        for question, answer in asked.items()
    )
    write_jsonl(folder / "teacher.jsonl", ({**reply, "finish_reason": "stop"} for reply in replies))


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    """A model of a quarter of a million weights learns from a teacher that plays back.

    Nothing is compared with the benchmarks, which are not here; a step or two is enough.
    """
    questions(tmp_path)
    without_gpu = "--set model.quantize=null --set optim=adamw_torch --set decontaminate=off"
    small = f"{without_gpu} --set max_steps=2"
    own = {
        "--out bank": "--out bank --no-decontaminate",
        "--out traces": "--out traces --no-decontaminate",
        "https://openrouter.ai/api/v1,model=NAME": "http://127.0.0.1:8082/v1,model=teacher",
        "MODEL": str(tiny.folder()),
        "output_dir=runs/trained": f"output_dir=runs/trained {small} --set max_length=1024",
        "output_dir=runs/grpo": f"output_dir=runs/grpo {small} --set max_completion_length=8",
    }
    teacher = SERVER.format(file="teacher.jsonl", name="teacher", port=8082)
    told = typed(
        "\n".join([teacher, *(replaced(line, own) for line in TRAINING)]), tmp_path, KEY="secret"
    )
    assert sum(1 for _ in read_jsonl(tmp_path / "traces" / "traces.jsonl")) == 24
    assert (tmp_path / "runs" / "trained" / "adapter" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "runs" / "grpo" / "adapter").is_dir()
    assert (tmp_path / "student" / "merge.json").is_file()
    assert "vllm serve" in told
