r"""A stream's events on their way into a message, and when its pieces came.

Owns the order of the short way (stencil) and the long one (one event after the other), and counting
pieces. Refuses to own framing (sse), merging (message), percentiles (gaps) and the record
(recorder).

    stream = StreamReader(builder, None, limit_bytes=16_777_216)
    stream.feed([(12.5, b'data: {"choices": [...]}\\n\\n'), (12.6, b"data: [DONE]\\n\\n")])
    stream.n_chunks, stream.first_at, stream.done      # 1, 12.5, True

Times are those at which pieces arrived, whenever they are fed.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.gaps import Gaps
from proxy.message import MessageBuilder
from proxy.shapes import Reader
from proxy.sse import DONE, SSEParser
from proxy.stencil import Stencils, counted
from proxy.wire_json import parse_json

Piece = tuple[float, bytes]
"""When some bytes came, and these."""


class StreamReader:
    """Reads one stream into `builder`; `reader` makes chat chunks of another shape's events."""

    def __init__(self, builder: MessageBuilder, reader: Reader | None, limit_bytes: int) -> None:
        self.builder = builder
        self.reader = reader
        self.parser = SSEParser(limit_bytes)
        self.stencils = None if reader else Stencils(builder)
        self.gaps = Gaps()
        self.n_chunks = 0
        """Events that carried a piece of the answer."""
        self.first_at: float | None = None
        """When the first of them came."""

    @property
    def done(self) -> bool:
        """Whether `[DONE]` has come."""
        return self.parser.done

    @property
    def n_oversized(self) -> int:
        """How many events were too large to be kept."""
        return self.parser.n_oversized

    def feed(self, pieces: list[Piece]) -> None:
        """Merge what came."""
        if self.stencils is None or self.stencils.credit <= 0:
            self.take_events((at, self.parser.feed(data)) for at, data in pieces)
        else:
            self.take_pieces(pieces, self.stencils)

    def rest(self) -> list[bytes]:
        """Return the events that the stream's end completes, or leaves incomplete."""
        return self.parser.close()

    def take_pieces(self, pieces: list[Piece], stencils: Stencils) -> None:
        """Merge pieces of a stream: at once where all events are alike, else in parts.

        What is left in the end are single events that are not, or parts of one.
        """
        parser = self.parser
        waiting = [pieces] if pieces else []
        while waiting:
            pieces = waiting.pop()
            stencil = stencils.find(pieces[0][1], pieces[-1][1])
            if stencil is not None and stencils.credit > 0 and parser.between_events:
                block = b"".join([data for _, data in pieces])
                small = len(block) <= parser.max_event_bytes
                texts = stencils.merge(stencil, block) if small else None
                if texts is not None:
                    self.count_pieces(counted(pieces, texts))
                    continue
            at, data = pieces[0]
            if stencils.credit <= 0:
                self.take_events((at, parser.feed(data)) for at, data in pieces)
            elif len(pieces) > 1:
                stencils.credit -= 1
                middle = len(pieces) // 2
                waiting += [pieces[middle:], pieces[:middle]]
            elif parts := stencils.parts(data, parser.between_events):
                stencils.credit -= 1
                waiting += [[(at, parts[1])], [(at, parts[0])]]
            else:
                self.take_events([(at, parser.feed(data))])

    def take_events(self, arrivals: Iterable[tuple[float, list[bytes]]]) -> None:
        """Merge SSE events, given with the time at which they arrived."""
        add, reader, stencils = self.builder.add, self.reader, self.stencils
        times: list[float] = []
        for at, events in arrivals:
            for event in events:
                try:
                    chunk = parse_json(event)
                except (ValueError, RecursionError) as error:
                    if event.strip() != DONE:
                        self.builder.unreadable(event, error)
                    continue
                if reader is not None:
                    chunk = reader(chunk)
                if add(chunk, len(event)):
                    times.append(at)
                    if stencils is not None and stencils.credit > 0:
                        stencils.learn(event)
        self.count_pieces(times)

    def count_pieces(self, times: list[float]) -> None:
        """Note when pieces of the answer arrived."""
        if times:
            self.n_chunks += len(times)
            if self.first_at is None:
                self.first_at = times[0]
            self.gaps.pieces(times)
