"""The questions: which rows a task asks, where they come from, and proof that they are right.

Owns the sources (hub data set at a pinned revision, or a folder of JSON lines), the canonical rows
and their sha256. Refuses to own prompts (the task YAML) and grading (`results`). A row is reduced
to what is asked and what is right, so that a hub copy and a folder copy give equal docs:

    {"id": "2024-I-1", "question": "Every morning Aya ...", "answer": "204"}

Long solutions are left out (GSM8K's short worked answer is kept), zero-padded AIME answers become
integers, and the MATH-500 subject and level stay for breakdowns. `datasets` is imported on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from harness_tasks.explained import explained
from harness_tasks.records import read_jsonl

DATA_ENV = "DISTILL_EVAL_DATA"
AIME_MAX = 999

Row = dict[str, Any]


@dataclass(frozen=True)
class DatasetInfo:
    """What was loaded, for the run manifest; `origin` is `hub`, `package` or the files read."""

    source: str
    hub_id: str | None
    revision: str | None
    n_rows: int
    sha256: str
    origin: str


@dataclass(frozen=True)
class Source:
    """One list of questions; `files` are the names taken from a folder, `.gz` too."""

    n_rows: int
    canonical: Callable[[Row, int, str], Row]
    files: tuple[str, ...] = ()
    hub_id: str | None = None
    revision: str | None = None
    config: str | None = None
    split: str = "test"
    # sha256 of the canonical rows -> whose copy that is. A hub copy at the pinned revision is
    # accepted for its revision; a file must be one of these.
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def hub(self) -> str:
        """Return `owner/name@revision`, or a word for a source that is on no hub."""
        return f"{self.hub_id}@{self.revision}" if self.hub_id else "package"


def text_of(row: Row, names: Sequence[str], where: str) -> str:
    """Return the first of the named columns as stripped text, with Unix line ends.

    Raises:
        ValueError: none of the columns is there, or it is empty or no text.
    """
    for name in names:
        if name in row:
            value = str(row[name]) if isinstance(row[name], int) else row[name]
            if isinstance(value, str) and value.strip():
                return value.replace("\r\n", "\n").strip()
            raise ValueError(f"{where}: column {name!r} is {row[name]!r}, expected text")
    wanted = " or ".join(repr(name) for name in names)
    raise ValueError(f"{where}: no column {wanted}, the row has {sorted(row)}")


def question_of(row: Row, where: str) -> str:
    return text_of(row, ("problem", "question"), where)


def math_row(row: Row, index: int, where: str) -> Row:
    """Canonical MATH row; `subject` and `level` are None where the file has none."""
    return {
        "id": str(row.get("unique_id", index)),
        "question": question_of(row, where),
        "answer": text_of(row, ("answer",), where),
        "subject": row.get("subject"),
        "level": row.get("level"),
    }


def aime_row(row: Row, index: int, where: str, year: int | None = None) -> Row:
    """Canonical AIME row: "025" becomes "25", so that padded and bare copies are equal.

    Raises:
        ValueError: a missing column, or an answer that is no integer from 0 to 999.
    """
    answer = text_of(row, ("answer",), where)
    if not (answer.isascii() and answer.isdecimal() and int(answer) <= AIME_MAX):
        raise ValueError(f"{where}: answer is {answer!r}, expected an integer from 0 to {AIME_MAX}")
    return {
        "id": aime_id(row, year) or str(index),
        "question": question_of(row, where),
        "answer": str(int(answer)),
    }


def aime_id(row: Row, year: int | None) -> str | None:
    """Name the problem as `2024-II-4`, from its id, its wiki address or its place in the year."""
    if isinstance(row.get("problem_id"), str):
        return str(row["problem_id"])
    page = re.search(r"(\d{4})_AIME_(I{1,2})_Problems/Problem_(\d+)", str(row.get("url", "")))
    if page:
        return "-".join(page.groups())
    number = row.get("problem_idx")
    if year is not None and isinstance(number, int) and 1 <= number <= 30:
        return f"{year}-I-{number}" if number <= 15 else f"{year}-II-{number - 15}"
    return None


def aime25_row(row: Row, index: int, where: str) -> Row:
    return aime_row(row, index, where, year=2025)


def gsm8k_row(row: Row, index: int, where: str) -> Row:
    """Canonical GSM8K row, worked answer kept.

    Raises:
        ValueError: a missing column, or an answer without `#### <number>`.
    """
    doc = {
        "id": f"test/{index}",
        "question": question_of(row, where),
        "answer": text_of(row, ("answer",), where),
    }
    if not gsm8k_target(doc):
        raise ValueError(f"{where}: answer {doc['answer'][-60:]!r} does not end in '#### <number>'")
    return doc


def gsm8k_target(doc: Row) -> str:
    """Return the number after the last `####` of the worked answer, or "" where there is none."""
    _, marker, number = doc["answer"].rpartition("####")
    return number.strip() if marker else ""


# Where each pinned revision was seen (2026-11):
#   MATH-500, aime_2024, gsm8k   ai-dynamo/aiperf, accuracy worker's registrations, and many others;
#                                MATH-500's test.jsonl has sha256 35dc4108..., which is also that of
#                                openai/prm800k prm800k/math_splits/test.jsonl
#   aime_2025, aimo-validation-aime   public replications of GEPA's AIME benchmark: their data set
#                                     manifests and Hugging Face cache paths
SOURCES: dict[str, Source] = {
    "math500": Source(
        n_rows=500,
        canonical=math_row,
        files=("math500.jsonl", "MATH-500/test.jsonl"),
        hub_id="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        sha256={
            "f4baeb27c3e5bac0396fdc3e42173df932f77910bb436684edaf9c6fa18cc3df": "openai/prm800k",
        },
    ),
    "aime24": Source(
        n_rows=30,
        canonical=aime_row,
        files=("aime24.jsonl", "aime_2024/train.jsonl"),
        hub_id="HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        split="train",
        sha256={
            "a032b997d0a37cfae00b65a60d9f079627dda6988953581bd4c5c035f6ca98e7": (
                "QwenLM/Qwen2.5-Math"
            ),
        },
    ),
    "aime25": Source(
        n_rows=30,
        canonical=aime25_row,
        files=("aime25.jsonl", "aime_2025/train.jsonl"),
        hub_id="MathArena/aime_2025",
        revision="c94da77eb22bbd6439e62a323bec18493a421302",
        split="train",
        # Copies differ in how the figures of six problems were taken out.
        sha256={
            "211dfa3bd04722345f21c0587785d817742c0822fd01fdcfa060063647f0a5ae": (
                "eth-sri/matharena, figures cut"
            ),
        },
    ),
    "aime_2022_2024": Source(
        n_rows=90,
        canonical=aime_row,
        files=(
            "aimo_validation_aime.jsonl",
            "aime_2022_2024.jsonl",
            "aimo-validation-aime/train.jsonl",
        ),
        hub_id="AI-MO/aimo-validation-aime",
        revision="13f9e12f613e720c2a2b2f345dd04b998a29494d",
        split="train",
        sha256={
            "6349308bd1bb82403b91d80c9d17ddfcef5ad751276a741b4f2f94df0f2ee58e": "PRIME-RL/PRIME",
        },
    ),
    "gsm8k": Source(
        n_rows=1319,
        canonical=gsm8k_row,
        files=("gsm8k_test.jsonl", "gsm8k.jsonl", "gsm8k/test.jsonl"),
        hub_id="openai/gsm8k",
        revision="740312add88f781978c0658806c59bc2815b9866",
        config="main",
        sha256={
            "f294fbc26f89a50d527859a5c78f60a0cced51829afeb2f2806754fd23599e86": (
                "openai/grade-school-math"
            ),
        },
    ),
    "demo": Source(n_rows=40, canonical=math_row),
}
# Sources that are several others in order.
COMBINED = {"aime": ("aime24", "aime25")}
DEMO_FILE = Path(__file__).parent / "tasks" / "demo" / "questions.jsonl"

LOADED: dict[str, DatasetInfo] = {}


def loaded() -> dict[str, DatasetInfo]:
    """Return what this process has loaded so far, by source."""
    return dict(LOADED)


def load(
    source: str, data_dir: str | None = None, accept_sha256: str | None = None, **_: Any
) -> dict[str, Any]:
    """Load a source as lm-eval's `custom_dataset` wants it: `{"test": datasets.Dataset}`.

    lm-eval passes `--metadata` and the model's arguments along; the ones unknown here are ignored.
    `data_dir` comes before the environment variable DISTILL_EVAL_DATA, and both before the hub.

    Raises:
        ValueError: an unknown source, or rows that are not the ones pinned here; says what to do.
    """
    from datasets import Dataset

    folder = data_dir or os.environ.get(DATA_ENV) or None
    try:
        rows, info = load_rows(source, folder, accept_sha256)
    except ValueError as wrong:
        raise explained(wrong) from wrong.__cause__
    LOADED[source] = info
    return {"test": Dataset.from_list(rows)}


def load_rows(
    source: str, data_dir: str | None = None, accept_sha256: str | None = None
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
    spec = SOURCES[source]
    if source == "demo":
        rows = read_rows(spec, DEMO_FILE)
        return rows, DatasetInfo(source, None, None, len(rows), rows_sha256(rows), "package")
    if data_dir is None:
        rows = hub_rows(source, spec)
        return rows, DatasetInfo(
            source, spec.hub_id, spec.revision, len(rows), rows_sha256(rows), "hub"
        )
    path = find_file(source, spec, Path(data_dir).expanduser())
    try:
        rows = read_rows(spec, path)
    except (ValueError, OSError) as wrong:
        raise ValueError(f"{one_line(wrong)}; {next_step(source, spec)}") from wrong
    sha256 = check_sha256(spec, rows, path, accept_sha256)
    return rows, DatasetInfo(source, spec.hub_id, None, len(rows), sha256, str(path.resolve()))


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


def rows_sha256(rows: list[Row]) -> str:
    """Return the sha256 of the canonical rows: question and target of each, in order."""
    digest = hashlib.sha256()
    for row in rows:
        target = gsm8k_target(row) or row["answer"]
        digest.update(json.dumps([row["question"], target], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def read_rows(spec: Source, path: Path) -> list[Row]:
    """Read the canonical rows of a JSON-lines file.

    Raises:
        ValueError: a damaged line, a missing column, an empty value, or another number of rows.
        OSError: the file cannot be read.
    """
    rows = canonical_rows(spec, islice(read_jsonl(path), spec.n_rows + 1), str(path))
    if len(rows) != spec.n_rows:
        count = f"more than {spec.n_rows}" if len(rows) > spec.n_rows else str(len(rows))
        raise ValueError(f"{path} has {count} rows, expected {spec.n_rows}")
    return rows


def canonical_rows(spec: Source, rows: Iterator[Row], name: str) -> list[Row]:
    return [spec.canonical(row, i, f"{name}: row {i + 1}") for i, row in enumerate(rows)]


def check_sha256(spec: Source, rows: list[Row], path: Path, accepted: str | None) -> str:
    """Return the sha256 of the rows.

    Raises:
        ValueError: no copy that is known here has these rows.
    """
    sha256 = rows_sha256(rows)
    if sha256 in spec.sha256 or sha256 == accepted:
        return sha256
    known = "; ".join(f"{sha} ({origin})" for sha, origin in spec.sha256.items())
    raise ValueError(
        f"{path}: its {len(rows)} rows differ in text, answer or order from every known copy"
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


def find_file(source: str, spec: Source, folder: Path) -> Path:
    """Return the one file of the folder that holds the source.

    Raises:
        ValueError: no folder, one that may not be read, no such file in it, or several.
    """
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
    return (
        f"{source} takes {' or '.join(spec.files)} (also .gz): JSON lines in the schema of "
        f"{spec.hub_id}; without a data folder that data set is loaded from the hub"
    )


def hub_rows(source: str, spec: Source) -> list[Row]:
    """Load the rows from the Hugging Face hub at the pinned revision.

    Raises:
        ValueError: the hub or the cache does not give them, or gives another number of rows.
    """
    import datasets

    try:
        table = datasets.load_dataset(
            spec.hub_id, spec.config, split=spec.split, revision=spec.revision
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as failed:
        raise ValueError(
            f"cannot load {spec.hub} from the Hugging Face hub ({one_line(failed)}); offline, put "
            f"{spec.files[0]} into a folder and pass it as --data-dir (or {DATA_ENV})"
        ) from failed
    rows = canonical_rows(spec, iter(table), spec.hub)
    if len(rows) != spec.n_rows:
        raise ValueError(f"{spec.hub} gave {len(rows)} rows, expected {spec.n_rows} for {source!r}")
    return rows


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
