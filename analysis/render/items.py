"""items.csv: the table that every number of a report comes from, a row for each sample and arm.

Owns the columns of that file: the fields of `Item`. Refuses to own what they mean (`items`).

    task,doc_id,sample_index,arm,verdict,score,truncated,...
    distill_gsm8k,0,0,baseline,correct,1.0,false,...
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from analysis.items import Item
from analysis.render import csv

NAME: Final = "items.csv"


def write(items: Iterable[Item], folder: Path) -> Path:
    """Write items.csv row by row into a folder, and return the file."""
    path = folder / NAME
    names = [field.name for field in dataclasses.fields(Item)]
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        csv.write_lines(file, names, ((cell(getattr(i, name)) for name in names) for i in items))
    return path


def cell(value: object) -> object:
    """Return a field as it stands in the file: what has parts as JSON."""
    return value if value is None or isinstance(value, str | int | float) else dumped(value)


def dumped(value: object) -> str:
    """Return a value of several parts as JSON in one line."""
    return json.dumps(parts(value), ensure_ascii=False)


def parts(value: object) -> Any:
    """Return a value as JSON takes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: parts(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if hasattr(value, "_asdict"):
        return {name: parts(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): parts(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [parts(part) for part in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
