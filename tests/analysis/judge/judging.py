"""Fake judges behind real HTTP, each with a character of its own, and arms for them to judge.

Example: `with FakeUpstream(judge(effort)) as server: judged(tmp_path, arms, server.url)`
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from analysis.cli import cli
from tests.analysis.runs import foreign_row, pair_of_runs
from tests.fakes import Answer, Received, Script, chat

Decide = Callable[[str, str], str]
SHOWN = re.compile(
    r"<<<RESPONSE A (\w+)>>>\n(.*)\n<<<END RESPONSE A \1>>>\n\n"
    r"<<<RESPONSE B \1>>>\n(.*)\n<<<END RESPONSE B \1>>>",
    re.DOTALL,
)
USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


def prompt_of(request: Received) -> str:
    return str(request.body["messages"][-1]["content"])


def shown(request: Received) -> tuple[str, str]:
    """Return the two responses that a judge is shown."""
    found = SHOWN.search(prompt_of(request))
    assert found, prompt_of(request)
    return found[2], found[3]


def judge(decide: Decide, form: str = "Compared.\nJUDGMENT: {}", **said: Any) -> Script:
    """Answer with the verdict of a function of both responses."""

    def script(request: Received) -> Answer:
        return chat(form.format(decide(*shown(request))), usage=USAGE, **said)(request)

    return script


def effort(a: str, b: str) -> str:
    """Prefer the text that checks more often: a judge as it should be."""
    return by_size(a.count("check"), b.count("check"))


def longer(a: str, b: str) -> str:
    return by_size(len(a), len(b))


def first(a: str, b: str) -> str:
    return "A"


def chance(a: str, b: str) -> str:
    """Draw a verdict that depends on nothing but the texts' bytes and their order."""
    return random.Random(zlib.crc32(f"{a}|{b}".encode())).choice(("A", "B", "Neither"))


def by_size(a: float, b: float) -> str:
    return "Neither" if a == b else "A" if a > b else "B"


def arms(folder: Path, n: int = 60, seed: int = 7) -> tuple[Path, Path]:
    """Write two arms of `n` questions: the student checks more in four of five.

    Lengths are drawn apart and say nothing of it; half of the pairs are about equally long.
    """
    draw = random.Random(seed)
    rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for doc_id in range(n):
        student_more = doc_id % 5 != 0
        sizes = [draw.choice((300, 600)) + draw.randrange(20) for _ in rows]
        for arm, own in enumerate(rows):
            checks = 3 if (arm == 1) == student_more else 1
            text = f"arm {arm} on {doc_id}. " + "I check it. " * checks
            own.append(
                foreign_row(doc_id, float(draw.random() < 0.5), text=text.ljust(sizes[arm], "."))
            )
    return pair_of_runs(folder, *rows)


def texts(
    folder: Path, base: Sequence[str], student: Sequence[str], **more: Any
) -> tuple[Path, Path]:
    """Write two arms of the given texts."""
    made = [[foreign_row(i, 1.0, text=text) for i, text in enumerate(own)]
            for own in (base, student)]  # fmt: skip
    return pair_of_runs(folder, made[0], made[1], **more)


def spec(url: str, name: str, **more: Any) -> str:
    """Return a --judge."""
    settings = {"base_url": url, "model": "fake", "name": name, "max_retries": 0, **more}
    return ",".join(f"{key}={value}" for key, value in settings.items())


def judged(
    folder: Path, runs: tuple[Path, Path], *judges: str, options: Sequence[str] = ()
) -> Result:
    """Run the command."""
    words = ["judge", *map(str, runs), "--out", str(folder / "judged"), *options]
    for one in judges:
        words += ["--judge", one]
    return CliRunner().invoke(cli, words)


def tables(folder: Path) -> dict[str, Any]:
    """Return the tables of judge.json by name, each as a list of rows."""
    made = whole(folder)["tables"]
    return {name: table["rows"] for name, table in made.items()}


def notes(folder: Path) -> str:
    return "\n".join(whole(folder)["tables"]["effort"]["notes"])


def whole(folder: Path) -> dict[str, Any]:
    text = (folder / "judged" / "judge.json").read_text(encoding="utf-8")
    made: dict[str, Any] = json.loads(text)
    return made


def judgments(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "judged" / "judgments.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def row_of(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the row whose first cell is a name."""
    return next(row for row in rows if next(iter(row.values())) == name)
