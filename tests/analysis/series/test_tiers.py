"""Tiers of reasoning: of one run, of two, and of a run each; words, accuracy and trend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.reading.load import Choice, read_arm
from analysis.series.published import Published, read_published
from analysis.series.tiers import by_tier
from analysis.tables.tiers import places
from tests.analysis.runs import foreign_row, our_row, write_run
from tests.analysis.series.making import invoke

WORDS = {"r1": 200, "r3": 80, "r6": 20}
N = 60


def completion(words: int) -> str:
    """Return a completion of so many words, all but two of them reasoning."""
    return f"<think>{'word ' * (words - 2)}</think>the answer"


def asked(folder: Path, rates: dict[str, float], task: str = "distill_gsm8k", **more: Any) -> Path:
    """Write a run asked in tiers; the first questions are solved, each prompt names its tier."""
    for tier, rate in rates.items():
        name = more.get("name", f"{task}_{tier}")
        rows = []
        for doc_id in range(N):
            solved = doc_id < rate * N
            row = our_row(doc_id, ["correct" if solved else "incorrect"],
                          texts=[completion(WORDS[tier])])  # fmt: skip
            row["arguments"] = {"gen_args_0": {"arg_0": f"question {doc_id} {tier}", "arg_1": {}}}
            row["prompt_hash"] = f"{doc_id} {tier}"
            rows.append(row)
        config = {"metadata": {"tier": tier, "version": 1.0}}
        write_run(
            folder,
            rows,
            task=name,
            results={"configs": {name: config}},
            time=f"2026-01-0{tier[1]}T10-00-00.000000",
            model=more.get("model", folder.name),
            config=more.get("config"),
        )
    return folder


def tables(*arguments: str | Path) -> dict[str, Any]:
    done = invoke("tiers", *arguments, "--json", "-")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)["tables"]
    return found


def column(table: dict[str, Any], name: str) -> list[Any]:
    return [row[name] for row in table["rows"]]


RATES = {"r1": 0.9, "r3": 0.6, "r6": 0.3}


def test_one_run_asked_in_tiers_is_compared_with_its_first_tier(tmp_path: Path) -> None:
    found = tables(asked(tmp_path / "base", RATES))
    table = found["tiers"]
    assert column(table, "task") == ["distill_gsm8k"] * 3
    assert column(table, "tier") == ["r1", "r3", "r6"]
    assert column(table, "words") == [200.0, 80.0, 20.0]
    assert [round(row["score"]["value"], 3) for row in table["rows"]] == [0.9, 0.6, 0.3]
    assert table["rows"][0]["difference"] is None
    assert table["rows"][2]["difference"]["value"] == pytest.approx(-0.6)
    assert table["rows"][2]["p"] < 1e-6
    assert not any("allowed difference" in note for note in table["notes"])
    by_tier_, by_words = found["tier-trends"]["rows"]
    # Ordinary least squares of 0.9, 0.6, 0.3 on 1, 3, 6, and on log2 of the words.
    assert by_tier_["slope"]["value"] == pytest.approx(-0.1184, abs=1e-4)
    assert by_words["slope"]["value"] == pytest.approx(0.1781, abs=1e-4)
    assert max(by_tier_["p"], by_words["p"]) < 0.001


def test_two_runs_are_compared_tier_by_tier_and_their_difference_is_tested(tmp_path: Path) -> None:
    base = asked(tmp_path / "base", RATES)
    student = asked(tmp_path / "student", {"r1": 0.9, "r3": 0.8, "r6": 0.7})
    found = tables(base, student)
    table = found["tier-pairs"]
    assert column(table, "tier") == ["r1", "r3", "r6"]
    assert column(table, "words_candidate") == [200.0, 80.0, 20.0]
    assert [round(row["difference"]["value"], 3) for row in table["rows"]] == [0.0, 0.2, 0.4]
    rows = {(row["of"], row["by"]): row for row in found["tier-pair-trends"]["rows"]}
    assert set(rows) == {
        ("baseline", "tier"),
        ("baseline", "log2 of words"),
        ("candidate", "tier"),
        ("candidate", "log2 of words"),
        ("difference", "tier"),
    }
    slopes = {of: rows[of, "tier"]["slope"]["value"] for of in ("baseline", "candidate")}
    difference = rows["difference", "tier"]
    assert difference["slope"]["value"] == pytest.approx(slopes["candidate"] - slopes["baseline"])
    assert difference["p"] < 0.001
    assert difference["n"] == N


def test_arms_that_gain_alike_in_every_tier_show_no_change_of_the_difference(
    tmp_path: Path,
) -> None:
    base = asked(tmp_path / "base", {"r1": 0.5, "r3": 0.5, "r6": 0.5})
    student = asked(tmp_path / "student", {"r1": 0.7, "r3": 0.7, "r6": 0.7})
    rows = tables(base, student)["tier-pair-trends"]["rows"]
    (difference,) = (row for row in rows if row["of"] == "difference")
    assert (difference["slope"]["value"], difference["p"]) == (0.0, 1.0)


def test_runs_asked_in_one_tier_each_by_metadata_are_tiers_whatever_their_names(
    tmp_path: Path,
) -> None:
    runs = [
        f"T{tier}={asked(tmp_path / tier, {tier: rate}, name='gsm8k', model='m')}"
        for tier, rate in RATES.items()
    ]
    table = tables(*runs)["tiers"]
    assert column(table, "tier") == ["Tr1", "Tr3", "Tr6"]
    assert column(table, "words") == [200.0, 80.0, 20.0]
    assert table["notes"] == []


def test_runs_of_one_tiers_task_each_are_tiers_of_that_task(tmp_path: Path) -> None:
    runs = [f"{tier}={asked(tmp_path / tier, {tier: rate})}" for tier, rate in RATES.items()]
    assert column(tables(*runs)["tiers"], "task") == ["distill_gsm8k"] * 3


def test_other_differences_of_tiers_are_refused_still(tmp_path: Path) -> None:
    runs = []
    for tier, temperature in (("r1", 0.6), ("r6", 0.0)):
        config = {"sampling": {"temperature": temperature}, "system_prompt": f"Hm {tier}"}
        runs.append(f"{tier}={asked(tmp_path / tier, {tier: 0.5}, config=config)}")
    done = invoke("tiers", *runs)
    assert done.exit_code == 2
    assert "temperature: baseline 0.6, candidate 0.0" in done.output
    assert 'system_prompt: baseline "Hm r1", candidate "Hm r6"' in done.output
    assert "--allow prompts --allow sampling" in done.output
    assert "tier of reasoning" not in done.output
    allowed = tables(*runs, "--allow", "prompts", "--allow", "sampling")["tiers"]
    assert any("system_prompt" in note for note in allowed["notes"])


@pytest.mark.parametrize(
    ("tiers_", "message"),
    [
        (["r3"], "holds samples of fewer than two tiers (r3); ask for tiers in one run with"),
        ([], "holds samples of fewer than two tiers (none); ask for tiers in one run with"),
    ],
)
def test_a_run_without_two_tiers_says_how_to_get_them(
    tmp_path: Path, tiers_: Sequence[str], message: str
) -> None:
    if tiers_:
        asked(tmp_path / "base", dict.fromkeys(tiers_, 0.5))
    else:
        write_run(tmp_path / "base", [foreign_row(0, 1.0)])
    done = invoke("tiers", tmp_path / "base")
    assert done.exit_code == 2
    assert message in done.output


def test_two_runs_without_a_tier_in_common_are_refused(tmp_path: Path) -> None:
    one = asked(tmp_path / "a", {"r1": 0.5, "r3": 0.5})
    other = asked(tmp_path / "b", {"r1": 0.5, "r6": 0.5}, task="distill_math500")
    done = invoke("tiers", one, other)
    assert done.exit_code == 2
    assert "have no tier in common" in done.output


def test_a_named_run_that_holds_several_tiers_is_refused(tmp_path: Path) -> None:
    one = asked(tmp_path / "a", RATES)
    done = invoke("tiers", f"x={one}", f"y={one}")
    assert done.exit_code == 2
    assert "holds samples of several tiers (r1, r3, r6)" in done.output


def test_a_plain_task_beside_tiers_is_no_tier(tmp_path: Path) -> None:
    run = asked(tmp_path / "base", RATES)
    rows = [our_row(doc_id, ["correct"]) for doc_id in range(N)]
    write_run(run, rows, task="distill_gsm8k", model="base")
    arms = by_tier(read_arm("base", run, Choice()))
    assert {tier: list(arm.tasks) for tier, arm in arms.items()} == {
        tier: ["distill_gsm8k"] for tier in ("", *RATES)
    }
    assert column(tables(run)["tiers"], "tier") == list(RATES)


def test_tiers_of_several_tasks_have_rows_and_trends_of_each(tmp_path: Path) -> None:
    run = asked(tmp_path / "base", RATES)
    asked(run, {"r1": 0.5, "r6": 0.5}, task="distill_math500")
    found = tables(run)
    assert column(found["tiers"], "task") == ["distill_gsm8k"] * 3 + ["distill_math500"] * 2
    assert set(column(found["tier-trends"], "task")) == {"distill_gsm8k", "distill_math500"}


def test_tiers_stand_at_their_numbers_and_other_names_in_their_order() -> None:
    assert places(["r1", "R3", "r6"]) == [1.0, 3.0, 6.0]
    assert places(["long", "r3"]) == [0.0, 1.0]


def test_a_published_score_is_not_that_of_a_task_asked_in_a_tier() -> None:
    shipped = read_published(None)
    assert any(one.of_task("distill_math500") for one in shipped)
    assert not any(one.of_task("distill_math500_r1") for one in shipped)
    own = Published(**{**vars(shipped[0]), "task": "distill_math500_r1"})
    assert own.of_task("distill_math500_r1")
