"""The exchanges of log files of any size, in a database of their own for as long as a report runs.

Owns the reading of logs into DuckDB, which lies in a temporary folder with little memory and room
to spill, and what of the logs was damaged. Refuses to own what is kept of an exchange (`exchanges`)
and whose it is (`joining`).

    with Logs.read([Path("runs/base-log")], marks) as logs:
        logs.rows("SELECT count(*) FROM wires")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.reading.asked import digest
from analysis.reading.exchanges import COLUMNS, FILE_BYTES, LogPart, LogPiece, read_log_piece
from analysis.reading.lines import pieces_of, size_of
from analysis.reading.quality import DUPLICATE, MIXED, TORN, Damage, Finding
from analysis.reading.scratch import Scratch
from analysis.reading.workers import PROCESSES, each
from proxy.exchange import find_logs, one_form_each

if TYPE_CHECKING:
    import duckdb

MEMORY = "256MB"  # what DuckDB may hold; beyond it, it spills to the temporary folder
LONGEST_ROW = 16 * 1024 * 1024  # bytes of what is kept of one exchange
FETCHED = 10_000  # rows


@dataclass
class Logs:
    """The exchanges of the given logs that samples may ask for, in a database of their own."""

    files: list[Path] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    quality: list[Finding] = field(default_factory=list)
    used: set[tuple[str, int]] = field(default_factory=set)  # file and byte of those joined
    scratch: Scratch | None = None
    db: duckdb.DuckDBPyConnection | None = None

    @classmethod
    def read(
        cls, logs: Iterable[Path], wanted: Collection[int], reserved: Collection[str] = ()
    ) -> Logs:
        """Read the logs: folders of `exchanges-*.jsonl[.gz|.zst]`, such files, or patterns.

        They are read by name, which is by the time they began, however they were given. `wanted`
        are the marks of what samples may ask for, `reserved` the request ids that they name.

        Raises:
            ValueError: no log there, or a file that holds lines and no exchange.
            OSError: a file that cannot be read, or no room in the temporary folder.
        """
        found = one_form_each(file.resolve() for log in logs for file in find_logs(log))
        own = cls(files=sorted(found, key=lambda file: (file.name, file)))
        if found:
            own.scratch = Scratch()
            try:
                with own.scratch.room():
                    own.read_files(own.scratch.path, wanted)
                own.put("reserved", request=(map(digest, reserved), "string"))
            except BaseException:
                own.close()
                raise
        return own

    def __enter__(self) -> Logs:
        """Return itself."""
        return self

    def __exit__(self, *problem: object) -> None:
        """Close the database and remove it."""
        self.close()

    def close(self) -> None:
        """Close the database and remove it."""
        try:
            if self.db is not None:
                self.db.close()
        finally:
            self.db = None
            if self.scratch is not None:
                self.scratch.close()
                self.scratch = None

    def read_files(self, folder: Path, wanted: Collection[int]) -> None:
        """Read all files into the database.

        Raises:
            ValueError: a file that holds lines and no exchange.
        """
        tasks = [
            LogPiece(piece, number, folder / f"part-{number}-{piece.start}.jsonl")
            for number, file in enumerate(self.files)
            for piece in pieces_of(file)
        ]
        work = partial(read_log_piece, wanted=wanted)
        schemas: Counter[int] = Counter()
        with closing(each(work, tasks, sum(map(size_of, self.files)))) as found:
            parts = zip(tasks, found, strict=True)
            for number, own in groupby(parts, key=lambda part: part[0].file):
                schemas += self.take(self.files[number], [part for _, part in own])
        if len(schemas) > 1:
            told = ", ".join(f"{n} of schema {one}" for one, n in sorted(schemas.items()))
            first = str(self.files[0].parent)
            self.quality.append(Finding(MIXED, first, sum(schemas.values()), f"exchanges: {told}"))
        self.fill(folder, [task.part for task in tasks])

    def take(self, path: Path, parts: list[LogPart]) -> Counter[int]:
        """Take over what a file's pieces were found to hold; return its exchanges by schema.

        Raises:
            ValueError: it holds lines and no exchange.
        """
        damage, schemas, n_lines = Damage(), Counter[int](), 0
        for part in parts:
            damage.merge(part.damage.seen, n_lines)
            schemas += part.schemas
            n_lines += part.n_lines
            self.counts.update(part.counts)
        if not schemas and damage.seen.keys() - {TORN}:
            raise ValueError(f"no exchange in the log {path}: {damage.first()}")
        self.quality += damage.findings(path)
        return schemas

    def fill(self, folder: Path, parts: list[Path]) -> None:
        """Move the part files into the database."""
        import duckdb

        self.db = duckdb.connect(
            str(folder / "exchanges.duckdb"),
            config={
                "memory_limit": MEMORY,
                "threads": PROCESSES,
                "temp_directory": str(folder / "spill"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
            },
        )
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        self.db.execute(
            f"CREATE TABLE wires AS FROM read_json(?, format='newline_delimited', "
            f"maximum_object_size={LONGEST_ROW}, columns={{{columns}}})",
            [[str(part) for part in parts]],
        )
        for part in parts:
            part.unlink()
        self.db.execute(
            "CREATE TABLE ids AS SELECT request, models, max(n) AS n, count(*) AS times "
            "FROM wires GROUP BY ALL"
        )
        self.db.execute(
            "CREATE TABLE texts AS SELECT n, request, messages, models, unnest(texts) AS text "
            "FROM wires"
        )
        self.tell_repeated_ids()

    def tell_repeated_ids(self) -> None:
        """Count the request ids that stand more than once in the log."""
        count, extra, last = self.rows(
            "SELECT count(*), sum(times - 1), max(n) FROM ids WHERE times > 1"
        )[0]
        if count:
            path, at = self.place(last)
            text = f"request ids that {count + extra} exchanges share: a retry, or a second run"
            self.quality.append(Finding(DUPLICATE, f"{path}, byte {at}", count, text))

    @property
    def n_unused(self) -> int:
        """Return how many whole exchanges were joined with no sample so far."""
        return self.counts["complete"] - len(self.used)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return list(self.stream(query))

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, a few at a time."""
        if self.db is None or self.scratch is None:
            return
        with self.scratch.room():
            found = self.db.execute(query)
            while rows := found.fetchmany(FETCHED):
                yield from rows

    def place(self, n: int) -> tuple[str, int]:
        """Return file and byte of an exchange."""
        return str(self.files[n // FILE_BYTES]), n % FILE_BYTES

    def put(self, table: str, **columns: tuple[Iterable[Any], str]) -> None:
        """Write columns to a table of their own."""
        import pyarrow as pa  # type: ignore[import-untyped]

        types = {"int64": pa.int64(), "string": pa.string(), "names": pa.list_(pa.string())}
        arrays = {name: pa.array(values, types[kind]) for name, (values, kind) in columns.items()}
        if self.db is None or self.scratch is None:
            return
        with self.scratch.room():
            self.db.register("batch", pa.table(arrays))
            self.db.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM batch")
            self.db.unregister("batch")
