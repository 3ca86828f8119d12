"""Whether a log is whole: each segment's records, its torn end, its lines that are no records.

Owns that judgement and its words. Refuses to own reading (log_read) and mending (segments).

    check = Check()
    report = check.segment(Path("runs/base/exchanges-....jsonl"))
    print(report.state, check.n_repeated())
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.exchange import Outcome
from proxy.log_read import Damage, LogReader, Torn, is_packed
from proxy.segments import repair, writer_of
from proxy.text import size


@dataclass(frozen=True)
class SegmentReport:
    """What one segment holds."""

    path: Path
    n_records: int
    n_damaged: int
    damage: tuple[Damage, ...]
    """The first few lines that are no records."""
    torn: Torn | None
    unended: bool
    """Whether the last line is a record without its newline."""
    writer: int | None
    """The process that is writing it; 0 for one whose number is not known."""
    gone: bool = False

    @property
    def repairable(self) -> bool:
        """Whether the end can be mended: nobody writes the segment, and it is not compressed."""
        return bool(self.torn or self.unended) and self.writer is None and not is_packed(self.path)

    @property
    def state(self) -> str:
        """Return what there is to say about the segment."""
        said = []
        if self.gone:
            said.append("gone since")
        if self.writer is not None:
            said.append(f"being written by process {self.writer or '?'}")
        elif self.torn:
            said.append(f"torn last line ({size(self.torn.n_bytes)})")
        elif self.unended:
            said.append("last newline missing")
        if self.n_damaged:
            said.append(f"{several(self.n_damaged, 'line')} damaged")
        return ", ".join(said) or "whole"


class Check:
    """The sums over all segments that were checked."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.schemas: Counter[int] = Counter()
        self.ids = array("Q")
        """64 bits of each request id's hash: 8 bytes a record, however long the ids are."""
        self.n_segments = self.n_damaged = self.n_torn = self.n_repaired = 0

    def segment(self, path: Path) -> SegmentReport:
        """Read a segment.

        Raises:
            OSError: it cannot be read.
        """
        writer = holder_of(path)  # before reading: what is half written now may be whole then
        log = LogReader([path])
        for exchange, _ in log:
            self.outcomes[exchange.outcome] += 1
            self.schemas[exchange.schema] += 1
            self.ids.append(short_hash(exchange.request_id))
        self.n_segments += 1
        self.n_damaged += log.n_damaged
        self.n_torn += bool(log.torn) and writer is None
        return SegmentReport(
            path,
            log.n_records,
            log.n_damaged,
            tuple(log.damage),
            log.torn[0] if log.torn else None,
            bool(log.unended),
            writer,
            bool(log.gone),
        )

    def repair(self, report: SegmentReport) -> str:
        """Mend the end of a segment, and return what was done.

        Raises:
            OSError: it cannot be written.
        """
        try:
            done = repair(report.path)
        except BlockingIOError:
            return f"{report.state}; left alone, another process works on it"
        except FileNotFoundError:
            return f"{report.state}; left alone, just compressed or removed"
        if done is None:
            return f"{report.state}; already repaired"
        if done.torn is None:
            return "repaired, the last newline was missing"
        self.n_repaired += 1
        return f"repaired, {size(done.n_bytes)} now in {done.torn.suffix}"

    def n_repeated(self) -> tuple[int, int]:
        """Return how many ids occur more than once, and how many records these have in all."""
        import numpy as np

        if not self.ids:
            return 0, 0
        hashes = np.frombuffer(self.ids, dtype=np.uint64)
        hashes.sort()  # in place: sorted() would make a list of objects
        starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        counts = np.diff(np.append(starts, len(hashes)))
        repeated = counts[counts > 1]
        return len(repeated), int(repeated.sum())

    def summary(self) -> Iterator[str]:
        """Yield the lines about all segments together."""
        found = [f"{item} {self.outcomes[item]:,}" for item in Outcome if self.outcomes[item]]
        versions = [f"{version}: {n:,}" for version, n in sorted(self.schemas.items())]
        n_ids, n_repeats = self.n_repeated()
        yield ""
        yield f"records   {len(self.ids):,} in {several(self.n_segments, 'segment')}"
        yield f"schema    {', '.join(versions) or '-'}"
        yield f"outcomes  {', '.join(found) or '-'}"
        yield f"repeated  {several(n_ids, 'request id')}" + (
            f", in {n_repeats:,} records (a client's retries, as a rule)" if n_ids else ""
        )
        yield f"torn      {several(self.n_torn, 'segment')}" + (
            f", {self.n_repaired:,} repaired" if self.n_repaired else ""
        )
        yield f"damaged   {several(self.n_damaged, 'line')}"


def holder_of(path: Path) -> int | None:
    """Return the process that is writing a segment, None for nobody."""
    try:
        return writer_of(path)
    except FileNotFoundError:
        return None


def short_hash(request_id: str) -> int:
    """Return 64 bits of a hash; among 10 million ids two share one with a chance of 3 in 10^6."""
    data = request_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def several(count: int, noun: str) -> str:
    """Return a number of things."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
