"""Paraphrases, found with a tiny encoder that is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness_tasks.decontaminate import Benchmark, Decontaminator
from training.bank.embedding import embedder

pytestmark = [
    # Compiled parts of torch's tokenizers name no module on Python 3.12 and later.
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__:DeprecationWarning"),
]
QUESTION = "a farmer sells red apples at the market how many coins does he get for twelve"
RETOLD = "how many coins does a farmer get at the market for twelve red apples he sells"
OTHER = "what is the length of this side in that triangle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save an encoder with random weights, a token for each word, deaf to the order of words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", *sorted(set(f"{QUESTION} {OTHER} pears and".split()))]
    inner = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(names), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("encoder")
    made.save_pretrained(path)
    model = BertModel(config)
    torch.nn.init.zeros_(model.embeddings.position_embeddings.weight)
    model.save_pretrained(path)
    return path


def test_rows_have_length_one_and_the_order_of_the_texts(folder: Path) -> None:
    embed = embedder(str(folder), batch_texts=2)
    texts = [QUESTION, OTHER, RETOLD, "pears", QUESTION]
    rows = embed(texts)
    assert rows.shape == (5, 32)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows, [embed([text])[0] for text in texts], atol=1e-5)


def test_the_same_question_in_other_words_is_a_paraphrase(folder: Path) -> None:
    found = Decontaminator(
        [Benchmark("bench", [("d1", OTHER), ("d2", QUESTION)])],
        embed=embedder(str(folder)),
        threshold=0.95,
    )
    (hit,) = found.hits(RETOLD)
    assert (hit.doc_id, hit.how) == ("d2", "paraphrase")
    assert 0.95 <= hit.score <= 1
    assert found.hits("pears and pears and pears") == []


def test_long_and_odd_texts_are_embedded(folder: Path) -> None:
    rows = embedder(str(folder))(["red " * 5000, "\ud800", "."])
    assert np.isfinite(rows).all()


def test_a_model_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ValueError, match="cannot load the embedding model 'no/model@abc'"):
        embedder("no/model@abc")
