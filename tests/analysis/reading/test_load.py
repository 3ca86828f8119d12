from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.reading import lines, workers
from analysis.reading.load import Choice, TaskRun, read_arm
from analysis.reading.measure import text_key
from analysis.reading.quality import CUT, DUPLICATE, FOREIGN, MIXED, TORN
from analysis.reading.question import VERDICTS
from tests.analysis.runs import foreign_row, our_row, write_run
from tests.conftest import SHARED, needs_shared


def read(folder: Path, rows: list[Any], choice: Choice | None = None) -> TaskRun:
    return read_arm("arm", write_run(folder, rows), choice or Choice()).tasks["quiz"]


def test_our_rows_are_graded_by_their_records(tmp_path: Path) -> None:
    task = read(tmp_path, [our_row(0, ["correct", "truncated", "no_answer", "grader_error"])])
    samples = task.questions[0].samples
    assert task.metric == VERDICTS
    assert [sample.score for sample in samples] == [1.0, 0.0, 0.0, None]
    assert [sample.truncated for sample in samples] == [False, True, False, False]
    assert [sample.no_answer for sample in samples] == [False, False, True, False]


def test_other_rows_are_graded_by_the_first_known_metric(tmp_path: Path) -> None:
    row = {**foreign_row(0, 0.0, metric="acc"), "acc_norm": 1.0, "metrics": ["acc", "acc_norm"]}
    task = read(tmp_path, [row])
    assert task.metric == "acc_norm"
    assert task.questions[0].samples[0].verdict == "correct"


def test_a_metric_may_be_chosen_for_one_task(tmp_path: Path) -> None:
    row = {**foreign_row(0, 0.0, metric="acc"), "acc_norm": 1.0}
    assert read(tmp_path, [row], Choice(metrics={"quiz": "acc"})).metric == "acc"


def test_a_metric_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 1 \(doc 0\): no metric 'f1'; it has exact_match"):
        read(tmp_path, [foreign_row(0, 1.0)], Choice(metrics={"": "f1"}))


def test_the_first_listed_filter_is_read_unless_one_is_chosen(tmp_path: Path) -> None:
    strict = {**foreign_row(0, 0.0), "filter": "strict"}
    flexible = {**foreign_row(0, 1.0), "filter": "flexible"}
    assert read(tmp_path, [strict, flexible]).questions[0].samples[0].score == 0.0
    chosen = read(tmp_path, [strict, flexible], Choice(filters={"": "flexible"}))
    assert chosen.questions[0].samples[0].score == 1.0


def test_a_filter_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no rows under filter 'other'; it holds none"):
        read(tmp_path, [foreign_row(0, 1.0)], Choice(filters={"": "other"}))


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_score_that_is_missing_is_a_failed_grader(tmp_path: Path, value: float | None) -> None:
    rows = [foreign_row(0, 1.0), foreign_row(1, value)]
    sample = read(tmp_path, rows).questions[1].samples[0]
    assert sample.grader_error
    assert sample.verdict == "grader_error"


@pytest.mark.parametrize("value", [57.2, -1, "yes", {}])
def test_a_value_that_is_no_score_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"row 2 \(doc 1\): exact_match must be a number"):
        read(tmp_path, [foreign_row(0, 1.0), foreign_row(1, value)])


def test_a_list_of_flags_is_their_mean(tmp_path: Path) -> None:
    row = foreign_row(0, [True, False, True, True], metric="inst")
    task = read(tmp_path, [row], Choice(metrics={"": "inst"}))
    assert task.questions[0].samples[0].score == 0.75
    assert task.questions[0].samples[0].verdict is None


def test_a_list_of_flags_for_as_many_completions_is_one_sample_each(tmp_path: Path) -> None:
    row = {**foreign_row(0, [1, 0]), "resps": [["a", "b"]]}
    task = read(tmp_path, [row])
    assert task.metric == "exact_match"
    samples = task.questions[0].samples
    assert [s.text and s.text.text_key for s in samples] == [text_key("a"), text_key("b")]
    assert [s.score for s in samples] == [1.0, 0.0]


