"""Make a tiny random Llama as a GGUF file, for tests against llama.cpp.

Run by the server's own Python, which has gguf and numpy; this suite needs neither:

    .venv-llamacpp/bin/python tests/tiny_gguf.py FILE [--opens-think]

It has 0.4 M parameters and knows nothing, as the one of `tests/tiny_model.py`: one token a byte,
printable ASCII, the end and `</think>` likelier than the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

CONTEXT_TOKENS = 1024
WIDTH, FEED_FORWARD, HEADS, LAYERS = 128, 256, 4, 2
LOUDER = 3.0
UNKNOWN, BEGIN, START, END = range(4)
SPECIAL = ["<unk>", "<s>", "<|im_start|>", "<|im_end|>"]
THINK = ["<think>", "</think>"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]
WORDS = [*SPECIAL, *THINK, *BYTES]
END_OF_THOUGHT = WORDS.index(THINK[1])
FIRST_BYTE = WORDS.index(BYTES[0])
TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    # by this llama-server knows a template of a model that reasons
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n"
    "{% endif %}{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% elif OPENS_THINK %}<think>\n{% endif %}"
    "{% endif %}"
)
Matrix = npt.NDArray[np.float32]


def weights() -> dict[str, Matrix]:
    """Return every tensor by llama.cpp's name for it, rows being what comes out."""
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int, scale: float = 0.02) -> Matrix:
        return random.normal(0.0, scale, (rows, columns)).astype(np.float32)

    made = {"token_embd.weight": matrix(len(WORDS), WIDTH)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            made[f"blk.{layer}.{name}.weight"] = matrix(WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            made[f"blk.{layer}.{name}.weight"] = matrix(FEED_FORWARD, WIDTH)
        made[f"blk.{layer}.ffn_down.weight"] = matrix(WIDTH, FEED_FORWARD)
        for name in ("attn_norm", "ffn_norm"):
            made[f"blk.{layer}.{name}.weight"] = np.ones(WIDTH, np.float32)
    made["output_norm.weight"] = np.ones(WIDTH, np.float32)
    output = matrix(len(WORDS), WIDTH, 0.1)
    output[[END, END_OF_THOUGHT, *range(FIRST_BYTE + 33, FIRST_BYTE + 127)]] *= LOUDER
    made["output.weight"] = output
    return made


def add_tokenizer(writer: gguf.GGUFWriter, opens_think: bool) -> None:
    """Write a vocabulary of bytes, with the chat and think marks before them."""
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN, *[kinds.CONTROL] * 3, *[kinds.USER_DEFINED] * 2, *[kinds.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types(types)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE.replace("OPENS_THINK", "true" if opens_think else "false"))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--opens-think", action="store_true")
    options = parser.parse_args()
    writer = gguf.GGUFWriter(options.file, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(WORDS))
    add_tokenizer(writer, options.opens_think)
    for name, tensor in weights().items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
