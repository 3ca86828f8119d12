from __future__ import annotations

import hashlib
from pathlib import Path

from analysis.compare import Comparison, Options, compare
from analysis.html.provenance import made_with, provenance, written
from analysis.reading.load import Choice, read_arm
from tests.analysis.comparisons import compared_paths
from tests.analysis.runs import foreign_row, pair_of_runs


def named_by_paths(*paths: Path) -> Comparison:
    """Return the comparison of two runs, called by their folders as on the command line."""
    base, cand = (read_arm(str(path), path, Choice()) for path in paths)
    return compare(base, cand, Options())


def test_each_arm_is_told_with_files_hashes_versions_and_sampling(tmp_path: Path) -> None:
    rows = [foreign_row(i, float(i % 2)) for i in range(8)]
    config = {"run": "r1", "sampling": {"temperature": 0.6, "top_p": None}, "model": "local-chat"}
    results = {"lm_eval_version": "0.4.13", "versions": {"quiz": 2.0}}
    arms = pair_of_runs(tmp_path, rows, rows[::-1], config=config, results=results)
    table = provenance(named_by_paths(*arms))
    facts = {str(row[0]): row[1:] for row in table.rows}
    assert facts["lm-eval"] == ("0.4.13", "0.4.13")
    assert facts["sampling"] == ("temperature 0.6", "temperature 0.6")
    assert facts["asked by"] == ("local-chat", "local-chat")
    assert facts["quiz: version"] == ("2.0", "2.0")
    for cell, arm in zip(facts["quiz: samples"], arms, strict=True):
        (path,) = arm.rglob("samples_*.jsonl")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert str(cell).startswith(str(path.relative_to(arm)))
        assert str(cell).endswith(f"sha256 {digest[:16]}")
    assert "log" not in facts


def test_what_no_file_tells_has_no_row(tmp_path: Path) -> None:
    rows = [foreign_row(i, float(i % 2)) for i in range(8)]
    table = provenance(compared_paths(*pair_of_runs(tmp_path, rows, rows)))
    assert "server" not in table.column("what")
    assert "model" in table.column("what")


def test_values_are_written_shortly() -> None:
    assert written({"kind": "vllm", "version": None}) == "kind vllm"
    assert written(None) == written({}) == ""
    assert len(written("x" * 1000)) == 300


def test_the_libraries_that_computed_are_named() -> None:
    assert made_with().startswith("distill-eval ")
    assert "scipy " in made_with()
