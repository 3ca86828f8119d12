"""docs/tutorial.md: its steps, and the whole of it typed for real, with two tiny random models.

That needs llama-server (`make server-llamacpp`). With recorded answers, tests/test_readme.py types
the same commands in one walk with those of the README.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.test_servers import server_python
from tests.typing_pages import commands_of, replaced, typed

PAGE = (REPO / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = commands_of(PAGE)
# The table of questions to ask further; `leakage` needs the reader's own training data.
FURTHER = [line for line in re.findall(r"`(distill-report [^`]+)`", PAGE) if "runs/base" in line]


def road(*servers: str) -> str:
    """Return the tutorial's commands behind these servers, the demo in place of MATH-500.

    The doctor may find fault with a tiny random model.
    """
    own = {"distill_math500": "distill_demo --limit 10"}
    lines = [replaced(line, own) for line in COMMANDS if line.startswith("distill-")]
    lines = [f"{line} || test $? -le 2" if " doctor " in line else line for line in lines]
    tables = [line for line in FURTHER if "--train" not in line]
    return "\n".join([*servers, *lines, *tables])


def test_the_page_has_every_step() -> None:
    words = [line.split()[:2] for line in COMMANDS]
    assert words.count(["distill-eval", "run"]) == 4
    assert ["pip", "install"] in words
    for step in ("doctor", "tasks"):
        assert ["distill-eval", step] in words
    assert [line.split()[0] for line in COMMANDS].count("llama-server") == 2
    assert [line.split()[0] for line in COMMANDS].count("vllm") == 2
    assert len(FURTHER) >= 6


@pytest.mark.server
@pytest.mark.slow
def test_two_gguf_models_walk_the_whole_road(tmp_path: Path) -> None:
    python = server_python("llamacpp")
    maker = REPO / "tests" / "tiny_gguf.py"
    for name, flags in (("base", []), ("student", ["--opens-think"])):
        subprocess.run([python, maker, tmp_path / f"{name}.gguf", *flags], check=True)
    # A tiny model writes to the end of its context (1,024 tokens each), and needs no threads.
    served = [line for line in COMMANDS if line.startswith("llama-server")]
    servers = [replaced(line, {"-c 139264": "-c 4096 --threads 1"}) for line in served]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    told = typed(road(*servers), tmp_path, PATH=path)
    assert "llama.cpp" in told
    assert "Scorecard" in told
    assert (tmp_path / "report.html").stat().st_size > 100_000
