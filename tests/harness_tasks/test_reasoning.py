"""The splitter: the table of shapes, its properties on any string, and published completions."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from harness_tasks.reasoning import TAG_FAMILIES, Split, pieces, split
from tests.conftest import SHARED, needs_shared

OUTPUTS = SHARED / "data" / "outputs"
ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"

TABLE = [
    ("answer", {}, ("", "answer", "none")),
    ("<think>r</think>a", {}, ("r", "a", "closed")),
    ("r</think>a", {}, ("r", "a", "orphan_close")),
    ("r</think>a", {"prefilled": True}, ("r", "a", "orphan_close")),
    ("<think>r", {}, ("r", "", "unclosed")),
    ("<think>r", {"finish_reason": "stop"}, ("r", "", "unclosed")),
    ("r", {"prefilled": True, "finish_reason": "length"}, ("r", "", "unclosed")),
    ("a", {"reasoning": "r"}, ("r", "a", "server_split")),
    ("", {"reasoning": "r", "finish_reason": "length"}, ("r", "", "server_split")),
    ("", {"reasoning": "r", "finish_reason": "stop"}, ("r", "", "empty")),
    (None, {"reasoning": "r", "finish_reason": "stop"}, ("r", "", "empty")),
    ("<think>r</think>use the tag </think> so", {}, ("r", "use the tag </think> so", "closed")),
    ("<think>r1</think>a1<think>r2</think>a2", {}, ("r1r2", "a1a2", "closed")),
    ("<think>\n\n</think>a", {}, ("", "a", "closed")),
    ("", {}, ("", "", "empty")),
]

FURTHER = [
    ("\n \n", {}, ("", "", "empty")),
    ("<THINK>r</Think>a", {}, ("r", "a", "closed")),
    ("\n<think>\nr\n</think>\n\na\n", {}, ("\nr\n", "\n\na\n", "closed")),
    ("<|im_start|>assistant\n<think>r</think>a", {}, ("r", "a", "closed")),
    ("<s><think>r", {}, ("r", "", "unclosed")),
    ("</think>a", {}, ("", "a", "orphan_close")),
    # Nothing closes what the template opened: a model that stopped by itself did not reason.
    ("a", {"prefilled": True, "finish_reason": "stop"}, ("", "a", "none")),
    ("r", {"prefilled": True}, ("r", "", "unclosed")),
    ("<think>r</think>a", {"prefilled": True}, ("r", "a", "closed")),
    ("use <think> so</think>a", {"prefilled": True}, ("use <think> so", "a", "orphan_close")),
    # The template opened the tag, and the reasoning mentions the pair.
    ("use <think> </think> so</think>a", {}, ("use <think> </think> so", "a", "orphan_close")),
    # Doubled and nested.
    ("<think><think>r</think>a", {}, ("r", "a", "closed")),
    ("<think>\n<think>r</think>\n</think>a", {}, ("r", "a", "closed")),
    ("<think>p<think>q</think>r</think>a", {}, ("p<think>q</think>r", "a", "closed")),
    ("<think>p<think>q</think>a", {}, ("p<think>q", "a", "closed")),
    ("<think>r</think></thinking>a", {}, ("r", "a", "closed")),
    # Mentions.
    ("write `<think>` first", {}, ("", "write `<think>` first", "none")),
    ("the tag `</think>` ends it", {}, ("", "the tag `</think>` ends it", "none")),
    ('"<think>x</think>" is a block', {}, ("", '"<think>x</think>" is a block', "none")),
    ("it is `<think>x</think>`", {}, ("", "it is `<think>x</think>`", "none")),
    ("<think>not `</think>` yet</think>a", {}, ("not `</think>` yet", "a", "closed")),
    ("<think>not `</think>` yet", {}, ("not `</think>` yet", "", "unclosed")),
    ("<think>```x```</think>```a```", {}, ("```x```", "```a```", "closed")),
    ("say <think> first", {}, ("", "say <think> first", "none")),
    # An opener without a closer, later: a line of its own, or the cut, tells it from a mention.
    ("say <think> first", {"finish_reason": "length"}, (" first", "say ", "unclosed")),
    ("Sure.\n<think>r", {}, ("r", "Sure.\n", "unclosed")),
    ("<think>r</think>\n<think>q", {}, ("rq", "", "unclosed")),
    ("<think>r</think>a\n<think>q", {}, ("rq", "a\n", "unclosed")),
    ("Sure.\n<think>\nr\n</think>\nsay </think>", {}, ("\nr\n", "Sure.\n\nsay </think>", "closed")),
    # What the server sent apart, with tags in its content as well.
    ("<think>r2</think>a", {"reasoning": "r1"}, ("r1r2", "a", "server_split")),
    ("<think>r</think>a", {"reasoning": "r\n"}, ("r", "a", "server_split")),
    ("<think>q", {"reasoning": "r"}, ("rq", "", "unclosed")),
    ("\n</think>\na", {"reasoning": "r"}, ("r", "\na", "server_split")),
    ("the tag </think> so", {"reasoning": "r"}, ("r", "the tag </think> so", "server_split")),
    ("<think>r</think>a", {"reasoning": ""}, ("r", "a", "closed")),
    ("a", {"reasoning": ""}, ("", "a", "none")),
    ("a", {"reasoning": "\n\n"}, ("", "a", "server_split")),
    (" \n", {"reasoning": "r", "finish_reason": "stop"}, ("r", "", "empty")),
    # Other families; a tag of one closes no other.
    ("<think>r</thinking>s</think>a", {}, ("r</thinking>s", "a", "closed")),
    ("[THINK]r[/THINK]a", {}, ("r", "a", "closed")),
    ("r[/THINK]a", {}, ("r", "a", "orphan_close")),
    (
        "<|begin_of_thought|>r<|end_of_thought|>\n\n<|begin_of_solution|>a<|end_of_solution|>",
        {},
        ("r", "a", "closed"),
    ),
    ("<|begin_of_solution|>a<|end_of_solution|>", {}, ("", "a", "none")),
    ("r<|end_of_thought|><|begin_of_solution|>a", {}, ("r", "a", "orphan_close")),
    (f"{ANALYSIS}r<|end|>{FINAL}a<|return|>", {}, ("r", "a", "closed")),
    (f"{ANALYSIS}r{FINAL}a", {}, ("r", "a", "closed")),
    (f"{ANALYSIS}r<|end|><|start|>assistant{ANALYSIS}s<|end|>{FINAL}a", {}, ("rs", "a", "closed")),
    (f"{ANALYSIS}r", {}, ("r", "", "unclosed")),
    (f"r<|end|>{FINAL}a", {}, ("r", "a", "orphan_close")),
    ("<|channel|>final<|message|>a", {}, ("", "a", "none")),
    ("a<|end|>", {}, ("", "a<|end|>", "none")),
    # No tag may come into being where a block was taken out.
    ("<thi<think>r</think>nk>a", {}, ("", "<thi<think>r</think>nk>a", "none")),
]


@pytest.mark.parametrize(("text", "said", "expected"), TABLE + FURTHER)
def test_shape(text: str | None, said: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert split(text, **said) == Split(*expected)


@pytest.mark.parametrize("family", TAG_FAMILIES, ids=lambda family: family.name)
def test_every_family_names_its_model_tags_without_overlap(family: Any) -> None:
    assert [f.name for f in TAG_FAMILIES].count(family.name) == 1
    assert family.opener != family.closer


FRAGMENTS = [
    *("<think>", "</think>", "<Think>", "<thinking>", "</thinking>", "<reasoning>", "</reasoning>"),
    *("[THINK]", "[/THINK]", "<|begin_of_thought|>", "<|end_of_thought|>"),
    *("<|begin_of_solution|>", "<|end_of_solution|>", ANALYSIS, "<|end|>", FINAL, "<|return|>"),
    *("<s>", "<|im_start|>assistant", "<thi", "nk>", "</thi", "<", ">", "`", '"', "```"),
    *(" ", "\n", "a", "b c", "\\boxed{5}", "\x00", "\ud800"),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
FINISH = st.sampled_from([None, "stop", "length"])


@settings(deadline=None)
@given(st.one_of(TEXTS, st.text()), FINISH, st.booleans())
def test_pieces_rebuild_the_text_and_the_split(
    text: str, finish_reason: str | None, prefilled: bool
) -> None:
    found = pieces(text, finish_reason=finish_reason, prefilled=prefilled)
    assert "".join(piece.text for piece in found) == text
    result = split(text, finish_reason=finish_reason, prefilled=prefilled)
    for kind, part in (("reasoning", result.reasoning), ("answer", result.answer_text)):
        joined = "".join(piece.text for piece in found if piece.kind == kind)
        assert part == joined or (joined.isspace() and part == "")


@settings(deadline=None)
@given(TEXTS, FINISH, st.booleans())
@example("<think>r</think><s<think>q</think>><think>z", None, False)
@example("<|end_of_thought|><|end_of_solution|><think>", None, False)
@example("<think>r</think>a</think><think>x</think></think>b", None, False)
def test_splitting_an_answer_text_again_changes_nothing(
    text: str, finish_reason: str | None, prefilled: bool
) -> None:
    answer_text = split(text, finish_reason=finish_reason, prefilled=prefilled).answer_text
    assert split(answer_text, reasoning="r")[:2] == ("r", answer_text)
    if not any(closer in answer_text.lower() for closer in ("</", "[/", "<|end")):
        assert split(answer_text)[:2] == ("", answer_text)


@settings(deadline=None)
@given(st.sampled_from(["", "\n", "<s>"]), st.sampled_from(FRAGMENTS[:9:2]), TEXTS, FINISH)
def test_nothing_of_a_think_that_stays_open_is_answer(
    lead: str, opener: str, rest: str, finish_reason: str | None
) -> None:
    text = lead + "<think>" + opener + rest
    assume("</think>" not in text)
    assert split(text, finish_reason=finish_reason) == (
        split(text, finish_reason=finish_reason).reasoning,
        "",
        "unclosed",
    )


@settings(deadline=None)
@given(TEXTS.filter(bool), TEXTS, FINISH)
def test_what_the_server_sent_apart_never_reaches_the_answer(
    reasoning: str, content: str, finish_reason: str | None
) -> None:
    with_it = split(content, reasoning=reasoning, finish_reason=finish_reason)
    assert with_it.answer_text == split(content, reasoning="r", finish_reason=finish_reason)[1]


@pytest.mark.parametrize("fragment", ["<think>", "<think></think>", "<", "x<think>"])
def test_ten_megabytes_are_split(fragment: str) -> None:
    assert_total(fragment, 10_000_000)


@pytest.mark.parametrize(
    "fragment",
    [
        *("</think>", "<think>x", "<tHiNk>", "<think>x<think></think>", "`<think>`", "\n", "<s>"),
        *("x<think>x<think>x</think>", "\n <think>a", "<think><thinking></think></thinking>"),
        *("x </think>", "<|end|>", "[THINK]x[/THINK]\ny", FINAL, ANALYSIS[:-2]),
    ],
)
def test_one_megabyte_of_anything_is_split(fragment: str) -> None:
    assert_total(fragment, 1_000_000)


def assert_total(fragment: str, n_chars: int) -> None:
    text = fragment * (n_chars // len(fragment))
    result = split(text)
    assert len(result.reasoning) + len(result.answer_text) <= len(text)


def rows(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(OUTPUTS / path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


PUBLISHED = [  # counts of tags are those of the data's own provenance note
    ("gsm8k/reasoninggym__Qwen-2.5-3B-rlft", {"closed": 1315, "unclosed": 4}),
    ("gsm8k/reasoninggym__Qwen2.5-3B-Instruct", {"none": 1319}),
    ("aime24/reasoninggym__Qwen-2.5-3B-rlft", {"closed": 29, "unclosed": 1}),
    ("aime24/skythought__Sky-T1-math-correct-5K-32B-ckpt133", {"closed": 21, "unclosed": 9}),
    (
        "math500/skythought__Sky-T1-math-correct-5K-27B",
        {"none": 210, "closed": 194, "unclosed": 94, "orphan_close": 2},
    ),
    ("math500/skythought__gemma-2-27b-it", {"none": 500}),
]


@needs_shared
@pytest.mark.parametrize(("name", "states"), PUBLISHED)
def test_published_completions_have_the_states_that_their_tags_tell(
    name: str, states: dict[str, int]
) -> None:
    results = [split(row["code"][0]) for row in rows(f"{name}.jsonl.gz")]
    assert Counter(result.state for result in results) == states
    assert not any("_of_solution|>" in result.answer_text for result in results)
    assert not any("think>" in result.reasoning + result.answer_text for result in results)


@needs_shared
@pytest.mark.parametrize("model", ["qwen3-8b", "qwen3.5-9b"])
def test_thinking_apart_and_inline_give_the_same_split(model: str) -> None:
    for row in rows(f"thinking_on_off/{model}__think-on.jsonl.gz"):
        thinking, content, finish = row["thinking"], row["content"], row["done_reason"]
        apart = split(content, reasoning=thinking, finish_reason=finish)
        closed = bool(content) or finish != "length"
        inline = f"<think>{thinking}</think>{content}" if closed else f"<think>{thinking}"
        assert split(inline, finish_reason=finish)[:2] == apart[:2]
