"""Traces that exist already, and the figures of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.conftest import SHARED, needs_shared
from training.cli import cli
from training.records import Question, Trace, read_traces, write_records
from training.traces.published import read_rows
from training.traces.report import Checked, report
from training.traces.run import Made
from training.traces.settings import TracesSettings
from training.traces.tables import as_markdown, as_text, tables

PUBLISHED = SHARED / "data" / "outputs" / "distill_traces"


def verify(file: Path, out: Path, *options: str) -> Result:
    words = ["traces", "--completions", str(file), "--out", str(out), *options]
    return CliRunner().invoke(cli, words)


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return found


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@needs_shared
@pytest.mark.parametrize(("name", "n"), [("pcmb", 413), ("pcmb_filtered", 200)])
def test_our_verdicts_agree_with_every_published_one(name: str, n: int, tmp_path: Path) -> None:
    file = PUBLISHED / f"luckyIITR__deepseek-reasoner_{name}.jsonl.gz"
    done = verify(file, tmp_path, "--no-decontaminate")
    assert done.exit_code == 0, done.output
    agreed = document(tmp_path)["published"]
    assert (agreed["n"], agreed["n_agree"], agreed["differ"]) == (n, n, [])
    traces = list(read_traces(tmp_path / "traces.jsonl"))
    assert len(traces) == n
    lengths = [len(trace.reasoning.strip()) for trace in traces]
    told = document(tmp_path)["lengths"]["kept"]["reasoning_chars"]
    assert told["median"] == np.median(lengths)
    assert told["mean"] == pytest.approx(np.mean(lengths))
    assert told["p95"] == pytest.approx(np.percentile(lengths, 95))
    assert {row["value"] for row in document(tmp_path)["pass_rates"]["meta.subject"]} == {
        "biology", "physics", "chemistry", "math"
    }  # fmt: skip


def test_contaminated_questions_are_rejected_and_named(tmp_path: Path) -> None:
    asked = (
        "In how many ways can the seven letters of the word LEVELED be put into a row, if no two"
    )
    asked += " equal letters may stand side by side and the first one has to be a vowel?"
    (tmp_path / "data").mkdir()
    data = tmp_path / "data" / "aime24.jsonl"
    problems = [asked, *(f"What is {n} plus the number of sides of a cube?" for n in range(29))]
    lines = [json.dumps({"problem": problem, "answer": "9"}) for problem in problems]
    data.write_text("\n".join(lines), encoding="utf-8")
    row = {"id": "x", "question": asked.upper(), "answer": "9", "reasoning": "r"}
    row |= {"response": r"\boxed{9}"}
    clean = {**row, "id": "y", "question": "How many pens do two boxes of nine pens hold?"}
    done = verify(written(tmp_path, row, clean), tmp_path / "out", "--data-dir", str(data.parent))
    assert done.exit_code == 0, done.output
    (left,) = read_traces(tmp_path / "out" / "rejected.jsonl")
    assert left.reason == "contaminated: aime24 0 (exact)"
    told = document(tmp_path / "out")["decontamination"]
    assert told["n_contaminated"] == 1
    assert [(hit["question_id"], hit["benchmark"]) for hit in told["hits"]] == [("x", "aime24")]
    assert any(line.startswith("gsm8k") for line in told["not_checked"])
    assert "NOT CHECKED" in done.output
    assert [trace.question.id for trace in read_traces(tmp_path / "out" / "traces.jsonl")] == ["y"]


def test_a_difference_from_the_published_verdict_is_named(tmp_path: Path) -> None:
    right = {"id": "a", "question": "1+1?", "answer": "2", "response": r"<think>x</think>\boxed{2}"}
    file = written(
        tmp_path,
        {**right, "correct": True},
        {**right, "id": "b", "correct": False},
        {**right, "id": "c", "answer": "3", "correct": 1},
        {**right, "id": "d", "correct": "who knows"},
    )
    done = verify(file, tmp_path / "out", "--no-decontaminate")
    assert done.exit_code == 0, done.output
    told = document(tmp_path / "out")["published"]
    assert (told["n"], told["n_agree"]) == (3, 1)
    assert [(row["id"], row["published"], row["verdict"]) for row in told["differ"]] == [
        ("b/rows/0", False, "correct"), ("c/rows/0", True, "incorrect")
    ]  # fmt: skip
    assert "Other than published" in done.output


def test_columns_are_mapped_also_inside_objects(tmp_path: Path) -> None:
    row = {"q": "1+1?", "gold": {"value": 2}, "out": r"<think>x</think>\boxed{2}", "who": "r1"}
    file = written(tmp_path, row, row)
    columns = {"question": "q", "answer": "gold.value", "answer_text": "out", "teacher": "who"}
    found = list(read_rows(file, columns))
    assert [(one.teacher, one.sample_index, one.question.answer) for one in found] == [
        ("r1", 0, "2"), ("r1", 1, "2")
    ]  # fmt: skip
    assert found[0].question.id == found[1].question.id


@pytest.mark.parametrize("roles", [("user", "assistant"), ("human", "gpt")])
def test_chats_are_read_in_both_common_forms(roles: tuple[str, str], tmp_path: Path) -> None:
    names = ("role", "content") if roles[0] == "user" else ("from", "value")
    turns = [dict(zip(names, turn, strict=True)) for turn in zip(roles, ("1+1?", "2"), strict=True)]
    (found,) = read_rows(written(tmp_path, {"messages": turns, "answer": "2"}), {})
    assert (found.question.question, str(found.completion)) == ("1+1?", "2")


def test_options_are_shown_with_their_letters_and_graded_as_choice(tmp_path: Path) -> None:
    row = {"question": "Which?", "options": ["one", "two"], "answer_letter": "B", "response": "(B)"}
    (found,) = read_rows(written(tmp_path, row), {})
    assert found.question.question == "Which?\n\n(A) one\n\n(B) two"
    assert found.question.grader == "choice"


def test_questions_may_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    question = Question("q7", "1+1?", answer="2", source="bank")
    write_records(tmp_path / "questions.jsonl", [question])
    file = written(tmp_path, {"question_id": "q7", "response": r"<think>x</think>\boxed{2}"})
    words = ["traces", str(tmp_path / "questions.jsonl"), "--completions", str(file), "--out"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "out"), "--no-decontaminate"])
    assert done.exit_code == 0, done.output
    assert next(read_traces(tmp_path / "out" / "traces.jsonl")).question == question


def test_traces_of_ours_can_be_verified_again(tmp_path: Path) -> None:
    file = written(
        tmp_path, {"question": "1+1?", "answer": "2", "response": r"<think>x</think>\boxed{2}"}
    )
    verify(file, tmp_path / "a", "--no-decontaminate")
    done = verify(tmp_path / "a" / "traces.jsonl", tmp_path / "b", "--no-decontaminate")
    assert done.exit_code == 0, done.output
    first, again = (next(read_traces(tmp_path / name / "traces.jsonl")) for name in "ab")
    assert (again.question, again.reasoning) == (first.question, first.reasoning)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answer": "1"}, "has no completion"),
        ({"response": "x", "answer": "1"}, "has no question"),
        ({"question": "q", "response": "x"}, "either an answer or tests"),
    ],
)
def test_a_row_that_lacks_something_is_named(
    row: dict[str, Any], said: str, tmp_path: Path
) -> None:
    done = verify(written(tmp_path, row), tmp_path / "out", "--no-decontaminate")
    assert done.exit_code == 2
    assert "row 1" in done.output
    assert said in done.output


def test_a_row_that_was_cut_off_while_reasoning_is_rejected_and_ends_nothing(
    tmp_path: Path,
) -> None:
    cut_off = {"question": "1 + 1?", "answer": "2", "thinking": "So far", "response": None}
    whole = {"question": "1 + 2?", "answer": "3", "reasoning_trace": "Sum.", "response": "3"}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (cut_off, whole)))
    done = verify(path, tmp_path / "out", "--no-decontaminate")
    assert done.exit_code == 0, done.output
    kept = list(read_traces(tmp_path / "out" / "traces.jsonl"))
    assert [trace.reasoning for trace in kept] == ["Sum."]
    (rejected,) = read_traces(tmp_path / "out" / "rejected.jsonl")
    assert (rejected.reasoning, rejected.answer_text) == ("So far", "")
    assert str(rejected.reason).startswith("no_answer")


BLOCKS = [{"type": "thinking", "thinking": "Sum."}, {"type": "text", "text": r"\boxed{2}"}]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "1 + 1?", "response": BLOCKS},
        {
            "messages": [
                {"role": "user", "content": "1 + 1?"},
                {"role": "assistant", "content": BLOCKS},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]},
                {"role": "assistant", "content": r"\boxed{2}", "reasoning_content": "Sum."},
            ]
        },
    ],
)
def test_blocks_of_thinking_and_text_are_read(row: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, {**row, "answer": "One and one.\n#### 2"})
    done = verify(path, tmp_path / "out", "--no-decontaminate")
    assert done.exit_code == 0, done.output
    (trace,) = read_traces(tmp_path / "out" / "traces.jsonl")
    assert (trace.question.question, trace.question.answer) == ("1 + 1?", "2")
    assert (trace.reasoning, trace.answer_text) == ("Sum.", r"\boxed{2}")


def test_a_report_on_nothing_says_none_and_never_zero() -> None:
    made = report(Made(), [], TracesSettings(), Checked(why_not="switched off"))
    assert made["lengths"]["kept"]["chars"]["median"] is None
    assert made["pass_rates"] == {}
    assert made["decontamination"]["n_contaminated"] is None
    assert made["max_length"] is None
    assert "not done: switched off" in as_text(tables(made))


def test_a_group_of_grader_errors_has_no_pass_rate(tmp_path: Path) -> None:
    row = {"question": "Which?", "answer": "12", "response": "(B)", "options": ["a", "b"]}
    done = verify(written(tmp_path, row), tmp_path / "out", "--no-decontaminate")
    assert done.exit_code == 0, done.output
    (rates,) = document(tmp_path / "out")["pass_rates"]["teacher"]
    assert (rates["n_graded"], rates["pass_rate"]) == (0, None)
    (left,) = read_traces(tmp_path / "out" / "rejected.jsonl")
    assert str(left.reason).startswith("ungraded: ValueError: a choice target")


def test_a_page_keeps_bars_and_tags_of_foreign_text_in_their_cells(tmp_path: Path) -> None:
    row = {
        "question": "q",
        "answer": "1",
        "source": "a|b<script>![x](http://h)\x1b[31m",
        "response": r"\boxed{1}",
    }
    options = ("--no-decontaminate", "--allow-no-reasoning")
    done = verify(written(tmp_path, row), tmp_path / "out", *options)
    assert "\x1b" not in done.output
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert r"a\|b&lt;script>!\[x](http://h)\\x1b\[31m" in page
    assert as_markdown([]) == "# Traces\n"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer of one token a word."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_tokens_are_counted_and_the_share_over_the_limit_is_told(
    tokenizer: Path, tmp_path: Path
) -> None:
    rows = [
        {"id": str(n), "question": "What?", "answer": "1", "reasoning": "word " * n,
         "response": r"\boxed{1}"}
        for n in (10, 100)
    ]  # fmt: skip
    done = verify(
        written(tmp_path, *rows), tmp_path / "out", "--no-decontaminate",
        "--tokenizer", str(tokenizer), "--max-length", "50",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = document(tmp_path / "out")
    assert told["max_length"]["n_over"] == 1
    assert told["max_length"]["share_over"] == 0.5
    shortest = told["lengths"]["kept"]["training_tokens"]
    # prompt: What? and the boxed instruction (12 words); two tags and the answer
    assert shortest["median"] == (10 + 100) / 2 + 13 + 3


def test_tokens_are_those_of_training_where_there_is_a_chat_template(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.tiny_model import tokenizer as tiny  # a token a byte
    from training.render import render_completion, render_prompt

    made = tiny(True)
    made.save_pretrained(tmp_path / "tokenizer")
    row = {"question": "What?", "answer": "1", "reasoning": "r" * 2000, "response": r"\boxed{1}"}
    done = verify(
        written(tmp_path, row), tmp_path / "out", "--no-decontaminate",
        "--tokenizer", str(tmp_path / "tokenizer"), "--max-length", "4096",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (trace,) = read_traces(tmp_path / "out" / "traces.jsonl")
    prompt = render_prompt(made, trace.messages)
    text = prompt + render_completion(made, prompt, trace.reasoning, trace.answer_text)
    told = document(tmp_path / "out")
    assert told["lengths"]["kept"]["training_tokens"]["max"] == len(made(text)["input_ids"])
    assert told["max_length"]["counted"] == "prompt and trace in the tokenizer's chat template"


def test_a_tokenizer_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    row = {"question": "q", "answer": "1", "response": "1"}
    done = verify(
        written(tmp_path, row), tmp_path / "out", "--no-decontaminate",
        "--tokenizer", str(tmp_path / "bad.json"),
    )  # fmt: skip
    assert done.exit_code == 2
    assert "cannot be read" in done.output


def test_nobody_is_asked_beside_completions(tmp_path: Path) -> None:
    file = written(tmp_path, {"question": "q", "answer": "1", "response": "1"})
    done = verify(file, tmp_path / "out", "--teacher", "base_url=http://127.0.0.1:1,model=m")
    assert done.exit_code == 2
    assert "asks nobody" in done.output


def test_a_trace_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "1", "response": "<think>\ud83d r</think>1"}
    verify(written(tmp_path, row), tmp_path / "out", "--no-decontaminate")
    found = list(read_traces(tmp_path / "out" / "traces.jsonl"))
    assert all(isinstance(one, Trace) and one.kept for one in found)
    assert len(found) == 1
