"""Training prompts that stand in the benchmarks, and the scores without those questions.

Owns which questions count as leaked: those that a training prompt holds, by the one rule of the
suite (`harness_tasks.decontaminate`). Refuses to own that rule and the estimators (`stats`).

    leakage(comparison, TableOptions(train=(Path("traces.jsonl"),)))
    leaked(comparison, TableOptions(train=(Path("traces.jsonl"),)))      # the questions one by one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.compare import Comparison
from analysis.estimate import NAN, Share
from analysis.reading.asked import prompt_of
from analysis.reading.texts import question_of, read_rows
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, generator, number_of, paired_figures, short
from analysis.tables.families import with_holm
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.training_data import Example, Faults, read_all
from harness_tasks.decontaminate import Benchmark, Decontaminator, Hit, texts_of

NO_TRAIN = "no training data was named: --train traces.jsonl (or questions.jsonl)"
SUREST = ("exact", "ngram", "paraphrase")


@dataclass(frozen=True)
class Leak:
    """One benchmark question with the training question that holds it."""

    doc: str
    how: str
    score: float
    excerpt: str
    trained: str  # the training question's id
    file: str


@dataclass(frozen=True)
class Found:
    """What was found: leaks by task and doc, how many training questions were looked at."""

    leaks: dict[str, dict[str, Leak]]
    n_examples: int
    notes: tuple[str, ...]


class Last:
    """The one search that was made last: two tables stand on it, and it takes a while."""

    comparison: Comparison | None = None
    train: tuple[Path, ...] = ()
    found: Found | None = None


def search(comparison: Comparison, train: tuple[Path, ...]) -> Found:
    """Look for the comparison's questions in the training data.

    Raises:
        ValueError: training data that cannot be read, or holds no question. OSError.
    """
    if Last.found is not None and Last.comparison is comparison and Last.train == train:
        return Last.found
    checker = Decontaminator([
        Benchmark(task, [(str(doc), text) for doc, asked in questions for text in texts_of(asked)])
        for task, questions in questions_of(comparison)
    ])  # fmt: skip
    faults, n_examples = Faults(), 0
    leaks: dict[str, dict[str, Leak]] = {}
    for path, example, hits in checked(checker, train, faults):
        n_examples += 1
        for hit in hits:
            found = Leak(
                hit.doc_id, hit.how, hit.score, hit.excerpt, example.question_id, path.name
            )
            by_doc = leaks.setdefault(hit.benchmark, {})
            if rank(found) < rank(by_doc.get(hit.doc_id)):
                by_doc[hit.doc_id] = found
    if not n_examples:
        raise ValueError(f"{', '.join(map(str, train))}: no line holds a question")
    Last.comparison, Last.train = comparison, train
    Last.found = Found(leaks, n_examples, tuple(faults.notes()))
    return Last.found


def checked(
    checker: Decontaminator, train: Sequence[Path], faults: Faults
) -> Iterator[tuple[Path, Example, list[Hit]]]:
    """Yield each training question that is used, once, with the benchmark questions in it."""
    seen: set[int] = set()
    for path, example in read_all(train, faults):
        key = hash(example.question)
        if example.used and key not in seen:  # a question may have several traces
            seen.add(key)
            yield path, example, checker.hits(example.question)


def rank(leak: Leak | None) -> tuple[int, float]:
    """Return how sure a leak is, the surest first; what is not there comes last."""
    return (len(SUREST), 0.0) if leak is None else (SUREST.index(leak.how), -leak.score)


def questions_of(comparison: Comparison) -> Iterator[tuple[str, list[tuple[int | str, str]]]]:
    """Yield each task with its questions as doc id and text: the doc's own, else the prompt."""
    paths = {task.task: task.files[0] for task in comparison.tasks}
    for task, couples in by_task(comparison).items():
        docs = {base.row: base.doc_id for base, _ in couples}
        asked = []
        for number, row in read_rows(paths[task], docs.keys()):
            doc = row.get("doc")
            text = question_of(doc if isinstance(doc, dict) else {}) or prompt_of(row)[0]
            asked.append((docs[number], text))
        yield task, asked


