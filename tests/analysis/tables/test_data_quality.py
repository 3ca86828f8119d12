from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.tables.catalogue import TableOptions
from analysis.tables.data_quality import data_quality
from proxy.exchange import to_line
from tests.analysis.runs import exchange, foreign_row, pair_of_runs

API = {"model": "local-chat-completions"}


def compared(paths: tuple[Path, Path], **options: Any) -> Comparison:
    baseline, candidate = (read_arm(path.name, path, Choice()) for path in paths)
    return compare(baseline, candidate, Options(**options))


def damaged(folder: Path) -> Path:
    path = next(folder.rglob("samples_*.jsonl"))
    path.write_bytes(path.read_bytes() + b'[]\n{"doc_id": 9}\n{"doc_id"')
    return path


def test_clean_files_have_no_findings(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0) for i in range(3)]
    table = data_quality(compared(pair_of_runs(tmp_path, rows, rows)), TableOptions())
    assert list(table.rows) == []
    assert table.empty


def test_damaged_lines_are_counted_by_kind_with_file_and_line(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0) for i in range(3)]
    paths = pair_of_runs(tmp_path, rows, rows)
    path = damaged(paths[1])
    comparison = compared(paths)
    table = data_quality(comparison, TableOptions())
    assert [row[:3] for row in table.rows] == [
        ("foreign line", 2, f"{path}:4"),
        ("torn line", 1, f"{path}:6"),
    ]
    assert comparison.tasks[0].n_pairs == 3


def test_one_file_as_both_arms_is_told_once(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0) for i in range(3)]
    base, _ = pair_of_runs(tmp_path, rows, rows)
    damaged(base)
    assert len(compared((base, base)).quality) == 2


def test_samples_and_exchanges_without_their_other_half_are_counted(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0) for i in range(3)]
    paths = pair_of_runs(tmp_path, rows, rows, config=API)
    log = tmp_path / "exchanges-1.jsonl"
    own, cut = exchange(0, content="the answer"), exchange(1, outcome="upstream_cut")
    log.write_bytes(b"".join(map(to_line, (own, cut, exchange(70), exchange(71)))))
    counted = {(one.kind, one.where): one.count for one in compared(paths, logs=(log,)).quality}
    assert counted == {
        ("sample without exchange", "quiz, baseline"): 3,
        ("sample without exchange", "quiz, candidate"): 2,
        ("exchange without sample", "logs"): 2,
        ("incomplete exchange", "logs"): 1,
    }
