from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import decode as module
from proxy.decode import PIECE_BYTES, Decoder, decode

zstd = module.zstd


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=3),
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_packed_body_cut_anywhere_is_the_body(encoding: str, piece: int) -> None:
    data = b"some text, and some more of it " * 300
    packed = PACKERS[encoding](data)
    decoder = Decoder(encoding.upper(), 100_000)
    pieces = [packed[start : start + piece] for start in range(0, len(packed), piece)]
    assert b"".join(part for chunk in pieces for part in decoder.feed(chunk)) == data
    assert (decoder.packed, decoder.problem) == (True, None)


def test_streamed_piece_is_decoded_as_soon_as_it_can_be() -> None:
    packer = zlib.compressobj(wbits=31)
    decoder = Decoder("gzip", 1000)
    for text in (b"data: 1\n\n", b"data: 2\n\n"):
        packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoder.feed(packed)) == text


def test_deflate_without_its_header_is_read() -> None:
    assert decode(raw_deflate(b"abc" * 50), "deflate", 1000) == (b"abc" * 50, None)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_one_after_another_are_one_body(encoding: str) -> None:
    pack = PACKERS[encoding]
    assert decode(pack(b"ab") + pack(b"cd"), encoding, 100) == (b"abcd", None)


@pytest.mark.parametrize("first", PACKERS)
@pytest.mark.parametrize("second", PACKERS)
def test_encodings_in_a_row_are_undone_from_the_last_to_the_first(first: str, second: str) -> None:
    packed = PACKERS[second](PACKERS[first](b"twice packed"))
    assert decode(packed, f"{first}, identity,{second}", 100) == (b"twice packed", None)


@pytest.mark.parametrize("encoding", ["", "identity", " Identity ", ","])
def test_plain_body_is_passed_through(encoding: str) -> None:
    assert decode(b"ab", encoding, 100) == (b"ab", None)
    assert not Decoder(encoding, 100).packed


@pytest.mark.parametrize("encoding", ["compress", "gzip, compress", "gzip," * 5, "x" * 9999])
def test_other_encodings_are_named_and_not_read(encoding: str) -> None:
    body, problem = decode(b"ab", encoding, 100)
    assert body == b""
    assert problem is not None
    assert "is not read for the log" in problem
    assert len(problem) < 100


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", ""])
def test_body_beyond_the_bound_is_cut_there(encoding: str) -> None:
    data = b"x" * 10_000_000
    packed = PACKERS[encoding](data) if encoding else data
    body, problem = decode(packed, encoding, 1000)
    assert (len(body), problem) == (1000, "larger than the log keeps")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_bomb_comes_out_in_small_pieces_and_stops_at_the_ratio(encoding: str) -> None:
    packed = PACKERS[encoding](bytes(50_000_000))
    decoder = Decoder(encoding, 1_000_000, ratio=100)
    sizes = [len(piece) for piece in decoder.feed(packed)]
    assert max(sizes) <= 2 * PIECE_BYTES
    assert sum(sizes) == min(1_000_000 + 100 * len(packed), 50_000_000)
    assert decoder.problem == "larger than the log keeps"


def test_bomb_that_unpacks_to_nothing_at_last_stops_too() -> None:
    # 200 MB of empty zstd frames that the outer encoding packs well
    frames = (b"\x50\x2a\x4d\x18" + (60_000).to_bytes(4, "little") + bytes(60_000)) * 3400
    body, problem = decode(brotli.compress(frames, quality=1), "zstd, br", 1_000_000)
    assert (body, problem) == (b"", "larger than the log keeps")


def test_window_larger_than_the_standard_allows_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    packed = zstd.compress(bytes(20_000_000), options=options)
    assert "memory" in (decode(packed, "zstd", 100)[1] or "")


@pytest.mark.parametrize("encoding", PACKERS)
def test_damaged_body_is_a_problem_and_not_an_exception(encoding: str) -> None:
    decoder = Decoder(encoding, 100)
    assert b"".join(decoder.feed(b"not packed at all")) == b""
    assert encoding in (decoder.problem or "")
    assert b"".join(decoder.feed(b"more")) == b""


@given(st.sampled_from([*PACKERS, "gzip, br", "zstd, zstd"]), st.lists(st.binary()))
def test_no_bytes_break_the_decoder(encoding: str, pieces: list[bytes]) -> None:
    decoder = Decoder(encoding, 1000, ratio=10)
    for piece in pieces:
        for _ in decoder.feed(piece):
            pass
