from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.comparability import confounds, differences
from analysis.pairing import pair
from analysis.reading.load import Choice, TaskRun, read_arm
from analysis.rules import Difference
from analysis.told import sampling_of
from tests.analysis.runs import foreign_row, our_row, write_run
from tests.conftest import SHARED, needs_shared

ROWS = [foreign_row(0, 1.0), foreign_row(1, 0.0)]


def task(folder: Path, rows: list[Any] = ROWS, **more: Any) -> TaskRun:
    run = write_run(folder, rows, model=folder.name, **more)
    return read_arm(folder.name, run, Choice()).tasks["quiz"]


def found(baseline: TaskRun, candidate: TaskRun) -> list[Difference]:
    return differences(baseline, candidate, pair(baseline, candidate))


def test_two_models_asked_alike_do_not_differ(tmp_path: Path) -> None:
    assert found(task(tmp_path / "a"), task(tmp_path / "b")) == []


def test_another_set_of_docs_is_named_with_both_sizes_and_the_limit(tmp_path: Path) -> None:
    first = task(tmp_path / "a", ROWS[:1], config={"limit": 1})
    (difference,) = found(first, task(tmp_path / "b"))
    assert difference.kind == "docs"
    assert "baseline 1 docs, candidate 2; none only in the baseline, 1 (doc 1)" in difference.text
    assert "limit 1 and null" in difference.text


def test_docs_that_a_damaged_file_lost_are_traced_to_its_lines(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", ROWS, model="a")
    (path,) = run.rglob("samples_*.jsonl")
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    torn = read_arm("a", run, Choice()).tasks["quiz"]
    (difference,) = found(torn, task(tmp_path / "b"))
    assert "1 (doc 1) only in the candidate" in difference.text
    assert difference.text.endswith(f"(left out as damaged: {path}:2: 1 torn line)")


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"doc_hash": "x"}, "docs", 'doc 0 doc_hash: baseline "hash 0", candidate "x"'),
        ({"target": "7"}, "docs", 'doc 0 target: baseline "0", candidate "7"'),
        ({"arguments": [["question X", {"temperature": 0.0}]]}, "prompts", "question X"),
        ({"prompt_hash": "y"}, "prompts", 'prompt_hash: baseline "z", candidate "y"'),
        ({"arguments": [["question 0", {"temperature": 0.6}]]}, "sampling", "candidate 0.6"),
    ],
)
def test_a_changed_row_is_named_with_both_values(
    tmp_path: Path, change: dict[str, Any], kind: str, text: str
) -> None:
    row = foreign_row(0, 1.0, prompt_hash="z")
    (difference,) = found(task(tmp_path / "a", [row]), task(tmp_path / "b", [{**row, **change}]))
    assert difference.kind == kind
    assert text in difference.text


def test_many_changed_prompts_are_one_line(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0) for i in range(5)]
    changed = [{**row, "arguments": [["Think! " + row["doc"]["question"], {}]]} for row in rows]
    prompts = [
        one
        for one in found(task(tmp_path / "a", rows), task(tmp_path / "b", changed))
        if one.kind == "prompts"
    ]
    assert len(prompts) == 1
    assert "and 4 more docs" in prompts[0].text


@pytest.mark.parametrize(
    ("results", "kind", "text"),
    [
        ({"versions": {"quiz": 2}}, "graders", 'task version: baseline "1", candidate "2"'),
        (
            {"configs": {"quiz": {"filter_list": [{"name": "strict"}]}}},
            "graders",
            "filter_list",
        ),
    ],
)
def test_another_grader_is_a_difference(
    tmp_path: Path, results: dict[str, Any], kind: str, text: str
) -> None:
    plain = {"versions": {"quiz": 1}, "configs": {"quiz": {"filter_list": []}}}
    first = task(tmp_path / "a", results=plain)
    (difference,) = found(first, task(tmp_path / "b", results={**plain, **results}))
    assert difference.kind == kind
    assert text in difference.text


def test_a_function_at_another_address_is_the_same_grader(tmp_path: Path) -> None:
    first, second = (
        task(
            tmp_path / name,
            results={"configs": {"quiz": {"process_results": f"<function f at {address}>"}}},
        )
        for name, address in (("a", "0x7f01"), ("b", "0x7f02"))
    )
    assert found(first, second) == []


def test_a_system_prompt_is_a_difference_of_prompts(tmp_path: Path) -> None:
    first = task(tmp_path / "a", config={"system_prompt": None})
    second = task(tmp_path / "b", config={"system_prompt": "Be brief."})
    (difference,) = found(first, second)
    assert difference == (
        "prompts",
        "quiz",
        'system_prompt: baseline null, candidate "Be brief."',
        "system prompt",
    )


def test_recorded_sampling_is_compared_field_by_field_but_not_its_seed(tmp_path: Path) -> None:
    first = task(tmp_path / "a", config={"sampling": {"temperature": 0.6, "seed": 1}})
    second = task(
        tmp_path / "b", config={"sampling": {"temperature": 0.6, "top_p": 0.95, "seed": 2}}
    )
    (difference,) = found(first, second)
    assert difference.text == "top_p: baseline not sent, candidate 0.95"


