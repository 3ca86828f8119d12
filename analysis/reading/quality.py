"""What in the files was torn, foreign or did not fit: counted and named, never dropped in silence.

Owns `Finding` and the counting of damaged lines. Refuses to own what a damaged line costs the
comparison: the readers leave it out, and refuse a file in which no line can be used.

    damage = Damage()
    damage.add(FOREIGN, 17, "not valid JSON")
    damage.findings("runs/base/samples_quiz.jsonl")
    # [Finding("foreign line", "runs/base/samples_quiz.jsonl:17", 1, "not valid JSON")]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

TORN, FOREIGN, CUT = "torn line", "foreign line", "cut file"
DUPLICATE, MIXED = "duplicated id", "mixed schemas"
NO_EXCHANGE, NO_SAMPLE = "sample without exchange", "exchange without sample"
INCOMPLETE, OTHER_MODEL, OTHER_TEXT = "incomplete exchange", "other model", "other text"
AMBIGUOUS = "ambiguous"
NAMED = 5  # lines of one kind that are named one by one
LONGEST = 200  # characters of what was wrong with the first


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of damage or misfit: where it first stands, how often, and what it is."""

    kind: str
    where: str
    count: int
    text: str


class Fault(NamedTuple):
    """Why a line cannot be used."""

    kind: str
    text: str


@dataclass
class Seen:
    """The lines of one kind in one file: how many, the first few, and the first one's text."""

    count: int
    lines: list[int]
    text: str


@dataclass
class Damage:
    """The lines of one file that were left out, by kind."""

    seen: dict[str, Seen] = field(default_factory=dict)

    def add(self, kind: str, line: int, text: str) -> None:
        """Count a line."""
        self.merge({kind: Seen(1, [line], text[:LONGEST])}, 0)

    def merge(self, seen: dict[str, Seen], base: int) -> None:
        """Take over what another reader counted, whose line 1 is this file's line `base` + 1."""
        for kind, more in seen.items():
            own = self.seen.setdefault(kind, Seen(0, [], more.text))
            own.count += more.count
            room = NAMED - len(own.lines)
            own.lines.extend(line + base for line in more.lines[:room])

    def first(self) -> str:
        """Return the first line that was left out and why, "" where none was."""
        found = min(self.seen.values(), key=lambda seen: seen.lines[0], default=None)
        return f"row {found.lines[0]} {found.text}" if found else ""

    def findings(self, path: object) -> list[Finding]:
        """Return the findings of a file."""
        return [
            Finding(kind, f"{path}:{seen.lines[0]}", seen.count, seen.text + others(seen))
            for kind, seen in self.seen.items()
        ]


def others(seen: Seen) -> str:
    """Name the lines after the first."""
    if seen.count == 1:
        return ""
    named = ", ".join(map(str, seen.lines[1:]))
    return f"; also line {named}{' ...' if seen.count > len(seen.lines) else ''}"


def total(findings: Iterable[Finding], kind: str) -> int:
    """Return how often a kind was found."""
    return sum(one.count for one in findings if one.kind == kind)
