"""Joining samples with the proxy's log: what really went over the wire for each of them.

Owns the choice of an exchange for a sample: by request id, else by the hash of the messages
together with the text that came back. Refuses to own where the exchanges lie (`logs`).

    with Logs.read([Path("runs/base-log")], marks_of(wanted), request_ids) as logs:
        wires = join(logs, wanted)
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from analysis.reading.asked import digest
from analysis.reading.exchanges import COLUMNS, mark
from analysis.reading.logs import Logs
from analysis.reading.measure import Volume
from analysis.reading.quality import AMBIGUOUS, OTHER_MODEL, OTHER_TEXT
from analysis.reading.signs import Signs

SEVERAL = -1  # in the place of an exchange: several models wrote the text
SIZES = ("reasoning_chars", "reasoning_words", "answer_chars", "answer_words")
KEPT = (
    *("truncated", "completion_tokens", "prompt_tokens", "finish_reason"),
    *("duration_s", "ttft_s"),
)
MAY_BE = "(len(w.models) = 0 OR len(x.models) = 0 OR list_has_any(w.models, x.models))"


@dataclass(frozen=True, slots=True)
class Wire:
    """What the log says of one sample's exchange, in the sizes that a report needs."""

    log_at: tuple[str, int]  # file and byte
    by_id: bool  # found by its request id
    messages_key: str
    truncated: bool
    completion_tokens: int | None
    prompt_tokens: int | None
    volume: Volume
    sampling: dict[str, Any]  # shared between wires: not to be changed
    finish_reason: str | None
    duration_s: float | None
    ttft_s: float | None
    signs: Signs


class Wanted(NamedTuple):
    """What is known of a sample whose exchange is looked for."""

    request_id: str | None
    messages_key: str | None
    text_key: str | None
    models: tuple[str, ...]  # every name of the model, () where the files do not tell


def marks_of(wanted: Iterable[Wanted]) -> frozenset[int]:
    """Return the marks of all that samples may ask for, by which a log is sifted."""
    keys = (key for one in wanted for key in (one.request_id, one.messages_key) if key)
    return frozenset(map(mark, keys))


def join(logs: Logs, wanted: Sequence[Wanted]) -> list[Wire | None]:
    """Return the exchange of each sample, or None.

    A request id decides; where several requests had one id (a retry, a second run), the text
    does, and of equal texts the last. Where several samples have one id (two runs under one name),
    an exchange whose text one of them has is not the others'. Without an id, messages and text must
    both be equal, and an exchange serves one sample only, in the order of the samples; one that was
    used before (`Logs.used`) or stands under a reserved id serves none. An exchange of another
    model is never taken.
    """
    wires: list[Wire | None] = [None] * len(wanted)
    if logs.db is None or not wanted:
        return wires
    ask(logs, wanted)
    chosen = {i: (n, True) for i, n in by_id(logs)}
    chosen |= {i: (n, False) for i, n in by_text(logs, chosen)}
    logs.put("chosen", i=(list(chosen), "int64"), n=([n for n, _ in chosen.values()], "int64"))
    for i, *values in logs.stream("SELECT i, wires.* FROM chosen JOIN wires USING (n)"):
        row = dict(zip(COLUMNS, values, strict=True))
        wires[i] = wire_of(logs, row, by_id=chosen[i][1])
    return wires


def ask(logs: Logs, wanted: Sequence[Wanted]) -> None:
    """Put what is looked for beside the exchanges."""
    ids = [one.request_id and digest(one.request_id) for one in wanted]
    names = {one.models: [digest(name) for name in one.models] for one in wanted}
    logs.put(
        "wanted",
        i=(range(len(wanted)), "int64"),
        request=(ids, "string"),
        messages=([one.messages_key for one in wanted], "string"),
        text=([one.text_key for one in wanted], "string"),
        models=([names[one.models] for one in wanted], "names"),
    )


