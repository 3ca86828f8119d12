"""What a bank's numbers look like: report.json and the table that is printed.

Owns the form. Refuses to own the numbers (`build`).

Example, a line of the table:
    source    rows  left out  duplicates  near  contaminated  bank  sampled
    numina    3000        80          12     5             3  2900     2104
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from harness_tasks.decontaminate import Benchmark
from harness_tasks.text_table import aligned
from training.bank.build import Bank, Choices, Repeated, origin
from training.records import Question

REPORT_SCHEMA = 1
COLUMNS = (
    "rows", "left out", "duplicates", "near-duplicates", "contaminated", "bank", "sampled",
)  # fmt: skip
NO_LEVEL = "none"


def as_json(
    bank: Bank,
    choices: Choices,
    benchmarks: Iterable[Benchmark] | None,
    not_checked: Iterable[str],
    rules: dict[str, Any],
) -> dict[str, Any]:
    """Return the report; `benchmarks` None where nothing was looked up."""
    repeated, alike = bank.repeated, bank.alike
    return {
        "schema": REPORT_SCHEMA,
        "choices": asdict(choices),
        "sources": sources(bank),
        "total": total(by_source(bank)),
        "levels": by_level(bank),
        "strata": {
            "columns": choices.stratify,
            "groups": {name: {"bank": b, "sampled": s} for name, (b, s) in bank.strata.items()},
        },
        "conflicting_answers": [
            duplicate(bank, note)
            for note in repeated
            if note.similarity is None and note.answer is not None
        ],
        "near_duplicates": [
            duplicate(bank, note) for note in repeated if note.similarity is not None
        ],
        "near_with_other_answer": [near(bank, *pair) for pair in alike],
        "contamination": {
            "checked": None if benchmarks is None else [checked(part) for part in benchmarks],
            "not_checked": list(not_checked),
            "rules": rules,
            "hits": hits(bank),
        },
    }


def sources(bank: Bank) -> dict[str, Any]:
    """Describe each source: where it is, its counts, and why rows were left out."""
    return {
        source.name: {
            "kind": source.kind,
            "path": source.path,
            "limit": source.limit,
            "keep": {column: sorted(values) for column, values in source.keep.items()},
            **counts,
            "left_out_by_reason": dict(bank.reads[source.name].left_out.most_common()),
            "left_out_examples": bank.reads[source.name].examples,
        }
        for source, counts in zip(bank.sources, by_source(bank), strict=True)
    }


def near(bank: Bank, one: int, other: int, similarity: float) -> dict[str, Any]:
    """Describe two near questions with different answers, which both stay."""
    later, earlier = bank.questions[one], bank.questions[other]
    return {
        "id": later.id,
        "near": earlier.id,
        "similarity": round(similarity, 4),
        "answer": later.answer,
        "other_answer": earlier.answer,
    }


def checked(part: Benchmark) -> dict[str, Any]:
    """Describe a benchmark that every question was looked up in."""
    n_docs = len({doc_id for doc_id, _ in part.texts})
    return {"benchmark": part.name, "n_docs": n_docs, "origin": part.origin}


def hits(bank: Bank) -> list[dict[str, Any]]:
    """Return a line for each benchmark question that was found, in the order of the bank."""
    return [
        {"id": question.id, "source": origin(question), "row": question.meta["row"]} | hit.to_json()
        for question in bank.questions
        for hit in bank.hits.get(question.id, ())
    ]


def duplicate(bank: Bank, note: Repeated) -> dict[str, Any]:
    """Describe a question that was left out for an earlier one."""
    first = bank.questions[note.first]
    similarity = None if note.similarity is None else round(note.similarity, 4)
    return {
        "source": note.source,
        "row": note.place,
        "question": note.question,
        "same_as": first.id,
        "similarity": similarity,
        "answer": note.answer,
        "answer_of_the_first": note.other_answer,
    }


def by_source(bank: Bank) -> list[dict[str, int]]:
    """Return the counts of each source, in order."""
    exact = Counter(note.source for note in bank.repeated if note.similarity is None)
    near = Counter(note.source for note in bank.repeated if note.similarity is not None)
    found = counted(bank, origin)
    rows = []
    for source in bank.sources:
        read = bank.reads[source.name]
        rows.append(
            {
                "rows": read.n_rows,
                "left out": sum(read.left_out.values()),
                "duplicates": exact[source.name],
                "near-duplicates": near[source.name],
                **found(source.name),
            }
        )
    return rows


def counted(bank: Bank, key: Callable[[Question], str]) -> Callable[[str], dict[str, int]]:
    """Return a function that counts, for a value of the key, what was found, kept and drawn."""
    hit = Counter(key(q) for q in bank.questions if q.id in bank.hits)
    clean = Counter(key(q) for q in bank.clean)
    drawn = Counter(key(q) for q in bank.sampled)
    return lambda name: {"contaminated": hit[name], "bank": clean[name], "sampled": drawn[name]}


def total(rows: list[dict[str, int]]) -> dict[str, int]:
    """Return the sums of all columns."""
    return {column: sum(row[column] for row in rows) for column in COLUMNS}


def by_level(bank: Bank) -> dict[str, dict[str, int]]:
    """Return the counts of each level; rows that are left out have none."""

    def level(question: Question) -> str:
        return question.level or NO_LEVEL

    found = counted(bank, level)
    exact = Counter(n.level or NO_LEVEL for n in bank.repeated if n.similarity is None)
    near = Counter(n.level or NO_LEVEL for n in bank.repeated if n.similarity is not None)
    names = sorted({level(question) for question in bank.questions} | set(exact) | set(near))
    return {
        name: {"duplicates": exact[name], "near-duplicates": near[name], **found(name)}
        for name in names
    }


def table(bank: Bank) -> str:
    """Return the counts by source and level, why rows were left out, and where hits were found."""
    rows = by_source(bank)
    lines = [
        (source.name, *(str(row[column]) for column in COLUMNS))
        for source, row in zip(bank.sources, rows, strict=True)
    ]
    lines.append(("total", *(str(total(rows)[column]) for column in COLUMNS)))
    parts = [aligned(("source", *COLUMNS), lines, right=COLUMNS)]
    levels = by_level(bank)
    if set(levels) != {NO_LEVEL}:
        shown = COLUMNS[2:]
        level_lines = [(name, *(str(row[c]) for c in shown)) for name, row in levels.items()]
        parts.append(aligned(("level", *shown), level_lines, right=shown))
    reasons = [
        (source.name, reason, str(n_rows), bank.reads[source.name].examples[reason][0][:100])
        for source in bank.sources
        for reason, n_rows in bank.reads[source.name].left_out.most_common()
    ]
    if reasons:
        parts.append(aligned(("source", "left out", "rows", "for example"), reasons, {"rows"}))
    hits = Counter((hit.benchmark, hit.how) for found in bank.hits.values() for hit in found)
    if hits:
        found_lines = [(name, how, str(n)) for (name, how), n in sorted(hits.items())]
        parts.append(aligned(("found in", "how", "hits"), found_lines, {"hits"}))
    return "\n\n".join(parts)
