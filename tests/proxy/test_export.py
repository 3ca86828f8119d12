from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from proxy import export as export_module
from proxy.exchange import FIELD_NAMES, Exchange
from proxy.export import Export
from proxy.log_cli import export
from tests.proxy.logs import exchange, segment

FULL = {
    "route": "base",
    "messages": [{"role": "user", "content": "é\ud83d"}],
    "sampling": {"seed": 2**70},
    "usage": {"completion_tokens": 3},
    "ttft_s": 0.25,
    "duration_s": 2,
    "gaps_s": {"p50": 0.1},
    "n_chunks": 2**40,
    "extra": {"logprobs": [math.nan, 1.5]},
}


def run(folder: Path, *options: str, name: str = "out.parquet") -> Result:
    arguments = [str(folder), "--out", str(folder / name), *options]
    return CliRunner().invoke(export, arguments, catch_exceptions=False)


def written(out: Path, *rows: Exchange) -> Export:
    made = Export(out)
    made.write((row, 1) for row in rows)
    return made


def test_every_field_comes_back_with_its_type(tmp_path: Path) -> None:
    wanted = exchange(7, **FULL)
    assert written(tmp_path / "a.parquet", wanted, exchange(8)).n_replaced == 0
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["schema", *(name for name in FIELD_NAMES if name != "schema")]
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds.pop("started_at") == "timestamp[us, tz=UTC]"
    assert kinds.pop("stream") == "bool"
    assert kinds["status"] == kinds["n_chunks"] == "int64"
    assert kinds["ttft_s"] == kinds["duration_s"] == "double"
    assert kinds["messages"] == kinds["content"] == "string"
    first, second = table.to_pylist()
    assert first["started_at"] == datetime(2026, 1, 2, 0, 0, 7, 6, UTC)
    assert json.loads(first["messages"]) == wanted.messages
    assert json.loads(first["sampling"]) == wanted.sampling
    assert json.loads(first["extra"]) == {"logprobs": [None, 1.5]}
    assert (first["ttft_s"], first["duration_s"], first["n_chunks"]) == (0.25, 2.0, 2**40)
    assert second["messages"] is second["usage"] is second["ttft_s"] is second["route"] is None
    assert second["sampling"] == "{}"


def test_pandas_and_sql_engines_read_it(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    written(out, *(exchange(n, duration_s=float(n), route="ab"[n % 2]) for n in range(10)))
    frame = pd.read_parquet(out)
    assert frame.groupby("route")["duration_s"].sum().to_dict() == {"a": 20.0, "b": 25.0}
    assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"
    late = pq.read_table(out, filters=pc.field("duration_s") > 7.5, columns=["request_id"])
    assert late.to_pydict() == {"request_id": ["r/t/8/0", "r/t/9/0"]}


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("content", "a\ud83db\udc00", "a\ufffdb\ufffd"),
        ("content", "\ud83d\ude00"[:1] + "\0", "\ufffd\0"),
        ("status", 2**63, None),
        ("n_chunks", -(2**70), None),
        ("ttft_s", math.nan, None),
        ("duration_s", 10**400, None),
        ("started_at", "yesterday", None),
        ("started_at", "2026-01-02T03:04:05", None),
        ("started_at", "0001-01-01T00:00:00+23:59", None),
        ("usage", {"a": "\ud83d"}, '{"a":"\\ud83d"}'),
        ("usage", {"a": [-math.inf]}, '{"a":[null]}'),
    ],
)
def test_hostile_values_do_not_stop_the_export(
    field: str, value: Any, kept: Any, tmp_path: Path
) -> None:
    made = written(tmp_path / "a.parquet", exchange(1, **{field: value}), exchange(2))
    assert made.n_rows == 2
    assert made.n_replaced == (kept is None)
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows[0][field] == kept


def test_nesting_as_deep_as_can_be_read_does_not_stop_the_export(tmp_path: Path) -> None:
    line = json.dumps(exchange(1, extra={"deep": "HERE"}).to_json())
    depths = range(100, 1100, 20)
    deep = [line.replace('"HERE"', "[" * depth + "NaN" + "]" * depth) for depth in depths]
    segment(tmp_path, 1, tail="".join(f"{text}\n" for text in deep).encode())
    result = run(tmp_path)
    assert result.exit_code == 1  # the deepest cannot be read either
    assert "nested too deeply" in result.stderr
    assert len(depths) > pq.read_table(tmp_path / "out.parquet").num_rows > 10


@pytest.mark.parametrize("name", ["GROUP_ROWS", "GROUP_BYTES"])
def test_row_groups_are_bounded(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(export_module, name, 4)
    written(tmp_path / "a.parquet", *map(exchange, range(10)))
    file = pq.ParquetFile(tmp_path / "a.parquet")
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert sizes == [4, 4, 2]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert [row["content"] for row in file.read().to_pylist()] == [f"answer {n}" for n in range(10)]


def test_the_file_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, exchange(1))
    result = run(tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("1 exchange in ")
    out = tmp_path / "out.parquet"
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [path, out]


def test_a_file_that_exists_is_kept_without_force(tmp_path: Path) -> None:
    segment(tmp_path, 1, exchange(1))
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    result = run(tmp_path)
    assert (result.exit_code, out.read_text()) == (2, "mine")
    assert "--force replaces it" in result.stderr
    assert run(tmp_path, "--force").exit_code == 0
    assert pq.read_table(out).num_rows == 1


def test_the_log_itself_is_never_replaced(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, exchange(1))
    before = path.read_bytes()
    result = run(tmp_path, "--force", name=path.name)
    assert (result.exit_code, path.read_bytes()) == (2, before)
    assert "is a segment of the log" in result.stderr


@pytest.mark.parametrize(
    ("name", "said"), [(".", "is a folder"), ("none/out.parquet", "there is no folder")]
)
def test_a_place_that_cannot_be_written_is_one_line(name: str, said: str, tmp_path: Path) -> None:
    segment(tmp_path, 1, exchange(1))
    result = run(tmp_path, name=name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> Any:
        yield exchange(1), 1
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Export(tmp_path / "a.parquet").write(rows())
    assert list(tmp_path.iterdir()) == []


def test_columns_are_those_asked_for_in_their_order(tmp_path: Path) -> None:
    segment(tmp_path, 1, exchange(1))
    assert run(tmp_path, "--columns", "outcome, request_id").exit_code == 0
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {
        "outcome": ["complete"],
        "request_id": ["r/t/1/0"],
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [("contnet", "did you mean content"), ("a,b", "no column 'a'"), (",", "at least one"),
     ("usage,usage", "usage twice")],
)  # fmt: skip
def test_wrong_columns_are_refused(columns: str, said: str, tmp_path: Path) -> None:
    segment(tmp_path, 1, exchange(1))
    result = run(tmp_path, "--columns", columns)
    assert result.exit_code == 2
    assert said in result.stderr
