"""The tiers of reasoning: what is asked, of which tasks, and that nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from harness_tasks import catalogue, tiers
from harness_tasks.catalogue import TASKS_DIR
from harness_tasks.tiers import TIERS
from tests.conftest import SHARED, needs_shared
from tests.harness_tasks.test_tasks import Scripted, evaluate, gold_of, golds

BENCHMARKS = SHARED / "data" / "benchmarks"
DEMOS = ("distill_demo", "distill_demo_chain", "distill_demo_code", "distill_demo_programs",
         "distill_demo_instruct")  # fmt: skip


def loaded(name: str, tier: str | None = None) -> Any:
    metadata = {"tier": tier} if tier else {}
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, metadata=metadata)
    return manager.load([name])["tasks"][name]


@needs_shared
@pytest.mark.parametrize("tier", TIERS)
def test_each_tier_of_math500_asks_its_questions_in_its_own_words(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_EVAL_DATA", str(BENCHMARKS))
    plain, task = loaded("distill_math500"), loaded(f"distill_math500_{tier}")
    assert list(task.eval_docs) == list(plain.eval_docs)
    assert task.config.process_results is plain.config.process_results
    for doc in task.eval_docs:
        prompt = task.doc_to_text(doc)
        assert prompt == f"{doc['question']}\n{TIERS[tier].sentence} {tiers.BOXED}"
        assert task.doc_to_target(doc) == plain.doc_to_target(doc)


def test_six_tiers_are_six_prompts_and_the_study_gives_both_ends() -> None:
    prompts = {tiers.asked(f"Q\n{tiers.INSTRUCTION}", tier) for tier in TIERS}
    assert len(prompts) == len(TIERS) == 6
    assert not any("step by step, and put" in prompt for prompt in prompts)
    assert (TIERS["r1"].words, TIERS["r6"].words) == (220, 31.2)


@needs_shared
def test_the_means_at_both_ends_are_those_of_the_study() -> None:
    told = json.loads((SHARED / "golden/published.json").read_text())["multi_seed"]["length_tiers"]
    assert {name.lower(): one["words"] for name, one in told.items()} == {
        name: tier.words for name, tier in TIERS.items() if tier.words is not None
    }


@pytest.mark.parametrize("name", DEMOS)
def test_metadata_asks_any_family_in_a_tier_and_changes_no_question(name: str) -> None:
    plain, task = loaded(name), loaded(name, "R3")
    assert list(task.eval_docs) == list(plain.eval_docs)
    for doc in task.eval_docs:
        before, prompt = plain.doc_to_text(doc), task.doc_to_text(doc)
        assert prompt.count(TIERS["r3"].sentence) == 1
        assert str(doc["question"]) in prompt or "starter_code" in doc
        assert prompt != before
    assert "tier r3" in task.config.task_alias


def test_a_program_is_asked_for_behind_the_tier_and_before_the_mark_of_the_answer() -> None:
    task = loaded("distill_demo_programs", "r6")
    prompt = task.doc_to_text(task.eval_docs[0])
    rest = prompt[prompt.index(TIERS["r6"].sentence) :]
    assert rest == (
        f"{TIERS['r6'].sentence} {tiers.CODE}\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )


def test_reasoning_of_an_instruction_task_is_asked_for_where_no_grader_looks() -> None:
    doc = {"instruction_id_list": ["punctuation:no_comma"]}
    assert "between <think> and </think>" in tiers.asked("Write a poem.", "r1", doc)
    assert "<think>" not in tiers.asked("Write a poem.", "r6", doc)


def test_an_answer_gets_the_same_verdict_in_every_tier() -> None:
    right = list(golds().values())[::2]

    def answer(prompt: str, n: int) -> str:
        question = prompt.rpartition("\n")[0]
        gold = golds()[question] if question in golds() else gold_of(prompt)
        return rf"\boxed{{{gold}}}" if gold in right else "I do not know"

    seen = set()
    for tier in (None, *TIERS):
        metadata = {"tier": tier} if tier else {}
        manager = TaskManager(
            include_path=str(TASKS_DIR), include_defaults=False, metadata=metadata
        )
        done = evaluate(Scripted(answer), ["distill_demo"], manager)
        rows = done["samples"]["distill_demo"]
        seen.add(tuple(row["samples"][0]["verdict"] for row in rows))
        assert done["configs"]["distill_demo"]["metadata"].get("tier") == tier
    (verdicts,) = seen
    assert {"correct", "no_answer"} <= set(verdicts)


@pytest.mark.parametrize("given", ["r7", "3", "full", ""])
def test_an_unknown_tier_is_refused_and_the_six_are_named(given: str) -> None:
    with pytest.raises(ValueError, match="there are r1, r2, r3, r4, r5, r6"):
        tiers.tier_of(given)
    with pytest.raises(ValueError, match="there are r1, r2"):
        loaded("distill_demo", given or "r0")


def test_a_tier_that_contradicts_the_tasks_name_is_refused() -> None:
    with pytest.raises(ValueError, match="distill_math500_r1 asks in tier r1, and --metadata says"):
        loaded("distill_math500_r1", "r3")


def test_lm_evals_cache_of_requests_mixes_no_tiers() -> None:
    for tier in ("r2", "r6"):
        manager = TaskManager(
            include_path=str(TASKS_DIR), include_defaults=False, metadata={"tier": tier}
        )
        model = Scripted(lambda prompt, n: "")
        evaluate(model, ["distill_demo"], manager, cache_requests=True)
        assert model.prompts
        assert all(TIERS[tier].sentence in prompt for prompt in model.prompts)


def test_tiers_of_a_list_come_in_their_own_order_and_once() -> None:
    assert tiers.tiers_of("R3, r1,r3") == ["r1", "r3"]
    assert tiers.tiers_of("all") == list(TIERS)
    for given in ("", " , ", "r1,r9"):
        with pytest.raises(ValueError, match="there are r1, r2"):
            tiers.tiers_of(given)


def test_a_loader_that_no_task_called_cannot_ask_in_a_tier() -> None:
    with pytest.raises(ValueError, match="does not say which task loads its docs"):
        tiers.ask_in_tier("r1")


def test_the_name_of_a_task_tells_its_tier() -> None:
    assert tiers.parts_of("distill_gsm8k_r3") == ("distill_gsm8k", "r3")
    assert tiers.parts_of("distill_gsm8k") == ("distill_gsm8k", None)
    assert catalogue.tasks()["distill_math500_tiers"].members == tuple(
        tiers.named("distill_math500", tier) for tier in TIERS
    )
