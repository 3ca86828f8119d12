from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.exchange import messages_sha256
from proxy.wire_json import DECODER, conversation_sha256, is_json, parse_json, to_line

ANY_TEXT = st.text(st.characters(exclude_categories=()))
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)


def same(first: Any, second: Any) -> bool:
    return repr(first) == repr(second)  # tells 1 from 1.0 and True, and NaN is NaN


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_values_are_read_as_the_standard_library_reads_them(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "backslashreplace")
    assert same(parse_json(data), DECODER.decode(data.decode()))


@given(st.text('0123456789.,-eE[]{}:"\\nul \x01é', max_size=60) | st.binary(max_size=40))
@example("[18446744073709551615,18446744073709551616,-9223372036854775809]")
@example("1" * 4400)
@example("\ufeff1")
@example('"\\ud83d"')
def test_what_is_refused_is_what_the_standard_library_refuses(source: str | bytes) -> None:
    data = source.encode() if isinstance(source, str) else source
    try:
        expected = DECODER.decode(data.decode())
    except ValueError:
        assert not is_json(data)
        with pytest.raises(ValueError, match=r"."):
            parse_json(data)
    else:
        assert same(parse_json(data), expected)


@given(st.integers(0, 40), st.integers(10**18, 10**30), st.integers(0, 40))
def test_number_beyond_64_bits_is_exact_wherever_it_stands(n: int, number: int, m: int) -> None:
    data = b'{"%s": -%d, "b": "%s"}' % (b"x" * n, number, b"1" * m)
    assert parse_json(data)["x" * n] == -number


@pytest.mark.parametrize("depth", [100, 900, 1020])
def test_deep_nesting_is_read(depth: int) -> None:
    parse_json(b"[" * depth + b"]" * depth)


def test_deeper_nesting_is_an_error_that_callers_know() -> None:
    with pytest.raises(RecursionError):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


def test_numbers_that_json_has_not_become_texts() -> None:
    assert parse_json(b"[NaN, -Infinity, 1e999, -1e999]") == [
        "NaN",
        "-Infinity",
        "1e999",
        "-1e999",
    ]


FINITE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)  # fmt: skip


@given(FINITE)
def test_line_reads_back_as_what_was_written(value: Any) -> None:
    line = to_line({"b": value, "a": 1})
    assert line.startswith(b'{"b":')
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    back = json.loads(line)
    assert list(back) == ["b", "a"]
    assert same(back["b"], value)


@given(st.text(), st.integers(-(2**63), 2**63))
def test_line_is_spelled_as_json_spells_it(text: str, number: int) -> None:
    row = {"b": [text, number, None, True], text: {}}
    expected = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    assert to_line(row) == expected.encode() + b"\n"


MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "é"]) | ANY_TEXT, ANY_TEXT, max_size=3)
    | st.dictionaries(ANY_TEXT, FINITE, max_size=2)
    | FINITE,
    max_size=3,
)


@given(MESSAGES)
def test_hash_of_a_conversation_is_the_one_that_analysis_computes(messages: list[Any]) -> None:
    assert conversation_sha256(messages) == messages_sha256(messages)


def test_hash_of_every_single_character_is_the_same_both_ways() -> None:
    texts = ["".join(map(chr, range(start, start + 0x800))) for start in range(0, 0xD800, 0x800)]
    messages = [{"role": "user", "content": text} for text in [*texts, "😀\U0010ffff"]]
    assert conversation_sha256(messages) == messages_sha256(messages)
