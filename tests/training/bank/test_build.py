"""From sources to a bank: what is taken away, what is numbered, what is drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.decontaminate import Benchmark, Decontaminator
from training.bank.build import Bank, Choices, build
from training.bank.report import as_json, by_source, table, total
from training.bank.sources import Source, named_once, source_of, with_options
from training.records import Question

LONG = " ".join(f"the {word} of a number" for word in ("sum", "square", "root", "half", "third"))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def gsm(question: str, answer: object) -> dict[str, Any]:
    return {"question": question, "answer": f"so\n#### {answer}"}


def bank_of(
    folder: Path,
    rows: list[dict[str, Any]],
    choices: Choices | None = None,
    found: Decontaminator | None = None,
) -> Bank:
    path = jsonl(folder / "rows.jsonl", rows)
    return build([Source("g", "gsm8k", path)], choices or Choices(), found)


def report_of(bank: Bank, choices: Choices | None = None) -> dict[str, Any]:
    report = as_json(bank, choices or Choices(), [], [], {})
    return dict(json.loads(json.dumps(report)))


def test_ids_count_from_one_in_the_order_of_the_sources(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "a.jsonl", [gsm(f"Question {n}?", n) for n in range(3)])
    code = jsonl(tmp_path / "b.jsonl", [{"prompt": "Do.", "test_list": ["assert f(1) == 2"]}])
    two = jsonl(tmp_path / "c.jsonl", [gsm("Another one?", 1)])
    bank = build(
        [Source("a", "gsm8k", one), Source("b", "mbpp", code), Source("c", "gsm8k", two)], Choices()
    )
    assert [question.id for question in bank.sampled] == [
        "math-q-00001", "math-q-00002", "math-q-00003", "code-q-00001", "math-q-00004",
    ]  # fmt: skip
    assert [question.source for question in bank.sampled] == ["a", "a", "a", "b", "c"]


def test_duplicates_go_and_the_first_stays(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, [gsm("What is  X?", 1), gsm("what is x? ", 1), gsm("Other?", 2)])
    assert [question.question for question in bank.sampled] == ["What is  X?", "Other?"]
    assert by_source(bank)[0]["duplicates"] == 1


def test_equal_questions_with_different_answers_are_reported(tmp_path: Path) -> None:
    rows = [gsm("What is x?", "1/2"), gsm("WHAT IS X?", 3), gsm("What is x?", "0.5")]
    (conflict,) = report_of(bank_of(tmp_path, rows))["conflicting_answers"]
    assert (conflict["answer"], conflict["answer_of_the_first"]) == ("3", "1/2")
    assert (conflict["row"], conflict["same_as"]) == ("rows.jsonl:2", "math-q-00001")


def test_a_near_duplicate_with_the_same_answer_goes(tmp_path: Path) -> None:
    rows = [gsm(f"Find {LONG}!", 7), gsm(f"Please find {LONG}.", 7)]
    bank = bank_of(tmp_path, rows)
    assert len(bank.sampled) == 1
    (near,) = report_of(bank)["near_duplicates"]
    assert near["same_as"] == "math-q-00001"
    assert 0.85 <= near["similarity"] < 1
    assert len(bank_of(tmp_path, rows, Choices(near=None)).sampled) == 2
    assert len(bank_of(tmp_path, rows, Choices(near=1.0)).sampled) == 2


def test_a_near_question_with_another_answer_stays_and_is_told(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, [gsm(f"Find {LONG}!", 7), gsm(f"Please find {LONG}.", 8)])
    assert len(bank.sampled) == 2
    (near,) = report_of(bank)["near_with_other_answer"]
    assert (near["id"], near["near"]) == ("math-q-00002", "math-q-00001")


def test_a_duplicate_of_a_near_duplicate_points_to_what_stayed(tmp_path: Path) -> None:
    near = f"Please find {LONG}."
    rows = [gsm("Else?", 1), gsm(f"Find {LONG}!", 7), gsm(near, 7), gsm(near.upper(), 9)]
    bank = bank_of(tmp_path, rows)
    assert [bank.questions[note.first].id for note in bank.repeated] == ["math-q-00002"] * 2


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    text = LONG.replace("number", "figure")
    rows = [gsm(f"Question {n} of {n * n}?", n) for n in range(20)]
    rows += [rows[3], gsm(f"Find {LONG}!", 7), gsm(f"Please find {LONG}.", 7), gsm(text, 1)]
    rows += [{"question": "No answer?"}, {"question": None, "answer": "#### 3"}, {"other": 1}]
    found = Decontaminator([Benchmark("bench", [("d1", text.upper())])])
    bank = bank_of(tmp_path, rows, Choices(sample=10), found)
    (row,) = by_source(bank)
    assert row == {
        "rows": 27, "left out": 3, "duplicates": 1, "near-duplicates": 1, "contaminated": 1,
        "bank": 21, "sampled": 10,
    }  # fmt: skip
    assert row["rows"] == sum(row[name] for name in list(row)[1:-1])
    assert bank.reads["g"].left_out == {"no answer": 1, "no question": 2}


def test_a_benchmark_question_is_left_out_and_its_id_is_not_given_again(tmp_path: Path) -> None:
    found = Decontaminator([Benchmark("bench", [("d1", "What is the second?")])])
    rows = [gsm("First?", 1), gsm("What is the second?", 2), gsm("Third?", 3)]
    bank = bank_of(tmp_path, rows, found=found)
    assert [question.id for question in bank.sampled] == ["math-q-00001", "math-q-00003"]
    (hit,) = report_of(bank)["contamination"]["hits"]
    assert hit == {
        "id": "math-q-00002", "source": "g", "row": "rows.jsonl:2", "benchmark": "bench",
        "doc_id": "d1", "how": "exact", "score": 1.0, "excerpt": "What is the second?",
    }  # fmt: skip


def test_a_sample_keeps_its_ids_whatever_its_size(tmp_path: Path) -> None:
    rows = [gsm(f"Question {n} about {n * n}?", n) for n in range(50)]
    whole = {q.id: q.question for q in bank_of(tmp_path, rows).sampled}
    some = bank_of(tmp_path, rows, Choices(sample=20)).sampled
    assert len(some) == 20
    assert all(whole[question.id] == question.question for question in some)
    assert [q.id for q in some] == sorted(q.id for q in some)


def leveled(folder: Path) -> list[Source]:
    rows = [
        {"problem": f"Problem {n} on {n * n}?", "answer": str(n),
         "level": f"Level {1 + (n % 4 > 0)}", "type": "Algebra" if n % 2 else "Geometry"}
        for n in range(80)
    ]  # fmt: skip
    return [Source("m", "math", jsonl(folder / "m.jsonl", rows))]


@pytest.mark.parametrize(
    ("columns", "allocation", "wanted"),
    [
        (("level",), "proportional", {"1": 10, "2": 30}),
        (("level",), "equal", {"1": 20, "2": 20}),
        (("subject", "level"), "proportional",
         {"Algebra | 2": 20, "Geometry | 1": 10, "Geometry | 2": 10}),
        (("meta.subject",), "equal", {"Algebra": 20, "Geometry": 20}),
    ],
)  # fmt: skip
def test_any_column_stratifies(
    tmp_path: Path, columns: tuple[str, ...], allocation: Any, wanted: dict[str, int]
) -> None:
    choices = Choices(sample=40, stratify=columns, allocation=allocation)
    bank = build(leveled(tmp_path), choices)
    assert {name: drawn for name, (_, drawn) in bank.strata.items()} == wanted

    def group(question: Question) -> str:
        values = {"level": question.level, **question.meta}
        return " | ".join(str(values[column.removeprefix("meta.")]) for column in columns)

    assert Counter(map(group, bank.sampled)) == wanted


def test_a_column_that_nobody_has_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--stratify subjct: .* columns are source, level, domain"
    ):
        build(leveled(tmp_path), Choices(stratify=("subjct",)))


def test_equal_seeds_give_equal_banks_and_others_do_not(tmp_path: Path) -> None:
    banks = [build(leveled(tmp_path), Choices(sample=20, seed=seed)).sampled for seed in (1, 1, 2)]
    assert banks[0] == banks[1]
    assert banks[0] != banks[2]


def test_a_limit_takes_the_first_questions_and_not_rows(tmp_path: Path) -> None:
    rows = [{"question": "No answer?"}, *(gsm(f"Question {n}?", n) for n in range(9))]
    source = Source("g", "gsm8k", jsonl(tmp_path / "g.jsonl", rows), limit=4)
    bank = build([source], Choices())
    assert [question.answer for question in bank.sampled] == ["0", "1", "2", "3"]
    assert bank.reads["g"].n_rows == 5


def test_only_rows_of_the_values_asked_for_are_kept(tmp_path: Path) -> None:
    rows = [{**gsm(f"Question {n}?", n), "grade": n % 3} for n in range(9)]
    path = jsonl(tmp_path / "g.jsonl", rows)
    keep = {"grade": frozenset({"0", "2"})}
    bank = build([Source("g", "gsm8k", path, keep=keep)], Choices())
    assert len(bank.sampled) == 6
    assert bank.reads["g"].left_out == {"not kept": 3}


def test_too_long_a_question_is_left_out(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, [gsm("x" * 101, 1), gsm("x?", 2)], Choices(max_chars=100))
    assert bank.reads["g"].left_out == {"question too long": 1}


def test_a_source_of_another_kind_is_refused_with_an_example(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"prompt": "x?"}])
    with pytest.raises(ValueError, match=r"g: none of the 1 rows .* of kind gsm8k \(x.jsonl:1: no"):
        build([Source("g", "gsm8k", path)], Choices())


def test_rows_of_a_bank_can_be_banked_again(tmp_path: Path) -> None:
    first = build(leveled(tmp_path), Choices()).sampled
    path = jsonl(tmp_path / "again.jsonl", [question.to_json() for question in first])
    sources = with_options([source_of(f"jsonl={path}")], {}, {}, {})
    again = build(sources, Choices()).sampled
    assert [(q.id, q.question, q.answer, q.source, q.level) for q in again] == [
        (q.id, q.question, q.answer, q.source, q.level) for q in first
    ]
    assert again[5].meta["row"] == "again.jsonl:6"


def test_the_table_shows_every_count_and_reason(tmp_path: Path) -> None:
    bank = build(leveled(tmp_path), Choices(sample=40))
    lines = table(bank).splitlines()
    assert lines[0].split() == [
        "source", "rows", "left", "out", "duplicates", "near-duplicates", "contaminated", "bank",
        "sampled",
    ]  # fmt: skip
    assert lines[1].split() == ["m", "80", "0", "0", "0", "0", "80", "40"]
    assert lines[2].split()[0] == "total"
    assert [line.split()[0] for line in lines[4:7]] == ["level", "1", "2"]


def test_the_report_sums_up(tmp_path: Path) -> None:
    report = report_of(build(leveled(tmp_path), Choices(sample=40)))
    assert report["total"] == total([{k: report["sources"]["m"][k] for k in report["total"]}])
    assert sum(level["sampled"] for level in report["levels"].values()) == 40
    assert report["strata"] == {"columns": ["source"], "groups": {"m": {"bank": 80, "sampled": 40}}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gsm8k", r"\[NAME:\]KIND=PATH"),
        ("gsm=x", "unknown kind of source 'gsm'; known are gsm8k"),
        ("gsm8k=", r"\[NAME:\]KIND=PATH"),
    ],
)
def test_a_wrong_source_is_one_line(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        source_of(given)


def test_names_are_given_once_and_options_name_a_source() -> None:
    assert source_of("Open AI-1:gsm8k=a:b=c").name == "Open AI-1"
    assert source_of("gsm8k=/x:y=z").path == "/x:y=z"
    with pytest.raises(ValueError, match="2 sources are called 'math'"):
        named_once([source_of("math=a"), source_of("math=b")])
    with pytest.raises(ValueError, match="--limit other: no source is called so"):
        with_options([source_of("math=a")], {"other": 1}, {}, {})
