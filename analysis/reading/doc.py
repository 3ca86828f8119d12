"""What a doc tells beside its question: its own name, the groups it belongs to, its instructions.

Owns which fields of a doc, ours or another benchmark's, are read for it. Refuses to own how a row
is graded (`question`).

    >>> name_of({"task_id": "HumanEval/0", "prompt": "..."}), tags_of({"level": 5})
    ('HumanEval/0', {'level': '5'})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

NAMED_BY = ("task_id", "problem_id", "question_id", "unique_id", "id", "ID", "key")
GROUPED_BY = (
    *("subject", "topic", "type", "level", "difficulty", "platform", "category", "domain"),
    *("subtask", "source", "year"),
)
LONGEST = 120  # characters of a name or a group; anything longer is text, and no group


class Instruction(NamedTuple):
    """One instruction of an IFEval prompt, and whether a completion followed it."""

    kind: str  # as "length_constraints:number_words"
    strict: bool
    loose: bool | None


def name_of(doc: Any) -> str | None:
    """Return what the benchmark itself calls a doc, None where the doc does not tell."""
    fields = doc if isinstance(doc, Mapping) else {}
    return next((text for key in NAMED_BY if (text := short(fields.get(key)))), None)


def tags_of(doc: Any) -> dict[str, str]:
    """Return the groups that a doc belongs to, by the name of the field that says so."""
    fields = doc if isinstance(doc, Mapping) else {}
    return {key: text for key in GROUPED_BY if (text := short(fields.get(key)))}


def short(value: Any) -> str | None:
    """Return a name as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= LONGEST else None


def instructions_in(details: Mapping[str, Any] | None) -> tuple[Instruction, ...]:
    """Return the instructions that one of our records tells of, () where it tells of none."""
    told = (details or {}).get("instructions")
    if not isinstance(told, list):
        return ()
    return tuple(
        Instruction(str(one["id"]), bool(one["strict"]), bool(one.get("loose")))
        for one in told
        if isinstance(one, Mapping) and "id" in one and "strict" in one
    )


def instructions_of_row(row: Mapping[str, Any]) -> tuple[Instruction, ...]:
    """Return the instructions of a row of lm-eval's own IFEval, () for any other."""
    doc = row.get("doc")
    kinds = doc.get("instruction_id_list") if isinstance(doc, Mapping) else None
    strict, loose = row.get("inst_level_strict_acc"), row.get("inst_level_loose_acc")
    if not (isinstance(kinds, list) and isinstance(strict, list) and len(kinds) == len(strict)):
        return ()
    loosely = loose if isinstance(loose, list) and len(loose) == len(kinds) else [None] * len(kinds)
    return tuple(
        Instruction(str(kind), bool(one), None if other is None else bool(other))
        for kind, one, other in zip(kinds, strict, loosely, strict=True)
    )
