"""The questions: which rows a task asks, where they come from, and proof that they are right.

Owns the loading of the sources (hub data set at a pinned revision, or a folder of JSON lines) and
the sha256 of their canonical rows. Refuses to own the sources (`math_docs`, `coding`, `ifeval`),
prompts (the task YAML) and grading (`results`). A row is reduced to what is asked and what is
right, so that a hub copy and a folder copy give equal docs:

    {"id": "2024-I-1", "question": "Every morning Aya ...", "answer": "204"}

`datasets` is imported on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from harness_tasks import (
    demo_docs,
    isolation_check,
    k_samples,
    math_docs,
    question_numbers,
    tiers,
)
from harness_tasks.coding import evalplus_docs, lcb_docs
from harness_tasks.explained import explained
from harness_tasks.ifeval import docs as ifeval_docs
from harness_tasks.records import read_jsonl
from harness_tasks.sources import DatasetInfo, Row, Source, question_and_answer

DATA_ENV = "DISTILL_EVAL_DATA"

SOURCES: dict[str, Source] = {
    **math_docs.SOURCES,
    **evalplus_docs.SOURCES,
    **lcb_docs.SOURCES,
    **ifeval_docs.SOURCES,
    **demo_docs.SOURCES,
}
COMBINED = math_docs.COMBINED
TASKS_DIR = Path(__file__).parent / "tasks"

LOADED: dict[str, DatasetInfo] = {}
# Whole canonical rows of this process's sources that have heavy columns: source -> id -> row.
WHOLE: dict[str, dict[str, Row]] = {}


def loaded() -> dict[str, DatasetInfo]:
    """Return what this process has loaded so far, by source."""
    return dict(LOADED)


def whole_row(source: str, row_id: str) -> Row:
    """Return a row with its heavy columns, which lm-eval's docs do not carry.

    Raises:
        KeyError: this process has not loaded the source, or it has no such row.
    """
    return WHOLE[source][row_id]


def load(
    source: str, data_dir: str | None = None, accept_sha256: str | None = None, **metadata: Any
) -> dict[str, Any]:
    """Load a source as lm-eval's `custom_dataset` wants it: `{"test": datasets.Dataset}`.

    lm-eval passes `--metadata` and the model's arguments along; the ones unknown here are ignored.
    Heavy columns stay here (`whole_row`), and a doc then names its `source`.
    `data_dir` comes before the environment variable DISTILL_EVAL_DATA, and both before the hub.
    With a `tier` the task that loads asks in that tier, with `repeats` so often.

    Raises:
        ValueError: an unknown source or tier, `repeats` that cannot be, or rows that are not the
            ones pinned here; says what to do.
    """
    from datasets import Dataset

    folder = data_dir or os.environ.get(DATA_ENV) or None
    try:
        # Here, since lm-eval loads the docs before it asks the model anything.
        isolation_check.require([source] if runs_code(source) else [])
        if metadata.get("tier") is not None:
            tiers.ask_in_tier(metadata["tier"])
        question_numbers.keep_numbers()
        k_samples.ask_repeatedly(metadata)  # the last: it looks at who builds the requests
        rows = take(source, folder, accept_sha256, metadata)
    except ValueError as wrong:
        raise explained(wrong) from wrong.__cause__
    return {"test": Dataset.from_list(rows)}


def runs_code(source: str) -> bool:
    """Tell whether grading this source runs code that the model wrote."""
    return source in SOURCES and SOURCES[source].runs_code


def take(
    source: str,
    data_dir: str | None,
    accept_sha256: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Load a source, keep what its grading needs in this process, and return its light docs.

    Raises:
        ValueError: as `load_rows`.
    """
    rows, info = load_rows(source, data_dir, accept_sha256, metadata)
    LOADED[source] = info
    heavy = SOURCES[source].heavy if source in SOURCES else ()
    if not heavy:
        return rows
    WHOLE[source] = {row["id"]: row for row in rows}
    return [{**{k: v for k, v in row.items() if k not in heavy}, "source": source} for row in rows]


