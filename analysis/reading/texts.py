"""The texts of a few rows: what was asked and what was written, read again from the files.

Owns the way back from an item to its completion. Texts are not held while numbers are made of them;
a page or a judge asks for those that it shows. Refuses to own which rows those are.

    shown = read_texts(comparison, "distill_math500", BASELINE, [1, 17])
    shown[17].texts[0].reasoning
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.reading.asked import completions, prompt_of
from analysis.reading.lines import MAX_LINE_BYTES, Piece, lines_of, loads
from analysis.reading.quality import Fault
from harness_tasks.reasoning import split
from proxy.exchange import Exchange, open_log

if TYPE_CHECKING:
    from analysis.compare import Comparison
    from analysis.items import Item

FROM_LOG, FROM_SAMPLES = "log", "samples file"
QUESTION_FIELDS = ("question", "problem", "prompt", "question_content", "query")


class Text(NamedTuple):
    """One completion in two parts; `came_from` is FROM_LOG or FROM_SAMPLES."""

    reasoning: str
    answer_text: str
    state: str
    came_from: str


class Shown(NamedTuple):
    """One row of a samples file as people read it; `texts` and `reasons` by sample_index."""

    question: str
    prompt: str
    target: str
    doc: Mapping[str, Any]
    texts: dict[int, Text]
    reasons: Mapping[int, str] = MappingProxyType({})  # why each was graded so, where a record says


def read_texts(
    comparison: Comparison, task: str, arm: str, rows: Collection[int]
) -> dict[int, Shown]:
    """Return the rows of a task's samples file that were asked for, by `Item.row`.

    A completion comes from the log where its exchange was found there, for the log has the
    reasoning that a server sent apart.
    """
    wanted = frozenset(rows)
    own: dict[int, list[Item]] = defaultdict(list)
    for item in comparison.items:
        if item.row in wanted and item.task == task and item.arm == arm:
            own[item.row].append(item)
    path = next(one.files[arm != "baseline"] for one in comparison.tasks if one.task == task)
    logged = read_logged([item for items in own.values() for item in items])
    return {number: shown(row, own[number], logged) for number, row in read_rows(path, wanted)}


def shown(
    row: dict[str, Any], items: Iterable[Item], logged: Mapping[tuple[str, int], Text]
) -> Shown:
    """Return a row with the texts of its items, or of all its completions where it has none."""
    doc = row.get("doc")
    doc = doc if isinstance(doc, dict) else {}
    prompt = prompt_of(row)[0]
    own = {item.sample_index: item for item in items}
    texts = {
        index: text_of(text, own[index].finish_reason if index in own else None)
        for index, text in enumerate(completions(row))
    }
    for index, item in own.items():
        if item.log_at is not None and item.log_at in logged:
            texts[index] = logged[item.log_at]
    return Shown(
        question_of(doc) or prompt, prompt, str(row.get("target")), doc, texts, reasons_of(row)
    )


def reasons_of(row: Mapping[str, Any]) -> dict[int, str]:
    """Return what our records say of the grades, by sample_index."""
    records = row.get("samples")
    found = [one for one in records if isinstance(one, dict)] if isinstance(records, list) else []
    return {
        one["sample_index"]: one["reason"]
        for one in found
        if isinstance(one.get("sample_index"), int) and isinstance(one.get("reason"), str)
    }


def question_of(doc: Mapping[str, Any]) -> str:
    """Return the question that a doc puts, "" where none of its known fields is text."""
    fields = (doc.get(name) for name in QUESTION_FIELDS)
    return next((text for text in fields if isinstance(text, str) and text.strip()), "")


def text_of(text: str, finish_reason: str | None) -> Text:
    """Return a completion of a samples file in its two parts."""
    return Text(*split(text, finish_reason=finish_reason), FROM_SAMPLES)


def read_rows(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the wanted lines of a samples file; only those are parsed."""
    last = max(wanted, default=0)
    for number, _, line in lines_of(Piece(path)):
        if number in wanted and not isinstance(line, Fault):
            yield number, loads(line.removeprefix(b"\xef\xbb\xbf"))
        if number >= last:
            return


def read_prompt(path: Path, row: int) -> str:
    """Return the prompt of one row of a samples file."""
    return next((prompt_of(found)[0] for _, found in read_rows(path, {row})), "")


def read_logged(items: Iterable[Item]) -> dict[tuple[str, int], Text]:
    """Return the completions that the log has, by file and place."""
    places = sorted({item.log_at for item in items if item.log_at is not None})
    by_file: dict[str, list[int]] = defaultdict(list)
    for path, at in places:
        by_file[path].append(at)
    return {
        (path, at): text for path, ats in by_file.items() for at, text in read_places(path, ats)
    }


def read_places(path: str, places: Iterable[int]) -> Iterator[tuple[int, Text]]:
    """Yield the exchanges that begin at the given bytes of a log file, in rising order."""
    with open_log(Path(path)) as log:
        for at in places:
            log.seek(at)
            exchange = Exchange.from_json(loads(log.readline(MAX_LINE_BYTES)))
            parts = split(
                exchange.content,
                reasoning=exchange.reasoning,
                finish_reason=exchange.finish_reason,
            )
            yield at, Text(*parts, FROM_LOG)
