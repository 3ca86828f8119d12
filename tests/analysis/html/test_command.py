from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.cli import cli
from tests.analysis.html.pages import quiz
from tests.analysis.runs import write_run
from tests.conftest import REPO


@pytest.fixture
def arms(tmp_path: Path) -> list[str]:
    """Return two run folders."""
    paths = [tmp_path / name for name in ("base", "student")]
    for task, both in quiz(12).items():
        for path, rows in zip(paths, both, strict=True):
            write_run(path, rows, task=task, model=f"{path.name}-model")
    return [str(path) for path in paths]


def test_the_command_writes_one_file_and_says_how_large(arms: list[str], tmp_path: Path) -> None:
    out = tmp_path / "folder" / "report.html"
    done = CliRunner().invoke(cli, ["html", *arms, "--out", str(out), "--flips", "2"])
    assert done.exit_code == 0, done.output
    assert done.output == f"wrote {out} ({out.stat().st_size / 2**20:.1f} MB)\n"
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "student-model</span>" in text


def test_names_given_stand_in_the_title(arms: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    names = ["--baseline-name", "Base 7B", "--candidate-name", "R1 <student>"]
    CliRunner().invoke(cli, ["html", *arms, "--out", str(out), *names], catch_exceptions=False)
    assert "<title>R1 &lt;student&gt; against Base 7B</title>" in out.read_text(encoding="utf-8")


def test_bad_input_is_one_line_and_exit_2_and_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["html", "missing", "missing", "--out", str(out)])
    assert done.exit_code == 2
    assert done.output.startswith("distill-report: no such run folder")
    assert not out.exists()


def test_the_page_names_the_command_as_it_was_typed(arms: list[str], tmp_path: Path) -> None:
    out = tmp_path / "a name.html"
    words = ["html", *arms, "--flips", "0", "--out", str(out)]
    subprocess.run(
        [sys.executable, "-m", "analysis", *words], cwd=REPO, check=True, capture_output=True
    )
    typed = shlex.join(["distill-report", *words])
    assert typed.replace("'", "&#39;") in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["html", "--help"], ["--help"]])
def test_help_loads_neither_template_nor_figures(command: list[str]) -> None:
    code = (
        "import sys, contextlib, io\nfrom analysis.cli import main\n"
        f"sys.argv = ['distill-report', *{command!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print(sorted({'jinja2', 'matplotlib', 'duckdb', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_the_wheel_ships_template_style_and_script(tmp_path: Path) -> None:
    from hatchling.build import build_wheel

    before = Path.cwd()
    os.chdir(REPO)
    try:
        wheel = tmp_path / build_wheel(str(tmp_path))
    finally:
        os.chdir(before)
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("report.html.j2", "report.css", "report.js"):
        assert f"analysis/html/{name}" in names


def test_a_dash_writes_the_page_to_standard_output(
    arms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    done = CliRunner().invoke(cli, ["html", *arms, "--flips", "0", "--out", "-"])
    assert done.exit_code == 0
    assert done.output.startswith("<!doctype html>")
    assert done.output.endswith("</html>")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "said"),
    [("folder", "that is a folder; name a file in it"), ("file/report.html", "file is a file")],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, out: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["html", "missing", "missing", "--out", str(tmp_path / out)])
    assert done.exit_code == 2
    assert done.output.startswith(f"distill-report: --out {tmp_path / out}: ")
    assert said in done.output
    assert "Errno" not in done.output


def test_a_file_that_fails_while_it_is_written_leaves_the_old_one(
    arms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    out.write_text("old", encoding="utf-8")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    done = CliRunner().invoke(cli, ["html", *arms, "--flips", "0", "--out", str(out)])
    assert done.exit_code == 2
    assert "cannot be written: No space left on device" in done.output
    assert out.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["report.html"]
