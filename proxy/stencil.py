r"""Runs of events that differ in one text alone, read at once: nearly all of an ordinary stream.

Owns what such events have in common, how that is learnt from one of them, and reading a run.
Refuses to own what an event means (message): a stencil is used only where the long way would do
nothing but add its text, and any other event goes that way.

    >>> builder = MessageBuilder()
    >>> stencils = Stencils(builder)
    >>> event = b'{"choices":[{"index":0,"delta":{"content":"4"}}]}'
    >>> builder.add(parse_json(event), len(event)), stencils.learn(event)
    (True, None)
    >>> stencils.kept[0].merge(b"data: " + event.replace(b"4", b"2") + b"\n\n", builder)
    ['2']
    >>> builder.message().content
    '42'

Two are kept: reasoning and content, or two choices, may alternate.
"""

from __future__ import annotations

import re
from itertools import compress
from typing import Any

import orjson

from proxy.choice import Choice
from proxy.message import MessageBuilder, says_nothing
from proxy.wire_json import parse_json

N_KEPT = 2
CREDIT = 64
LESSON = 8
"""What a lesson costs of the credit; a cut costs 1, and each event read along with another earns 1.
So a stream with something else in each event is soon left to the long way, for good."""
FIRST_SHARE = 16
"""Of a piece, one in so many is looked at first for something to learn."""
N_PLACES = 4
"""Of a text in an event that are tried."""
PLACE = re.compile(
    rb'"(content|reasoning_content|reasoning)"[ \t]*:[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"'
)
"""Where the text may stand. What matches may lie anywhere, even in a string: it must be proven."""


class Stencil:
    """What is around the text: `data: ` and the event before it, the rest and a blank line after.

    Neither holds a line's end otherwise, and no JSON string does. So whatever lies between the two
    is whole events of one line each, once their texts are found to be strings.
    """

    __slots__ = ("choice", "field", "frame", "head", "item", "joint", "tail")

    def __init__(self, around: tuple[bytes, bytes], field: str) -> None:
        self.head = b"data: " + around[0]
        self.tail = around[1] + b"\n\n"
        self.joint = self.tail + self.head
        self.field = field
        self.frame: dict[str, Any] = {}
        self.item: dict[str, Any] = {}
        self.choice = Choice()

    def merge(self, block: bytes, builder: MessageBuilder) -> list[str] | None:
        """Add the texts of a block of events; None, and nothing added, where it is not that.

        All else must be as ever. The texts are read as one JSON list: an unescaped quote in one of
        them would make for more strings than there are texts, or for something that is no string;
        an escape that begins in one and ends outside would do so too, were it not looked for.
        """
        if self.frame is not builder.frame:
            return None
        start, end = len(self.head), 2 - len(self.tail)
        lines = block.split(b"\n")  # of which every second is blank
        parts = [line[start:end] for line in lines[:-1:2]]
        data = b'["' + b'","'.join(parts) + b'"]'
        if b'\\","' in data or data.endswith(b'\\"]'):
            return None
        if self.head + self.joint.join(parts) + self.tail != block:
            return None
        try:
            texts: list[str] = orjson.loads(data)
            joined = "".join(texts)
        except (orjson.JSONDecodeError, TypeError):
            return None
        if len(texts) != len(parts) or len(joined) > builder.left:
            return None
        builder.n_added += len(texts)
        builder.quiet_item, builder.quiet_choice = self.item, self.choice
        builder.add_text(self.choice, self.field, joined)
        return texts


