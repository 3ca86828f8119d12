"""Make a tiny random Qwen3 with a byte-level tokenizer, for tests against real servers.

Run by the server's own Python, which has torch and transformers; this suite needs neither:

    .venv-vllm/bin/python tests/tiny_model.py FOLDER [--opens-think | --never-thinks]

It has 0.4 M parameters and knows nothing: what it writes is noise, which is enough to see how a
server numbers, seeds, cuts and streams. `--opens-think` makes a chat template that begins every
answer with `<think>`, as those of DeepSeek-R1 and Qwen3-Thinking do. `--never-thinks` makes a model
that writes no `</think>`, as one that was not trained to reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CONTEXT_TOKENS = 1024
LOUDER = 10.0
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THINK = ["<think>", "</think>"]
TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% elif OPENS_THINK %}<think>\n{% endif %}"
    "{% endif %}"
)


def tokenizer(opens_think: bool) -> PreTrainedTokenizerFast:
    """Build a tokenizer of one token a byte, with the chat and think marks beside them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={ch: i for i, ch in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(SPECIAL)
    bpe.add_tokens(THINK)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        model_max_length=CONTEXT_TOKENS,
    )
    made.chat_template = TEMPLATE.replace("OPENS_THINK", "true" if opens_think else "false")
    return made


def make_readable(
    model: Qwen3ForCausalLM, words: PreTrainedTokenizerFast, never_thinks: bool
) -> None:
    """Let printable ASCII, the end and `</think>` be likelier than other bytes."""
    end_of_thought = words.convert_tokens_to_ids("</think>")
    likely = [*(words.convert_tokens_to_ids(ch) for ch in map(chr, range(33, 127)))]
    likely += [words.eos_token_id, end_of_thought]
    with torch.no_grad():
        model.lm_head.weight[likely] *= LOUDER
        if never_thinks:
            model.lm_head.weight[end_of_thought] = 0.0  # logit 0, far below the likely ones


def main() -> None:
    """Save model and tokenizer to a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--opens-think", action="store_true")
    parser.add_argument("--never-thinks", action="store_true")
    options = parser.parse_args()
    words = tokenizer(options.opens_think)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    make_readable(model, words, options.never_thinks)
    # transformers serve samples only where the model's own settings say so, whatever is asked.
    model.generation_config.do_sample = True
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(options.folder)
    words.save_pretrained(options.folder)


if __name__ == "__main__":
    main()
