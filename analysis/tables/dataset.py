"""What is in training data: composition, statistics of traces, lengths of thinking, topics.

Owns which figures stand in these tables, by the columns of the published ones. Refuses to own what
a line means (`training_data`) and the lengths' figures (`harness_tasks.lengths`).

    dataset([Path("traces.jsonl")])     # data-sources, data-traces, data-thinking, data-topics
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from analysis.estimate import Share
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.training_data import NOTHING, Example, Faults, read_all
from harness_tasks.lengths import EDGES_CHARS, bucket_counts, summary

TOPICS = ("meta.subject", "meta.topic", "subject", "topic", "category", "meta.category",
          "meta.type", "type", "domain", "skill", "level", "difficulty")  # fmt: skip
NO_TRACES = "the files hold questions and no traces"
NO_TOPICS = "no field names a topic; name one with --topic FIELD (such as meta.subject)"


@dataclass
class Group:
    """The traces of one teacher and source: what is counted, and their lengths."""

    n: int = 0
    n_correct: int = 0
    judged: bool = False  # whether any verdict is known
    n_used: int = 0
    chars: list[int] = field(default_factory=list)  # of the used ones

    def add(self, example: Example) -> None:
        """Count a trace."""
        self.n += 1
        self.judged |= example.correct is not None
        self.n_correct += bool(example.correct)
        if example.used:
            self.n_used += 1
            self.chars.append(example.chars or 0)


@dataclass
class Topic:
    """The examples of one topic."""

    questions: set[str] = field(default_factory=set)
    n: int = 0
    n_used: int = 0

    def add(self, example: Example) -> None:
        """Count an example."""
        self.questions.add(example.question_id)
        self.n += 1
        self.n_used += example.used


@dataclass
class Tally:
    """Everything that one pass over the files counts."""

    topic: str | None
    sources: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    thinking: list[tuple[int, bool]] = field(default_factory=list)
    topics: dict[tuple[str, str], Topic] = field(default_factory=dict)
    n: int = 0

    def add(self, example: Example) -> None:
        """Count one line."""
        self.n += 1
        source = example.fields.get("source") or example.fields.get("dataset") or NOTHING
        kept = NOTHING if example.kept is None else "yes" if example.kept else "no"
        self.sources[source, example.verdict, kept] += 1
        if example.think_chars is not None:
            self.groups.setdefault((example.teacher, source), Group()).add(example)
            self.thinking.append((example.think_chars, example.used))
        for name in (self.topic,) if self.topic else TOPICS:
            value = example.fields.get(name)
            if value is None and self.topic:
                value = NOTHING
            if value is not None:
                self.topics.setdefault((name, value), Topic()).add(example)


def dataset(paths: Sequence[Path], topic: str | None = None) -> list[Table]:
    """Return the tables of some files of traces or questions; several files stand apart.

    Raises:
        ValueError: a path that is no file, or no line that can be used. OSError.
    """
    faults = Faults()
    tallies = {path: Tally(topic) for path in paths}
    for path, example in read_all(tallies, faults):
        tallies[path].add(example)
    if not any(tally.n for tally in tallies.values()):
        why = f" ({faults.named[0]})" if faults.named else ""
        raise ValueError(f"{', '.join(map(str, paths))}: no line holds a question or a trace{why}")
    makers = (sources, statistics, thinking, topics)
    found = [merged({path: make(one) for path, one in tallies.items()}) for make in makers]
    return [replace(found[0], notes=tuple(faults.notes())), *found[1:]]


def merged(tables: Mapping[Path, Table]) -> Table:
    """Return the tables of several files as one, with the file before each row."""
    one = next(iter(tables.values()))
    if len(tables) == 1:
        return one
    short = [path.name for path in tables]
    names = short if len(set(short)) == len(short) else [str(path) for path in tables]
    rows = [
        (name, *row) for name, table in zip(names, tables.values(), strict=True)
        for row in table.rows
    ]  # fmt: skip
    columns = (Column("file", "file"), *one.columns)
    return replace(one, columns=columns, rows=rows, empty="" if rows else one.empty)


def sources(tally: Tally) -> Table:
    """Return the lines by source, verdict and whether they are kept."""
    rows: list[tuple[Cell, ...]] = [
        (source, verdict, kept, n, n / tally.n)
        for (source, verdict, kept), n in sorted(tally.sources.items())
    ]
    rows.append(("all", NOTHING, NOTHING, tally.n, Share(tally.n, tally.n).value))
    return Table(
        "data-sources",
        "Training data by source, verdict and whether it is kept",
        (
            Column("source", "source"),
            Column("verdict", "verdict"),
            Column("kept", "kept"),
            Column("n", "lines", Kind.COUNT),
            Column("share", "share", Kind.PERCENT),
        ),
        rows,
        foot="Lines of the files; - where a line does not tell.",
    )


def statistics(tally: Tally) -> Table:
    """Return counts and lengths of the traces by teacher and source."""
    rows: list[tuple[Cell, ...]] = []
    for (teacher, source), group in sorted(tally.groups.items()):
        chars = summary(group.chars)
        available = group.n_correct if group.judged else None
        rows.append(
            (teacher, source, group.n, available, group.n_used, chars["median"], chars["mean"],
             chars["p95"])
        )  # fmt: skip
    return Table(
        "data-traces",
        "Traces by teacher and source",
        (
            Column("teacher", "teacher"),
            Column("source", "source"),
            Column("generated", "generated", Kind.COUNT),
            Column("available", "correct", Kind.COUNT),
            Column("used", "used", Kind.COUNT),
            Column("median_chars", "median", Kind.NUMBER),
            Column("mean_chars", "mean", Kind.NUMBER),
            Column("p95_chars", "p95", Kind.NUMBER),
        ),
        rows,
        foot=(
            "Characters of reasoning and answer, of the used traces; p95 between neighbours. "
            "used: kept, or not marked at all."
        ),
        empty="" if rows else NO_TRACES,
    )


def thinking(tally: Tally) -> Table:
    """Return how long the traces think, in buckets of characters."""
    counted = [
        bucket_counts([size for size, used in tally.thinking if used or not only])
        for only in (False, True)
    ]
    names = ["none", *(f"{low}-{high - 1}" for low, high in pairwise(EDGES_CHARS))]
    names.append(f"{EDGES_CHARS[-1]} and more")
    (none, every), (none_used, every_used) = counted
    n, n_used = len(tally.thinking), sum(used for _, used in tally.thinking)
    rows: list[tuple[Cell, ...]] = [
        (name, one, Share(one, n).value, used, Share(used, n_used).value)
        for name, one, used in zip(names, [none, *every], [none_used, *every_used], strict=True)
    ]
    return Table(
        "data-thinking",
        "How long the traces think",
        (
            Column("chars", "characters"),
            Column("traces", "traces", Kind.COUNT),
            Column("share", "share", Kind.PERCENT),
            Column("used", "used", Kind.COUNT),
            Column("used_share", "share of used", Kind.PERCENT),
        ),
        rows if n else [],
        foot="Characters of reasoning, without blanks at its ends.",
        empty="" if n else NO_TRACES,
    )


def topics(tally: Tally) -> Table:
    """Return the examples by topic, for each field that names one."""
    totals: Counter[str] = Counter()
    for (name, _), topic in tally.topics.items():
        totals[name] += topic.n_used
    order = (tally.topic,) if tally.topic else TOPICS
    rows: list[tuple[Cell, ...]] = [
        (name, value, len(topic.questions), topic.n, topic.n_used,
         Share(topic.n_used, totals[name]).value)
        for (name, value), topic in sorted(
            tally.topics.items(), key=lambda one: (order.index(one[0][0]), -one[1].n, one[0][1])
        )
    ]  # fmt: skip
    return Table(
        "data-topics",
        "Training data by topic",
        (
            Column("field", "field"),
            Column("topic", "topic"),
            Column("questions", "questions", Kind.COUNT),
            Column("n", "lines", Kind.COUNT),
            Column("used", "used", Kind.COUNT),
            Column("share", "share of used", Kind.PERCENT),
        ),
        rows,
        foot="A share is of the used lines that have the field.",
        empty="" if rows else NO_TOPICS,
    )
