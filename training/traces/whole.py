"""From settings to the files of an output folder.

Owns the order: questions, decontamination, student, traces, selection, files. Refuses to own each
step and the command line (`command`).

Example: `asked(chosen, Path("questions.jsonl"), Path("out")).n_kept`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness_tasks import isolation_check
from harness_tasks.batch import in_parallel
from harness_tasks.chat.cost import usage_of
from training.records import Question, Trace, read_questions, write_records
from training.traces import published, tables
from training.traces.lengths import TokenCounter
from training.traces.prompts import teacher_messages
from training.traces.report import Checked, Counted, report
from training.traces.run import Made, make_traces
from training.traces.select import Known, select
from training.traces.settings import TracesSettings
from training.traces.student import failed_by, read_scores
from training.traces.verify import graded_trace

TRACES, REJECTED = "traces.jsonl", "rejected.jsonl"
REPORT, REPORT_PAGE = "report.json", "report.md"


@dataclass(frozen=True)
class Written:
    """What a run has left: the tables as text, and the counts for the last line."""

    text: str
    n_kept: int
    n_rejected: int
    n_missing: int
    stopped: list[str]


def asked(chosen: TracesSettings, questions: Path | None, out: Path) -> Written:
    """Ask the teachers, and write the folder.

    Raises:
        ValueError: no questions, no teacher, or nobody answered. KeyboardInterrupt: stopped.
    """
    if questions is None or not chosen.teachers:
        missing = "QUESTIONS.jsonl" if questions is None else "--teacher (or teachers in --config)"
        raise ValueError(f"{missing} is missing: who is to be asked what?")
    if chosen.columns or chosen.grader:
        raise ValueError("--column and --grader belong to --completions FILE")
    all_questions = questions_of(chosen, questions)
    may_run_code(all_questions)
    counter = TokenCounter(chosen.tokenizer) if chosen.tokenizer else None
    checked = contamination(chosen, all_questions)
    barred = contaminated(checked)
    student = chosen.student
    if student is not None and student.samples:
        scores = read_scores(student.samples)
        left = [question for question in all_questions if question.id not in barred]
        barred |= failed_by(left, scores, student.max_score)
    out.mkdir(parents=True, exist_ok=True)
    made = make_traces(chosen, all_questions, out, barred)
    if not made.traces and (made.stopped or made.missing):
        reasons = [why for (_, _, why), _ in made.missing.most_common(1)]
        raise ValueError("; ".join(made.stopped) or f"nobody answered: {reasons[0]}")
    return write(chosen, all_questions, made, checked, counter, out)


def verified(
    chosen: TracesSettings, completions: Path, questions: Path | None, out: Path
) -> Written:
    """Verify the traces of a file, and write the folder; nobody is asked.

    Raises:
        ValueError: a row that cannot be read.
    """
    if chosen.teachers or chosen.judge or chosen.checker:
        raise ValueError("--completions asks nobody: leave out --teacher, --judge and --checker")
    if chosen.student is not None and chosen.student.endpoint is not None:
        raise ValueError("--completions asks nobody: give --student-samples in place of --student")
    given = None
    if questions is not None:
        given = {question.id: question for question in read_questions(questions)}
    rows = list(published.read_rows(completions, chosen.columns, chosen.grader, given))
    rows = rows[: chosen.limit]
    counter = TokenCounter(chosen.tokenizer) if chosen.tokenizer else None
    by_id = {row.question.id: row.question for row in rows}
    may_run_code(by_id.values())
    checked = contamination(chosen, list(by_id.values()))
    barred = contaminated(checked)
    if chosen.student is not None:
        left = [question for name, question in by_id.items() if name not in barred]
        scores = read_scores(chosen.student.samples)
        barred |= failed_by(left, scores, chosen.student.max_score)

    def trace_of(row: published.Row) -> Trace:
        messages = teacher_messages(row.question, chosen.prompts, None)
        trace = graded_trace(row.question, row.teacher, row.completion, messages, row.sample_index)
        usage = usage_of(row.completion.usage)
        return replace(
            trace,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            meta={**trace.meta, "imported_from": completions.name},
        )

    traces = list(in_parallel(trace_of, rows, "verify"))
    told = {
        trace.id: row.published
        for trace, row in zip(traces, rows, strict=True)
        if row.published is not None
    }
    out.mkdir(parents=True, exist_ok=True)
    made = Made(traces=traces, barred=barred, n_jobs=len(rows))
    return write(chosen, list(by_id.values()), made, checked, counter, out, told)


def may_run_code(questions: Iterable[Question]) -> None:
    """Refuse questions with tests where this machine isolates code weakly and nobody confirmed it.

    Raises:
        ValueError: says why, and how to confirm.
    """
    if any(question.tests is not None for question in questions):
        isolation_check.require(["traces of code"])


def questions_of(chosen: TracesSettings, path: Path) -> list[Question]:
    """Read the questions.

    Raises:
        ValueError: none, a damaged line, or one id twice.
    """
    found = list(read_questions(path))[: chosen.limit]
    if not found:
        raise ValueError(f"{path} holds no question")
    seen: set[str] = set()
    for question in found:
        if question.id in seen:
            raise ValueError(f"{path}: the id {question.id!r} stands twice; ids must be different")
        seen.add(question.id)
    return found


def contamination(chosen: TracesSettings, questions: Sequence[Question]) -> Checked:
    """Compare the questions with every benchmark of the suite."""
    if not chosen.decontaminate:
        return Checked(why_not="switched off (--no-decontaminate)")
    from harness_tasks.decontaminate import Decontaminator, suite_benchmarks

    benchmarks, not_checked = suite_benchmarks(chosen.data_dir)
    embed = None
    if chosen.embedding_model is not None and benchmarks:
        from training.bank.embedding import embedder

        embed = embedder(chosen.embedding_model)
    finder = (
        Decontaminator(benchmarks, embed=embed)
        if chosen.ngram is None
        else Decontaminator(benchmarks, n=chosen.ngram, embed=embed)
    )
    found = finder.hits_of(question.question for question in questions)
    hits = {
        question.id: [hit.to_json() for hit in some]
        for question, some in zip(questions, found, strict=True)
        if some
    }
    return Checked(
        benchmarks=[
            {"name": one.name, "n_texts": len(one.texts), "origin": str(one.origin)}
            for one in benchmarks
        ],
        not_checked=list(not_checked),
        hits=hits,
        why_not=None if benchmarks else "no benchmark could be loaded (give --data-dir)",
    )


def contaminated(checked: Checked) -> dict[str, str]:
    """Return the questions that stand in a benchmark, with the surest hit."""
    return {
        name: f"contaminated: {hits[0]['benchmark']} {hits[0]['doc_id']} ({hits[0]['how']})"
        for name, hits in checked.hits.items()
    }


def write(
    chosen: TracesSettings,
    questions: Sequence[Question],
    made: Made,
    checked: Checked,
    counter: TokenCounter | None,
    out: Path,
    told: dict[str, bool] | None = None,
) -> Written:
    """Select, and write the files of the folder."""
    counted = None
    if counter is not None:
        counts = counter.count(made.traces)
        n_tokens = {trace.id: n for trace, n in zip(made.traces, counts, strict=True)}
        counted = Counted(str(chosen.tokenizer), counter.how, n_tokens)
    known = Known(made.barred, counted.n_tokens if counted else {}, chosen.judge is not None)
    made.traces = select(made.traces, chosen.select, known)
    kept = [trace for trace in made.traces if trace.kept]
    rejected = [trace for trace in made.traces if not trace.kept]
    document = report(made, questions, chosen, checked, counted, told)
    found = tables.tables(document)
    write_records(out / TRACES, kept)
    write_records(out / REJECTED, rejected)
    write_text(out / REPORT, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    write_text(out / REPORT_PAGE, tables.as_markdown(found))
    n_missing = sum(made.missing.values())
    return Written(tables.as_text(found), len(kept), len(rejected), n_missing, made.stopped)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(text.encode(errors="backslashreplace"))
    partial.replace(path)
