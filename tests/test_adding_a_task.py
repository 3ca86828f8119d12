"""docs/adding_a_task.md, followed word for word: its files are written and its commands typed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness_tasks.records import read_jsonl
from tests.conftest import REPO
from tests.typing_pages import BLOCK, typed

PAGE = (REPO / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OWN, GRADER, SUITE = SECTIONS.values()
FILE = re.compile(r"`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDED = re.compile(r"In `([^`]+)`, below `([^`]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
COPIED = ("harness_tasks", "proxy", "training", "analysis", "docs", "tests")


def written(section: str, folder: Path) -> list[Path]:
    """Write the files that a section shows; what is put below a line of a file is no file."""
    paths = []
    for name, text in FILE.findall(ADDED.sub("", section)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def follow(section: str, folder: Path, **environ: str) -> str:
    """Type the commands of a section, whose files are there, and return what they print."""
    return typed("".join(BLOCK.findall(section)), folder, **environ)


def verdicts(folder: Path) -> list[str]:
    """Return the verdict of each question, in order."""
    (path,) = folder.rglob("samples_*.jsonl")
    rows = sorted(read_jsonl(path), key=lambda row: int(row["doc_id"]))
    return [sample["verdict"] for row in rows for sample in row["samples"]]


def values(table: str) -> dict[str, float]:
    """Return the metrics of lm-eval's table."""
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    found = [row for row in cells if len(row) > 8 and re.fullmatch(r"[\d.]+", row[7])]
    return {row[5].rstrip("↑↓"): float(row[7]) for row in found}


@pytest.mark.slow
def test_a_task_and_a_grader_of_ones_own(tmp_path: Path) -> None:
    assert [path.name for path in written(OWN, tmp_path)] == ["capitals.jsonl", "recorded.jsonl"]
    told = values(follow(OWN, tmp_path))
    assert told["score"] == told["truncated"] == 0.3333
    assert verdicts(tmp_path / "runs" / "try") == ["correct", "incorrect", "truncated"]

    assert [path.name for path in written(GRADER, tmp_path)] == ["cities.py", "lines.jsonl"]
    shell = re.search(r"^SUITE=.*$", OWN, re.MULTILINE)
    assert shell
    told = values(follow(f"```sh\n{shell[0]}\n```\n{GRADER}", tmp_path))
    assert (told["score"], told["no_answer"]) == (0.6667, 0.3333)
    assert verdicts(tmp_path / "runs" / "lines") == ["correct", "no_answer", "correct"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the repository, in which a task may be added."""
    for name in COPIED:
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (REPO / "pyproject.toml", REPO / "README.md", REPO / "Makefile"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_task_of_the_suite(checkout: Path) -> None:
    assert len(written(SUITE, checkout)) == 4
    for name, line, text in ADDED.findall(SUITE):
        page = (checkout / name).read_text(encoding="utf-8")
        assert f"{line}\n" in page, f"{name} has no line {line!r}"
        page = page.replace(f"{line}\n", f"{line}\n{text}", 1)
        (checkout / name).write_text(page, encoding="utf-8")
    # The copy comes before the package that is installed.
    told = follow(SUITE, checkout, PYTHONPATH=str(checkout))
    assert re.search(r"^distill_capitals +3 +score +1.0 +package", told, re.MULTILINE)
    catalogue = (checkout / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert (
        "| `distill_capitals` | 3 | `score` | experimental | nothing was replayed yet" in catalogue
    )
