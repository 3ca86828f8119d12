from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.reliability import (
    DETECTABLE,
    FEWEST,
    GRADER_ERROR_LIMIT,
    INFO,
    LOOPED,
    MATCHED,
    NO_ANSWER,
    NO_ANSWER_GAP,
    ORDER,
    SEVERITIES,
    STOP,
    TRUNCATED,
    TRUNCATED_GAP,
    WARN,
    Warning,
    warnings,
)
from tests.analysis.runs import our_row, write_run
from tests.analysis.tables.arms import compared, exchange, foreign, log, written
from tests.conftest import REPO, SHARED, needs_shared

RIGHT, WRONG = "correct", "incorrect"
THOUGHT = "<think>so it is</think>4"
API = {"model": "local-chat-completions"}


def plain(n: int = 100, **more: Any) -> list[Any]:
    """Return rows of which every other is right, and nothing is to be said."""
    return [written(i, f"answer {i}", (RIGHT, WRONG)[i % 2], **more) for i in range(n)]


def found(folder: Path, baseline: list[Any], candidate: list[Any], **more: Any) -> list[Warning]:
    return warnings(compared(folder, baseline, candidate, **more))


def of(kind: str, all_found: list[Warning]) -> list[Warning]:
    return [one for one in all_found if one.kind == kind]


def cut(i: int) -> Any:
    return written(i, "<think>on and on", "truncated", truncated=True, state="unclosed")


def test_two_sound_arms_give_no_warning(tmp_path: Path) -> None:
    assert found(tmp_path, plain(400), plain(400)) == []


def test_truncation_above_five_percent_is_warned_of_with_both_rates(tmp_path: Path) -> None:
    rows = plain()
    six = [*map(cut, range(6)), *rows[6:]]
    (one,) = of("truncation", found(tmp_path, six, six))
    assert (one.severity, one.task) == (WARN, "quiz")
    assert "6 of 100 completions (6.0%) of the baseline, 6 of 100" in one.text


@pytest.mark.parametrize(("n", "warned"), [(2, False), (3, True)])
def test_a_gap_in_truncation_of_more_than_two_points_is_warned_of(
    tmp_path: Path, n: int, warned: bool
) -> None:
    rows = plain()
    found_here = found(tmp_path, rows, [*map(cut, range(n)), *rows[n:]])
    assert bool(of("truncation", found_here)) is warned


def test_the_token_limit_is_named_where_it_is_known(tmp_path: Path) -> None:
    rows = [foreign(i, "<think>on and on" if i < 9 else "four", float(i % 2)) for i in range(100)]
    for row in rows:
        row["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"] = 512
    (one,) = of("truncation", found(tmp_path, rows, rows))
    assert "max_tokens 512 and 512" in one.text


def test_a_missing_answer_is_warned_of_beside_the_rate_of_the_other_arm(tmp_path: Path) -> None:
    rows = plain()
    lost = [*(written(i, "hm", "no_answer", answer=None) for i in range(3)), *rows[3:]]
    (one,) = of("no-answer", found(tmp_path, rows, lost))
    assert "0 of 100 completions (0.0%) of the baseline, 3 of 100" in one.text


@pytest.mark.parametrize(("n", "severity"), [(1, WARN), (2, STOP)])
def test_any_failed_grader_is_warned_of_and_above_one_percent_it_stops(
    tmp_path: Path, n: int, severity: str
) -> None:
    rows = plain()
    failed = [*(written(i, "4", "grader_error") for i in range(n)), *rows[n:]]
    (one,) = of("grader-errors", found(tmp_path, rows, failed))
    assert one.severity == severity
    assert f"{n} of 100" in one.text


def test_nothing_graded_stops(tmp_path: Path) -> None:
    rows = [written(i, "4", "grader_error") for i in range(3)]
    first = found(tmp_path, rows, rows)[0]
    assert (first.severity, first.kind) == (STOP, "nothing-graded")


def test_unpaired_docs_are_warned_of(tmp_path: Path) -> None:
    (one,) = of("unpaired", found(tmp_path, plain(), plain(90), allow=("docs",)))
    assert (one.severity, one.text) == (WARN, "unpaired in the baseline: 10 docs, 0 samples")


def test_an_allowed_difference_stays_a_warning(tmp_path: Path) -> None:
    base, cand = plain(), plain()
    for row in cand:
        row["arguments"]["gen_args_0"]["arg_1"]["temperature"] = 0.6
    (one,) = of("allowed", found(tmp_path, base, cand, allow=("sampling",)))
    assert (one.severity, "temperature" in one.text) == (WARN, True)


