"""IFEval by category and by instruction: which kinds of instruction each arm follows.

Owns the tables of instructions. Refuses to own how an instruction is checked. A prompt may hold
two instructions of one category: McNemar's test counts instructions, as the reports do, and
stands beside a test that counts prompts.

    categories(comparison, TableOptions()).column("p")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from analysis.compare import Comparison
from analysis.estimate import NAN, Estimate
from analysis.stats import cluster, paired, proportions
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, adjusted, by_task, generator, number_of
from analysis.tables.table import Cell, Column, Kind, Table

FOOT = (
    "Strict, over instructions: Wilson and Newcombe 95%, p: McNemar. Loose: share only. By prompt: "
    "sign-flip permutation of each prompt's mean, as instructions of one prompt are not "
    "independent; Holm and BH (Benjamini-Hochberg) adjust it over the rows of one task."
)
EMPTY = "no sample tells its instructions: this is a table of IFEval"


class Followed(NamedTuple):
    """One instruction in both arms."""

    doc_id: int | str
    baseline: bool
    candidate: bool
    loose: tuple[bool | None, bool | None]
    repeated: bool  # its prompt has several samples


def categories(comparison: Comparison, options: TableOptions) -> Table:
    """Return strict and loose shares by category of instruction."""
    del options
    return made(comparison, "ifeval-categories", "IFEval by category", "category", category_of)


def kinds(comparison: Comparison, options: TableOptions) -> Table:
    """Return the same by instruction."""
    del options
    return made(comparison, "ifeval-instructions", "IFEval by instruction", "instruction", kind_of)


def kind_of(kind: str) -> str:
    """Return the instruction's id without a language before it.

    >>> kind_of("en:punctuation:no_comma")
    'punctuation:no_comma'
    """
    return ":".join(kind.split(":")[-2:])


def category_of(kind: str) -> str:
    """Return the category of an instruction.

    >>> category_of("en:punctuation:no_comma")
    'punctuation'
    """
    return kind_of(kind).split(":")[0]


def made(
    comparison: Comparison, name: str, title: str, by: str, group_of: Callable[[str], str]
) -> Table:
    """Return the table of one grouping."""
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for task, couples in by_task(comparison).items():
        groups, unlike = followed(couples, group_of)
        if unlike:
            notes.append(f"{task}: {unlike} samples left out, their instructions differ by arm")
        rows += family(comparison, task, name, groups)
    columns = (
        Column("task", "task"),
        Column(by, by),
        Column("n", "n", Kind.COUNT),
        Column("baseline", "baseline", Kind.PERCENT),
        Column("candidate", "candidate", Kind.PERCENT),
        Column("difference", "difference", Kind.POINTS),
        Column("p", "p", Kind.P),
        Column("prompt_p", "p by prompt", Kind.P),
        Column("holm_p", "Holm p", Kind.P),
        Column("bh_p", "BH p", Kind.P),
        Column("baseline_loose", "loose base", Kind.PERCENT),
        Column("candidate_loose", "loose cand", Kind.PERCENT),
    )
    return Table(name, title, columns, rows, FOOT, tuple(notes), "" if rows else EMPTY)


def followed(
    couples: list[Couple], group_of: Callable[[str], str]
) -> tuple[dict[str, list[Followed]], int]:
    """Return the instructions of each group, and how many samples tell unlike ones by arm.

    A sample whose grader failed in an arm is left out in both.
    """
    samples: dict[int | str, int] = {}
    for base, _ in couples:
        samples[base.doc_id] = samples.get(base.doc_id, 0) + 1
    found: dict[str, list[Followed]] = {}
    unlike = 0
    for base, cand in couples:
        if base.score is None or cand.score is None:
            continue
        names = [[one.kind for one in item.instructions] for item in (base, cand)]
        unlike += names[0] != names[1]
        if names[0] != names[1]:
            continue
        for one, other in zip(base.instructions, cand.instructions, strict=True):
            loose = one.loose, other.loose
            row = Followed(base.doc_id, one.strict, other.strict, loose, samples[base.doc_id] > 1)
            found.setdefault(group_of(one.kind), []).append(row)
    return dict(sorted(found.items())), unlike


def family(
    comparison: Comparison, task: str, name: str, groups: dict[str, list[Followed]]
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of one task, the p-values by prompt adjusted over them."""
    rng = generator(comparison, task, number_of(name))
    by_prompt = [cluster.sign_flip_p(prompt_differences(rows), rng) for rows in groups.values()]
    adjustments = adjusted(by_prompt)
    for (group, rows), p, (holm, bh) in zip(groups.items(), by_prompt, adjustments, strict=True):
        solved = [(row.baseline, row.candidate) for row in rows]
        table = paired.PairedTable(
            solved.count((True, True)),
            solved.count((False, True)),
            solved.count((True, False)),
            solved.count((False, False)),
        )
        repeated = any(row.repeated for row in rows)
        yield (
            task,
            group,
            table.n,
            *shares(table, repeated),
            NAN if repeated else paired.mcnemar(table).p,
            p,
            holm,
            bh,
            loose_share(rows, 0),
            loose_share(rows, 1),
        )


def shares(table: paired.PairedTable, repeated: bool) -> tuple[Estimate, Estimate, Estimate]:
    """Return both strict shares and their difference; no interval for repeated samples."""
    right = table.both + table.baseline_only, table.both + table.candidate_only
    baseline, candidate = (proportions.proportion(k, table.n) for k in right)
    difference = paired.newcombe_difference(table)
    if not repeated:
        return baseline, candidate, difference
    reason = "several samples of one prompt: no interval"
    bare = [Estimate(one.value, reason=reason) for one in (baseline, candidate, difference)]
    return bare[0], bare[1], bare[2]


def prompt_differences(rows: list[Followed]) -> list[float]:
    """Return each prompt's mean difference over its instructions of one group."""
    values: dict[int | str, list[int]] = {}
    for row in rows:
        values.setdefault(row.doc_id, []).append(row.candidate - row.baseline)
    return [sum(one) / len(one) for one in values.values()]


def loose_share(rows: list[Followed], arm: int) -> float:
    """Return the loose share of one arm, NaN where a sample does not tell it."""
    known = [row.loose[arm] for row in rows]
    if any(one is None for one in known):
        return NAN
    return sum(bool(one) for one in known) / len(known)
