"""`distill-train sft` as it is called, and that its page says all it takes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.conftest import REPO, SHARED, needs_shared
from tests.training.sft.student import pairs, plain, settings, trained, write
from training.models import LoraSettings, ModelSettings
from training.settings import RECIPES
from training.sft.command import sft
from training.sft.settings import (
    Columns,
    DataSettings,
    DecontaminateSettings,
    SftSettings,
    ValidationSettings,
)

pytest.importorskip("torch", reason="training is an extra")
pytest.importorskip("trl", reason="training is an extra")

from tests.training import tiny

PAGE = REPO / "docs" / "sft.md"


def called(folder: Path, *options: str, **changes: Any) -> Result:
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(plain(folder, **changes)), encoding="utf-8")
    return CliRunner().invoke(sft, [str(recipe), *options])


def test_the_command_trains_and_says_where(tmp_path: Path) -> None:
    done = called(tmp_path, "--set", "max_steps=1", "--set", "lora.rank=2")
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "run" / "adapter") in done.output
    assert "tokens/s" in done.output
    assert json.loads((tmp_path / "run" / "run.json").read_text())["lora"]["rank"] == 2


def test_show_marks_what_is_in_the_loss_without_weights_and_without_a_folder(
    tmp_path: Path,
) -> None:
    words_alone = tmp_path / "words"
    tiny.tokenizer().save_pretrained(words_alone)
    done = called(tmp_path, "--show", "2", model__path=str(words_alone))
    assert done.exit_code == 0, done.output
    assert (
        "<|im_start|>user\n0+0?<|im_end|>\n<|im_start|>assistant\n"
        "⟦<think>\n0 and 0 make 0.\n</think>\n\n0<|im_end|>⟧\n" in done.output
    )
    assert done.output.count("⟦<think>") == 2
    assert "sum-0: 46 tokens, 23 prompt + 23 in the loss" in done.output
    assert "24 examples to learn from, 0 held out" in done.output
    assert "left out: nothing; cut: 0" in done.output
    assert not (tmp_path / "run").exists()


def test_show_marks_with_colour_in_a_terminal(tmp_path: Path) -> None:
    from training.sft.examples import prepare
    from training.sft.show import show

    made = settings(tmp_path)
    lines = list(show(prepare(made, tiny.tokenizer()), tiny.tokenizer(), 1, True, made))
    assert "\x1b[32m<think>" in lines[2]
    assert lines[2].endswith("<|im_end|>\x1b[0m")


def test_show_says_what_is_cut_and_why(tmp_path: Path) -> None:
    long = {"prompt": "1+1?", "completion": f"<think>\n{'so ' * 40}\n</think>\n\n2"}
    write(tmp_path / "pairs.jsonl", [long, *pairs(3)])
    done = called(tmp_path, "--show", "1", max_length=80, over_long="truncate")
    assert "80 tokens" in done.output
    assert "cut at max_length: no end of turn is learnt" in done.output
    assert "<|im_end|>⟧" not in done.output
    assert "cut: 1" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "lora.rank=0"], "lora.rank must be at least 1, got 0"),
        (["--set", "data.path=nowhere.jsonl"], "data.path: no such file 'nowhere.jsonl'"),
        (["--set", "model.chat_template=no.jinja"], "model.chat_template: no such file"),
        (["--set", "optim=adamw_torhc"], "optim='adamw_torhc' is unknown; known are adamw_torch"),
        (["--set", "batch_size=6"], "batch_size=6 is no multiple of per_device_train_batch_size=4"),
        (["--set", "max_steps=null", "--set", "max_steps_from=absent"], "absent: no training run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = called(tmp_path, *options)
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert "Traceback" not in done.output


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    done = CliRunner().invoke(sft, ["sft-sonet-math"])
    assert done.exit_code == 2
    assert "sft-sonnet-math" in done.output


def test_help_and_settings_load_no_library_that_trains() -> None:
    code = (
        "import sys\nfrom training.settings import read\n"
        "from training.sft.command import sft\nfrom training.sft.settings import SftSettings\n"
        "read(SftSettings, 'sft-r1-math')\n"
        "assert not {'torch', 'transformers', 'datasets', 'pandas', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)


def names_of(cls: Any) -> Iterator[str]:
    for found in dataclasses.fields(cls):
        yield found.name


def test_every_option_and_every_setting_stands_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for parameter in sft.params:
        for option in parameter.opts:
            assert not option.startswith("--") or f"`{option}" in page, option
    for cls in (
        SftSettings,
        ModelSettings,
        LoraSettings,
        DataSettings,
        Columns,
        ValidationSettings,
        DecontaminateSettings,
    ):
        for name in names_of(cls):
            assert f"`{name}`" in page, f"{cls.__name__}.{name}"
    for recipe in RECIPES.glob("sft-*.yaml"):
        assert f"`{recipe.stem}`" in page, recipe


@needs_shared
def test_a_question_of_a_benchmark_is_left_out_and_reported(tmp_path: Path) -> None:
    from harness_tasks.records import read_jsonl

    question = next(iter(read_jsonl(SHARED / "data/benchmarks/gsm8k_test.jsonl")))["question"]
    stolen = {"id": "stolen", "prompt": question, "completion": "18"}
    write(tmp_path / "pairs.jsonl", [stolen, *pairs(6)])
    # One benchmark alone, for the sake of time; test_decontaminate.py loads them all.
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "gsm8k_test.jsonl").symlink_to(
        SHARED / "data/benchmarks/gsm8k_test.jsonl"
    )
    facts = trained(tmp_path, decontaminate={"data_dir": str(tmp_path / "benchmarks")}, max_steps=1)
    assert facts["decontamination"]["checked"] == ["gsm8k"]
    assert len(facts["decontamination"]["not_checked"]) > 5
    assert facts["data"]["n_train"] == 6
    assert facts["data"]["dropped"] == {"question of a benchmark": 1}
    assert facts["decontamination"]["n_hits"] == 1
    text = (tmp_path / "run" / "decontamination.json").read_text(encoding="utf-8")
    hit = json.loads(text)["hits"][0]
    assert (hit["id"], hit["benchmark"], hit["how"]) == ("stolen", "gsm8k", "exact")
    assert "1 had hits" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("action", "kept"), [("drop", 23), ("report", 24), ("refuse", None)])
def test_a_hit_is_dropped_reported_or_refused_as_the_recipe_says(
    tmp_path: Path, action: str, kept: int | None
) -> None:
    from harness_tasks.decontaminate import Benchmark, Decontaminator
    from training.sft.contamination import Check
    from training.sft.examples import prepare

    found = Decontaminator([Benchmark("mine", [("7", "3+1?")])])
    check = Check(action=action, checked=["mine"], decontaminator=found)
    if kept is None:
        with pytest.raises(ValueError, match="is a question of mine"):
            prepare(settings(tmp_path), tiny.tokenizer(), check.keeps)
        return
    prepared = prepare(settings(tmp_path), tiny.tokenizer(), check.keeps)
    assert (len(prepared.train), check.n_hits) == (kept, 1)
    assert check.report()["hits"][0]["doc_id"] == "7"


def test_a_question_is_compared_once_and_each_of_its_rows_left_out() -> None:
    from harness_tasks.decontaminate import Benchmark, Decontaminator
    from training.sft.contamination import Check
    from training.sft.data import Row

    found = Decontaminator([Benchmark("mine", [("7", "3+1?")])])
    check = Check(action="drop", checked=["mine"], decontaminator=found)
    rows = [
        Row(str(i), [{"role": "user", "content": f"{3 + i % 2}+1?"}], "", "4") for i in range(6)
    ]
    assert [check.keeps(row) for row in rows] == [False, True] * 3
    assert (check.n_questions, check.n_hits, check.n_rows) == (2, 1, 3)
    assert len(check.report()["hits"]) == 1


def test_a_question_of_a_benchmark_is_not_measured_on_either(tmp_path: Path) -> None:
    from training.sft.examples import prepare

    held_out = write(tmp_path / "held-out.jsonl", pairs(6))
    chosen = settings(tmp_path, validation={"path": str(held_out)})
    keeps = lambda row: row.question != "3+1?"  # noqa: E731
    asked = [row.row.question for row in prepare(chosen, tiny.tokenizer(), keeps).validation]
    assert len(asked) == 5
    assert "3+1?" not in asked


def test_an_embedding_model_finds_paraphrases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    import harness_tasks.decontaminate
    import training.bank.embedding
    from harness_tasks.decontaminate import Benchmark
    from training.sft.contamination import make_check
    from training.sft.data import Row

    def embedder(name: str) -> Any:
        assert name == "models/e5"
        return lambda texts: np.array([[1.0, 0.0] for _ in texts])

    def one(folder: Any) -> tuple[list[Any], list[str]]:
        return [Benchmark("mine", [("7", "How many legs have four dogs?")])], []

    monkeypatch.setattr(training.bank.embedding, "embedder", embedder)
    monkeypatch.setattr(harness_tasks.decontaminate, "suite_benchmarks", one)
    row = Row("r", [{"role": "user", "content": "Count the legs of 4 dogs."}], "", "16")
    assert make_check(DecontaminateSettings()).keeps(row)
    check = make_check(DecontaminateSettings(embedding_model="models/e5"))
    assert not check.keeps(row)
    assert check.hits[0]["how"] == "paraphrase"


def test_without_a_benchmark_to_compare_with_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import harness_tasks.decontaminate
    from training.sft.contamination import make_check

    def nothing(folder: Any) -> tuple[list[Any], list[str]]:
        return [], ["math500: not there"]

    monkeypatch.setattr(harness_tasks.decontaminate, "suite_benchmarks", nothing)
    with pytest.raises(ValueError, match=r"math500: not there.*decontaminate=off to train"):
        make_check(DecontaminateSettings())
    assert make_check("off").keeps(None)  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_of_accelerate_train_as_one_does(tmp_path: Path) -> None:
    from tests.training.sft.student import metrics

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    # 24 examples are whole steps; a last one that is not is shared less evenly by two processes.
    trained(tmp_path / "one", per_device_train_batch_size=4)
    given = plain(tmp_path / "two", per_device_train_batch_size=2)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(given), encoding="utf-8")
    launch = (
        "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", *launch.split()),
            *("--main_process_port", "0", "-m", "training", "sft", str(recipe)),
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "two" / "run" / "run.json").read_text(encoding="utf-8"))
    assert (facts["n_processes"], facts["examples_per_step"]) == (2, 4)
    expected = metrics(tmp_path / "one" / "run", "loss")
    assert metrics(tmp_path / "two" / "run", "loss") == pytest.approx(expected, rel=1e-4)
    assert done.stdout.count("examples to learn from") == 1