def test_an_unfinished_run_is_warned_of(tmp_path: Path) -> None:
    rows = plain()
    compared(tmp_path, rows, rows)
    manifest = {"status": "interrupted", "run": "base"}
    (tmp_path / "base" / "manifest.json").write_text(json.dumps(manifest))
    unfinished = of("unfinished-run", found(tmp_path, rows, rows))
    assert [one.severity for one in unfinished] == [WARN]
    assert "'interrupted'" in unfinished[0].text


def test_empty_responses_stop(tmp_path: Path) -> None:
    rows = [foreign(i, "" if i < 60 else "four", float(i % 2)) for i in range(100)]
    (one,) = of("empty-responses", found(tmp_path, plain_foreign(), rows))
    assert (one.severity, one.task) == (STOP, "quiz")
    assert one.text.startswith("60 of 100 completions of the candidate are empty")


def plain_foreign() -> list[Any]:
    return [foreign(i, "four", float(i % 2)) for i in range(100)]


def test_copies_of_one_completion_are_warned_of(tmp_path: Path) -> None:
    copies = [our_row(i, [RIGHT, RIGHT], texts=["same", "same"]) for i in range(12)]
    other = [our_row(i, [RIGHT, RIGHT], texts=["one", "other"]) for i in range(12)]
    (one,) = of("copies", found(tmp_path, other, copies))
    assert "12 of 12 docs of the candidate" in one.text


@pytest.mark.parametrize(("n", "warned"), [(2, False), (3, True)])
def test_more_than_two_percent_of_loops_are_warned_of(tmp_path: Path, n: int, warned: bool) -> None:
    rows = plain()
    looped = [*(written(i, "and so " * 500, WRONG) for i in range(n)), *rows[n:]]
    warned_of = of("loops", found(tmp_path, rows, looped))
    assert bool(warned_of) is warned
    assert all("candidate" in one.text for one in warned_of)
    assert all("3 of these are not known to be cut off" in one.text for one in warned_of)


def test_a_loop_that_was_seen_to_be_cut_off_is_not_called_complete(tmp_path: Path) -> None:
    rows = plain()
    cut_off = {"truncated": True, "state": "unclosed"}
    loops = [written(i, "<think>" + "so " * 900, "truncated", **cut_off) for i in range(6)]
    (one,) = of("loops", found(tmp_path, rows, [*loops, *rows[6:]]))
    assert one.text.endswith("more tokens would not end them")


@pytest.mark.parametrize(("temperature", "warned"), [(0.0, True), (0.6, False)])
def test_greedy_decoding_is_warned_of_in_the_arm_that_thinks(
    tmp_path: Path, temperature: float, warned: bool
) -> None:
    base = [foreign(i, "four", float(i % 2)) for i in range(100)]
    cand = [foreign(i, THOUGHT, float(i % 2)) for i in range(100)]
    for row in (*base, *cand):
        row["arguments"]["gen_args_0"]["arg_1"]["temperature"] = temperature
    warned_of = of("greedy", found(tmp_path, base, cand))
    assert bool(warned_of) is warned
    assert all("the candidate thinks" in one.text for one in warned_of)


def test_a_low_match_rate_is_warned_of_only_where_logs_were_given(tmp_path: Path) -> None:
    rows = [foreign(i, f"answer {i}", float(i % 2)) for i in range(100)]
    assert of("log-match", found(tmp_path, rows, rows)) == []
    both_arms = [
        exchange(i, arm, content=f"answer {i}")
        for arm, n in (("base", 90), ("student", 89))
        for i in range(n)
    ]
    logs = log(tmp_path / "log", *both_arms)
    (one,) = of("log-match", found(tmp_path, rows, rows, logs=(logs,)))
    assert "only 89 of 100 samples of the candidate" in one.text


def test_cached_answers_are_warned_of(tmp_path: Path) -> None:
    rows = [foreign(i, f"answer {i}", float(i % 2)) for i in range(30)]
    logs = log(tmp_path / "log", exchange(4, content="answer 4"))
    config = {**API, "use_cache": "answers.db"}
    cached = of("cached", found(tmp_path, rows, rows, logs=(logs,), config=config))
    assert [one.text[:35] for one in cached] == [
        "30 of 30 answers of the baseline ca",
        "29 of 30 answers of the candidate c",
    ]


