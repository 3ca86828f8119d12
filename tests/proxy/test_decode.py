from __future__ import annotations

import gzip

import pytest

from proxy.decode import Decoder, decode


def test_gzip_members_one_after_another_are_one_body() -> None:
    assert decode(gzip.compress(b"ab") + gzip.compress(b"cd"), "GZIP", 100) == (b"abcd", None)


@pytest.mark.parametrize("encoding", ["gzip", ""])
def test_body_beyond_the_bound_is_cut_there(encoding: str) -> None:
    data = b"x" * 10_000_000
    packed = gzip.compress(data) if encoding else data
    body, problem = decode(packed, encoding, 1000)
    assert (len(body), problem) == (1000, "larger than the log keeps")


def test_damaged_body_is_a_problem_and_not_an_exception() -> None:
    decoder = Decoder("gzip", 100)
    assert decoder.feed(b"no gzip at all") == b""
    assert "gzip" in (decoder.problem or "")
    assert decoder.feed(b"more") == b""
