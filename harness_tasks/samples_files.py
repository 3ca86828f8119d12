"""The samples files that lm-eval wrote: which ones a folder holds, and what lies beside them.

Owns the search, the choice between reruns and the check of a row. Refuses to own regrading
(`regrade`) and comparing (`analysis.reading.folder`, which reads other tasks' files as well).

    runs/base/manifest.json
    runs/base/my-model/results_2026-01-31T10-00-00.000000.json
    runs/base/my-model/samples_distill_math500_2026-01-31T10-00-00.000000.jsonl
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_tasks import catalogue, manifest
from harness_tasks.records import SAMPLES_NAME, SampleRecord, parse_object, read_jsonl

HOW_TO_MAKE = (
    "expected samples_<task>_<time>.jsonl[.gz], as lm-eval writes them with --log_samples, or a "
    "run's folder"
)


@dataclass(frozen=True)
class SamplesFile:
    """One samples file; `root` is the folder of its run, or the one that a lone file lies in."""

    path: Path
    task: str
    time: str  # "" where the name carries none
    root: Path
    of_run: bool

    @property
    def results_path(self) -> Path:
        """Return where lm-eval writes the results that belong to the samples."""
        return self.path.with_name(f"results_{self.time}.json" if self.time else "results.json")

    def results(self) -> dict[str, Any]:
        """Return lm-eval's results of this run, {} where there are none.

        Raises:
            ValueError: the file is no JSON object.
        """
        path = self.results_path
        return parse_object(path.read_bytes(), str(path)) if path.is_file() else {}

    def manifest(self) -> manifest.Manifest:
        """Return the run's manifest, {} where there is none.

        Raises:
            ValueError: the file is no manifest of this schema.
        """
        return manifest.read(self.root) or {}


@dataclass(frozen=True)
class SamplesRow:
    """One row, checked: the doc, its completions as text and, where it has them, their records."""

    row: dict[str, Any]
    doc: dict[str, Any]
    texts: list[str]
    records: list[SampleRecord] | None
    where: str


def find(arguments: Iterable[str | Path]) -> tuple[list[SamplesFile], list[str]]:
    """Return the samples files of our tasks, and a note on each file that was left out.

    Raises:
        ValueError: nothing there, a name that tells no task, or no file of a task of ours.
    """
    found: dict[Path, SamplesFile] = {}
    notes: list[str] = []
    for argument in arguments:
        path = Path(argument).expanduser()
        if not path.exists():
            raise ValueError(f"no such samples file or run folder: {str(path)!r}; {HOW_TO_MAKE}")
        files = [described(path)] if path.is_file() else newest(path, notes)
        found.update((file.path.resolve(), file) for file in files)
    known = catalogue.tasks()
    named = {file.task for file in found.values() if known.knows(file.task)}
    tasks = [name for name in named if known[name].source is not None]
    foreign = [file for file in found.values() if file.task not in tasks]
    notes += [f"left out: {not_ours(file)}" for file in foreign]
    ours = [file for file in found.values() if file.task in tasks]
    if not ours:
        more = f" (and {len(foreign) - 1} more files)" if len(foreign) > 1 else ""
        raise ValueError(not_ours(foreign[0]) + more)
    return ours, notes


def described(path: Path, root: Path | None = None) -> SamplesFile:
    """Return what the name of a samples file tells.

    Raises:
        ValueError: it is no name of a samples file.
    """
    match = SAMPLES_NAME.match(path.name)
    if match is None:
        raise ValueError(f"{path}: the name does not tell the task; {HOW_TO_MAKE}")
    near = [path.parent, path.parent.parent]
    run = root or next((one for one in near if (one / manifest.FILE_NAME).is_file()), None)
    return SamplesFile(path, match["task"], match["time"] or "", run or path.parent, bool(run))


def newest(folder: Path, notes: list[str]) -> list[SamplesFile]:
    """Return the newest samples file of each task in each folder below this one.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(path for path in folder.rglob("samples_*.jsonl*") if path.is_file())
    files = [described(path, folder) for path in paths if SAMPLES_NAME.match(path.name)]
    if not files:
        raise ValueError(f"{folder}: no samples file in it; {HOW_TO_MAKE}")
    chosen: dict[tuple[Path, str], SamplesFile] = {}
    for file in sorted(files, key=lambda file: file.time):
        older = chosen.get((file.path.parent, file.task))
        if older is not None:
            notes.append(f"left out: {older.path} is older than {file.path.name}")
        chosen[file.path.parent, file.task] = file
    return sorted(chosen.values(), key=lambda file: file.path)


def not_ours(file: SamplesFile) -> str:
    return (
        f"{file.path}: task {file.task!r} is none of distill-eval, so there is no grader of ours "
        "for it; `distill-eval tasks` lists those that can be regraded"
    )


def read(file: SamplesFile) -> Iterator[SamplesRow]:
    """Yield the rows of a samples file, checked, in order.

    Raises:
        ValueError: damaged JSON or gzip, or a row that is none of lm-eval's; names file and row.
        OSError: the file cannot be read.
    """
    for number, row in enumerate(read_jsonl(file.path), start=1):
        where = f"{file.path}: row {number} (doc {row.get('doc_id')!r})"
        missing = next((key for key in ("doc_id", "doc", "resps") if key not in row), None)
        if missing:
            raise ValueError(f"{where}: lacks {missing!r}; expected a row of lm-eval's samples")
        doc, resps = row["doc"], row["resps"]
        if not isinstance(doc, dict):
            raise ValueError(f"{where}: doc must be a JSON object, got {type(doc).__name__}")
        texts = resps[0] if isinstance(resps, list) and len(resps) == 1 else None
        if not (isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts)):
            raise ValueError(f"{where}: resps must be [[text, ...]], got {str(resps)[:60]}")
        yield SamplesRow(row, doc, texts, records_of(row, len(texts), where), where)


def records_of(row: dict[str, Any], n_texts: int, where: str) -> list[SampleRecord] | None:
    """Return the records of a row in the order of its texts, None where it has none.

    Raises:
        ValueError: another schema, a missing field, or not one record for each text.
    """
    told = row.get("samples")
    if told is None:
        return None  # as `--predict_only` leaves it
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise ValueError(f"{where}: samples must be a list of records, got {str(told)[:60]}")
    try:
        records = {one.sample_index: one for one in map(SampleRecord.from_json, told)}
    except ValueError as wrong:
        raise ValueError(f"{where}: {wrong}") from wrong
    for record in records.values():
        check_types(record, where)
    if sorted(records) != list(range(n_texts)) or len(told) != n_texts:
        raise ValueError(
            f"{where}: {len(told)} records for {n_texts} completions; expected one each"
        )
    return [records[index] for index in range(n_texts)]


def check_types(record: SampleRecord, where: str) -> None:
    """Refuse a record whose fields are not of their types: the file may be anybody's.

    Raises:
        ValueError: the first such field.
    """
    for name in ("answer", "state", "finish_reason", "request_id", "reason"):
        value = getattr(record, name)
        if not isinstance(value, str | None):
            raise ValueError(f"{where}: a record's {name} must be text or null, got {value!r:.60}")
    for name in ("reasoning_chars", "answer_chars", "completion_tokens"):
        value = getattr(record, name)
        if not isinstance(value, int | None):
            raise ValueError(f"{where}: a record's {name} must be a count, got {value!r:.60}")
