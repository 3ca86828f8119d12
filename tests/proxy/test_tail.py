from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import to_line
from proxy.tail import BLOCK_BYTES, Record, Tail, lines_backwards
from tests.proxy.logs import exchange, packed, segment


def ids(records: Iterable[Record]) -> list[int]:
    return [int(record.exchange.request_id.split("/")[2]) for record in records]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


@given(st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), st.booleans())
def test_lines_backwards_are_the_lines_reversed(lines: list[bytes], ended: bool) -> None:
    import io

    data = b"\n".join(lines) + b"\n" * ended
    expected = data.split(b"\n")[::-1] if data else [b""]
    assert list(lines_backwards(io.BytesIO(data), len(data))) == expected


@pytest.mark.parametrize("length", [BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 1])
def test_long_lines_are_put_together_from_blocks(length: int, tmp_path: Path) -> None:
    long = exchange(2, content="x" * length)
    path = segment(tmp_path, 1, exchange(1), long, exchange(3))
    assert ids(Tail([path]).latest(2)) == [2, 3]
    assert Tail([path]).latest(2)[0].exchange == long


def test_the_latest_of_a_plain_segment_are_read_from_its_end(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, *map(exchange, range(2000)))
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.write(b"\0" * 100_000)  # what is never read may be anything
    tail = Tail([path])
    assert ids(tail.latest(3)) == [1997, 1998, 1999]
    assert tail.n_damaged == 0


def test_the_latest_of_several_proxies_are_in_the_order_of_their_ends(tmp_path: Path) -> None:
    segment(tmp_path, 1, exchange(1), exchange(4), exchange(5))
    packed(segment(tmp_path, 2, exchange(2), exchange(3), exchange(6)))
    assert ids(Tail([tmp_path]).latest(4)) == [3, 4, 5, 6]
    assert ids(Tail([tmp_path]).latest(0)) == []
    assert ids(Tail([tmp_path]).latest(99)) == [1, 2, 3, 4, 5, 6]


def test_segments_older_than_what_is_shown_are_not_read(tmp_path: Path) -> None:
    old = segment(tmp_path, 1, tail=b"no record\n")
    os.utime(old, (0, 0))
    segment(tmp_path, 2, *map(exchange, range(5)))
    tail = Tail([tmp_path])
    assert ids(tail.latest(3)) == [2, 3, 4]
    assert tail.n_damaged == 0


def test_damaged_and_torn_lines_are_passed_over(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, exchange(1), tail=b"\n{}\n" + to_line(exchange(2)) + b'{"torn')
    tail = Tail([path])
    assert ids(tail.latest(2)) == [1, 2]
    assert tail.n_damaged == 1


def test_a_last_record_without_its_newline_is_shown(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, exchange(1), tail=to_line(exchange(2))[:-1])
    assert ids(Tail([path]).latest(5)) == [1, 2]


@pytest.mark.parametrize("start", [0, 1])
def test_following_takes_up_lines_as_they_become_whole(start: int, tmp_path: Path) -> None:
    second = to_line(exchange(2))
    path = segment(tmp_path, 1, exchange(1), tail=second[:9])
    tail = Tail([tmp_path], follow=True)
    assert ids(tail.latest(start)) == [1] * start
    append(path, second[9:30])
    assert ids(tail.new()) == []
    append(path, second[30:] + to_line(exchange(3)))
    assert ids(tail.new()) == [2, 3]
    assert ids(tail.new()) == []
    assert tail.n_damaged == 0


def test_following_goes_on_across_rotation_and_compression(tmp_path: Path) -> None:
    first = segment(tmp_path, 1, exchange(1))
    tail = Tail([tmp_path], follow=True)
    assert ids(tail.latest(10)) == [1]
    append(first, to_line(exchange(2)))
    packed(first)
    second = segment(tmp_path, 2, exchange(3))
    assert ids(tail.new()) == [2, 3]
    packed(second)
    packed(segment(tmp_path, 3, exchange(4)))
    assert ids(tail.new()) == [4]
    assert ids(tail.new()) == []


def test_a_segment_that_is_there_in_both_forms_is_followed_once(tmp_path: Path) -> None:
    first = segment(tmp_path, 1, exchange(1))
    tail = Tail([tmp_path], follow=True)
    tail.latest(1)
    append(first, to_line(exchange(2)))
    whole = first.read_bytes()
    packed(first)
    first.write_bytes(whole)
    assert ids(tail.new()) == [2]
    first.unlink()
    assert ids(tail.new()) == []


def test_following_waits_for_the_first_segment_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no exchanges-"):
        Tail([tmp_path]).latest(1)
    tail = Tail([tmp_path], follow=True)
    assert tail.latest(1) == []
    segment(tmp_path, 1, exchange(1))
    assert ids(tail.new()) == [1]