class Stencils:
    """Learns stencils from the events of one stream, and keeps the two used last."""

    def __init__(self, builder: MessageBuilder) -> None:
        self.builder = builder
        self.kept: list[Stencil] = []
        self.credit = CREDIT
        """Not above 0: given up."""
        self.learnt = False
        """Whether the latest stencil has been of use."""

    def merge(self, stencil: Stencil, block: bytes) -> list[str] | None:
        """Add the texts of a block of events, see Stencil.merge."""
        texts = stencil.merge(block, self.builder)
        if texts is not None:
            self.credit = min(CREDIT, self.credit + len(texts) - 1)
            self.learnt = True
        return texts

    def find(self, first: bytes, last: bytes) -> Stencil | None:
        """Return the stencil that pieces begin and end with, which is the latest from now on."""
        for stencil in self.kept:
            if first.startswith(stencil.head) and last.endswith(stencil.tail):
                if stencil is not self.kept[0]:
                    self.kept.reverse()
                return stencil
        return None

    def parts(self, data: bytes, between_events: bool) -> tuple[bytes, bytes] | None:
        """Cut a piece in two behind a blank line, whole events apart from begun ones.

        None for a piece that holds the end of one event at most.
        """
        end = data.rfind(b"\n\n") + 2
        at = data.find(b"\n\n") + 2
        if at >= end:
            return None
        if between_events:
            found = data.rfind(self.kept[0].tail) if self.kept else -1
            last = found + len(self.kept[0].tail) if found >= 0 else end
            if last == len(data):  # it ends as it should, so what is odd may be anywhere
                share = 2 if self.learnt else FIRST_SHARE
                last = data.rfind(b"\n\n", 0, end // share) + 2
            at = max(at, last)
        return data[:at], data[at:]

    def learn(self, event: bytes) -> None:
        """Take a stencil from the event that the builder took last, if it is an ordinary one."""
        known = self.find(b"data: " + event, event + b"\n\n")
        if known is not None and known.frame is self.builder.frame:
            return  # an event that came in parts
        self.credit -= LESSON
        self.learnt = False
        try:
            found = self.proven(event)
        except (ValueError, RecursionError):
            found = None
        if found is not None:  # one known may come again, after events with another frame
            others = [stencil for stencil in self.kept if stencil.joint != found.joint]
            self.kept = [found, *others[: N_KEPT - 1]]

    def proven(self, event: bytes) -> Stencil | None:
        """Return the stencil of an event; None where it is not certain to hold.

        Put before a string's own characters, an `x` begins the text of the delta. So the place is
        that text, all of it, and no other: outside strings no `x` is JSON, and in another string it
        would leave this one as it was.
        """
        if b"\n" in event:
            return None
        original = parse_json(event)
        for number, match in enumerate(PLACE.finditer(event)):
            field, (start, end) = match[1].decode(), match.span(2)
            around = event[:start], event[end:]
            text = text_of(original, field)
            if number == N_PLACES:
                return None
            if not text:
                continue
            changed = parse_json(around[0] + b"x" + event[start:end] + around[1])
            if text_of(changed, field) == "x" + text:
                return self.quiet(Stencil(around, field), original)
        return None

    def quiet(self, stencil: Stencil, chunk: dict[str, Any]) -> Stencil | None:
        """Return the stencil if the builder does nothing with such a chunk but adding its text."""
        (item,) = chunk.pop("choices")
        delta = item.pop("delta")
        index = item.get("index")
        choice = self.builder.choices.get(index) if type(index) is int else None
        rest = [value for name, value in delta.items() if name not in ("role", stencil.field)]
        if choice is None or stencil.field not in choice.text or not says_nothing(item):
            return None
        if chunk != self.builder.frame or any(value not in (None, "", []) for value in rest):
            return None
        stencil.frame, stencil.item, stencil.choice = self.builder.frame, item, choice
        return stencil


def counted(run: list[tuple[float, bytes]], texts: list[str]) -> list[float]:
    """Return when each text of a run came; an empty one is no piece of the answer."""
    if len(texts) == len(run):
        times = [at for at, _ in run]
        return times if "" not in texts else list(compress(times, texts))
    times = []
    start = 0
    for at, data in run:
        end = len(texts) if len(run) == 1 else start + data.count(b"\n") // 2
        times += [at] * (end - start - texts[start:end].count(""))
        start = end
    return times


def text_of(chunk: Any, field: str) -> str | None:
    """Return a field of the delta of a chunk's only choice, where it is a text."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    item = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = item.get("delta") if isinstance(item, dict) else None
    text = delta.get(field) if isinstance(delta, dict) else None
    return text if isinstance(text, str) else None
