from __future__ import annotations

import fcntl
import gzip
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Compression
from proxy.exchange import iter_lines, open_log, read_exchanges, to_line
from proxy.packing import SUFFIXES, Packer
from proxy.segments import PIECE_BYTES, Repaired, Segment, claimed, make_folder, repair, writer_of
from tests.proxy.test_exchange import exchange

CRASHING = str(Path(__file__).with_name("crashing.py"))
NAME = "exchanges-20260102T030405000006Z-4711.jsonl"
WHOLE = to_line(exchange(content="1"))
PACKED = [Compression.ZSTD, Compression.GZIP]


def dead_segment(folder: Path, data: bytes, name: str = NAME) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def tidy(folder: Path, form: Compression) -> None:
    Packer(folder, form).tidy()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "tail",
    [b'{"schema":2,"requ', WHOLE[:-2], b"\0" * 5000, b"[1, 2]", b"x" * (2 * PIECE_BYTES + 7)],
)
def test_torn_last_line_is_cut_off_and_kept(tmp_path: Path, tail: bytes) -> None:
    path = dead_segment(tmp_path, WHOLE * 3 + tail)
    torn = tmp_path / f"{NAME}.torn"
    torn.write_text("of a repair that was broken off")
    assert repair(path) == Repaired(path, len(tail), torn)
    assert (path.read_bytes(), torn.read_bytes()) == (WHOLE * 3, tail)
    assert mode(torn) == 0o600
    assert repair(path) is None


@given(st.binary(max_size=200), st.integers(1, 64))
def test_repair_loses_no_byte(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, n_bytes: int
) -> None:
    path = dead_segment(tmp_path_factory.mktemp("log"), (data * n_bytes))
    before = path.read_bytes()
    done = repair(path)
    after = path.read_bytes()
    assert after == b"" or after.endswith(b"\n")
    if done is not None and done.torn is not None:
        after += done.torn.read_bytes()
    assert after in (before, before + b"\n")


def test_record_that_lacks_its_newline_alone_gets_it(tmp_path: Path) -> None:
    path = dead_segment(tmp_path, WHOLE + WHOLE[:-1])
    assert repair(path) == Repaired(path, len(WHOLE) - 1, None)
    assert path.read_bytes() == WHOLE * 2
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("data", [b"", b"\n", WHOLE, b"{bad line}\n" + WHOLE])
def test_whole_lines_are_left_alone(tmp_path: Path, data: bytes) -> None:
    path = dead_segment(tmp_path, data)
    assert repair(path) is None
    assert path.read_bytes() == data


