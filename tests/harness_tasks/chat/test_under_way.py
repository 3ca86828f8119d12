"""How far a run is, counted from its store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.chat.resume import Kept, Who
from harness_tasks.chat.store import Store
from harness_tasks.chat.under_way import Asking, Progress, counts, left, progress
from harness_tasks.completion import Completion
from tests.harness_tasks.chat.test_resume import ME, job, path, said

__all__ = ["path"]  # a fixture of tests here


def asking(retry: int | None = None, **sampling: Any) -> dict[str, Any]:
    told = {"toy": {"temperature": 0.6, "max_tokens": 100, **sampling}}
    return Asking(ME, {"toy": 5}, told, 0, retry).to_json()


@pytest.fixture
def begun(path: Path) -> Path:
    """A store of three answers, one of them cut off, and a failure."""
    with Store(path) as store:
        kept = Kept(store, ME)
        kept.fail(job(0), "HTTP 500")
        kept.keep(job(0), said())
        kept.keep(job(1), said())
        kept.keep(job(2), said("cut", "length"))
        kept.fail(job(3), "HTTP 500")
        kept.keep(job(4, temperature=0.1), said())  # an earlier start, under other settings
        Kept(store, Who("m2", ME.endpoints)).keep(job(4), said())
    return path


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (asking, Progress(n_done=4, n_errors=1, n_truncated=1)),
        (lambda: asking(temperature=0.1), Progress(1, 0, 0)),
        (lambda: asking(400, max_tokens=400), Progress(3, 1, 0)),
        (dict, Progress(0, 0, 0)),
    ],
    ids=["as asked", "other settings", "a retry", "nothing told"],
)
def test_progress_counts_what_answers_the_run(
    begun: Path, told: Callable[[], dict[str, Any]], expected: Progress
) -> None:
    assert progress(begun, told()) == expected


def test_a_failure_after_an_answer_takes_nothing_away(begun: Path) -> None:
    with Store(begun) as store:
        Kept(store, ME).fail(job(0), "HTTP 500")
    assert progress(begun, asking()).n_errors == 1


def test_completions_failures_and_cuts_are_counted_by_task() -> None:
    failed = [Completion(error=cause) for cause in ("HTTP 400", "HTTP 500", "HTTP 500")]
    told = counts(
        ["a", "a", "b", "b", "b"],
        [Completion(content="4"), Completion(content="4", finish_reason="length"), *failed],
    )
    assert told == {
        "a": {"n_samples": 2, "n_errors": 0, "n_truncated": 1, "error": None},
        "b": {"n_samples": 3, "n_errors": 3, "n_truncated": 0, "error": "HTTP 500"},
    }


def test_what_an_interrupted_run_leaves_is_said_with_and_without_a_store(begun: Path) -> None:
    assert "nothing of this run is kept" in left(None, 5)
    with Store(begun) as store:
        assert f"5 completions are in {begun} (this run asks for 9)" in left(store, 9)