def by_id(logs: Logs) -> Iterator[tuple[int, int]]:
    """Yield the samples whose request id an exchange of their model has, with the exchange."""
    query = f"""
        WITH last AS (
            SELECT i, max(x.n) FILTER (WHERE {MAY_BE}) AS n
            FROM wanted w JOIN ids x USING (request) GROUP BY i
        ), same AS (
            SELECT i, max(x.n) AS n
            FROM wanted w JOIN texts x USING (request, text) WHERE {MAY_BE} GROUP BY i
        )
        SELECT i, coalesce(same.n, last.n), same.n IS NULL AND w.text IS NOT NULL
        FROM last JOIN wanted w USING (i) LEFT JOIN same USING (i)
    """
    found = list(logs.stream(query))
    of_a_sample = {n for _, n, other_text in found if not other_text}
    for i, n, other_text in found:
        logs.counts[OTHER_MODEL] += n is None
        if n is not None:
            logs.counts[OTHER_TEXT] += other_text
            if not (other_text and n in of_a_sample):
                yield i, n


def by_text(logs: Logs, chosen: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the other samples whose messages and text an exchange has, with the exchange."""
    query = """
        WITH x AS (
            SELECT messages, 0 AS kind, n, text, models FROM texts
            WHERE request NOT IN (FROM reserved)
            AND (messages, text) IN (SELECT (messages, text) FROM wanted)
        )
        FROM x UNION ALL SELECT messages, 1, i, text, models FROM wanted
        WHERE (messages, text) IN (SELECT (messages, text) FROM x)
        ORDER BY messages, kind, n
    """
    for _, rows in groupby(logs.stream(query), key=lambda row: row[0]):
        shelf = Shelf()
        for _, is_sample, n, text, models in rows:
            if not is_sample:
                if logs.place(n) not in logs.used:
                    shelf.put(n, text, tuple(models))
            elif n not in chosen:
                found = shelf.take(text, tuple(models))
                logs.counts[AMBIGUOUS] += found == SEVERAL
                if found is not None and found != SEVERAL:
                    yield n, found


def wire_of(logs: Logs, row: dict[str, Any], by_id: bool) -> Wire:
    """Return an exchange as it was joined."""
    sizes = (row[name] for name in SIZES)
    return Wire(
        log_at=logs.place(row["n"]),
        by_id=by_id,
        messages_key=row["messages"] or "",
        volume=Volume(*sizes),
        sampling=sampling_of(row["sampling"]),
        signs=Signs(row["looped"], tuple(row["behaviours"])),
        **{name: row[name] for name in KEPT},
    )


class Shelf:
    """The exchanges of one conversation, each of which serves one sample."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.of_model: dict[tuple[str, str], deque[int]] = defaultdict(deque)
        self.kinds: dict[str, dict[tuple[str, ...], deque[int]]] = defaultdict(dict)

    def put(self, n: int, text: str, models: tuple[str, ...]) -> None:
        """Add an exchange under one of its texts; they come in the order of the log."""
        for model in models or ("",):
            self.of_model[text, model].append(n)
        self.kinds[text].setdefault(models, deque()).append(n)

    def take(self, text: str, models: tuple[str, ...]) -> int | None:
        """Return the first free exchange of a text, None where there is none.

        A sample whose model nobody knows is given none where several models wrote the text.
        """
        if models:
            heads = [self.head(self.of_model[text, model]) for model in (*models, "")]
        else:
            heads = [self.head(own) for own in self.kinds[text].values()]
        found = [head for head in heads if head is not None]
        if not models and len(found) > 1:
            return SEVERAL
        first = min(found, default=None)
        if first is not None:
            self.taken.add(first)
        return first

    def head(self, line: deque[int]) -> int | None:
        """Return the first exchange of a line that is still free."""
        while line and line[0] in self.taken:
            line.popleft()
        return line[0] if line else None


@lru_cache(maxsize=1000)
def sampling_of(text: str) -> dict[str, Any]:
    """Return the sampling that a text of the database holds."""
    found: dict[str, Any] = json.loads(text)
    return found
