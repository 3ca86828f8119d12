"""The blocks of docs/schemas.md: the fields of every record, from the code that writes it.

Owns the reading of a dataclass (types, and the docstring below each field); records that are plain
dicts have their words in `words.json`. A field without words, or words for a field that is gone,
is an error. Refuses to own the records.

    >>> fields_of(SampleRecord)["verdict"][0]
    'Verdict'
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from docs.generate.pages import Maker, code, table
from harness_tasks import manifest
from harness_tasks.chat.store import Request, Store
from harness_tasks.records import SampleRecord, Verdict, write_jsonl
from proxy.exchange import Exchange
from training.records import Question, Trace

WORDS = Path(__file__).with_name("words.json")
SAMPLE = SampleRecord(
    sample_index=0,
    verdict=Verdict.CORRECT,
    answer="18",
    truncated=False,
    state="closed",
    finish_reason="stop",
    reasoning_chars=812,
    answer_chars=64,
    request_id="base/distill_gsm8k/0/0",
    completion_tokens=255,
)
EXCHANGE = Exchange(
    request_id="base/distill_gsm8k/0/0",
    started_at="2026-01-02T03:04:05.000006+00:00",
    endpoint="/v1/chat/completions",
    upstream="http://127.0.0.1:8080",
    model_requested="base",
    messages=[{"role": "user", "content": "..."}],
    sampling={"temperature": 0.6, "seed": 1608637542},
    stream=True,
    status=200,
    content="<think>...</think>The answer is 18.",
    reasoning_source="inline",
    reasoning_state="closed",
    finish_reason="stop",
)
QUESTION = Question(id="math-q-00001", question="What is 2 + 2?", answer="4", source="numina")
TRACE = Trace(
    id="math-q-00001/r1/0",
    question=QUESTION,
    teacher="r1",
    sample_index=0,
    messages=[{"role": "user", "content": "..."}],
    reasoning="...",
    answer_text=r"\boxed{4}",
    state="closed",
    finish_reason="stop",
    truncated=False,
    verdict=Verdict.CORRECT,
    answer="4",
    kept=True,
)
REQUEST = Request(
    role="teacher",
    name="r1",
    endpoint="https://host/v1",
    question_id="math-q-00001",
    sample_index=0,
    body={"model": "MODEL", "messages": [], "temperature": 0.6, "seed": 1608637542},
    told={"root": "MODEL"},
)


def record(cls: type[Any], example: Mapping[str, Any]) -> str:
    """Return the fields of a record that is a dataclass, and one record."""
    found = {"schema": ("int", f"{example['schema']}: the version of this record")}
    found |= {name: told for name, told in fields_of(cls).items() if name != "schema"}
    check(cls.__name__, example, found)
    rows = [(code(name), kind, told) for name, (kind, told) in found.items()]
    return f"{table(('field', 'type', 'meaning'), rows)}\n\n{shown(example)}"


def plain(name: str, example: Mapping[str, Any]) -> str:
    """Return the fields of a record that is a dict, told by `words.json`."""
    told = words()[name]
    check(name, example, told)
    return table(("field", "meaning"), [(code(field), about) for field, about in told.items()])


def words() -> dict[str, dict[str, str]]:
    """Return what the fields of plain dicts mean, by record."""
    told: dict[str, dict[str, str]] = json.loads(WORDS.read_text(encoding="utf-8"))
    return told


def check(name: str, written: Iterable[str], told: Iterable[str]) -> None:
    """Compare the fields that are written with those that are told.

    Raises:
        ValueError: one is written and not told.
    """
    unlike = ", ".join(sorted(set(written) - set(told)))
    if unlike:
        raise ValueError(f"{name}: written and not told: {unlike} (docs/generate/words.json)")


def fields_of(cls: type[Any]) -> dict[str, tuple[str, str]]:
    """Return the fields of a dataclass with type and meaning, the docstring below each.

    Raises:
        ValueError: a field without one.
    """
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    words: dict[str, str] = {}
    for node, below in pairwise([*tree.body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = below.value if isinstance(below, ast.Expr) else None
            told = value.value if isinstance(value, ast.Constant) else None
            words[node.target.id] = str(told or "")
    found = {item.name: (str(item.type), words[item.name]) for item in dataclasses.fields(cls)}
    bare = [name for name, (_, told) in found.items() if not told and name != "schema"]
    if bare:
        raise ValueError(f"{cls.__name__}: no docstring below {', '.join(bare)}")
    return found


def store_row() -> dict[str, Any]:
    """Return a row as the store writes it."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.jsonl") as store:
        return store.add(REQUEST, {"content": "..."}, None, 0.0031)


def manifest_row() -> dict[str, Any]:
    """Return a manifest as a run begins it."""
    return manifest.started("base", [], {})


def task_row() -> dict[str, Any]:
    """Return a task's entry as it is made from a results file, with no more than that needs."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results_2026-01-02T03-04-05.000006.json"
        sample = {"doc_id": 0, "arguments": [["2 + 2?"]]}
        write_jsonl(manifest.samples_path(results, "distill_demo"), [sample])
        return manifest.task_entry("distill_demo", {"configs": {"distill_demo": {}}}, results, {})


def shown(example: Mapping[str, Any]) -> str:
    """Return a record as a block of JSON, its lines wrapped."""
    text = json.dumps(example, ensure_ascii=False)
    lines = textwrap.wrap(text, width=110, break_long_words=False, break_on_hyphens=False)
    return "```json\n" + "\n ".join(lines) + "\n```"


MAKERS: dict[str, Maker] = {
    "sample": partial(record, SampleRecord, SAMPLE.to_json()),
    "exchange": partial(record, Exchange, EXCHANGE.to_json()),
    "question": partial(record, Question, QUESTION.to_json()),
    "trace": partial(record, Trace, TRACE.to_json()),
    "store-row": lambda: plain("store-row", store_row()),
    "manifest": lambda: plain("manifest", manifest_row()),
    "manifest-task": lambda: plain("manifest-task", task_row()),
}
