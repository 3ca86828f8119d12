"""Every reply that was paid for, in a JSONL file: appended at once, found again by its request.

Owns the key of a request, the rows, and what becomes of lines that a killed run left torn or a disk
damaged. Refuses to own asking (`chat.model`, `chat.asking`), which request a job is (`chat.resume`)
and what a reply is worth.

The key is a hash of everything that determines the request: who is asked (role, name, endpoint,
model and what its server tells of it), messages, sampling with its seed, question and sample. So a
changed setting asks anew, and no two models share a row. A row with `error` is a request that
failed for good; it is no answer, and is asked again.

    {"schema": 1, "key": "...", "role": "teacher", "name": "r1", "endpoint": "...", "model": "...",
     "question_id": "q1", "sample_index": 0, "request": {...}, "reply": {...}, "error": null,
     "cost_usd": 0.0031, "asked_at": "2026-01-31T10:00:00+00:00"}

A row is written before anything else happens with its reply, and survives a kill of the process at
any moment; a power cut may take the last seconds. A file with lines that cannot be read is renamed
(`completions.jsonl.damaged-20260131-100000`), and every row that can be read is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness_tasks.chat.cost import Tally, amount, usage_of
from harness_tasks.chat.reply import json_bytes
from harness_tasks.locking import LockedError, lock
from harness_tasks.records import parse_object

SCHEMA_VERSION = 1
MOST_NAMED = 5
BEGINNING = b'{"schema":'
ASKED = ("role", "name", "endpoint", "question_id", "sample_index", "request")  # in the key


@dataclass(frozen=True)
class Request:
    """One request to one model; `body` is what goes on the wire but for the way it is streamed."""

    role: str  # teacher, repair 1, check 1, judge, student, evaluation
    name: str
    endpoint: str
    question_id: str
    sample_index: int
    body: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)  # what the server tells of its model

    @property
    def key(self) -> str:
        """Hash everything that determines the reply."""
        return key_of(
            [self.role, self.name, self.endpoint, self.question_id, self.sample_index, self.body],
            self.told,
        )


class Store:
    """The replies in one file; use as a context manager. One process at a time has it open.

    `damaged` holds the numbers of the lines that could not be read, `set_aside` the file that still
    has them; `damage` says both in a line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: list[int] = []
        self.set_aside: Path | None = None
        self.places: dict[str, tuple[int, int]] = {}
        self.failed: set[str] = set()  # keys of requests whose last row is a failure
        self.answered: set[tuple[str, str]] = set()  # names and endpoints that have replied
        self.limits: set[int | None] = set()  # the max_tokens of its requests
        self.total = Tally()
        self.n_torn = 0

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.opened()
        except LockedError as taken:
            raise ValueError(
                f"{self.path} is in use by another run; wait for it, or name another folder or file"
            ) from taken
        except OSError as refused:
            raise ValueError(
                f"the store of completions {str(self.path)!r} cannot be opened: {refused.strerror}"
            ) from refused
        try:
            self.read()
            if self.damaged:
                self.mend()
        except OSError as refused:
            self.file.close()
            raise ValueError(
                f"the store of completions {str(self.path)!r} cannot be read, or its readable rows "
                f"not be saved: {refused.strerror}"
            ) from refused
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

    def opened(self) -> Any:
        """Open and lock the file; another process may just have renamed the one that was opened."""
        while True:
            file = self.path.open("a+b", buffering=0)
            try:
                lock(file)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self.path)):
                    return file
            except FileNotFoundError:
                pass
            except BaseException:
                file.close()
                raise
            file.close()

    def read(self) -> None:
        """Note where each reply stands; a last line that is torn is cut off."""
        self.file.seek(0)
        offset = 0
        with open(os.dup(self.file.fileno()), "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and is_begun(line):
                    self.n_torn = 1
                    break
                if line.strip():
                    self.read_line(line, number, offset)
                offset += len(line)
        if self.n_torn:
            self.file.truncate(offset)

    def read_line(self, line: bytes, number: int, offset: int) -> None:
        """Take up one line, or note that it is damaged."""
        try:
            row = parse_row(line, f"{self.path}:{number}")
        except ValueError:
            self.damaged.append(number)
        else:
            self.note(row, offset, len(line))

    def mend(self) -> None:
        """Set the damaged file aside and go on with a new one that holds its readable rows."""
        now = datetime.now(UTC)
        aside = self.path.with_name(f"{self.path.name}.damaged-{now:%Y%m%d-%H%M%S}")
        while aside.exists():
            aside = aside.with_name(aside.name + "b")
        draft = self.path.with_name(f".{self.path.name}.mended")
        bad = set(self.damaged)
        with draft.open("wb") as good, open(os.dup(self.file.fileno()), "rb") as lines:
            lines.seek(0)
            good.writelines(line for n, line in enumerate(lines, start=1) if n not in bad)
            good.flush()
            os.fsync(good.fileno())
        new = draft.open("a+b", buffering=0)
        lock(new)
        try:
            os.link(self.path, aside)  # a kill between these lines loses no row
        except OSError:  # a file system without links
            self.path.rename(aside)
        draft.rename(self.path)
        self.file.close()
        self.file, self.set_aside = new, aside
        self.places, self.failed, self.total = {}, set(), Tally()
        damaged, self.damaged = self.damaged, []
        self.read()
        self.damaged = damaged

    @property
    def damage(self) -> str | None:
        """Say in one line what was damaged and what became of it; None where nothing was."""
        if not self.damaged:
            return None
        numbers = ", ".join(map(str, self.damaged[:MOST_NAMED]))
        more = ", ..." if len(self.damaged) > MOST_NAMED else ""
        lines = "line" if len(self.damaged) == 1 else "lines"
        return (
            f"{self.path} could not be read in {len(self.damaged)} {lines} ({numbers}{more}): "
            f"{len(self.places)} replies of it were kept, what those lines held is asked again, "
            f"and the damaged file is now {self.set_aside}"
        )

    def note(self, row: dict[str, Any], offset: int, n_bytes: int) -> None:
        """Take up one row."""
        key, reply = row["key"], row["reply"]
        if reply is None:
            if key not in self.places:
                self.failed.add(key)
            return  # it is asked again
        if key not in self.places:
            self.total.add(usage_of(as_mapping(reply.get("usage"))), amount(row.get("cost_usd")))
        self.places[key] = (offset, n_bytes)
        limit = as_mapping(row.get("request")).get("max_tokens")
        self.limits.add(limit if isinstance(limit, int) else None)
        self.failed.discard(key)
        self.answered.add((str(row.get("name")), str(row.get("endpoint"))))

    def get(self, request: Request) -> dict[str, Any] | None:
        """Return the row of a request that was answered, None where it was not."""
        place = self.places.get(request.key) if self.places else None  # a key costs its hash
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
            **({"told": request.told} if request.told else {}),
            "reply": reply,
            "error": error,
            "cost_usd": cost_usd,
            "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = json_bytes(row) + b"\n"
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


def key_of(asked: list[Any], told: Any) -> str:
    """Hash everything that determines a reply."""
    whole = [*asked, *([told] if told else [])]
    return hashlib.sha256(json_bytes(whole, sort_keys=True)).hexdigest()


def is_begun(line: bytes) -> bool:
    """Tell whether a last line without its end is the beginning of a row."""
    return line[: len(BEGINNING)] == BEGINNING[: len(line)]


def parse_row(line: bytes, where: str) -> dict[str, Any]:
    """Read one row.

    Raises:
        ValueError: it is no row of this schema.
    """
    row = parse_object(line, where)
    if row.get("schema") != SCHEMA_VERSION or not isinstance(row.get("key"), str):
        raise ValueError(f"{where}: schema {row.get('schema')!r}, expected {SCHEMA_VERSION}")
    if not isinstance(row.get("reply"), dict | None):
        raise ValueError(f"{where}: a reply that is no object")
    # A row that was changed, or put together of two, is no reply to what it says.
    try:
        key = key_of([row.get(name) for name in ASKED], row.get("told"))
    except RecursionError as deep:
        raise ValueError(f"{where}: {deep}") from deep
    if row["key"] != key:
        raise ValueError(f"{where}: the key is that of another request")
    return {"reply": None, **row}


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the readable rows of a store, which another process may be writing; nothing changes."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_row(line, f"{path}:{number}")
            except ValueError:
                continue


def answered_keys(path: Path) -> set[str]:
    """Return the keys of all requests that a store has a reply to."""
    return {row["key"] for row in rows(path) if row["reply"] is not None}


def as_mapping(value: Any) -> dict[str, Any]:
    """Return an object, {} in place of anything else."""
    return value if isinstance(value, dict) else {}
