"""Whatever stands in a file: it is used, or counted and named, or refused in one line."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analysis.cli import cli
from analysis.compare import Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.reading.logs import Logs
from analysis.rules import KINDS
from proxy.exchange import to_line
from tests.analysis.runs import Row, exchange, foreign_row, our_row, pair_of_runs, write_run

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 2**70, 10**400, 1e308, float("nan"), float("inf")),
    *("", "\x00", "\ud800", "\x1b[31m", "x" * 10_000, "[" * 5000),
    *([], [None], [[]], [1, [2, {"a": None}]], {}, {"": {}}, {"role": 1}, [{"role": {}}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that a JSON value holds."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [path, *(one for key, below in pairs for one in places(below, (*path, key)))]


def spoiled(rng: random.Random, row: Row) -> Row:
    """Return a row in which one value is another."""
    row = copy.deepcopy(row)
    *way, last = rng.choice([place for place in places(row)[1:] if place != ("filter",)])
    inner: Any = row
    for key in way:
        inner = inner[key]
    inner[last] = rng.choice(ODD)
    return row


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [lambda: our_row(7, ["correct"] * 2), lambda: foreign_row(7, 1.0)])
def test_any_value_in_any_field_of_a_samples_row_is_borne(
    tmp_path: Path, make: Callable[[], Row], seed: int
) -> None:
    rng = random.Random(seed)
    whole = our_row(0, ["correct"] * 2) if "samples" in make() else foreign_row(0, 1.0)
    for number in range(25):
        run = write_run(tmp_path / str(number), [whole, spoiled(rng, make())])
        try:
            arm = read_arm("arm", run, Choice())
            compare(arm, arm, Options())
        except ValueError:  # a value that is no score, and nothing else, stops a report
            continue
        task = arm.tasks["quiz"]
        assert len(task.questions) + sum(finding.count for finding in task.quality) == 2


@pytest.mark.parametrize("seed", range(3))
def test_any_value_in_any_field_of_an_exchange_is_borne(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    texts = ["the answer"] * 200
    rows = [foreign_row(i, 1.0, text=text) for i, text in enumerate(texts)]
    more = {"content": "the answer", "usage": {"completion_tokens": 3}, "sampling": {"top_p": 1}}
    spoils = [spoiled(rng, exchange(i, **more).to_json()) for i in range(200)]
    path = tmp_path / "exchanges-1.jsonl"
    lines = (json.dumps(row, allow_nan=True).encode() + b"\n" for row in spoils)
    path.write_bytes(to_line(exchange(999)) + b"".join(lines))
    arms = [
        read_arm(one.name, one, Choice())
        for one in pair_of_runs(tmp_path, rows, rows, config={"model": "local-chat-completions"})
    ]
    options = Options(logs=(path,), allow=("prompts", "sampling"))
    comparison = compare(arms[0], arms[1], options)
    assert len(comparison.items) == 400
    with Logs.read([path], ()) as logs:
        left_out = sum(finding.count for finding in logs.quality)
        assert logs.counts["complete"] + logs.counts["incomplete exchange"] + left_out == 201


@pytest.mark.parametrize("details", [[], [1], "text", 0.5, True])
def test_a_record_whose_details_are_no_object_is_left_out_and_counted(
    tmp_path: Path, details: Any
) -> None:
    rows = [our_row(i, ["correct"]) for i in range(2)]
    rows[1]["samples"][0]["details"] = details
    task = read_arm("arm", write_run(tmp_path, rows), Choice()).tasks["quiz"]
    assert list(task.questions) == [0]
    assert "details must be an object or null" in task.quality[0].text


def full_row(doc_id: int) -> Row:
    """Return a row of ours with every field that is read."""
    row = our_row(doc_id, ["correct", "truncated"], texts=["<think>a</think>b", "<think>c"])
    row["doc"].update(task_id=f"quiz/{doc_id}", level=3, instruction_id_list=["a:b"])
    row.update(prompt_hash="p", inst_level_strict_acc=[True], inst_level_loose_acc=[True])
    for i, sample in enumerate(row["samples"]):
        instructions = [{"id": "a:b", "strict": True, "loose": True}]
        sample.update(request_id=f"run/quiz/{doc_id}/{i}", completion_tokens=5, reason="why")
        sample.update(details={"instructions": instructions})
    return row


def by_likelihood(doc_id: int) -> Row:
    """Return a row of a task that generates nothing."""
    asked: Row = {"arguments": [["a", " b"], ["a", " c"]], "resps": [[["-1.0", "False"]]] * 2}
    return {**foreign_row(doc_id, 1.0, metric="acc"), **asked}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("make", [full_row, by_likelihood, lambda doc_id: foreign_row(doc_id, 0.0)])
def test_wrong_types_in_samples_end_in_a_report_or_in_one_line(
    tmp_path: Path, make: Callable[[int], Row], seed: int
) -> None:
    rng = random.Random(seed)
    allowed = [word for kind in KINDS for word in ("--allow", kind)]
    for number in range(10):
        rows = [make(0), make(1), spoiled(rng, spoiled(rng, make(2)))]
        arms = pair_of_runs(tmp_path / str(number), [make(i) for i in range(3)], rows)
        done = CliRunner().invoke(cli, ["compare", *map(str, arms), *allowed, "--json", "-"])
        assert done.exit_code in (0, 2), done.exception
        if done.exit_code:
            assert done.stderr.count("\n") == 1
        else:
            assert json.loads(done.stdout)["schema"] == 2
