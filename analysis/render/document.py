"""Several tables as one text or one folder: Markdown, LaTeX, CSV, JSON.

Owns what stands around the tables of a file. Refuses to own the form of a table (its neighbours)
and where the text goes (`analysis.commands`).

    text("latex", [table], comparison)
    write_csv_folder([table, other], Path("tables"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.render import csv, latex, markdown
from analysis.render import json as as_json
from analysis.tables.table import Table

if TYPE_CHECKING:
    from analysis.compare import Comparison

SCHEMA_VERSION: Final = 2
FORMS: Final = ("csv", "markdown", "latex", "json")


def text(form: str, tables: Sequence[Table], comparison: Comparison | None = None) -> str:
    """Return tables in one of `FORMS`.

    Raises:
        ValueError: several tables in one CSV.
    """
    if form == "markdown":
        return "\n".join(markdown.table(table) for table in tables)
    if form == "latex":
        return f"{latex.PACKAGES}\n{latex_tables(tables)}"
    if form == "json":
        return dumped({**head(comparison), "tables": keyed(tables)})
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables)
        raise ValueError(f"--csv: {len(tables)} tables ({names}) need a folder, not one file")
    return csv.table(tables[0])


def latex_tables(tables: Sequence[Table]) -> str:
    """Return the environments of tables, one after the other."""
    return "\n".join(latex.table(table) for table in tables)


def head(comparison: Comparison | None) -> dict[str, Any]:
    """Return what a JSON file begins with: the schema, and the arms where there are two."""
    if comparison is None:
        return {"schema": SCHEMA_VERSION}
    return {
        "schema": SCHEMA_VERSION,
        "baseline": {"path": comparison.baseline, "model": comparison.baseline_model},
        "candidate": {"path": comparison.candidate, "model": comparison.candidate_model},
        "seed": comparison.seed,
    }


def keyed(tables: Sequence[Table]) -> dict[str, Any]:
    """Return tables as objects by their names."""
    return {table.name: as_json.table(table) for table in tables}


def dumped(content: dict[str, Any]) -> str:
    """Return JSON text; no NaN gets in, and what a terminal would obey stands there escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return csv.CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def write_csv_folder(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table as NAME.csv, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        made = csv.table(table)
        path.write_text(made, encoding="utf-8", errors="backslashreplace", newline="\n")
        files.append(path)
    return files