def load_rows(
    source: str,
    data_dir: str | None = None,
    accept_sha256: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[list[Row], DatasetInfo]:
    """Return the canonical rows of a source and where they come from; see `load`."""
    if source in COMBINED:
        parts = [load_rows(part, data_dir, accept_sha256) for part in COMBINED[source]]
        return [row for rows, _ in parts for row in rows], combined_info(
            source, [info for _, info in parts]
        )
    if source not in SOURCES:
        raise ValueError(
            f"unknown data source {source!r}; known are {', '.join([*SOURCES, *COMBINED])}"
        )
    rows, info = all_rows(source, data_dir, accept_sha256)
    select = SOURCES[source].select
    if select is None:
        return rows, info
    rows, selection = select(rows, metadata or {})
    if selection is None:
        return rows, info
    sha256 = rows_sha256(rows, SOURCES[source].identity)
    return rows, replace(info, n_rows=len(rows), sha256=sha256, selection=selection)


def all_rows(
    source: str, data_dir: str | None, accept_sha256: str | None
) -> tuple[list[Row], DatasetInfo]:
    """Return every canonical row of one source that is not combined; see `load`."""
    spec = SOURCES[source]
    if spec.packaged:
        rows = read_rows(spec, [TASKS_DIR / spec.packaged])
        sha256 = rows_sha256(rows, spec.identity)
        return rows, DatasetInfo(source, None, None, len(rows), sha256, "package")
    if data_dir is None:
        rows = hub_rows(source, spec)
        sha256 = rows_sha256(rows, spec.identity)
        return rows, DatasetInfo(source, spec.hub_id, spec.revision, len(rows), sha256, "hub")
    paths = find_files(source, spec, Path(data_dir).expanduser())
    try:
        rows = read_rows(spec, paths)
    except (ValueError, OSError) as wrong:
        raise ValueError(f"{one_line(wrong)}; {next_step(source, spec)}") from wrong
    sha256 = check_sha256(spec, rows, named(paths), accept_sha256)
    origin = named([path.resolve() for path in paths])
    return rows, DatasetInfo(source, spec.hub_id, None, len(rows), sha256, origin)


def combined_info(source: str, parts: list[DatasetInfo]) -> DatasetInfo:
    """Describe a combined source; its sha256 is that of the parts' sha256 in order."""

    def joined(values: list[str | None]) -> str | None:
        return None if None in values else " + ".join(str(value) for value in values)

    return DatasetInfo(
        source,
        joined([part.hub_id for part in parts]),
        joined([part.revision for part in parts]),
        sum(part.n_rows for part in parts),
        hashlib.sha256("\n".join(part.sha256 for part in parts).encode()).hexdigest(),
        " + ".join(dict.fromkeys(part.origin for part in parts)),
    )


def rows_sha256(rows: list[Row], identity: Callable[[Row], list[Any]] = question_and_answer) -> str:
    """Return the sha256 over what makes each row the row it is, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(identity(row), ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def read_rows(spec: Source, paths: Sequence[Path]) -> list[Row]:
    """Read the canonical rows of a JSON-lines file, or of several that belong together.

    Raises:
        ValueError: a damaged line, a missing column, an empty value, or another number of rows.
        OSError: the file cannot be read.
    """
    raw = spec.read(paths) if spec.read else chain.from_iterable(map(read_jsonl, paths))
    rows = canonical_rows(spec, islice(raw, spec.n_rows + 1), named(paths))
    if len(rows) != spec.n_rows:
        count = f"more than {spec.n_rows}" if len(rows) > spec.n_rows else str(len(rows))
        raise ValueError(f"{named(paths)} has {count} rows, expected {spec.n_rows}")
    return rows


def canonical_rows(spec: Source, rows: Iterator[Row], name: str) -> list[Row]:
    return [spec.canonical(row, i, f"{name}: row {i + 1}") for i, row in enumerate(rows)]


def check_sha256(spec: Source, rows: list[Row], name: str, accepted: str | None) -> str:
    """Return the sha256 of the rows.

    Raises:
        ValueError: no copy that is known here has these rows.
    """
    sha256 = rows_sha256(rows, spec.identity)
    if sha256 in spec.sha256 or sha256 == accepted:
        return sha256
    known = "; ".join(f"{sha} ({origin})" for sha, origin in spec.sha256.items())
    raise ValueError(
        f"{name}: its {len(rows)} rows differ in text, answer or order from every known copy"
        f"{repeated(rows)}: sha256 {sha256}, expected {known}; take the file from there, or, if "
        f'these are the rows you mean, pass --metadata \'{{"accept_sha256": "{sha256}"}}\''
    )


def repeated(rows: list[Row]) -> str:
    """Say which row repeats the question of an earlier one, where one does."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        earlier = first.setdefault(row["question"], number)
        if earlier != number:
            return f" (row {number} repeats row {earlier})"
    return ""


def named(paths: Sequence[Path]) -> str:
    return " + ".join(str(path) for path in paths)


def find_files(source: str, spec: Source, folder: Path) -> list[Path]:
    """Return the file of the folder that holds the source, or the parts of it.

    Raises:
        ValueError: no folder, one that may not be read, no such file in it, or several.
    """
    parts = [
        next((p for p in (folder / name, folder / f"{name}.gz") if os.path.exists(p)), None)
        for name in spec.parts
    ]
    whole = [path for path in parts if path is not None]
    return whole if parts and len(whole) == len(parts) else [find_file(source, spec, folder)]


def find_file(source: str, spec: Source, folder: Path) -> Path:
    """Return the one file of the folder that holds the source; see `find_files`."""
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"data folder {str(folder)!r} {kind}; {next_step(source, spec)}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ValueError(
            f"data folder {str(folder)!r} may not be read by this user; mend its permissions, or "
            "name another folder"
        )
    names = [name + suffix for name in spec.files for suffix in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).exists()]
    if len({path.resolve() for path in found}) > 1:
        raise ValueError(
            f"data folder {str(folder)!r} holds several files for {source!r}: "
            f"{', '.join(str(path.relative_to(folder)) for path in found)}; leave one"
        )
    if not found:
        there = sorted(path.name for path in folder.iterdir())
        more = ", ..." if len(there) > 8 else ""
        raise ValueError(
            f"data folder {str(folder)!r} holds no file for {source!r}, only "
            f"{', '.join(there[:8]) or 'nothing'}{more}; {next_step(source, spec)}"
        )
    return found[0]


