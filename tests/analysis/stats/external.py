"""Values of R for the tests of this folder, from reference/r_values.R."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"


@functools.cache
def r_values() -> dict[str, float]:
    """Return all values by name."""
    return {row["name"]: float(row["value"]) for row in rows_of("r_values.csv")}


def r_value(name: str) -> float:
    """Return the one value of that name."""
    return r_values()[name]


def r_vector(name: str) -> list[float]:
    """Return the values of that name, in order."""
    found = [value for key, value in r_values().items() if key.rpartition(".")[0] == name]
    assert found, f"r_values.csv has no {name!r}"
    return found


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a reference file."""
    with (REFERENCE / name).open(encoding="utf-8") as rows:
        return list(csv.DictReader(rows))
