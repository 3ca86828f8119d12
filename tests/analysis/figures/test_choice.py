from __future__ import annotations

from pathlib import Path

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate
from analysis.figures import choice, lengths
from analysis.render import cells
from analysis.tables.table import Kind
from tests.analysis.comparisons import compared, counted, table_of
from tests.analysis.html.pages import quiz_comparison
from tests.analysis.runs import foreign_row


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return quiz_comparison(tmp_path_factory.mktemp("quiz"), 40)


def test_the_forest_has_a_line_for_each_task_with_its_difference(comparison: Comparison) -> None:
    overall = Estimate(0.1, -0.1, 0.2)
    picture = choice.forest(comparison, overall)
    assert ">mean of tasks</text>" in picture.wide
    assert ">+10.0 [-10.0, +20.0]</text>" in picture.wide
    for task in comparison.tasks:
        assert f">{task.task}</text>" in picture.wide
        assert f">{cells.text(task.difference, Kind.POINTS)}</text>" in picture.narrow
        assert task.task in picture.about.alt


def test_a_line_says_on_how_many_questions_it_rests(comparison: Comparison) -> None:
    made = choice.forest(comparison, Estimate(0.1, -0.1, 0.2))
    assert made.wide.count(f">n = {comparison.tasks[0].n_pairs}</text>") == len(comparison.tasks)
    by_group = choice.groups(table_of("groups", comparison), comparison)
    assert by_group is not None
    assert ">n = " in by_group.wide


def test_the_figure_of_right_and_wrong_counts_what_its_table_counts(tmp_path: Path) -> None:
    base = [foreign_row(i, float(i % 2), text="no thought") for i in range(6)]
    cand = [foreign_row(i, float(i % 2), text=f"<think>{'x' * 90}</think>{i}") for i in range(6)]
    comparison = compared(tmp_path, base, cand)
    made = lengths.by_correctness(table_of("length-correctness", comparison), comparison)
    assert made is not None
    assert ">characters of reasoning</text>" in made.wide
    assert "var(--candidate)" in made.wide
    assert "var(--baseline)" not in made.wide  # it shows no reasoning


@pytest.mark.parametrize("name", sorted(choice.DRAWN))
def test_a_figure_reads_the_columns_that_its_table_has(comparison: Comparison, name: str) -> None:
    table = table_of(name, comparison)
    made = choice.pictures(name, table, comparison)
    assert len(made) == 1, name
    assert made[0].about.name == name
    assert ">quiz" in made[0].wide


def test_a_table_that_says_all_in_words_has_no_figure(comparison: Comparison) -> None:
    assert choice.pictures("significance", table_of("significance", comparison), comparison) == []


def test_nothing_is_drawn_of_sizes_that_nobody_knows(tmp_path: Path) -> None:
    unknown = compared(tmp_path, *counted(3, 2, 1, 4))
    assert lengths.size_of(unknown) is None or lengths.size_of(unknown)[0] != "completion tokens"
    assert choice.truncation(table_of("truncation", unknown), unknown) is None