def test_a_torn_line_is_warned_of(tmp_path: Path) -> None:
    rows = plain()
    compared(tmp_path, rows, rows)
    path = next((tmp_path / "student").rglob("samples_*.jsonl"))
    path.write_text(path.read_text() + '{"doc_id": 100, "resps"', encoding="utf-8")
    arms = [read_arm(name, tmp_path / name, Choice()) for name in ("base", "student")]
    (one,) = of("data-quality", warnings(compare(arms[0], arms[1], Options())))
    assert (one.severity, path.name in one.text) == (WARN, True)


def test_runs_that_differ_in_more_than_the_model_are_named(tmp_path: Path) -> None:
    rows = plain()
    paths = [
        write_run(
            tmp_path / name,
            rows,
            model=f"{name}-model",
            config={
                "model_args": {"pretrained": f"{name}-model", "dtype": dtype},
                "batch_size": size,
            },
        )
        for name, dtype, size in (("base", "float16", 1), ("student", "bfloat16", 8))
    ]
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    confounds = of("confound", warnings(compare(arms[0], arms[1], Options())))
    assert [(one.severity, one.text.split(":")[0]) for one in confounds] == [
        (WARN, "model_args.dtype"),
        (INFO, "batch_size"),
    ]


@pytest.mark.parametrize(("n", "text"), [(5, "only 5 questions"), (30, "80% power on 30")])
def test_few_questions_are_a_note(tmp_path: Path, n: int, text: str) -> None:
    other = [written(i, "4", (RIGHT, WRONG)[i % 3 % 2]) for i in range(n)]
    (one,) = of("few-questions", found(tmp_path, plain(n), other))
    assert one.severity == INFO
    assert text in one.text


def test_the_most_serious_come_first_and_every_kind_has_its_place(tmp_path: Path) -> None:
    rows = plain(20)
    bad = [
        *(written(i, "4", "grader_error") for i in range(5)),
        *map(cut, range(5, 10)),
        *rows[10:],
    ]
    all_found = found(tmp_path, rows, bad)
    severities = [SEVERITIES.index(one.severity) for one in all_found]
    assert severities == sorted(severities)
    assert {one.severity for one in all_found} == {STOP, WARN, INFO}
    assert all(one.kind in ORDER for one in all_found)


def test_a_log_likelihood_task_is_not_looked_for_in_a_log(tmp_path: Path) -> None:
    rows = [foreign(i, "", float(i % 2)) for i in range(100)]
    for row in rows:
        row["resps"] = [[[-1.0, False]], [[-2.0, True]]]
    logs = log(tmp_path / "log", exchange(4, content="answer 4"))
    assert of("log-match", found(tmp_path, rows, rows, logs=(logs,))) == []


def test_every_kind_and_its_limit_is_documented_in_order() -> None:
    page = (REPO / "docs" / "reports.md").read_text(encoding="utf-8")
    rows = dict(
        re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page.split("### What is doubted")[1], re.M)
    )
    assert [kind for kind in rows if kind in ORDER] == list(ORDER)
    for kind, limit in (
        ("grader-errors", f"{GRADER_ERROR_LIMIT:.0%}"),
        ("truncation", f"above {TRUNCATED:.0%} "),
        ("truncation", f"than {100 * TRUNCATED_GAP:.0f} points"),
        ("no-answer", f"above {NO_ANSWER:.0%} "),
        ("no-answer", f"than {100 * NO_ANSWER_GAP:.0f} points"),
        ("loops", f"above {LOOPED:.0%} "),
        ("log-match", f"than {MATCHED:.0%} "),
        ("few-questions", f"above {100 * DETECTABLE:.0f} points"),
        ("few-questions", f"than {FEWEST} questions"),
    ):
        assert limit in rows[kind], kind


@needs_shared
def test_the_published_run_of_empty_answers_raises_the_alarm(tmp_path: Path) -> None:
    """All 50 replies of that run are empty: the server sent the reasoning apart."""
    run = SHARED / "data/outputs/lm_eval_samples/mrpmorris__Qwen3.6-35B-A3B-FP8__gsm8k"
    arms = [read_arm(name, run, Choice()) for name in ("a", "b")]
    alarms = of("empty-responses", warnings(compare(arms[0], arms[1], Options())))
    assert [one.severity for one in alarms] == [STOP, STOP]
    assert alarms[0].text.startswith("50 of 50 completions of the baseline are empty")
