"""`distill-eval run --tiers`: tasks of ours in tiers, from the plan to the regraded samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import catalogue, manifest, regrade, tier_tasks
from harness_tasks.plan import RunOptions, check_task_names
from harness_tasks.tiers import TIERS
from tests.fakes import Answer, FakeUpstream, Received, chat
from tests.harness_tasks.test_cli import command, environment
from tests.harness_tasks.test_plan import planned, refusal
from tests.harness_tasks.test_tasks import golds


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_task_of_a_group_is_asked_in_each_tier() -> None:
    plan = planned(RunOptions(run="base", tiers="r6,r1"), tasks=["distill_math"])
    assert plan.tasks == plan.arguments.tasks
    assert plan.tasks == [
        f"{task}_{tier}"
        for task in ("distill_math500", "distill_aime", "distill_gsm8k")
        for tier in ("r1", "r6")
    ]
    assert set(plan.override) == {name for name in plan.tasks if "math500" not in name}


def test_the_yaml_of_a_tier_keeps_the_version_of_its_task() -> None:
    path = catalogue.tasks()["distill_gsm8k"].path
    lines = tier_tasks.lines_of("distill_gsm8k_r3", path)
    assert lines[0] == f"include: {json.dumps(str(path))}"
    assert lines[1:] == ["task: distill_gsm8k_r3", 'metadata: {"version": 1.0, "tier": "r3"}']


@pytest.mark.parametrize(
    ("tasks", "given", "message"),
    [
        (["distill_demo", "gsm8k"], "r1", "works for tasks of distill-eval only, not for gsm8k"),
        (["distill_demo"], "r1,r8", "there is no tier 'r8'; there are r1, r2, r3, r4, r5, r6"),
        (["distill_demo"], ",", "--tiers names no tier"),
        (["distill_math500_r2"], "r1", "distill_math500_r2 is asked in a tier by its name; name"),
    ],
)
def test_tiers_that_cannot_be_asked_are_refused(tasks: list[str], given: str, message: str) -> None:
    assert message in refusal(RunOptions(run="base", tiers=given), tasks=tasks)


def test_a_task_in_a_tier_is_known_by_its_name_and_not_listed() -> None:
    known = catalogue.tasks()
    check_task_names(["--tasks", "distill_gsm8k_r3"])
    assert known["distill_gsm8k_r3"].source == "gsm8k"
    assert "distill_gsm8k_r3" not in known
    assert catalogue.matching(["distill_gsm8k_r3"]) == (["distill_gsm8k_r3"], [])
    for name in ("distill_gsm8k_r7", "distill_math_r1", "distill_nothing_r1", "gsm8k_r1"):
        assert not known.knows(name)
    with pytest.raises(ValueError, match="there is no task 'distill_gsm8k_r7'"):
        check_task_names(["--tasks", "distill_gsm8k_r7"])


def answer(request: Received) -> Answer:
    """Answer right and at length where reasoning is asked for, else shortly and mostly wrong."""
    prompt = str(request.body["messages"][-1]["content"])
    gold = golds()[prompt.partition("\n")[0]]
    if TIERS["r1"].sentence in prompt:
        return chat(rf"\boxed{{{gold}}}", reasoning="one word after the other " * 20)(request)
    return chat(rf"\boxed{{{gold if len(gold) > 1 else 77}}}")(request)


def test_a_run_in_two_tiers_is_one_folder_that_can_be_graded_again() -> None:
    with FakeUpstream(answer) as server:
        done = command(
            "run", "--run", "base", "--tasks", "distill_demo", "--tiers", "r1,r6", "--limit", "20",
            "--repeats", "2", "--model_args", f"base_url={server.url},model=fake",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        prompts = [str(one.body["messages"][-1]["content"]) for one in server.requests
                   if one.method == "POST"]  # fmt: skip
    for tier in ("r1", "r6"):
        assert sum(TIERS[tier].sentence in prompt for prompt in prompts) == 40
    told: dict[str, Any] = manifest.read(Path("runs/base")) or {}
    assert {name: (one["tier"], one["n_docs"]) for name, one in told["tasks"].items()} == {
        "distill_demo_r1": ("r1", 20),
        "distill_demo_r6": ("r6", 20),
    }
    assert "--tiers r1,r6" in " ".join(told["argv"])
    assert len({one["prompt_sha256"] for one in told["tasks"].values()}) == 2
    by_tier = subprocess.run(
        [sys.executable, "-m", "analysis", "tiers", "runs/base", "--json", "-"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    longest, shortest = json.loads(by_tier.stdout)["tables"]["tiers"]["rows"]
    assert (longest["task"], longest["tier"], shortest["tier"]) == ("distill_demo", "r1", "r6")
    assert longest["words"] == 101.0  # a hundred of reasoning, and the box
    assert shortest["words"] == 1.0
    assert longest["score"]["value"] == 1.0
    assert shortest["score"]["value"] < 1.0
    graded = command("grade", "runs/base", "--json")
    assert graded.returncode == 0, graded.stderr
    files = json.loads(graded.stdout)["files"]
    assert {one["task"]: one["changed"] for one in files} == {
        "distill_demo_r1": 0,
        "distill_demo_r6": 0,
    }


def test_a_file_of_a_tiers_task_is_graded_as_the_task() -> None:
    plain, tier = regrade.grader_of("distill_mbppplus"), regrade.grader_of("distill_mbppplus_r4")
    assert tier.config == plain.config
    assert (tier.source, tier.info.name) == (plain.source, "distill_mbppplus_r4")