def next_step(source: str, spec: Source) -> str:
    names = [*([" + ".join(spec.parts)] if spec.parts else []), *spec.files]
    return (
        f"{source} takes {' or '.join(names)} (also .gz): JSON lines in the schema of "
        f"{spec.hub_id}; without a data folder that data set is loaded from the hub{spec.hint}"
    )


def hub_rows(source: str, spec: Source) -> list[Row]:
    """Load the rows from the Hugging Face hub at the pinned revision.

    Raises:
        ValueError: the hub or the cache does not give them, or gives another number of rows.
    """
    import datasets

    try:
        table = spec.fetch(spec) if spec.fetch else load_dataset(spec)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as failed:
        raise ValueError(
            f"cannot load {spec.hub} from the Hugging Face hub ({one_line(failed)}); offline, put "
            f"{' + '.join(spec.parts) or spec.files[0]} into a folder and pass it as --data-dir "
            f"(or {DATA_ENV})"
        ) from failed
    rows = canonical_rows(spec, table, spec.hub)
    if len(rows) != spec.n_rows:
        raise ValueError(f"{spec.hub} gave {len(rows)} rows, expected {spec.n_rows} for {source!r}")
    return rows


def load_dataset(spec: Source) -> Iterator[Row]:
    """Yield the rows of a data set that the datasets library can read by itself."""
    import datasets

    return iter(
        datasets.load_dataset(spec.hub_id, spec.config, split=spec.split, revision=spec.revision)
    )


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