def test_a_filter_that_matched_nothing_is_no_answer(tmp_path: Path) -> None:
    row = {**foreign_row(0, 0.0), "filtered_resps": ["[invalid]"]}
    assert read(tmp_path, [row]).questions[0].samples[0].no_answer


def test_a_row_without_the_verdicts_of_the_others_is_left_out_and_named(tmp_path: Path) -> None:
    task = read(tmp_path, [our_row(0, ["correct"]), foreign_row(1, 1.0)])
    assert list(task.questions) == [0]
    (finding,) = task.quality
    assert (finding.kind, finding.count) == (MIXED, 1)
    assert finding.where.endswith(".jsonl:2")
    assert finding.text.startswith("(doc 1): carries no verdicts")


@pytest.mark.parametrize("missing", ["doc_id", "resps"])
def test_a_row_without_a_needed_key_is_named(tmp_path: Path, missing: str) -> None:
    row = foreign_row(7, 1.0)
    del row[missing]
    with pytest.raises(ValueError, match=rf"samples_quiz.*row 1 .*lacks '{missing}'"):
        read(tmp_path, [row])


@pytest.mark.parametrize(("text", "told"), [("the answer", "the same"), ("another", "other")])
def test_of_a_doc_that_stands_twice_the_first_row_counts_and_both_are_named(
    tmp_path: Path, text: str, told: str
) -> None:
    task = read(tmp_path, [foreign_row(0, 1.0), foreign_row(0, 0.0, text=text)])
    assert task.questions[0].samples[0].score == 1.0
    (finding,) = task.quality
    assert (finding.kind, finding.count) == (DUPLICATE, 1)
    assert f"with {told} completions: row 1 counts, row 2 does not" in finding.text


HOSTILE = [
    b"{broken",
    b"null",
    b"[1, 2]",
    b"\xff\xfe",
    b"\x00",
    b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"9" * 10_000,
    b'{"doc_id": 7}',
    b'{"resps": []}',
    b'{"doc_id": [], "resps": []}',
    b'{"doc_id": 1e400, "resps": []}',
    b'{"doc_id": true, "resps": []}',
    b'{"doc_id": 8, "resps": [], "filter": "none", "doc": ' + b"[" * 990 + b"]" * 990 + b"}",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_bad_line_is_named_by_file_and_line_and_the_others_are_used(
    tmp_path: Path, line: bytes
) -> None:
    run = write_run(tmp_path, [foreign_row(0, 1.0), foreign_row(1, 1.0)])
    path = next(run.rglob("samples_*"))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\n" + line + b"\n" + second + line + b"\n")
    task = read_arm("arm", run, Choice()).tasks["quiz"]
    assert {question.row for question in task.questions.values()} >= {1, 4}
    assert {0, 1} <= task.questions.keys() <= {0, 1, 8}
    for finding in task.quality:
        assert finding.kind in (FOREIGN, DUPLICATE)
        assert finding.where.startswith(f"{path}:")


def test_a_torn_last_line_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, [foreign_row(0, 1.0)])
    path = next(run.rglob("samples_*"))
    path.write_bytes(path.read_bytes() + b'{"doc_id": 1, "re')
    (finding,) = read_arm("arm", run, Choice()).tasks["quiz"].quality
    assert (finding.kind, finding.where) == (TORN, f"{path}:2")


def test_a_file_of_other_lines_is_refused_with_the_first(tmp_path: Path) -> None:
    path = tmp_path / "samples_quiz.jsonl"
    path.write_text("hello\n" * 3, encoding="utf-8")
    with pytest.raises(ValueError, match=r"samples_quiz.jsonl: row 1 not valid JSON"):
        read_arm("arm", path, Choice())


def test_rows_without_the_metric_before_those_with_it_do_not_decide(tmp_path: Path) -> None:
    task = read(tmp_path, [{"doc_id": 9, "resps": []}, foreign_row(0, 1.0)])
    assert task.metric == "exact_match"


