r"""The questions whose texts go into the page: which ones, how much of each, and in a safe form.

Owns the choice (`--flips`), the bound on size (`--max-mb`) and the JSON that the page's script
reads. Refuses to own how texts are found (`reading.texts`) and how they are shown (`report.js`).

The rule: questions that only one arm solved come first, then those that both failed, then the
others, in turn over the tasks. All texts have one limit of characters: the largest, up to
20,000, with which the whole block stays below `--max-mb`. A longer text keeps its beginning and its
end, and the page says how many characters stand between them.

    {"task": "gsm8k", "direction": "candidate", "question": "...", "arms": [{...}, {...}]}
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.items import ARMS, Item
from analysis.reading.texts import Shown, read_texts

if TYPE_CHECKING:
    from analysis.compare import Comparison

LONGEST_TEXT = 20_000
SHORTEST_CUT = 200  # below this a beginning and an end tell nothing
DIRECTIONS = ("baseline", "candidate", "neither", "both", "equal", "ungraded")
"""Who is ahead; `equal` are equal scores between 0 and 1."""
FIRST_SHOWN = {"baseline": 0, "candidate": 0, "neither": 1, "equal": 2, "both": 2, "ungraded": 1}
JOINERS = "\u200c\u200d"  # of letters and of emoji; they hide nothing
Couple = tuple[Item, Item]
Text = str | dict[str, Any]


@dataclass(frozen=True)
class Flips:
    """What the page holds of the questions: JSON for the script, and what was left out."""

    text: str  # JSON that may stand inside a script element
    n_shown: int
    n_all: int
    n_flips: int  # of all
    limit: int  # characters of one text
    n_cut: int  # texts that were longer

    @property
    def any(self) -> bool:
        """Say whether there is something to look at."""
        return self.n_shown > 0


def flips(comparison: Comparison, n_questions: int, max_bytes: int) -> Flips:
    """Return the questions of the explorer.

    Raises:
        ValueError: a samples file that can no longer be read.
    """
    couples = list(zip(comparison.items[::2], comparison.items[1::2], strict=True))
    chosen = choose(couples, n_questions)
    entries = [
        *itertools.chain.from_iterable(
            of_task(comparison, task, [one for one in chosen if one[0].task == task])
            for task in dict.fromkeys(base.task for base, _ in chosen)
        )
    ]
    text, n_kept, limit = bounded(entries, max_bytes)
    return Flips(
        text=text,
        n_shown=n_kept,
        n_all=len(couples),
        n_flips=sum(direction(one) in DIRECTIONS[:2] for one in couples),
        limit=limit,
        n_cut=sum(len(text) > limit for entry in entries[:n_kept] for text in texts_of(entry)),
    )


def direction(couple: Couple) -> str:
    """Say which arm is ahead on a question."""
    base, cand = (item.score for item in couple)
    if base is None or cand is None:
        return "ungraded"
    if base != cand:
        return "baseline" if base > cand else "candidate"
    return {0.0: "neither", 1.0: "both"}.get(base, "equal")


def choose(couples: Sequence[Couple], n_questions: int) -> list[Couple]:
    """Return the first of them by the rule above, in the order of the page."""
    ranks: dict[tuple[int, str], list[Couple]] = {}
    for couple in couples:
        ranks.setdefault((FIRST_SHOWN[direction(couple)], couple[0].task), []).append(couple)
    in_turn: list[Couple] = []
    for rank in sorted({rank for rank, _ in ranks}):
        lists = [found for (other, _), found in ranks.items() if other == rank]
        rounds = itertools.zip_longest(*lists)
        in_turn += [couple for one in rounds for couple in one if couple is not None]
    return in_turn[:n_questions]


def of_task(comparison: Comparison, task: str, couples: Sequence[Couple]) -> Iterator[Any]:
    """Yield the entries of one task, their texts whole."""
    shown = [
        read_texts(comparison, task, arm, {couple[number].row for couple in couples})
        for number, arm in enumerate(ARMS)
    ]
    for couple in couples:
        sources = [shown[number].get(couple[number].row) for number in range(2)]
        told = next((one for one in sources if one is not None), None)
        yield {
            "task": clean(task),
            "name": clean(couple[0].name),
            "sample": couple[0].sample_index,
            "direction": direction(couple),
            "question": clean(told.question) if told else "",
            "target": clean(couple[0].target),
            "arms": [arm_entry(item, one) for item, one in zip(couple, sources, strict=True)],
        }


def arm_entry(item: Item, shown: Shown | None) -> dict[str, Any]:
    """Return what is told of one completion."""
    text = shown.texts.get(item.sample_index) if shown else None
    return {
        "verdict": item.verdict or (f"score {item.score:g}" if item.score is not None else ""),
        "answer": None if item.answer is None else clean(item.answer),
        "wrote": item.truncated is not None,
        "truncated": bool(item.truncated),
        "finish": clean(item.finish_reason or ""),
        "tokens": item.completion_tokens,
        "why": clean(shown.reasons.get(item.sample_index, "")) if shown else "",
        "state": clean(text.state) if text else "",
        "from": clean(text.came_from) if text else "",
        "reasoning_known": item.reasoning_chars is not None,
        "reasoning": clean(text.reasoning.strip()) if text else "",
        "text": clean(text.answer_text.strip()) if text else "",
    }


def bounded(entries: Sequence[dict[str, Any]], max_bytes: int) -> tuple[str, int, int]:
    """Return entries as JSON within so many bytes, how many, and the limit of a text that it took.

    Where not even texts of `SHORTEST_CUT` characters fit, the last entries are left out.
    """
    limit, n_kept = LONGEST_TEXT, len(entries)
    while True:
        text = script_json([cut_entry(entry, limit) for entry in entries[:n_kept]])
        size = len(text.encode())
        if size <= max_bytes or n_kept == 0:
            return text, n_kept, limit
        fits = 0.95 * max_bytes / size
        if limit > SHORTEST_CUT:
            limit = max(SHORTEST_CUT, int(limit * min(fits, 0.9)))
        else:
            n_kept = int(n_kept * min(fits, 0.9))


def texts_of(entry: dict[str, Any]) -> list[str]:
    """Return the texts of an entry that may be long."""
    arms = [arm[name] for arm in entry["arms"] for name in ("reasoning", "text", "answer", "why")]
    return [text for text in (entry["question"], entry["target"], *arms) if text]


def cut_entry(entry: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return an entry whose texts are no longer than the limit."""

    def cut_all(fields: dict[str, Any]) -> dict[str, Any]:
        return {
            key: cut(one, limit) if isinstance(one, str) else one for key, one in fields.items()
        }

    return {**cut_all(entry), "arms": [cut_all(arm) for arm in entry["arms"]]}


def cut(text: str, limit: int) -> Text:
    """Return a text, or its beginning and its end with the number of characters between them."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return {"head": text[:head], "left_out": len(text) - limit, "tail": text[len(text) - tail :]}


def clean(text: str) -> str:
    r"""Return text in which nothing hides: what is no letter, sign or blank becomes its escape.

    Control characters, lone surrogates and the marks that turn the direction of writing would be
    obeyed by a browser, or refused by UTF-8. Letters of any script stay as they are.
    """
    return text if text.isprintable() else "".join(map(shown_character, text))


def shown_character(character: str) -> str:
    """Return one character, or its escape."""
    if character.isprintable() or character in "\n\t" or character in JOINERS:
        return character
    return " " if character.isspace() else ascii(character)[1:-1]


def script_json(value: Any) -> str:
    """Return JSON that ends no script element and opens no comment, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
