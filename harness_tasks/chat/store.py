"""Every reply that was paid for, in a JSONL file: appended at once, found again by its request.

Owns the key of a request, the rows and what becomes of a line that a killed run left torn. Refuses
to own asking (`chat.model`) and what a reply is worth. Standard library only.

The key is a hash of everything that determines the request: who is asked (role, name, endpoint,
model), messages, sampling with its seed, question and sample. So a changed setting asks anew, and
no two models share a row. A row with `error` is a request that failed for good; it is asked again.

    {"schema": 1, "key": "...", "role": "teacher", "name": "r1", "endpoint": "...", "model": "...",
     "question_id": "q1", "sample_index": 0, "request": {...}, "reply": {...}, "error": null,
     "cost_usd": 0.0031, "asked_at": "2026-01-31T10:00:00+00:00"}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness_tasks.chat.cost import Tally, amount, usage_of
from harness_tasks.records import parse_object

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Request:
    """One request to one model; `body` is what goes on the wire but for the way it is streamed."""

    role: str  # teacher, repair 1, check 1, judge, student
    name: str
    endpoint: str
    question_id: str
    sample_index: int
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """Hash everything that determines the reply."""
        whole = [
            self.role, self.name, self.endpoint, self.question_id, self.sample_index, self.body
        ]  # fmt: skip
        text = json.dumps(whole, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The replies of one output folder; use as a context manager. One process at a time writes.

    With `pass_over_damage` a line that cannot be read stays where it is, noted in `damaged`, and
    what it held is asked again; without, it is an error.
    """

    def __init__(self, path: Path, pass_over_damage: bool = False) -> None:
        self.path = path
        self.pass_over_damage = pass_over_damage
        self.damaged: list[int] = []  # numbers of the lines that were passed over
        self.places: dict[str, tuple[int, int]] = {}
        self.answered: set[tuple[str, str]] = set()  # names and endpoints that have replied
        self.total = Tally()
        self.n_torn = 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("a+b", buffering=0)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            self.file.close()
            raise ValueError(
                f"{self.path} is in use by another run; wait for it, or give another --out"
            ) from taken
        try:
            self.read()
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def read(self) -> None:
        """Note where each reply stands; a last line that is torn is cut off.

        Raises:
            ValueError: a damaged line before the last one, or a row of another schema, unless
                those are passed over.
        """
        self.file.seek(0)
        offset = 0
        with open(os.dup(self.file.fileno()), "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    self.n_torn = 1
                    break
                if line.strip():
                    self.read_line(line, number, offset)
                offset += len(line)
        if self.n_torn:
            self.file.truncate(offset)

    def read_line(self, line: bytes, number: int, offset: int) -> None:
        """Take up one line.

        Raises:
            ValueError: a damaged one, unless those are passed over.
        """
        try:
            self.note(parse_object(line, f"{self.path}:{number}"), offset, len(line))
        except ValueError:
            if not self.pass_over_damage:
                raise
            self.damaged.append(number)

    def note(self, row: dict[str, Any], offset: int, n_bytes: int) -> None:
        """Take up one row.

        Raises:
            ValueError: a row of another schema.
        """
        if row.get("schema") != SCHEMA_VERSION or not isinstance(row.get("key"), str):
            raise ValueError(
                f"{self.path}: a row of schema {row.get('schema')!r}, expected {SCHEMA_VERSION}; "
                "give another --out"
            )
        key, reply = row["key"], row.get("reply")
        if not isinstance(reply, dict):
            return  # it failed, and is asked again
        if key not in self.places:
            self.total.add(usage_of(as_mapping(reply.get("usage"))), amount(row.get("cost_usd")))
        self.places[key] = (offset, n_bytes)
        self.answered.add((str(row.get("name")), str(row.get("endpoint"))))

    def get(self, request: Request) -> dict[str, Any] | None:
        """Return the row of a request that was answered, None where it was not."""
        place = self.places.get(request.key)
        if place is None:
            return None
        offset, n_bytes = place
        return parse_object(os.pread(self.file.fileno(), n_bytes, offset), str(self.path))

    def add(
        self,
        request: Request,
        reply: dict[str, Any] | None,
        error: str | None,
        cost_usd: float | None,
    ) -> dict[str, Any]:
        """Append one row and return it; it survives a kill of this process."""
        row = {
            "schema": SCHEMA_VERSION,
            "key": request.key,
            "role": request.role,
            "name": request.name,
            "endpoint": request.endpoint,
            "model": request.body.get("model"),
            "question_id": request.question_id,
            "sample_index": request.sample_index,
            "request": request.body,
            "reply": reply,
            "error": error,
            "cost_usd": cost_usd,
            "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        offset = self.file.seek(0, os.SEEK_END)
        left = memoryview(line)
        try:
            while left:
                left = left[self.file.write(left) or 0 :]
        except OSError as full:
            self.file.truncate(offset)  # a full disk: no half a line for the next one to follow
            raise OSError(full.errno, full.strerror, str(self.path)) from full
        self.note(row, offset, len(line))
        return row


def as_mapping(value: Any) -> dict[str, Any]:
    """Return an object, {} in place of anything else."""
    return value if isinstance(value, dict) else {}