def test_the_rows_before_a_cut_are_used(tmp_path: Path) -> None:
    rows = "".join(json.dumps(foreign_row(i, 1.0, text=f"{i * i}")) + "\n" for i in range(1000))
    path = tmp_path / "samples_quiz.jsonl.gz"
    path.write_bytes(gzip.compress(rows.encode())[:-20])
    task = read_arm("arm", path, Choice()).tasks["quiz"]
    assert len(task.questions) > 500
    assert [finding.kind for finding in task.quality] == [CUT]


def test_a_line_that_is_too_long_is_named_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 3_000_000)
    rows = [foreign_row(0, 1.0), foreign_row(1, 1.0, text="x" * 4_000_000), foreign_row(2, 1.0)]
    task = read(tmp_path, rows)
    assert list(task.questions) == [0, 2]
    assert [(finding.kind, finding.count) for finding in task.quality] == [(FOREIGN, 1)]


@pytest.mark.parametrize("n_bytes", [1, 100, 1000, 100_000])
def test_pieces_of_any_size_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int
) -> None:
    rows = [foreign_row(i % 29, 1.0, text="é" * i) for i in range(30)]
    whole = read(tmp_path, rows)
    monkeypatch.setattr(lines, "PIECE_BYTES", n_bytes)
    assert read(tmp_path, rows) == whole


def test_two_processes_give_the_same_rows_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [foreign_row(i, 1.0, text="word " * 500) for i in range(50)]
    whole = read(tmp_path, rows)
    monkeypatch.setattr(lines, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(workers, "PAYS_BYTES", 1)
    assert read(tmp_path, rows) == whole


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "samples_quiz.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"doc_id": 0}\n' * 1000)[:-20])
    with pytest.raises(ValueError, match=r"samples_quiz\.jsonl\.gz"):
        read_arm("arm", path, Choice())


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the file is empty"):
        read(tmp_path, [])


def test_a_line_of_many_megabytes_is_read(tmp_path: Path) -> None:
    text = "<think>" + "x" * 5_000_000 + "</think>done"
    written = read(tmp_path, [foreign_row(0, 1.0, text=text)]).questions[0].samples[0].text
    assert written is not None
    assert written.text_key == text_key(text)
    assert written.volume.reasoning_chars == 5_000_000


def test_messages_and_plain_text_of_one_user_turn_are_one_prompt(tmp_path: Path) -> None:
    plain = foreign_row(0, 1.0)
    chat = foreign_row(0, 1.0)
    messages = '[{"role": "user", "content": "question 0"}]'
    chat["arguments"] = [[[messages], {"temperature": 0.0}]]
    keys = [
        read(tmp_path / name, [row]).questions[0].prompt_key
        for name, row in (("a", plain), ("b", chat))
    ]
    assert keys[0] == keys[1]


def test_choices_of_a_log_likelihood_task_belong_to_the_prompt(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0), foreign_row(0, 1.0)]
    for row, last in zip(rows, ("no", "never"), strict=True):
        row["arguments"] = [["question", "yes"], ["question", last]]
        row["resps"] = [[[-1.0, False]], [[-2.0, False]]]
    first, second = (read(tmp_path / str(i), [row]) for i, row in enumerate(rows))
    assert first.questions[0].prompt_key != second.questions[0].prompt_key
    assert first.questions[0].samples[0].text is None


def test_log_likelihoods_written_as_text_are_no_completions(tmp_path: Path) -> None:
    row = foreign_row(0, 1.0)
    row["arguments"] = {"gen_args_0": {"arg_0": "question", "arg_1": " yes"}}
    row["resps"] = [["-1.5"]]
    assert read(tmp_path, [row]).questions[0].samples[0].text is None