def leakage(comparison: Comparison, options: TableOptions) -> Table:
    """Return each task's scores with and without the questions found in the training data."""
    columns = (
        Column("task", "task"),
        Column("n", "n", Kind.COUNT),
        Column("leaked", "leaked", Kind.PERCENT),
        Column("difference", "difference, all", Kind.POINTS),
        Column("baseline_clean", "baseline", Kind.PERCENT),
        Column("candidate_clean", "candidate", Kind.PERCENT),
        Column("difference_clean", "difference, clean", Kind.POINTS),
        Column("p_clean", "p", Kind.P),
        Column("holm_p_clean", "Holm p", Kind.P),
        Column("difference_leaked", "difference, leaked", Kind.POINTS),
    )
    if not options.train:
        return Table("leakage", "Training prompts in the benchmarks", columns, [], empty=NO_TRAIN)
    found = search(comparison, options.train)
    rows = [
        row_of(comparison, task, couples, found.leaks.get(task, {}))
        for task, couples in by_task(comparison).items()
    ]
    return with_holm(
        Table(
            "leakage",
            "Training prompts in the benchmarks",
            columns,
            rows,
            foot=(
                f"{found.n_examples} training questions against the benchmarks' own: same words "
                "and numbers, or long shared runs of words without boilerplate; paraphrases are "
                "not found. Scores and test as in the scorecard; Holm over the tasks."
            ),
            notes=found.notes,
        ),
        p="p_clean",
        holm="holm_p_clean",
    )


def row_of(
    comparison: Comparison, task: str, couples: list[Couple], leaks: dict[str, Leak]
) -> tuple[Cell, ...]:
    """Return the row of a task."""
    rng = generator(comparison, task, number_of("leakage"))
    clean = [one for one in couples if str(one[0].doc_id) not in leaks]
    dirty = [one for one in couples if str(one[0].doc_id) in leaks]
    every, without, within = (paired_figures(some, rng) for some in (couples, clean, dirty))
    docs = {one[0].doc_id for one in couples}
    return (
        task,
        len(docs),
        Share(len({one[0].doc_id for one in dirty}), len(docs)),
        every.difference,
        without.baseline,
        without.candidate,
        without.difference,
        without.p,
        NAN,
        within.difference,
    )


def leaked(comparison: Comparison, options: TableOptions) -> Table:
    """Return every leaked question with the training question that holds it."""
    columns = (
        Column("task", "task"),
        Column("doc", "question"),
        Column("how", "how"),
        Column("score", "shared", Kind.PERCENT),
        Column("baseline", "baseline", Kind.PERCENT),
        Column("candidate", "candidate", Kind.PERCENT),
        Column("trained", "training question"),
        Column("file", "file"),
        Column("excerpt", "shared words"),
    )
    title = "Benchmark questions in the training data"
    if not options.train:
        return Table("leaked", title, columns, [], empty=NO_TRAIN)
    found = search(comparison, options.train)
    rows: list[tuple[Cell, ...]] = []
    for task, couples in by_task(comparison).items():
        leaks = found.leaks.get(task, {})
        by_doc: dict[str, list[Couple]] = {}
        for couple in couples:
            by_doc.setdefault(str(couple[0].doc_id), []).append(couple)
        rows += [
            (task, some[0][0].name, leaks[doc].how, leaks[doc].score, *means(some),
             leaks[doc].trained, leaks[doc].file, short(leaks[doc].excerpt))
            for doc, some in by_doc.items()
            if doc in leaks
        ]  # fmt: skip
    return Table(
        "leaked",
        title,
        columns,
        rows,
        foot="shared: share of the question's words in long shared runs; 100 for the same text.",
        notes=found.notes,
        empty="" if rows else f"none of {found.n_examples} training questions holds one",
    )


def means(couples: list[Couple]) -> tuple[float | None, float | None]:
    """Return a question's mean score in both arms, None where no sample was graded."""
    found: list[float | None] = []
    for arm in (0, 1):
        known = [score for couple in couples if (score := couple[arm].score) is not None]
        found.append(sum(known) / len(known) if known else None)
    return found[0], found[1]