def test_token_limits_are_one_field_under_all_of_their_names(tmp_path: Path) -> None:
    first = task(tmp_path / "a", config={"gen_kwargs": {"max_gen_toks": 512}})
    second = task(tmp_path / "b", config={"gen_kwargs": {"max_tokens": 512}})
    assert found(first, second) == []


def test_a_number_of_samples_is_a_difference_of_sampling(tmp_path: Path) -> None:
    first = task(tmp_path / "a", [our_row(0, ["correct"])])
    second = task(tmp_path / "b", [our_row(0, ["correct", "correct"])])
    (difference,) = found(first, second)
    assert difference.text == "samples per doc: baseline 1, candidate 2"


def test_sampling_that_no_file_tells_is_a_notice(tmp_path: Path) -> None:
    row = foreign_row(0, 1.0)
    row["arguments"] = []
    first, second = task(tmp_path / "a", [row]), task(tmp_path / "b", [row])
    for one in (first, second):
        one.file.results.clear()
    assert sampling_of(first) is None
    assert found(first, second) == []
    assert "sampling of baseline and candidate unknown" in confounds(first, second)[0]


def test_what_rows_alone_do_not_tell_is_not_called_unsent(tmp_path: Path) -> None:
    whole = task(tmp_path / "a", config={"sampling": {"temperature": 0.0, "top_p": 0.95}})
    rows = task(tmp_path / "b")
    rows.file.results.clear()
    assert found(whole, rows) == []
    assert "sampling of candidate known in part only" in confounds(whole, rows)[0]
    other = task(tmp_path / "c", config={"sampling": {"temperature": 0.6, "top_p": 0.95}})
    (difference,) = found(other, rows)
    assert difference.text == "temperature: baseline 0.6, candidate 0.0"


def test_other_circumstances_are_notices(tmp_path: Path) -> None:
    first = task(tmp_path / "a", config={"server": {"kind": "vllm", "version": "0.9"}})
    second = task(
        tmp_path / "b",
        config={
            "server": {"kind": "vllm", "version": "0.10"},
            "model_args": {"pretrained": "b", "load_in_4bit": True},
        },
    )
    assert found(first, second) == []
    told = "\n".join(confounds(first, second))
    assert '"0.9"' in told
    assert '"0.10"' in told
    assert "model_args.load_in_4bit: baseline not sent, candidate true" in told


@needs_shared
def test_a_real_pair_of_two_models_asked_alike_does_not_differ() -> None:
    folder = SHARED / "data/outputs/lm_eval_samples"
    first, second = (
        read_arm("arm", next(folder.glob(name)), Choice()).tasks["arc_challenge"]
        for name in ("teichai__unsloth_*", "teichai__TeichAI_*")
    )
    assert found(first, second) == []


def test_another_edition_of_the_data_set_is_a_difference_of_docs(tmp_path: Path) -> None:
    first, second = task(tmp_path / "a"), task(tmp_path / "b")
    for one, sha256 in ((first, "abc"), (second, "def")):
        one.file.manifest["tasks"] = {"quiz": {"dataset": {"sha256": sha256}}}
    (difference,) = found(first, second)
    assert difference == (
        "docs",
        "quiz",
        'sha256 of the data set\'s rows: baseline "abc", candidate "def"',
        "data set",
    )


def test_sampling_is_that_of_the_task_and_not_what_all_tasks_of_a_run_share(tmp_path: Path) -> None:
    greedy, long = {"temperature": 0}, {"temperature": 0, "max_tokens": 9}
    alone = task(tmp_path / "a", config={"sampling": long, "sampling_by_task": {"quiz": long}})
    tasks = {"quiz": long, "other": {"temperature": 0, "max_tokens": 5}}
    beside = task(tmp_path / "b", config={"sampling": greedy, "sampling_by_task": tasks})
    assert found(alone, beside) == []
    tasks = {"quiz": {**long, "max_tokens": 5}, "other": long}
    shorter = task(tmp_path / "c", config={"sampling": greedy, "sampling_by_task": tasks})
    (difference,) = found(beside, shorter)
    assert difference.text == "max_tokens: baseline 9, candidate 5"


def test_a_limit_that_only_one_arm_sent_is_refused_where_it_was_met(tmp_path: Path) -> None:
    told = [{"temperature": 0, "max_tokens": 9}, {"temperature": 0}]

    def arms(folder: Path, verdict: str) -> tuple[TaskRun, TaskRun]:
        rows = [our_row(0, [verdict])]
        first, second = (
            task(folder / str(i), rows, config={"sampling": sampling})
            for i, sampling in enumerate(told)
        )
        return first, second

    whole, cut = arms(tmp_path / "whole", "correct"), arms(tmp_path / "cut", "truncated")
    assert found(*whole) == []
    assert any("max_tokens: baseline 9, candidate not sent" in one for one in confounds(*whole))
    (difference,) = found(*cut)
    assert difference.kind == "sampling"


def test_no_stop_strings_and_none_sent_are_the_same(tmp_path: Path) -> None:
    first = task(tmp_path / "a", config={"gen_kwargs": {"until": [], "top_p": None}})
    assert found(first, task(tmp_path / "b")) == []
