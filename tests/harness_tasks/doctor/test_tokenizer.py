"""The prompt by the model's own files: the tokens that transformers makes, or a clear refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.doctor.prompts import against_files, by_its_own
from harness_tasks.doctor.rendered import Rendered
from harness_tasks.doctor.tokenizer import Counted, count_tokens, folder_of, rendered, template_of

tokenizers = pytest.importorskip("tokenizers")

ASKED = [{"role": "user", "content": "What is 7 + 5?"}]
CHATML = (
    "{{ bos_token }}{% for message in messages %}\n"
    "    {%- if message['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}\n"
    "{% endfor %}\n"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}"
    "{% endif %}{% endif %}"
)


def made(folder: Path, template: Any = CHATML, own_file: str | None = None) -> Path:
    """Save a tokenizer of single bytes whose begin token is added by itself as well."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bpe = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={ch: at for at, ch in enumerate(alphabet)}, merges=[])
    )
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    bpe.add_special_tokens(["<s>", "<|im_start|>", "<|im_end|>"])
    bpe.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    bpe.save(str(folder / "tokenizer.json"))
    config = {"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "<|im_end|>"}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if own_file:
        (folder / "chat_template.jinja").write_text(own_file, encoding="utf-8")
    return folder


def test_a_prompt_has_its_begin_token_once_and_each_byte(tmp_path: Path) -> None:
    n_bytes = len("user\nWhat is 7 + 5?\nassistant\n")
    assert count_tokens(str(made(tmp_path)), ASKED, {}) == Counted(n_bytes + 4, "<s>")


def test_what_the_template_is_given_counts(tmp_path: Path) -> None:
    folder = str(made(tmp_path))
    off = count_tokens(folder, ASKED, {"enable_thinking": False}).n_tokens
    assert off == count_tokens(folder, ASKED, {}).n_tokens + len("<think></think>")


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
def test_it_counts_as_transformers_does(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    folder = str(made(tmp_path))
    theirs = transformers.AutoTokenizer.from_pretrained(folder).apply_chat_template(
        ASKED, add_generation_prompt=True, tokenize=True, return_dict=False, **kwargs
    )
    assert count_tokens(folder, ASKED, kwargs).n_tokens == len(theirs)


def test_a_template_file_wins_and_a_list_has_its_default(tmp_path: Path) -> None:
    made(
        tmp_path,
        template=[{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}],
    )
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert template_of(tmp_path, config) == "d"
    (tmp_path / "chat_template.jinja").write_text("own")
    assert template_of(tmp_path, config) == "own"


def test_the_tokenizer_file_may_be_named_itself(tmp_path: Path) -> None:
    assert folder_of(str(made(tmp_path) / "tokenizer.json")) == tmp_path


def test_a_tokenizer_without_a_template_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        count_tokens(str(made(tmp_path, template=None)), ASKED, {})


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tokenizer\.json; give the model's folder"):
        count_tokens(str(tmp_path), ASKED, {})


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ raise_exception('user first') }}", "{{ messages + 1 }}"]
)
def test_a_template_that_does_not_render_is_told(template: str) -> None:
    with pytest.raises(ValueError, match="chat template of --tokenizer does not render"):
        rendered(template, ASKED, {}, {})


def test_a_template_reaches_no_python_behind_its_values() -> None:
    with pytest.raises(ValueError, match="does not render"):
        rendered("{{ messages.__class__.__mro__ }}", ASKED, {}, {})


@pytest.mark.parametrize(
    ("told", "status"), [(30, "pass"), (31, "fail"), (32, "fail"), (29, "fail")]
)
def test_a_count_that_is_not_the_models_fails(told: int, status: str) -> None:
    assert against_files(told, Counted(30, "<s>"), "folder").status == status


def test_one_token_too_many_is_called_a_second_begin_token() -> None:
    assert "'<s>' twice" in against_files(31, Counted(30, "<s>"), "folder").found


@pytest.mark.parametrize(
    ("told", "first", "status"),
    [
        (30, ["<s>", "<|im_start|>"], None),
        (30, ["<s>", "<s>"], "fail"),
        (30, ["a", "a"], None),
        (31, ["<s>", "x"], "warn"),
        (30, [], None),
    ],
)
def test_the_servers_own_count(told: int, first: list[str], status: str | None) -> None:
    found = by_its_own(told, Rendered(30, first))
    assert (found and found.status) == status
