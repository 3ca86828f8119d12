r"""Server-sent events out of a byte stream that may be cut anywhere.

Owns the framing: lines (\n, \r\n, \r), comments, `data` lines of one event, a missing last newline.
Refuses to own what the events mean (message) and the bytes to the client, which never pass here.
Lines end at CR and LF only: U+2028 and the like inside a JSON string are text.

    >>> parser = SSEParser()
    >>> parser.feed(b'data: {"a":'), parser.feed(b"1}\n\ndata: [DO"), parser.feed(b"NE]\n\n")
    ([], [b'{"a":1}'], [b'[DONE]'])

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
Deviation: an event without its closing blank line is given out at the end (some servers stop
without it); the standard throws it away.
"""

from __future__ import annotations

DONE = b"[DONE]"
DONE_LINE = b"data: [DONE]"
BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 64 * 1024 * 1024


class SSEParser:
    """Incremental parser: feed() bytes as they come, then close() once.

    An event above `max_event_bytes` is thrown away and counted in `n_oversized`, so memory stays
    bounded whatever the server sends.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.n_oversized = 0
        self.done = False
        """Whether the `[DONE]` that ends an OpenAI stream has come, its newline included or not."""
        self.pieces: list[bytes] = []  # of the line that has not ended yet
        self.n_pending = 0  # bytes of those pieces and of the event's data lines
        self.data: list[bytes] = []
        self.at_start = True
        self.after_cr = False
        self.skipping = False

    @property
    def between_events(self) -> bool:
        """Whether nothing is left of an event or of its line's end, so that one begins next."""
        begun = self.pieces or self.data or self.skipping
        return not (begun or self.at_start or self.after_cr)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of every event that this chunk completes.

        What is left of a begun event, and what begins one, is read line by line (`feed_lines`);
        the whole events between the two are split at once, which is several times faster.
        """
        if self.after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self.after_cr = False
        if b"\r" in chunk or len(chunk) > self.max_event_bytes:
            return self.feed_lines(chunk)
        resumes = self.pieces or self.data or self.skipping or self.at_start
        if (
            not resumes
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
        ):
            event = chunk[6:-2]  # a server's piece is one event, most often
            self.done = self.done or event == DONE
            return [event]
        events: list[bytes] = []
        start = 0
        if resumes:
            start = chunk.find(b"\n\n") + 2  # from here on, events stand on their own
            if start == 1:
                return self.feed_lines(chunk)
            events = self.feed_lines(chunk[:start])
        end = chunk.rfind(b"\n\n", start)
        if end > 0:
            events += self.plain_events(chunk[start:end])
            start = end + 2
        if start < len(chunk):
            events += self.feed_lines(chunk[start:])
        return events

    def plain_events(self, block: bytes) -> list[bytes]:
        """Return the data of whole events, the last one's blank line left out.

        Nearly every event is one `data: ` line; a block with any other is read line by line.
        """
        events = block.split(b"\n\n")
        for event in events:
            if not event.startswith(b"data: ") or b"\n" in event:
                return self.feed_lines(block + b"\n\n")
        found = [event[6:] for event in events]
        if DONE in found:
            self.done = True
        return found

    def feed_lines(self, chunk: bytes) -> list[bytes]:
        """Return the data of every event that this chunk completes, read line by line."""
        if not chunk:
            return []
        self.after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines(keepends=True)  # of bytes: at CR, LF and CRLF only
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        events = []
        for line in lines:
            event = self.end_line(line.rstrip(b"\r\n"))
            if event is not None:
                events.append(event)
        if rest:
            self.hold(rest)
            if len(self.pieces) <= len(DONE_LINE):
                self.look_for_done(b"".join(self.pieces))
        return events

    def close(self) -> list[bytes]:
        """Return the last event where the stream ended without its blank line."""
        events = [self.end_line(b"")] if self.pieces else []
        events.append(self.end_event())
        return [event for event in events if event is not None]

    def end_line(self, tail: bytes) -> bytes | None:
        """Take the end of a line; return the event's data when it was the blank line after it."""
        if not self.pieces:
            line = tail
        else:
            line = b"".join((*self.pieces, tail))
            self.n_pending -= len(line) - len(tail)
            self.pieces.clear()
        if self.at_start:
            line = line.removeprefix(BOM)
            self.at_start = False
        if not line:
            return self.end_event()
        value = data_of(line)
        if value is not None and not self.skipping:
            self.keep(value)
            self.look_for_done(line)
        return None

    def end_event(self) -> bytes | None:
        """Close the event; None when it had no data or was too large."""
        data, skipped = self.data, self.skipping
        self.data, self.n_pending, self.skipping = [], 0, False
        if skipped:
            self.n_oversized += 1
            return None
        return b"\n".join(data) if data else None

    def keep(self, value: bytes) -> None:
        """Add a data line to the event, unless that would make it too large."""
        self.n_pending += len(value) + 1
        self.data.append(value)
        if self.n_pending > self.max_event_bytes:
            self.data, self.skipping = [], True

    def hold(self, piece: bytes) -> None:
        """Add to the unfinished line, unless that would make the event too large."""
        self.n_pending += len(piece)
        if self.n_pending > self.max_event_bytes:
            self.data, self.skipping = [], True
        if self.skipping:
            self.pieces = [b":"]  # the line's rest is read as a comment
        else:
            self.pieces.append(piece)

    def look_for_done(self, line: bytes) -> None:
        """Note the end marker as soon as its last byte is there, before its newline."""
        if line.endswith(DONE) and data_of(line) == DONE:
            self.done = True


def data_of(line: bytes) -> bytes | None:
    """Return the value of a `data` line; None for comments and every other field."""
    if line.startswith(b"data:"):
        value = line[5:]
        return value[1:] if value.startswith(b" ") else value
    return b"" if line == b"data" else None
