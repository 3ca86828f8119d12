from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.render import document, latex
from analysis.tables.table import Table
from tests.analysis.render import sheets

TABLES = [sheets.scorecard(), sheets.hostile(), sheets.long(60), sheets.empty(), sheets.wide(3)]
COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
OURS = {
    *("begin", "end", "toprule", "midrule", "bottomrule", "caption", "label", "centering"),
    *("small", "footnotesize", "smallskip", "par", "paragraph", "endfirsthead", "endhead"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textquotesingle", "ss", "usepackage"),
    *("textasciigrave", "char"),
}


def test_a_table_uses_booktabs() -> None:
    text = latex.table(sheets.scorecard("gsm8k"))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert r"\begin{tabular}{@{}lrrrrrr@{}}" in text
    assert r"gsm8k & 1,319 & 86.6 [82.5, 90.8] & 87.3 [83.2, 91.5] & +0.8 [$-$3.3, +5.0]" in text
    assert r"\caption{Scorecard}\label{tab:scorecard}" in text


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_braces_and_environments_are_balanced_and_all_is_ascii(table: Table) -> None:
    text = latex.table(table)
    assert text.isascii()
    bare = re.sub(r"\\[{}]", "", text)
    depth = 0
    for c in bare:
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0
    assert depth == 0
    assert re.sub(r"\\[$]", "", text).count("$") % 2 == 0
    begun = re.findall(r"\\begin{(\w+)}", text)
    assert begun == re.findall(r"\\end{(\w+)}", text)[::-1]


def test_hostile_text_brings_no_command_and_no_column() -> None:
    text = latex.table(sheets.hostile())
    names = {name[1:] for name in COMMAND.findall(text) if name[1:].isalpha()}
    assert names <= OURS, names - OURS
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    for line in body.strip().splitlines():
        assert len(re.findall(r"(?<!\\)&", line)) == 2
        assert not re.search(r"(?<!\\)[%#_~^]", line)
        assert not line.startswith(("[", "*"))  # an option of the \\ before it


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50% & {a_b}", r"50\% \& \{a\_b\}"),
        ("é ñ ç ï", r"\'{e} \~{n} \c{c} " + '\\"{\\i}'),
        ("中", "U+4E2D"),
        ("a\tb\nc", "a b c"),
        ("\x1b", r"\textbackslash{}x1b"),
        ("x ≥ 1", r"x $\geq$ 1"),
        ("\u00b5 α", r"$\mu$ $\alpha$"),
    ],
)
def test_text_is_written_in_ascii(text: str, written: str) -> None:
    assert latex.escaped(text) == written


def test_a_table_of_many_rows_runs_over_pages() -> None:
    text = latex.table(sheets.long(60))
    assert r"\begin{longtable}" in text
    assert text.count(r"\\" + "\n") >= 62


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_pdflatex_takes_it(tmp_path: Path) -> None:
    every = "".join(map(chr, range(32, 127)))
    ascii_table = replace(sheets.empty(), name="ascii", title=every, empty=every)
    body = document.text("latex", [*TABLES, ascii_table])
    packages = "\\usepackage{booktabs,longtable}"
    source = (
        f"\\documentclass{{article}}\n{packages}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (tmp_path / "t.tex").write_text(source, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:].decode("latin-1")
    assert (tmp_path / "t.pdf").is_file()
