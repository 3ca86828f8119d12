"""o1-mini's 880 published programs, graded by the official tests that can be had.

These are the public tests, and the private ones that were recovered from published result files
(failing cases that the official grader printed); substitutes are left out. A program that is
officially right must pass all of them. One that is officially wrong must fail where the test that
it officially failed is among them; DIFFERENCES lists those that pass, and why.
"""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness_tasks.batch import n_workers
from harness_tasks.coding.lcb_extract import code_of
from harness_tasks.coding.lcb_grader import Outcome, run
from harness_tasks.coding.lcb_tests import Case, decode_tests
from harness_tasks.records import read_jsonl
from tests.conftest import SHARED, needs_shared

BENCHMARKS = SHARED / "data" / "benchmarks"
PUBLISHED = "lcb_submissions__O1-Mini-2024-09-12.2025-01-15.json.gz"

pytestmark = [needs_shared, pytest.mark.slow]

READS_OPEN_0 = "officially no open(0): the mock gives it other content, and int() of that ends late"
CALLS_EXIT = "officially exit() is taken away, and the program that had printed all is an error"
THREAD = "officially a thread that is started and not joined is not waited for"

# Officially wrong on a test that the program passes here.
DIFFERENCES = {
    "abc315_b": READS_OPEN_0,
    "abc349_a": READS_OPEN_0,
    "abc359_b": READS_OPEN_0,
    "abc365_b": READS_OPEN_0,
    "abc364_a": CALLS_EXIT,
    "abc374_b": CALLS_EXIT,
    "abc368_f": THREAD,
    "abc382_c": THREAD,
}
# Four to six of the six seconds, as the machine and the build of Python are, so either may be: the
# second is officially within the limit, the others are over it.
NEAR_THE_LIMIT = {"abc301_e", "abc328_e", "abc363_c"}


def problems() -> dict[str, dict[str, Any]]:
    return {
        row["question_id"]: row
        for row in read_jsonl(BENCHMARKS / "livecodebench_v6_public.jsonl.gz")
    }


def recovered() -> dict[str, list[Case]]:
    found = {}
    for row in read_jsonl(BENCHMARKS / "livecodebench_extra_tests.jsonl.gz"):
        tests = row.get("recovered_private_test_cases") or []
        found[row["question_id"]] = [Case(test["input"], test["output"]) for test in tests]
    return found


def submissions() -> list[dict[str, Any]]:
    with gzip.open(SHARED / "data" / "outputs" / "livecodebench" / PUBLISHED, "rt") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return rows


def fails_on(metadata: dict[str, Any], func_name: str | None, test: Case) -> bool:
    """Whether this is the test that a program officially failed, as the result file prints it."""
    inputs, expected = test
    if func_name is not None:
        inputs = str([json.loads(line) for line in test.input.split("\n")])
        expected = str(json.loads(test.output))
    return (metadata.get("inputs"), metadata.get("expected")) == (inputs, expected)


@pytest.fixture(scope="module")
def graded() -> dict[str, dict[str, Any]]:
    """Return by problem both verdicts, and whether the test that failed officially is ours too."""
    known, more = problems(), recovered()

    def one(row: dict[str, Any]) -> dict[str, Any]:
        problem = row["question_id"]
        func_name = json.loads(known[problem]["metadata"]).get("func_name")
        public = decode_tests(known[problem]["public_test_cases"])
        tests = public + more.get(problem, [])
        code = code_of(row["output_list"][0])
        outcome = run(code, func_name, tests) if code else Outcome(0, {"kind": "no code"})
        metadata = json.loads(row["metadata"][0])
        return {
            "official": row["graded_list"][0],
            "failure": outcome.failure,
            "n_tests": len(tests),
            "among_ours": any(fails_on(metadata, func_name, test) for test in tests),
            "code": code,
        }

    rows = submissions()
    with ThreadPoolExecutor(n_workers()) as pool:
        outcomes = list(pool.map(one, rows))
    return {row["question_id"]: outcome for row, outcome in zip(rows, outcomes, strict=True)}


def test_what_is_officially_right_passes_every_official_test(
    graded: dict[str, dict[str, Any]],
) -> None:
    right = {problem: row for problem, row in graded.items() if row["official"]}
    assert len(right) == 600
    failed = {problem: row["failure"] for problem, row in right.items() if row["failure"]}
    late = {problem for problem, failure in failed.items() if failure["kind"] == "time limit"}
    assert {key: failed[key] for key in failed.keys() - (late & NEAR_THE_LIMIT)} == {}
    assert sum(row["n_tests"] == 0 for row in right.values()) == 0


def test_what_officially_failed_one_of_our_tests_fails_but_for_the_listed_ones(
    graded: dict[str, dict[str, Any]],
) -> None:
    wrong = {problem: row for problem, row in graded.items() if not row["official"]}
    assert len(wrong) == 280
    passed = {problem for problem, row in wrong.items() if row["failure"] is None}
    passed -= NEAR_THE_LIMIT
    assert {problem for problem in passed if wrong[problem]["among_ours"]} == set(DIFFERENCES)
    for problem, reason in DIFFERENCES.items():
        word = {READS_OPEN_0: "open(0)", CALLS_EXIT: "exit()", THREAD: ".start()"}[reason]
        assert word in wrong[problem]["code"]
    # Of the 72 or 73 that pass, 64 fail officially on a test that is not among ours.
    assert len(wrong.keys() - passed - NEAR_THE_LIMIT) == 206


def test_answers_without_a_program_are_those_that_were_empty_officially(
    graded: dict[str, dict[str, Any]],
) -> None:
    without = {problem for problem, row in graded.items() if row["code"] is None}
    assert len(without) == 13
    assert not any(graded[problem]["official"] for problem in without)


def test_reference_solutions_of_another_collection_pass_its_tests() -> None:
    """Its tests in LiveCodeBench's form are no official ones, but its references are right."""
    known = problems()
    references = {
        row["task_id"]: row for row in read_jsonl(BENCHMARKS / "leetcode_dataset_test.jsonl.gz")
    }
    rows = [
        row
        for row in read_jsonl(BENCHMARKS / "livecodebench_extra_tests.jsonl.gz")
        if row.get("substitute_test_cases")
    ]
    assert len(rows) == 158
    for row in rows[::8]:  # all of them pass, in two minutes
        reference = references[row["leetcode_dataset_task_id"]]
        tests = [Case(test["input"], test["output"]) for test in row["substitute_test_cases"]]
        func_name = json.loads(known[row["question_id"]]["metadata"])["func_name"]
        code = f"{reference['prompt']}\n{reference['completion']}"
        assert run(code, func_name, tests) == Outcome(len(tests)), row["question_id"]
