"""The published outputs of three pairs of real models, walked down the whole road.

`lm_eval` asks the proxy, which asks a server that plays back what the models answered, in every
wire form; the report must say what grading the published completions directly says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness_tasks import regrade, samples_files
from harness_tasks.graders import GRADERS
from harness_tasks.ifeval.grader import grade as ifeval_grade
from harness_tasks.ifeval.grader import instructions_of
from harness_tasks.math_docs import gsm8k_target
from harness_tasks.reasoning import split
from harness_tasks.records import Verdict
from proxy.exchange import read_exchanges
from tests.conftest import needs_shared
from tests.end_to_end import PAIRS, evaluate, published, report, samples, walk
from tests.harness_tasks.ifeval.published import ifeval_docs, responses

pytestmark = [needs_shared, pytest.mark.slow]

OTHER_FORMS = [
    (form, stream)
    for form in ("inline", "reasoning_content", "reasoning")
    for stream in (True, False)
][1:]


WALKED = [
    pytest.param(task, marks=pytest.mark.proof) if task == "distill_ifeval" else task
    for task in PAIRS
]


class Road(dict[str, tuple[Path, Path]]):
    """Both arms of a pair, evaluated over the wire in the inline form, streamed, when asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self.factory = factory

    def __missing__(self, task: str) -> tuple[Path, Path]:
        self[task] = walk(task, self.factory.mktemp(task))
        return self[task]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    return Road(tmp_path_factory)


def direct(task: str, name: str) -> list[bool]:
    """Grade the published completions in this process, without lm-eval and the wire."""
    benchmark = PAIRS[task][0]
    if benchmark == "ifeval":
        return [
            ifeval_grade(text, instructions_of(doc)).verdict is Verdict.CORRECT
            for doc, text in zip(ifeval_docs(), responses(name), strict=True)
        ]
    grade = GRADERS["gsm8k" if benchmark == "gsm8k" else "math"]
    right = []
    for row in published(benchmark, name):
        target = gsm8k_target(row) if benchmark == "gsm8k" else row["answer"]
        parts = split(row["code"][0])
        right.append(grade(parts.answer_text, target).verdict is Verdict.CORRECT)
    return right


def agreement(baseline: list[bool], candidate: list[bool]) -> dict[str, int]:
    """Return the 2x2 table of two arms that answered the same questions."""
    pairs = list(zip(baseline, candidate, strict=True))
    return {
        "both": pairs.count((True, True)),
        "baseline_only": pairs.count((True, False)),
        "candidate_only": pairs.count((False, True)),
        "neither": pairs.count((False, False)),
    }


@pytest.mark.parametrize("task", WALKED)
def test_the_report_says_what_direct_grading_says(task: str, road: Road) -> None:
    (comparison,) = report(*road[task])["tasks"]
    _, *names = PAIRS[task]
    expected = agreement(*(direct(task, name) for name in names))
    assert {key: comparison["agreement"][key] for key in expected} == expected
    assert sum(expected.values()) == len(published(PAIRS[task][0], names[0]))


@pytest.mark.parametrize("task", WALKED)
def test_regrading_changes_nothing(task: str, road: Road) -> None:
    files, notes = samples_files.find(road[task])
    regraded = regrade.regrade(files, data_dir=None)
    assert [one.total.changed for one in regraded] == [0, 0]
    assert [one.total.before for one in regraded] == [one.total.after for one in regraded]
    assert notes == []


@pytest.mark.parametrize("task", WALKED)
def test_every_sample_is_found_in_the_log(task: str, road: Road) -> None:
    (comparison,) = report(*road[task])["tasks"]
    for row in comparison["volume"]:
        assert row["baseline_known"] == row["candidate_known"] == row["n"], row["name"]
    for arm in road[task]:
        logged = list(read_exchanges([arm / "log"]))
        assert len(logged) == row["n"]
        assert {exchange.outcome for exchange in logged} == {"complete"}


# The student of MATH-500 has the most to get wrong; `make proof` walks the other fifteen as well.
@pytest.mark.parametrize(("form", "stream"), OTHER_FORMS)
@pytest.mark.parametrize(
    ("task", "arm"),
    [
        ("distill_math500", "student"),
        pytest.param("distill_math500", "base", marks=pytest.mark.proof),
        pytest.param("distill_gsm8k", "base", marks=pytest.mark.proof),
        pytest.param("distill_gsm8k", "student", marks=pytest.mark.proof),
    ],
)
def test_every_wire_form_gives_the_same_samples(
    task: str,
    arm: str,
    form: str,
    stream: bool,
    road: Road,
    tmp_path: Path,
) -> None:
    walked = road[task][0].with_name(arm)
    other = evaluate(walked / f"{arm}.jsonl", task, tmp_path, form=form, stream=stream)
    assert seen(samples(other)) == seen(samples(walked))


def seen(graded: dict[int, dict[str, Any]]) -> dict[int, tuple[Any, ...]]:
    """Keep what must not depend on the wire form; how the split came about may."""
    keys = ("verdict", "answer", "truncated", "reasoning_chars", "answer_chars")
    return {doc_id: tuple(sample[key] for key in keys) for doc_id, sample in graded.items()}