@needs_shared
def test_real_chat_samples_of_two_filters_are_read() -> None:
    folder = SHARED / "data/outputs/lm_eval_samples/mrpmorris__Qwen3.6-35B-A3B-FP8__gsm8k"
    task = read_arm("arm", folder, Choice()).tasks["gsm8k"]
    assert (len(task.questions), task.metric, task.filter) == (50, "exact_match", "strict-match")
    assert task.file.model == "Qwen/Qwen3.6-35B-A3B-FP8"
    assert all(question.messages_key for question in task.questions.values())


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": 3},
        {"metrics": None},
        {"arguments": None},
        {"arguments": [None, 5, [[]]]},
        {"arguments": {"gen_args_0": None}},
        {"resps": None},
        {"resps": [None]},
        {"resps": [[{"a": 1}]]},
        {"filtered_resps": 7},
        {"doc": None, "doc_hash": None, "target": None},
        {"filter": None},
        {"samples": 4},
    ],
)
def test_odd_values_beside_the_score_do_no_harm(tmp_path: Path, change: dict[str, Any]) -> None:
    task = read(tmp_path, [{**foreign_row(0, 1.0), **change}])
    assert task.questions[0].samples[0].score == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "splendid"}, "splendid"),
        ({"schema": 99}, "schema 99"),
        ({"state": None, "truncated": None}, None),
    ],
)
def test_a_record_of_another_kind_is_named(
    tmp_path: Path, change: dict[str, Any], message: str | None
) -> None:
    row = our_row(0, ["correct"])
    row["samples"][0].update(change)
    if message is None:
        assert read(tmp_path, [row]).questions[0].samples[0].truncated is False
    else:
        with pytest.raises(ValueError, match=rf"row 1 \(doc 0\): .*{message}"):
            read(tmp_path, [row])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_index", "0"),
        ("completion_tokens", 10**400),
        ("answer_chars", [1]),
        ("reasoning_chars", -1),
        ("truncated", "no"),
        ("request_id", ["a"]),
        ("finish_reason", {}),
    ],
)
def test_a_record_field_of_another_type_is_named(tmp_path: Path, field: str, value: Any) -> None:
    row = our_row(0, ["correct"])
    row["samples"][0][field] = value
    with pytest.raises(ValueError, match=rf"row 1 \(doc 0\): sample record's {field} must be"):
        read(tmp_path, [row])


def test_a_task_without_a_score_is_left_out_and_said(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 1.0)])
    write_run(tmp_path, [foreign_row(0, [-3.5, 7], metric="word_perplexity")], task="prose")
    arm = read_arm("arm", tmp_path, Choice())
    assert list(arm.tasks) == ["quiz"]
    assert arm.notices[0].startswith("left out: ")
    assert "no metric with a value in [0, 1]; it has word_perplexity" in arm.notices[0]


def test_a_task_without_a_score_is_refused_where_it_was_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 1.0)])
    write_run(tmp_path, [foreign_row(0, [-3.5, 7], metric="word_perplexity")], task="prose")
    with pytest.raises(ValueError, match="no metric with a value"):
        read_arm("arm", tmp_path, Choice(tasks=("prose",)))


def test_messages_as_a_list_are_the_prompt_that_their_json_is(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "question 0"}]
    forms = (messages, json.dumps(messages), [json.dumps(messages)], "question 0")
    keys = set()
    for number, form in enumerate(forms):
        row = {**foreign_row(0, 1.0), "arguments": {"gen_args_0": {"arg_0": form, "arg_1": {}}}}
        keys.add(read(tmp_path / str(number), [row]).questions[0].messages_key)
    assert len(keys) == 1
    assert None not in keys


def test_an_array_of_rows_is_refused_with_the_way_to_lines(tmp_path: Path) -> None:
    file = tmp_path / "samples_quiz.jsonl"
    file.write_text(json.dumps([foreign_row(0, 1.0)], indent=2))
    with pytest.raises(
        ValueError, match=r"a JSON array, as early releases of lm-eval wrote it; `jq"
    ):
        read_arm("arm", file, Choice())
