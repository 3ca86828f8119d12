"""Tables of other commands on the page: written with --json, read with --add."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from analysis.cli import cli
from analysis.html.page import PageOptions, page
from tests.analysis.html.pages import quiz_comparison
from tests.analysis.series.making import write_csv

HEAD = "run,step,task,percent,n"
ROWS = [("base", "", "T", 50, 100), ("s1", 100, "T", 60, 100), ("s2", 200, "T", 55, 100)]


def test_a_sweep_and_its_curves_become_sections(tmp_path: Path) -> None:
    scores = write_csv(tmp_path / "scores.csv", HEAD, ROWS)
    for command in (["sweep", "--select-by", "T"], ["curves"]):
        out = tmp_path / f"{command[0]}.json"
        done = CliRunner().invoke(cli, [*command, str(scores), "--json", str(out)])
        assert done.exit_code == 0, done.output
    files = (tmp_path / "sweep.json", tmp_path / "curves.json")
    text = page(quiz_comparison(tmp_path), PageOptions(added=files))
    assert text.index('<section id="table-scorecard"') < text.index(
        '<section id="added-sweep-sweep"'
    )
    assert '<section id="added-sweep-choice"' in text
    curves = text[text.index('<section id="added-curves-curves"') :]
    assert 'id="figure-curves"' in curves
    assert 'href="#added-curves-curves"' in text


def test_what_a_foreign_file_says_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    table = {
        "title": evil,
        "columns": [{"name": "a", "heading": evil, "kind": "text"}],
        "rows": [{"a": evil}],
        "foot": evil,
    }
    path = tmp_path / "evil.json"
    path.write_text(json.dumps({"tables": {'"><b id="x': table}}), encoding="utf-8")
    text = page(quiz_comparison(tmp_path), PageOptions(added=(path,)))
    assert "<script>alert" not in text
    assert '<section id="added-evil--b-id-x"' in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4


def test_a_file_without_tables_is_one_line_and_exit_2(tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text("{}", encoding="utf-8")
    quiz_comparison(tmp_path)
    arms = [str(tmp_path / name) for name in ("base", "student")]
    done = CliRunner().invoke(cli, ["html", *arms, "--add", str(path)])
    assert done.exit_code == 2
    assert "holds no tables" in done.output
    assert not (tmp_path / "report.html").exists()
