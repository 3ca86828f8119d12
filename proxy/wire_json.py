"""JSON as it stands on the wire: read and written quickly, meaning what the standard library means.

Owns where orjson may stand in for `json`, and what happens to values that JSON has not. Refuses to
own what the values mean (message, request_view) and the record's fields (exchange).

    >>> parse_json(b'{"seed": 12345678901234567890123, "score": NaN}')
    {'seed': 12345678901234567890123, 'score': 'NaN'}

orjson is some five times faster. It refuses NaN, lone surrogates and very deep nesting, which the
standard library then reads and writes; and it turns integers beyond 64 bits into floats without a
word, so such bytes never reach it.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import orjson

from proxy.exchange import messages_sha256, row_line

STRIDE = 6
"""A run of 19 digits, the shortest number beyond 64 bits, covers three bytes that far apart."""
DIGITS_TO_0 = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else 1 for byte in range(256))
BIG_RUN = b"0" * 19
BEFORE_A_NUMBER = b" \t\r\n:,["
"""One of these, or nothing, stands before a number, or before its sign."""


def finite(text: str) -> float | str:
    """Return the number, or the text of one too large for a float (1e999): JSON has no infinity."""
    number = float(text)
    return number if math.isfinite(number) else text


DECODER = json.JSONDecoder(parse_constant=str, parse_float=finite)
"""Made once: json.loads() with an option builds a decoder at each call, 20 us per chunk."""


def parse_json(data: bytes) -> Any:
    """Parse UTF-8 JSON; NaN and infinities, which JSON has not, become their names as text.

    Raises:
        ValueError: not UTF-8, not JSON.
        RecursionError: nested too deep.
    """
    if b"000" not in data[::STRIDE].translate(DIGITS_TO_0) or not holds_big_number(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # the standard library has the last word, and its errors are the ones reported
    return DECODER.decode(data.decode("utf-8"))


def holds_big_number(data: bytes) -> bool:
    """Tell whether 19 digits stand where a number may, and not as a part of some id."""
    digits = data.translate(DIGITS_TO_0)
    at = digits.find(BIG_RUN)
    while at >= 0:
        before = data[at - 2 : at] if at > 1 else data[:at]
        if before.removesuffix(b"-")[-1:] in BEFORE_A_NUMBER:
            return True
        end = at + len(BIG_RUN)
        while digits[end : end + 1] == b"0":
            end += 1
        at = digits.find(BIG_RUN, end)
    return False


def is_json(data: bytes) -> bool:
    """Tell whether the bytes are a whole JSON value."""
    try:
        parse_json(data)
    except (ValueError, RecursionError):
        return False
    return True


def to_line(row: dict[str, Any]) -> bytes:
    """Return a record as one UTF-8 line with its newline, and no other newline in it.

    Raises:
        RecursionError: nested too deep for either writer.
    """
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return row_line(row)


def conversation_sha256(messages: list[Any]) -> str:
    """Return exchange.messages_sha256, sooner where all messages are flat objects of texts.

    Texts are what both writers spell the same way; numbers are not (1e-7 and 1e-07).
    """
    for message in messages:
        if type(message) is not dict:
            return messages_sha256(messages)
        for value in message.values():
            if type(value) is not str:
                return messages_sha256(messages)
    try:
        canonical = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return messages_sha256(messages)
    return hashlib.sha256(canonical).hexdigest()
