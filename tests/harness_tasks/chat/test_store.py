"""The store of replies where lines are damaged, and models as options name them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness_tasks.chat.given import model_of
from harness_tasks.chat.store import Request, Store, answered_keys, rows


def request(n: int, **more: object) -> Request:
    return Request("judge", "it", "http://h/v1", f"q{n}", 0, {"model": "m", "messages": [], **more})


def filled(path: Path, n: int) -> list[bytes]:
    """Store `n` replies and return the lines."""
    with Store(path) as store:
        for i in range(n):
            store.add(request(i), {"content": f"reply {i}"}, None, None)
    return path.read_bytes().splitlines(keepends=True)


def contents(store: Store, n: int) -> list[str | None]:
    found = [store.get(request(i)) for i in range(n)]
    return [one and one["reply"]["content"] for one in found]


def test_a_damaged_store_is_set_aside_and_every_readable_row_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    lines = filled(path, 4)
    damaged = b"".join([lines[0], b"{torn\n", lines[2], b"[1]\n", lines[3], b'{"schema": 2}\n'])
    path.write_bytes(damaged)
    with Store(path) as store:
        assert store.damaged == [2, 4, 6]
        assert contents(store, 4) == ["reply 0", None, "reply 2", "reply 3"]
        assert store.set_aside is not None
        assert store.set_aside.read_bytes() == damaged
        assert store.damage is not None
        assert "3 lines (2, 4, 6): 3 replies of it were kept" in store.damage
        assert str(store.set_aside) in store.damage
        store.add(request(1), {"content": "anew"}, None, None)
    with Store(path) as store:
        assert (store.damage, len(store.places)) == (None, 4)


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"my notes", b"{}", b"\xff\xfe\n"])
def test_what_is_no_store_is_set_aside_whole(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_bytes(garbage)
    with Store(path) as store:
        assert store.set_aside is not None
        assert store.set_aside.read_bytes() == garbage
    assert path.read_bytes() == b""


def test_two_damaged_stores_of_one_second_have_two_names(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    for garbage in (b"one\n", b"two\n"):
        path.write_bytes(garbage)
        with Store(path):
            pass
    asides = sorted(tmp_path.glob("replies.jsonl.damaged-*"))
    assert [aside.read_bytes() for aside in asides] == [b"one\n", b"two\n"]


@pytest.mark.parametrize("kept", [1, 5, 40, -20, -1])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "replies.jsonl"
    lines = filled(path, 2)
    path.write_bytes(lines[0] + lines[1][:kept])
    with Store(path) as store:
        assert (store.n_torn, store.damaged) == (1, [])
    assert path.read_bytes() == lines[0]


def test_a_store_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    refused = pytest.raises(ValueError, match=r"^.*replies\.jsonl is in use by another run; .*$")
    with Store(path), refused, Store(path):
        pass
    with Store(path) as store:  # and is free again
        assert store.places == {}


def test_a_folder_in_the_place_of_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be opened: Is a directory"), Store(tmp_path):
        pass


def test_a_failure_is_no_answer_until_one_comes(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    with Store(path) as store:
        store.add(request(0), None, "HTTP 500", None)
        assert (store.get(request(0)), store.failed) == (None, {request(0).key})
        store.add(request(0), {"content": "4"}, None, None)
    with Store(path) as store:
        assert (store.failed, contents(store, 1)) == (set(), ["4"])


def test_what_a_server_tells_of_its_model_is_part_of_the_key(tmp_path: Path) -> None:
    base = request(0)
    told = [dataclasses.replace(base, told={"root": root}) for root in ("base", "student")]
    assert len({base.key, *(one.key for one in told)}) == 3


def test_rows_are_read_while_another_process_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    assert list(rows(path)) == []
    with Store(path) as store:
        for i in range(2):
            store.add(request(i), {"content": "4"} if i else None, None if i else "gone", None)
        with path.open("ab") as torn:
            torn.write(b'{"schema": 1, "key": "to')
        assert [row["question_id"] for row in rows(path)] == ["q0", "q1"]
        assert answered_keys(path) == {request(1).key}


def test_another_sampling_is_another_request(tmp_path: Path) -> None:
    assert request(1).key == request(1).key
    assert len({request(1).key, request(2).key, request(1, temperature=1).key}) == 3


def test_a_model_is_read_as_pairs_or_as_yaml() -> None:
    assert model_of("--judge", "model=8,concurrency=2") == {"model": "8", "concurrency": 2}
    assert model_of("--judge", "{model: m, extra_body: {a: 1}}") == {
        "model": "m",
        "extra_body": {"a": 1},
    }


@pytest.mark.parametrize("text", ["model", "=x", "{a: [", "{1}, 2"])
def test_what_is_no_model_names_the_option(text: str) -> None:
    with pytest.raises(ValueError, match="--judge"):
        model_of("--judge", text)


def test_a_row_that_is_not_what_its_key_says_is_no_reply(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    lines = filled(path, 3)
    keys = [json.loads(line)["key"].encode() for line in lines]
    deep = lines[2].replace(b'"messages":[]', b'"messages":' + b"[" * 900 + b"]" * 900)
    path.write_bytes(lines[0].replace(keys[0], keys[1]) + lines[2] + deep)
    with Store(path) as store:
        assert store.damaged == [1, 3]
        assert contents(store, 3) == [None, None, "reply 2"]


def test_a_request_with_numbers_as_names_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    biased = request(0, logit_bias={9: -1, 10: 1.5})
    with Store(path) as store:
        store.add(biased, {"content": "so"}, None, None)
    with Store(path) as store:
        assert store.damage is None
        assert store.get(biased) is not None
