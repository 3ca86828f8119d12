"""Records and segments for the tests of what reads a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy.exchange import Exchange, to_line, zstd_module


def exchange(number: int = 0, **fields: Any) -> Exchange:
    """Return an exchange that began at second `number` of the day and took none."""
    hour, minute, second = number // 3600, number // 60 % 60, number % 60
    base = {
        "request_id": f"r/t/{number}/0",
        "started_at": f"2026-01-02T{hour:02}:{minute:02}:{second:02}.000006+00:00",
        "endpoint": "/v1/chat/completions",
        "upstream": "http://127.0.0.1:8080",
        "model_requested": "m",
        "status": 200,
        "content": f"answer {number}",
        "finish_reason": "stop",
    }
    return Exchange(**{**base, **fields})


def segment(folder: Path, number: int, *exchanges: Exchange, tail: bytes = b"") -> Path:
    """Write a plain segment, the `number`th of its folder."""
    path = folder / f"exchanges-2026010{number}T030405000006Z-4711.jsonl"
    path.write_bytes(b"".join(map(to_line, exchanges)) + tail)
    return path


def packed(path: Path) -> Path:
    """Compress a segment as a proxy does: the new file first, then the old one goes."""
    target = path.with_name(path.name + ".zst")
    target.write_bytes(zstd_module().compress(path.read_bytes()))
    path.unlink()
    return target
