"""THE splitter: a completion becomes reasoning, answer_text and a state, here and nowhere else.

Owns which tags open and close reasoning (`TAG_FAMILIES`), and what counts where tags are missing,
doubled, nested, quoted or cut off. Refuses to own what an answer is (`extract`) and what a cut-off
completion is worth (`results`). Standard library only, linear time, defined for every string.

Example, a quoted tag that stays in the answer:

    >>> split("<think>r</think>use the tag </think> so")
    Split(reasoning='r', answer_text='use the tag </think> so', state='closed')

Text is kept as it was sent, white space included, except that reasoning or an answer of nothing but
white space is "". The rules, beyond the shapes that speak for themselves:

- An opener at the start (behind white space and tokens like `<s>`) opens reasoning, closed or not.
- A later block counts where it is closed. A later opener without a closer counts where it begins a
  line, or where the completion was cut off; in the middle of a finished sentence it is a mention.
- A closer that closes nothing ends reasoning that the chat template opened. Once some reasoning has
  ended, a further closer is text, except directly behind the first, where it is a doubled one.
- Pairs inside the reasoning count where they balance; where not, the first closer ends it.
- A tag, or a whole block, directly inside quotes or backticks is a mention wherever it stands.
- Tags of one family do not close another's. Wrappers around the answer (`<|begin_of_solution|>`)
  are tags, and so not part of answer_text.
- Splitting an answer_text again, as content whose reasoning is known, changes nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

NONE = "none"
CLOSED = "closed"
ORPHAN_CLOSE = "orphan_close"
UNCLOSED = "unclosed"
SERVER_SPLIT = "server_split"
EMPTY = "empty"


class Split(NamedTuple):
    """A completion in two parts; `state` is one of the six names above."""

    reasoning: str
    answer_text: str
    state: str


class Piece(NamedTuple):
    """A stretch of the text: `kind` is "reasoning", "answer" or "tag"."""

    kind: str
    text: str


@dataclass(frozen=True)
class TagFamily:
    """Patterns of one way to mark reasoning; they begin with `<`, `[` or `◁`.

    `orphan` is the closer as it may stand without an opener; empty where a bare closer means
    something else (`<|end|>` ends every turn of some models).
    """

    name: str
    opener: str
    closer: str
    orphan: str = ""
    answer_opener: str = ""
    answer_closer: str = ""


def xml_family(name: str) -> TagFamily:
    """Describe `<name>...</name>`, in any letter case."""
    return TagFamily(name, f"(?i:<{name}>)", f"(?i:</{name}>)", f"(?i:</{name}>)")


FINAL_HEADER = r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>"

TAG_FAMILIES = (
    xml_family("think"),  # DeepSeek-R1, Qwen3, QwQ, Phi-4, MiniMax, GLM, Hunyuan
    xml_family("thinking"),
    xml_family("thought"),  # EXAONE Deep
    xml_family("reasoning"),  # the usual format prompt of GRPO tutorials
    xml_family("seed:think"),  # Seed-OSS
    TagFamily("magistral", r"\[THINK\]", r"\[/THINK\]", r"\[/THINK\]"),
    TagFamily("kimi", "◁think▷", "◁/think▷", "◁/think▷"),
    TagFamily(
        "sky_t1",  # Sky-T1, Bespoke-Stratos, OpenThinker
        r"<\|begin_of_thought\|>",
        r"<\|end_of_thought\|>",
        r"<\|end_of_thought\|>",
        r"<\|begin_of_solution\|>",
        r"<\|end_of_solution\|>",
    ),
    TagFamily(
        "command_a",  # Cohere Command A Reasoning
        r"<\|START_THINKING\|>",
        r"<\|END_THINKING\|>",
        r"<\|END_THINKING\|>",
        r"<\|START_RESPONSE\|>",
        r"<\|END_RESPONSE\|>",
    ),
    TagFamily(
        "gpt_oss",  # harmony channels; all but the final one are reasoning
        r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<\n]{0,80}"
        r"(?:<\|constrain\|>[^<\n]{0,80})?<\|message\|>",
        rf"<\|(?:end|call)\|>(?:{FINAL_HEADER})?|{FINAL_HEADER}",
        rf"<\|end\|>{FINAL_HEADER}",
        FINAL_HEADER,
        r"<\|(?:return|end)\|>",
    ),
)

# What a server that returns special tokens puts before the first word.
LEAD_TOKEN = (
    r"<s>|<bos>|<\|(?:begin_of_text|endoftext|assistant)\|>|<\|im_start\|>(?:assistant)?"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<｜(?:begin▁of▁sentence|Assistant)｜>"
)
LEAD = re.compile(rf"(?:\s|{LEAD_TOKEN})*+")
WHITE = re.compile(r"\s*+")
QUOTES = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "«": "»"}


def repeated(tag: str) -> str:
    """Let a tag that a model doubles count once: many repeat what the template wrote."""
    return rf"(?:{tag})(?:\s*+(?:{tag}))*+"


def compile_tags() -> re.Pattern[str]:
    """Build one pattern whose group name is role and number of the family: `o0` opens the first."""
    branches = (
        f"(?P<o{number}>{repeated(family.opener)})|(?P<c{number}>{repeated(family.closer)})"
        for number, family in enumerate(TAG_FAMILIES)
    )
    return re.compile(rf"(?=<[|/a-zA-Z]|\[/?T|◁)(?:{'|'.join(branches)})")


def compiled(patterns: list[str]) -> tuple[re.Pattern[str] | None, ...]:
    """Compile one pattern for each family; an empty one, which would match anything, is None."""
    return tuple(re.compile(pattern) if pattern else None for pattern in patterns)


TAGS = compile_tags()
ORPHANS = compiled([family.orphan and repeated(family.orphan) for family in TAG_FAMILIES])
WRAPPERS = compiled([family.answer_opener for family in TAG_FAMILIES])
WRAPPER_ENDS = compiled(
    [family.answer_closer and rf"(?:{family.answer_closer})\s*+\Z" for family in TAG_FAMILIES]
)
ANY_TOKEN = re.compile("|".join([TAGS.pattern, LEAD_TOKEN, *(p.pattern for p in WRAPPERS if p)]))


def split(
    text: str | None,
    *,
    reasoning: str | None = None,
    finish_reason: str | None = None,
    prefilled: bool = False,
) -> Split:
    """Split a completion into reasoning and answer_text.

    `reasoning` is what the server sent apart (empty is as good as None), `text` then its content.
    `prefilled` says that the chat template already opened the tag. `finish_reason` "length" settles
    what is open: reasoning that was cut off, or a mention.
    """
    cut = finish_reason == "length"
    scan = Scan(text or "", finish_reason, served=bool(reasoning))
    if not reasoning:
        scan.run(prefilled)
        return Split(scan.joined("reasoning"), scan.joined("answer"), scan.state())
    scan.run()
    inline, answer_text = scan.joined("reasoning"), scan.joined("answer")
    if inline.strip() != reasoning.strip():  # some gateways send the reasoning both ways
        inline = reasoning + inline
    state = SERVER_SPLIT if answer_text or cut else EMPTY
    return Split(
        "" if inline.isspace() else inline, answer_text, UNCLOSED if scan.unclosed else state
    )


def pieces(
    text: str, *, finish_reason: str | None = None, prefilled: bool = False, served: bool = False
) -> list[Piece]:
    """Cut a text into the pieces that `split` joins; in their order they are the text again.

    `served` says that the text is content whose reasoning the server sent apart.
    """
    return Scan(text, finish_reason, served).run(prefilled).found


def opens_reasoning(prompt: str) -> bool:
    """Tell whether a prompt ends with an opener, written by the chat template."""
    tail = prompt[-200:].rstrip()
    last = max(TAGS.finditer(tail), key=lambda tag: tag.end(), default=None)
    return last is not None and last.end() == len(tail) and str(last.lastgroup)[0] == "o"


def quoted(text: str, start: int, end: int) -> bool:
    """Tell whether a stretch stands directly between quotes or backticks; a code fence is none."""
    if start == 0 or end >= len(text) or QUOTES.get(text[start - 1]) != text[end]:
        return False
    return text[max(start - 3, 0) : start] != "```"


class Tag(NamedTuple):
    """One tag that is no mention, with the index of its family."""

    start: int
    end: int
    family: int


@dataclass
class Tags:
    """Closers of one family in order, and the one that balances each opener."""

    closers: list[Tag] = field(default_factory=list)
    balanced: dict[int, Tag] = field(default_factory=dict)  # start of the opener -> closer
    stray: Tag | None = None  # the first closer that closes nothing
    still_open: list[Tag] = field(default_factory=list)

    def add_opener(self, tag: Tag) -> None:
        """Note an opener; tags must come in order."""
        self.still_open.append(tag)

    def add_closer(self, tag: Tag) -> None:
        """Note a closer and the opener that it balances."""
        self.closers.append(tag)
        if self.still_open:
            self.balanced[self.still_open.pop().start] = tag
        elif self.stray is None:
            self.stray = tag

    def closer_of(self, opener: Tag) -> Tag | None:
        """Return the closer that ends the block: the balancing one, else the next one."""
        return self.balanced.get(opener.start) or first_from(self.closers, opener.end)


def first_from(tags: list[Tag], position: int) -> Tag | None:
    """Return the first tag that begins at a position or after it."""
    at = bisect_left(tags, position, key=tag_start)
    return tags[at] if at < len(tags) else None


tag_start = attrgetter("start")


class Scan:
    """One pass over one text; `found` are the pieces afterwards."""

    def __init__(self, text: str, finish_reason: str | None, served: bool = False) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.served = served
        self.found: list[Piece] = []
        self.at = 0
        self.unclosed = self.orphaned = self.closed = False
        self.wrapped_by: re.Pattern[str] | None = None
        self.families = [Tags() for _ in TAG_FAMILIES]
        self.openers: list[Tag] = []
        self.opener_at: dict[int, Tag] = {}
        self.closer_end: dict[int, int] = {}  # start -> end
        for match in TAGS.finditer(text):
            self.note(match)

    def note(self, match: re.Match[str]) -> None:
        """File a tag by family, unless it is quoted."""
        start, end = match.span()
        if quoted(self.text, start, end):
            return
        group = str(match.lastgroup)
        tag = Tag(start, end, int(group[1:]))
        if group[0] == "o":
            self.openers.append(tag)
            self.opener_at[start] = tag
            self.families[tag.family].add_opener(tag)
        else:
            orphan = ORPHANS[tag.family]
            if orphan and orphan.fullmatch(self.text, start, end):
                self.closer_end[start] = end
            self.families[tag.family].add_closer(tag)

    def run(self, prefilled: bool = False) -> Scan:
        """Find all pieces."""
        self.take_opened_before(prefilled)
        self.take_answer_start()
        mark = len(self.found), self.at, self.wrapped_by, self.closed
        self.take_later_blocks()
        if self.joins_make_a_tag():
            # Taking the block out of `<thi<think>r</think>nk>` would leave a tag that nobody wrote.
            del self.found[mark[0] :]
            self.at, self.wrapped_by, self.closed = mark[1:]
            self.unclosed = False
            self.emit_answer(len(self.text))
        return self

    def emit(self, kind: str, end: int) -> None:
        """Add the text up to `end` as a piece."""
        if end > self.at:
            self.found.append(Piece(kind, self.text[self.at : end]))
            self.at = end

    def emit_answer(self, end: int) -> None:
        """Add the text up to `end` as answer, without the wrapper's end where that comes last."""
        wrapper_end = self.wrapped_by and self.wrapped_by.search(self.text, self.at, end)
        if wrapper_end:
            self.wrapped_by = None
            self.emit("answer", wrapper_end.start())
            self.emit("tag", wrapper_end.end())
        self.emit("answer", end)

    def joined(self, kind: str) -> str:
        """Join the pieces of a kind; white space alone is ""."""
        text = "".join(piece.text for piece in self.found if piece.kind == kind)
        return "" if text.isspace() else text

    def state(self) -> str:
        """Name the shape."""
        if self.unclosed:
            return UNCLOSED
        if self.orphaned:
            return ORPHAN_CLOSE
        if self.closed:
            return CLOSED
        return NONE if self.joined("answer") else EMPTY

    def take_opened_before(self, prefilled: bool) -> None:
        """Take reasoning whose opener is not in the text."""
        if self.served or self.leading_opener():
            return
        closer = self.stray_closer(prefilled)
        if closer:
            self.orphaned = True
            self.emit("reasoning", closer.start)
            self.emit("tag", closer.end)
            self.wrapped_by = WRAPPER_ENDS[closer.family]
        elif prefilled and self.finish_reason in (None, "length") and self.text.strip():
            self.unclosed = True
            self.emit("reasoning", len(self.text))

    def stray_closer(self, prefilled: bool) -> Tag | None:
        """Return the closer that ends reasoning opened by the template."""
        found = []
        for family, pattern in zip(self.families, ORPHANS, strict=True):
            closer = family.stray
            if closer is None and prefilled and family.closers:
                closer = family.closers[0]
            if closer and pattern and pattern.fullmatch(self.text, closer.start, closer.end):
                found.append(closer)
        first = min(found, default=None)
        if first and not prefilled and self.line_opens_before(first.start):
            return None
        return first

    def line_opens_before(self, position: int) -> bool:
        """Tell whether an opener begins a line before a position: then that is the block."""
        before = (opener for opener in self.openers if opener.start < position)
        return any(self.begins_line(opener.start) for opener in before)

    def begins_line(self, start: int) -> bool:
        """Tell whether only white space stands before, on the line or since the last piece."""
        while start > self.at and self.text[start - 1].isspace():
            start -= 1
            if self.text[start] == "\n":
                return True
        return start == self.at

    def leading_opener(self) -> Tag | None:
        """Return the opener that stands here, behind nothing but white space and lead tokens."""
        return self.opener_at.get(end_of(LEAD, self.text, self.at))

    def take_answer_start(self) -> None:
        """Take what may stand before an answer: blocks, a wrapper, doubled closers."""
        while not self.unclosed:
            opener = self.leading_opener()
            if opener:
                self.emit("tag", opener.start)
                self.take_block(opener)
                continue
            start = end_of(WHITE, self.text, self.at)
            end = self.wrapper_at(start) or self.doubled_closer_at(start)
            if not end:
                return
            self.emit("tag", end)

    def take_block(self, opener: Tag) -> None:
        """Take one block from its opener on; one without a closer takes all the rest."""
        closer = self.families[opener.family].closer_of(opener)
        self.emit_answer(opener.start)
        self.emit("tag", opener.end)
        if closer is None:
            self.unclosed = True
            self.emit("reasoning", len(self.text))
            return
        self.closed = True
        self.emit("reasoning", closer.start)
        self.emit("tag", closer.end)
        self.wrapped_by = WRAPPER_ENDS[closer.family] or self.wrapped_by

    def wrapper_at(self, start: int) -> int:
        """Return the end of the answer's wrapper that begins at `start`, 0 where none does."""
        for pattern, wrapper_end in zip(WRAPPERS, WRAPPER_ENDS, strict=True):
            wrapper = pattern and pattern.match(self.text, start)
            if wrapper:
                self.wrapped_by = wrapper_end
                return wrapper.end()
        return 0

    def doubled_closer_at(self, start: int) -> int:
        """Return the end of a further closer that begins at `start`, 0 where none does."""
        past_reasoning = self.closed or self.orphaned or self.served or self.wrapped_by
        return self.closer_end.get(start, 0) if past_reasoning else 0

    def take_later_blocks(self) -> None:
        """Take what comes after the first words of the answer."""
        at = 0
        while not self.unclosed and at < len(self.openers):
            opener = self.openers[at]
            at += 1
            if opener.start < self.at:
                continue
            closer = self.families[opener.family].closer_of(opener)
            if closer and quoted(self.text, opener.start, closer.end):
                at = bisect_left(self.openers, closer.end, key=tag_start)
            elif closer or self.finish_reason == "length" or self.begins_line(opener.start):
                self.take_block(opener)
                self.take_answer_start()
        self.emit_answer(len(self.text))

    def joins_make_a_tag(self) -> bool:
        """Tell whether the pieces of the answer, put together, hold a tag across a join."""
        answers = [piece.text for piece in self.found if piece.kind == "answer"]
        if len(answers) < 2:
            return False
        joins = list(accumulate(len(text) for text in answers))
        return any(
            joins[bisect_right(joins, token.start())] < token.end()
            for token in ANY_TOKEN.finditer("".join(answers))
        )


def end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where a pattern that matches everywhere stops matching."""
    match = pattern.match(text, at)
    return match.end() if match else at