def test_segment_of_a_living_process_is_not_touched(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    segment.append(b"half", sync=False)
    assert writer_of(segment.path) == os.getpid()
    with pytest.raises(BlockingIOError):
        repair(segment.path)
    tidy(tmp_path, Compression.ZSTD)
    assert names(tmp_path) == [segment.path.name]
    segment.close()
    assert writer_of(segment.path) is None
    done = repair(segment.path)
    assert done is not None
    assert done.n_bytes == 4


def test_name_without_a_process_has_writer_0(tmp_path: Path) -> None:
    path = dead_segment(tmp_path, b"", "exchanges-copy.jsonl")
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert writer_of(path) == 0


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_packed_segment_is_not_repaired(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"only a plain segment \(\.jsonl\)"):
        repair(dead_segment(tmp_path, b"cut", NAME + suffix))


def test_dead_segment_is_claimed_by_one_alone(tmp_path: Path) -> None:
    path = dead_segment(tmp_path, WHOLE)
    with claimed(path), pytest.raises(BlockingIOError), claimed(path):
        pass


def test_segment_that_is_packed_between_its_opening_and_its_lock_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_flock = dead_segment(tmp_path, WHOLE), fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        path.unlink()
        real_flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(FileNotFoundError):
        repair(path)


def test_repair_does_not_follow_links(tmp_path: Path) -> None:
    other = dead_segment(tmp_path, b"somebody else's", "other")
    (tmp_path / NAME).symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        repair(tmp_path / NAME)
    assert other.read_bytes() == b"somebody else's"


def test_new_segment_is_given_another_name_when_it_is_taken_for_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another proxy that starts may hold, or remove, the empty file before it is locked."""
    real_open = os.open
    opened: list[int] = []
    held: list[int] = []

    def open_and_meddle(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append(real_open(path, flags, mode))
        if len(opened) == 1:
            path.unlink()
        elif len(opened) == 2:
            held.append(real_open(path, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return opened[-1]

    monkeypatch.setattr(os, "open", open_and_meddle)
    segment = Segment.create(tmp_path)
    segment.append(WHOLE, sync=True)
    os.close(held[0])
    segment.close()
    assert len(opened) == 3
    assert len(names(tmp_path)) == 2
    assert segment.path.read_bytes() == WHOLE


def test_folders_are_made_with_those_above(tmp_path: Path) -> None:
    for sync in (True, False, True):
        make_folder(tmp_path / str(sync) / "b" / "c", sync)
        assert (tmp_path / str(sync) / "b" / "c").is_dir()


@pytest.mark.parametrize("form", PACKED)
def test_dead_segment_is_repaired_and_packed(tmp_path: Path, form: Compression) -> None:
    dead_segment(tmp_path, WHOLE * 5000 + b'{"half')
    dead_segment(tmp_path, b"", "exchanges-empty.jsonl")
    tidy(tmp_path, form)
    packed = NAME + SUFFIXES[form]
    assert names(tmp_path) == sorted([NAME + ".torn", packed])
    assert (mode(tmp_path / packed), mode(tmp_path / f"{NAME}.torn")) == (0o600, 0o600)
    with open_log(tmp_path / packed) as stream:
        assert stream.read() == WHOLE * 5000


def test_without_compression_a_dead_segment_is_repaired_alone(tmp_path: Path) -> None:
    dead_segment(tmp_path, WHOLE + b"x")
    tidy(tmp_path, Compression.NONE)
    assert names(tmp_path) == [NAME, NAME + ".torn"]


def test_form_that_a_crash_left_beside_is_made_anew(tmp_path: Path) -> None:
    """A second form beside it would be a double."""
    dead_segment(tmp_path, WHOLE * 2)
    dead_segment(tmp_path, gzip.compress(WHOLE), NAME + ".gz")
    tidy(tmp_path, Compression.ZSTD)
    assert names(tmp_path) == [NAME + ".gz"]
    assert len(list(read_exchanges(tmp_path))) == 2


def test_segment_that_cannot_be_packed_stays_and_others_are_packed(tmp_path: Path) -> None:
    dead_segment(tmp_path, WHOLE, "exchanges-1.jsonl")
    dead_segment(tmp_path, WHOLE, "exchanges-2.jsonl")
    (tmp_path / ".exchanges-1.jsonl.part").mkdir()
    tidy(tmp_path, Compression.ZSTD)
    assert names(tmp_path)[1:] == ["exchanges-1.jsonl", "exchanges-2.jsonl.zst"]


def test_segment_that_grows_while_it_is_packed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer is on a machine that shares no locks with this one."""
    path, real_fsync = dead_segment(tmp_path, WHOLE), os.fsync

    def late_record(descriptor: int) -> None:
        with path.open("ab") as file:
            file.write(WHOLE)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", late_record)
    tidy(tmp_path, Compression.ZSTD)
    assert names(tmp_path) == [NAME]
    assert path.read_bytes() == WHOLE * 2


def test_owner_hands_over_its_segments(tmp_path: Path) -> None:
    packer = Packer(tmp_path, Compression.ZSTD)
    packer.start()
    segments = [Segment.create(tmp_path) for _ in range(4)]
    for segment in segments[1:]:
        segment.append(WHOLE, sync=False)
    segments[2].path.unlink()  # by somebody who wanted that
    segments[3].append(b"half", sync=False)
    segments[3].path.rename(tmp_path / "moved")
    for segment in segments:
        packer.put(segment)
    packer.close()
    assert names(tmp_path) == [segments[1].path.name + ".zst", "moved"]
    assert (tmp_path / "moved").read_bytes() == WHOLE + b"half"
    assert all(segment.descriptor == -1 for segment in segments)


def test_folder_that_is_gone_has_nothing_to_pack(tmp_path: Path) -> None:
    tidy(tmp_path / "absent", Compression.ZSTD)


def test_closing_waits_a_while_for_the_owner_s_segments(tmp_path: Path) -> None:
    packer = Packer(tmp_path, Compression.ZSTD)
    segment = Segment.create(tmp_path)
    segment.append(WHOLE, sync=False)
    packer.put(segment)
    packer.ends_at = 0.0
    packer.start()
    packer.close(patience_s=0)
    assert names(tmp_path) == [segment.path.name]
    assert writer_of(segment.path) is None
    tidy(tmp_path, Compression.ZSTD)
    assert names(tmp_path) == [segment.path.name + ".zst"]


def test_closing_does_not_wait_for_what_the_dead_left(tmp_path: Path) -> None:
    path = dead_segment(tmp_path, WHOLE)
    packer = Packer(tmp_path, Compression.ZSTD)
    packer.stopping.set()
    packer.start()
    packer.close()
    packer.finish_dead(path)
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("form", PACKED)
def test_crash_at_any_step_of_packing_loses_and_doubles_nothing(
    tmp_path: Path, form: Compression
) -> None:
    rows = [[to_line(exchange(request_id=f"{s}/{n}")) for n in range(3)] for s in range(3)]
    for number, lines in enumerate(rows):
        data = b"".join(lines) + (b'{"half' if number == 1 else b"")
        dead_segment(tmp_path, data, f"exchanges-{number}.jsonl")
    command = [sys.executable, CRASHING, "pack", str(tmp_path), form]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    *seen, n_steps = done.stdout.splitlines()
    assert len(seen) == int(n_steps) > 10
    assert set(seen) == {" ".join(f"{s}/{n}" for s in range(3) for n in range(3))}
    assert {path.suffix for path in tmp_path.iterdir()} == {SUFFIXES[form], ".torn"}


def test_two_packers_on_one_folder_pack_each_segment_once(tmp_path: Path) -> None:
    for number in range(40):
        dead_segment(tmp_path, WHOLE + b"x", f"exchanges-{number:02}.jsonl")
    packers = [Packer(tmp_path, form) for form in PACKED]
    threads = [threading.Thread(target=packer.tidy) for packer in packers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tidy(tmp_path, Compression.ZSTD)  # each may have left to the other what it held
    assert len(names(tmp_path)) == 80
    assert len(list(read_exchanges(tmp_path))) == 40


def test_reader_goes_on_in_a_segment_that_is_packed_while_it_reads(tmp_path: Path) -> None:
    path = dead_segment(tmp_path, WHOLE * 1000)
    lines = iter_lines(path)
    next(lines)
    tidy(tmp_path, Compression.ZSTD)
    assert not path.exists()
    assert sum(1 for _ in lines) == 999
