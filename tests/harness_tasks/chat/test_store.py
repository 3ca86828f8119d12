"""The store of replies where lines are damaged, and models as options name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_tasks.chat.given import model_of
from harness_tasks.chat.store import Request, Store


def request(n: int, **more: object) -> Request:
    return Request("judge", "it", "http://h/v1", f"q{n}", 0, {"model": "m", "messages": [], **more})


def filled(path: Path, n: int) -> list[bytes]:
    """Store `n` replies and return the lines."""
    with Store(path) as store:
        for i in range(n):
            store.add(request(i), {"content": f"reply {i}"}, None, None)
    return path.read_bytes().splitlines(keepends=True)


def test_a_damaged_line_is_an_error_unless_it_is_to_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    lines = filled(path, 4)
    path.write_bytes(b"".join([lines[0], b"{torn\n", lines[2], b"[1]\n", lines[3]]))
    with pytest.raises(ValueError, match=r"replies\.jsonl:2: not valid JSON"), Store(path):
        pass
    with Store(path, pass_over_damage=True) as store:
        assert store.damaged == [2, 4]
        found = [store.get(request(i)) for i in range(4)]
    assert [one and one["reply"]["content"] for one in found] == [
        "reply 0",
        None,
        "reply 2",
        "reply 3",
    ]
    assert path.read_bytes().count(b"\n") == 5  # what is damaged stays for who wants to look


def test_a_torn_last_line_goes_either_way(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    lines = filled(path, 2)
    path.write_bytes(lines[0] + lines[1][:-20])
    with Store(path, pass_over_damage=True) as store:
        assert (store.n_torn, store.damaged) == (1, [])
    assert path.read_bytes() == lines[0]


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
