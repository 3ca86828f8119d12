from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from analysis.estimate import Estimate
from tests.analysis.comparisons import cells, compared, graded, table_of
from tests.analysis.runs import foreign_row, our_row

Told = list[tuple[str, bool]]


def prompt(doc_id: int, told: Told, **more: Any) -> Any:
    """Return a row as lm-eval's own IFEval writes it."""
    strict = [followed for _, followed in told]
    return foreign_row(
        doc_id,
        float(all(strict)),
        metric="prompt_level_strict_acc",
        doc={"key": doc_id, "instruction_id_list": [kind for kind, _ in told]},
        inst_level_strict_acc=strict,
        inst_level_loose_acc=strict,
        **more,
    )


COMMA, WORDS, LINES = "punctuation:no_comma", "length_constraints:words", "length_constraints:lines"


def test_a_category_counts_instructions_and_tests_them(tmp_path: Path) -> None:
    base = [prompt(i, [(WORDS, False), (LINES, i < 2)]) for i in range(6)]
    cand = [prompt(i, [(WORDS, True), (LINES, True)]) for i in range(6)]
    row = cells(table_of("ifeval-categories", compared(tmp_path, base, cand)), "quiz")
    assert (row["category"], row["n"]) == ("length_constraints", 12)
    assert isinstance(row["baseline"], Estimate)
    assert row["baseline"].value == pytest.approx(2 / 12)
    assert row["p"] == pytest.approx(2 / 2**10)  # ten instructions gained, none lost
    assert row["prompt_p"] == pytest.approx(2 / 2**6)  # but six prompts


def test_an_instruction_stands_alone_in_its_own_table(tmp_path: Path) -> None:
    rows = [prompt(i, [(WORDS, False), (LINES, True), (COMMA, True)]) for i in range(3)]
    table = table_of("ifeval-instructions", compared(tmp_path, rows, rows))
    assert table.column("instruction") == sorted([WORDS, LINES, COMMA])
    assert table.column("n") == [3, 3, 3]


def test_a_language_before_the_id_is_no_part_of_it(tmp_path: Path) -> None:
    rows = [prompt(0, [(f"en:{COMMA}", True)])]
    comparison = compared(tmp_path, rows, rows)
    assert table_of("ifeval-categories", comparison).column("category") == ["punctuation"]
    assert table_of("ifeval-instructions", comparison).column("instruction") == [COMMA]


def test_our_own_records_are_read_too_with_what_passes_loosely(tmp_path: Path) -> None:
    def rows(strict: bool) -> list[Any]:
        row = our_row(0, ["correct" if strict else "incorrect"])
        row["samples"][0]["details"] = {
            "instructions": [{"id": COMMA, "strict": strict, "loose": True}]
        }
        return [row]

    row = cells(table_of("ifeval-categories", compared(tmp_path, rows(False), rows(True))), "quiz")
    assert isinstance(row["baseline"], Estimate)
    assert (row["baseline"].value, row["baseline_loose"], row["candidate_loose"]) == (0.0, 1.0, 1.0)


def test_a_loose_result_that_nothing_tells_is_not_there(tmp_path: Path) -> None:
    rows = [prompt(0, [(COMMA, True)])]
    del rows[0]["inst_level_loose_acc"]
    row = cells(table_of("ifeval-categories", compared(tmp_path, rows, rows)), "quiz")
    assert isinstance(row["baseline_loose"], float)
    assert math.isnan(row["baseline_loose"])


def test_holm_is_taken_over_the_rows_of_a_task_by_prompt(tmp_path: Path) -> None:
    base = [prompt(i, [(WORDS, False), (COMMA, False)]) for i in range(6)]
    cand = [prompt(i, [(WORDS, True), (COMMA, True)]) for i in range(6)]
    table = table_of("ifeval-categories", compared(tmp_path, base, cand))
    assert table.column("holm_p") == pytest.approx([2 * 2 / 2**6] * 2)


def test_samples_whose_instructions_differ_by_arm_are_left_out_and_counted(tmp_path: Path) -> None:
    def rows(kinds: list[str]) -> list[Any]:
        made = [our_row(i, ["correct"]) for i in range(len(kinds))]
        for row, kind in zip(made, kinds, strict=True):
            row["samples"][0]["details"] = {"instructions": [{"id": kind, "strict": True}]}
        return made

    comparison = compared(tmp_path, rows([WORDS, WORDS]), rows([WORDS, COMMA]))
    table = table_of("ifeval-categories", comparison)
    assert table.column("n") == [1]
    assert table.notes == ("quiz: 1 samples left out, their instructions differ by arm",)


def test_repeated_samples_are_tested_by_prompt_alone(tmp_path: Path) -> None:
    def rows(strict: bool) -> list[Any]:
        made = [our_row(i, ["correct", "correct"]) for i in range(6)]
        for row in made:
            for record in row["samples"]:
                record["details"] = {"instructions": [{"id": COMMA, "strict": strict}]}
        return made

    row = cells(table_of("ifeval-categories", compared(tmp_path, rows(False), rows(True))), "quiz")
    assert row["n"] == 12
    assert isinstance(row["p"], float)
    assert math.isnan(row["p"])
    assert row["prompt_p"] == pytest.approx(2 / 2**6)
    assert isinstance(row["baseline"], Estimate)
    assert math.isnan(row["baseline"].low)


def test_another_benchmark_has_no_instructions(tmp_path: Path) -> None:
    rows = graded([["correct"]])
    assert "IFEval" in table_of("ifeval-categories", compared(tmp_path, rows, rows)).empty
    assert "IFEval" in table_of("ifeval-instructions", compared(tmp_path, rows, rows)).empty
