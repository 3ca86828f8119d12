from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.reading.measure import measure
from analysis.volume import VolumeFigure
from proxy.exchange import Exchange, to_line
from tests.analysis import runs
from tests.analysis.runs import foreign_row, our_row, pair_of_runs

THOUGHT = "<think>why why why why why</think>four"
API = {"model": "local-chat-completions", "model_args": {"model": "m"}}


def run(paths: tuple[Path, Path], **options: Any) -> Comparison:
    baseline, candidate = (read_arm(path.name, path, Choice()) for path in paths)
    return compare(baseline, candidate, Options(**options))


def figures(comparison: Comparison) -> dict[str, VolumeFigure]:
    return {figure.name: figure for figure in comparison.tasks[0].volume}


def exchange(doc_id: int, **more: Any) -> Exchange:
    fields: dict[str, Any] = {
        "content": "four",
        "reasoning": "because",
        "finish_reason": "stop",
        **more,
    }
    return runs.exchange(doc_id, **fields)


def log(folder: Path, *exchanges: Exchange) -> Path:
    folder.mkdir()
    path = folder / "exchanges-20260131T100000-1.jsonl"
    path.write_bytes(b"".join(map(to_line, exchanges)))
    return folder


def test_our_texts_are_measured_whole(tmp_path: Path) -> None:
    plain, thought = our_row(0, ["correct"]), our_row(0, ["correct"], texts=[THOUGHT])
    found = figures(run(pair_of_runs(tmp_path, [plain], [thought])))
    assert found["reasoning chars"].candidate.value == 19
    assert found["reasoning words"].candidate.value == 5
    assert found["answer chars"].candidate.value == 4
    assert found["with reasoning"].baseline.value == 0.0
    assert found["reasoning chars"].ratio.reason == "the baseline is 0"


def test_blanks_around_a_part_do_not_count() -> None:
    assert measure("\nwhy\n", "\n\nfour ") == measure("why", "four")


def test_text_of_an_api_client_proves_no_lack_of_reasoning(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0), foreign_row(1, 1.0)]
    comparison = run(pair_of_runs(tmp_path, rows, rows, config=API))
    figure = figures(comparison)["reasoning chars"]
    assert not figure.baseline.defined
    assert (figure.baseline_known, figure.n) == (0, 2)
    assert any("the volume of 2 of 2" in notice for notice in comparison.tasks[0].notices)


def test_a_log_tells_what_the_samples_file_lost_and_on_how_many_samples(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0, text="four") for i in range(3)]
    paths = pair_of_runs(tmp_path, rows, rows, config={"model": "local-chat-completions"})
    logs = log(tmp_path / "log", exchange(0), exchange(2, usage={"completion_tokens": 9}))
    found = figures(run(paths, logs=(logs,)))
    assert found["reasoning chars"].candidate.value == len("because")
    assert (found["reasoning chars"].candidate_known, found["reasoning chars"].n) == (2, 3)
    assert found["reasoning chars"].candidate_logged == 2
    assert found["completion tokens"].candidate_known == 1
    assert found["reasoning chars"].baseline_known == 0  # the log is the student's
    assert found["reasoning chars"].difference.reason is not None


def test_a_log_shows_truncation_that_the_samples_file_hides(tmp_path: Path) -> None:
    rows = [foreign_row(i, 0.0, text="four") for i in range(2)]
    paths = pair_of_runs(tmp_path, rows, rows)
    logs = log(tmp_path / "log", exchange(0, finish_reason="length"), exchange(1))
    task = run(paths, logs=(logs,)).tasks[0]
    assert (task.candidate.truncated.count, task.baseline.truncated.count) == (1, 0)


def test_an_open_think_block_is_truncation(tmp_path: Path) -> None:
    rows = [foreign_row(0, 0.0, text="<think>on and on")]
    task = run(pair_of_runs(tmp_path, [foreign_row(0, 0.0)], rows)).tasks[0]
    assert task.candidate.truncated.count == 1


def test_a_log_likelihood_task_has_no_volume(tmp_path: Path) -> None:
    row = foreign_row(0, 1.0)
    row["resps"] = [[[-1.0, False]], [[-2.0, True]]]
    task = run(pair_of_runs(tmp_path, [row], [row])).tasks[0]
    assert task.volume == []
    assert task.baseline.truncated.count is None


def test_unequal_sampling_on_the_wire_is_refused(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0, text="four")]
    paths = pair_of_runs(tmp_path, rows, rows)
    logs = log(
        tmp_path / "log",
        exchange(0, sampling={"temperature": 0.6, "seed": 1}),
        Exchange(
            **{
                **vars(exchange(0, sampling={"temperature": 0.7, "seed": 2})),
                "model_served": "base-model",
            }
        ),
    )
    with pytest.raises(ValueError, match=r"temperature on the wire: baseline 0\.7, candidate 0\.6"):
        run(paths, logs=(logs,))


def test_reasonings_share_is_of_the_sums_and_has_an_interval(tmp_path: Path) -> None:
    sizes = [(10, 90), (300, 100), (0, 50), (40, 60), (700, 10), (5, 5)]
    texts = [f"<think>{'r' * r}</think>{'a' * a}" if r else "a" * a for r, a in sizes]
    base = [our_row(i, ["correct"], texts=["a" * a]) for i, (_, a) in enumerate(sizes)]
    cand = [our_row(i, ["correct"], texts=[text]) for i, text in enumerate(texts)]
    found = figures(run(pair_of_runs(tmp_path, base, cand)))["reasoning share"]
    assert found.candidate.value == pytest.approx(1055 / 1370)
    assert found.candidate.low < found.candidate.value < found.candidate.high <= 1.0
    assert found.difference.value == pytest.approx(1055 / 1370)
    assert (found.baseline.value, found.ratio.reason) == (0.0, "the baseline is 0")
    assert found.n_shared == 6


def test_the_share_of_empty_completions_is_undefined(tmp_path: Path) -> None:
    rows = [our_row(i, ["no_answer"], texts=[""]) for i in range(3)]
    found = figures(run(pair_of_runs(tmp_path, rows, rows)))["reasoning share"]
    assert found.baseline.reason == "all completions are empty"
    assert found.difference.reason == "all completions are empty"


def test_a_ratio_rests_on_the_questions_of_both_arms(tmp_path: Path) -> None:
    base = [foreign_row(i, 1.0, text=THOUGHT) for i in range(3)]
    cand = [foreign_row(i, 1.0, text=THOUGHT * 2 if i else "four") for i in range(3)]
    found = figures(run(pair_of_runs(tmp_path, base, cand, config=API)))["reasoning words"]
    assert (found.n_shared, found.baseline_known, found.candidate_known) == (2, 3, 2)
    assert found.ratio.value == pytest.approx(found.candidate.value / found.baseline.value)


def test_seconds_come_from_the_log_alone(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0, text="four") for i in range(2)]
    logs = log(tmp_path / "log", exchange(0, duration_s=2.5))
    found = figures(run(pair_of_runs(tmp_path, rows, rows), logs=(logs,)))["seconds"]
    assert (found.unit, found.candidate.value, found.candidate_known) == ("s", 2.5, 1)
    assert found.difference.reason == "no question whose size is known in both arms"
