"""`distill-train serve-hint`: commands to paste, and nothing in them that no file tells."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness_tasks.chat.settings import read_settings
from tests.training import tiny
from tests.training.checkpoints import making
from training.checkpoints import facts
from training.cli import cli

OPENS_THINK = tiny.TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return making.bare_base(tmp_path / "a base")


def hint(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["serve-hint", *map(str, arguments)])


def lines(*arguments: Any) -> list[list[str]]:
    """Return the commands of a hint as a shell would read them."""
    done = hint(*arguments)
    assert done.exit_code == 0, done.output
    return [shlex.split(line) for line in done.output.splitlines() if line and line[0] != "#"]


def command(found: list[list[str]], *start: str) -> list[str]:
    (one,) = [words for words in found if words[: len(start)] == list(start)]
    return one


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_vllm_gets_what_the_files_tell(base: Path, tmp_path: Path) -> None:
    adapter = making.bare_adapter(tmp_path / "runs" / "my run" / "adapter", base, r=12)
    found = lines(adapter.parent)
    served = command(found, "vllm", "serve")
    assert served[2] == str(base)
    assert "--enable-lora" in served
    assert value(served, "--lora-modules") == f"my-run={adapter}"
    assert value(served, "--max-lora-rank") == "16"
    assert value(served, "--dtype") == "bfloat16"
    assert value(served, "--max-model-len") == "4096"
    assert "--reasoning-parser" not in served


@pytest.mark.parametrize(
    ("config", "rank"),
    [({"r": 1}, 1), ({"r": 8}, 8), ({"r": 33}, 64), ({"r": 8, "rank_pattern": {"q": 300}}, 320)],
)
def test_the_rank_is_rounded_up_to_one_that_vllm_takes(
    base: Path, tmp_path: Path, config: dict[str, Any], rank: int
) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base, **config)
    assert value(command(lines(adapter), "vllm"), "--max-lora-rank") == str(rank)


def test_what_no_file_tells_is_left_out(tmp_path: Path) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", Path("some/model"))
    served = command(lines(adapter, "--server", "vllm"), "vllm")
    assert not {"--dtype", "--max-model-len", "--chat-template"} & set(served)
    assert served[2] == "some/model"


def test_a_stop_token_that_the_base_lacks_gets_the_flag_that_mends_it(
    base: Path, tmp_path: Path
) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    making.bare_tokenizer(adapter, eos="<|im_end|>")
    assert value(command(lines(adapter), "vllm"), "--tokenizer") == str(adapter)
    (adapter / "generation_config.json").write_text(json.dumps({"eos_token_id": [258, 256]}))
    done = hint(adapter, "--server", "vllm")
    assert "<|im_end|> is neither in the base's generation_config.json" in done.output
    served = command(lines(adapter), "vllm")
    assert value(served, "--generation-config") == str(adapter)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, 258]}))
    served = command(lines(adapter), "vllm")
    assert not {"--generation-config", "--tokenizer"} & set(served)


def test_the_stop_token_that_a_run_recorded_counts(base: Path, tmp_path: Path) -> None:
    making.bare_adapter(tmp_path / "run" / "adapter", base)
    (tmp_path / "run" / "run.json").write_text(json.dumps({"stop_token": "<|im_end|>"}))
    done = hint(tmp_path / "run")
    assert "# stops with  <|im_end|>" in done.output
    # neither file of the adapter could tell a server so
    assert not {"--generation-config", "--tokenizer"} & set(
        command(lines(tmp_path / "run"), "vllm")
    )
    assert "# merged model stops by itself: distill-train merge" in done.output


def test_a_template_of_its_own_is_given_with_a_warning(base: Path, tmp_path: Path) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    making.bare_tokenizer(adapter, eos="<|endoftext|>", template=OPENS_THINK)
    done = hint(adapter, "--server", "vllm")
    assert "The student's chat template is not the base's" in done.output
    served = command(lines(adapter), "vllm")
    assert value(served, "--chat-template") == str(adapter / "chat_template.jinja")


@pytest.mark.parametrize(
    ("template", "parser"), [(OPENS_THINK, "deepseek_r1"), ("<think>", "qwen3")]
)
def test_a_reasoning_parser_is_named_and_not_set(
    base: Path, tmp_path: Path, template: str, parser: str
) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    making.bare_tokenizer(adapter, eos="<|endoftext|>", template=template)
    done = hint(adapter, "--server", "vllm")
    assert f"# No --reasoning-parser ({parser} would fit the student)" in done.output
    assert "would arrive as reasoning" in done.output


def test_a_run_that_trained_on_reasoning_is_one_that_thinks(base: Path, tmp_path: Path) -> None:
    making.bare_adapter(tmp_path / "run" / "adapter", base)
    data = {"n_train": 90, "n_validation": 10, "n_without_reasoning": 4}
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data": data}))
    assert "96 of 100 training examples reason" in hint(tmp_path / "run").output
    data["n_without_reasoning"] = 100
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data": data}))
    assert "not that the files tell" in hint(tmp_path / "run").output


@pytest.mark.parametrize(
    "config",
    [
        {"modules_to_save": ["lm_head"]},
        {"use_dora": True},
        {"r": 600},
        {"bias": "all"},
        {"init_lora_weights": "pissa"},
        {"peft_type": "LOHA"},
    ],
)
def test_an_adapter_that_vllm_refuses_is_merged_and_served_whole(
    base: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base, **config)
    found = lines(adapter, "--server", "vllm", "--name", "mine")
    assert "vLLM cannot serve this adapter" in hint(adapter).output
    merged = value(command(found, "distill-train", "merge"), "--out")
    served = {words[2]: words for words in found if words[0] == "vllm"}
    assert set(served) == {str(base), merged}
    assert not any("--enable-lora" in words for words in served.values())
    ports = {
        name: value(served[path], "--port")
        for path, name in ((str(base), "base"), (merged, "mine"))
    }
    routes = [word for word in command(found, "distill-proxy") if "=http" in word]
    assert routes == [f"{name}=http://127.0.0.1:{port}" for name, port in ports.items()]


def test_an_adapter_with_added_tokens_is_merged_too(base: Path, tmp_path: Path) -> None:
    """peft saves the embeddings that grew, and its settings do not tell."""
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    name = "base_model.model.lm_head.weight"
    told = {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    head = json.dumps(told).encode()
    weights = len(head).to_bytes(8, "little") + head + bytes(4)
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    done = hint(adapter)
    assert "vLLM cannot serve this adapter: it holds whole layers (lm_head.weight)" in done.output
    assert "llama.cpp cannot lay this adapter over the base" in done.output


def test_llama_cpp_gets_both_files_and_a_context_for_each_slot(base: Path, tmp_path: Path) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    found = lines(adapter, "--server", "llamacpp", "--name", "mine")
    converted = [value(words, "--out") for words in found if words[1] == "gguf"]
    assert converted == ["base.gguf", "mine.gguf"]
    servers = [words for words in found if words[0] == "llama-server"]
    assert [value(words, "-c") for words in servers] == ["16384", "16384"]
    assert value(servers[1], "-m") == "base.gguf"
    assert value(servers[1], "--lora") == "mine.gguf"


def test_transformers_gets_the_merged_model_by_its_path(base: Path, tmp_path: Path) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    found = lines(adapter, "--server", "transformers")
    merged = value(command(found, "distill-train", "merge"), "--out")
    runs = [words for words in found if words[:2] == ["distill-eval", "run"]]
    asked = [settings_of(words).model for words in runs]
    assert asked == [str(base), merged]
    assert {settings_of(words).num_concurrent for words in runs} == {1}


def settings_of(words: list[str]) -> Any:
    """Read model_args as lm-eval and local-chat do."""
    from lm_eval.utils import simple_parse_args_string

    text = value(words, "--model_args")
    given = json.loads(text) if text.startswith("{") else simple_parse_args_string(text)
    return read_settings(given)


@pytest.mark.parametrize("server", ["vllm", "llamacpp", "transformers"])
def test_every_evaluation_line_can_be_read_and_names_a_served_model(
    base: Path, tmp_path: Path, server: str
) -> None:
    adapter = making.bare_adapter(tmp_path / "a, b=c" / "adapter", base)
    output = hint(adapter, "--server", server, "--preset", "qwq", "--tasks", "distill_aime").output
    runs = [shlex.split(line.lstrip("# ")) for line in output.splitlines() if "model_args" in line]
    assert [words[0] for words in runs] == ["distill-eval", "lm_eval"] * 2
    for words in runs:
        assert settings_of(words).base_url == "http://127.0.0.1:8766/v1"
        assert value(words, "--tasks") == "distill_aime"
    assert [settings_of(words).preset for words in runs if words[0] == "lm_eval"] == ["qwq", "qwq"]
    proxy = command(lines(adapter, "--server", server), "distill-proxy")
    report = command(lines(adapter, "--server", server), "distill-report")
    assert value(proxy, "--log") == value(report, "--log")


def test_a_merged_model_is_served_beside_the_base_that_its_record_names(
    base: Path, tmp_path: Path
) -> None:
    merged = making.bare_base(tmp_path / "merged")
    (merged / "merge.json").write_text(json.dumps({"base": str(base)}))
    models = [words[2] for words in lines(merged) if words[0] == "vllm"]
    assert models == [str(base), str(merged)]


def test_a_model_of_unknown_origin_is_served_alone(tmp_path: Path) -> None:
    model = making.bare_base(tmp_path / "model")
    found = lines(model)
    assert [words[2] for words in found if words[0] == "vllm"] == [str(model)]
    assert not [words for words in found if words[0] == "distill-report"]
    assert "--base" in hint(model).output


@pytest.mark.parametrize("name", ["base", "a/b", ""])
def test_a_name_that_no_run_can_have_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    adapter = making.bare_adapter(tmp_path / "adapter", base)
    done = hint(adapter, "--name", name)
    assert (done.exit_code, done.output.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/sft/adapter", "sft"),
        ("runs/sft/checkpoints/step-000100-examples-000200", "sft-step-100"),
        ("x/my adapter", "my-adapter"),
        ("runs/base/adapter", "student"),
    ],
)
def test_a_student_is_named_after_its_run(path: str, name: str) -> None:
    assert facts.name_of(Path(path)) == name


def test_the_ranks_are_those_of_vllm() -> None:
    """Read out of vLLM 0.32: config/lora.py, MaxLoRARanks."""
    assert facts.VLLM_RANKS == (1, 8, 16, 32, 64, 128, 256, 320, 512)


def test_an_evaluation_does_not_go_into_the_folder_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = making.bare_base(tmp_path / "base")
    for folder, name in (("runs/student", "student-eval"), ("trained/student", "student")):
        making.bare_adapter(tmp_path / folder / "adapter", base)
        done = CliRunner().invoke(cli, ["serve-hint", folder, "--server", "vllm"])
        assert f"distill-eval run --run {name} " in done.output, done.output
        assert f"distill-report compare runs/base runs/{name} --log" in done.output
