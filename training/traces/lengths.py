"""How many tokens a trace takes in training, by the tokenizer that is given.

Owns the counting. Refuses to own what is made of the counts (`report`, `harness_tasks.lengths`).

Example: `TokenCounter("tokenizer.json").count(traces)`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.records import Trace

BATCH = 256


class TokenCounter:
    """Counts what a trace takes in training: prompt, reasoning in its tags, answer.

    `name` is what transformers loads, or a `tokenizer.json`. With a chat template the text is the
    one that `sft` trains on; `how` says which it is.

    Raises:
        ValueError: there is no such tokenizer. ImportError: transformers is not installed.
    """

    def __init__(self, name: str) -> None:
        path = Path(name).expanduser()
        self.tokenizer: Any = None
        if path.is_file():
            self.encode = from_file(path)
        else:
            self.tokenizer = from_transformers(name)
            self.tokenizer.model_max_length = 10**9  # counting needs no limit, nor a warning of one
            self.encode = lambda texts: [
                len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            ]
            if not getattr(self.tokenizer, "chat_template", None):
                self.tokenizer = None
        self.how = (
            "prompt and trace in the tokenizer's chat template"
            if self.tokenizer is not None
            else "prompt and trace, without the tokens of a chat template"
        )

    def count(self, traces: Sequence[Trace]) -> list[int]:
        """Return the number of tokens of each trace."""
        counts: list[int] = []
        for start in range(0, len(traces), BATCH):
            counts += self.encode([self.text(trace) for trace in traces[start : start + BATCH]])
        return counts

    def text(self, trace: Trace) -> str:
        """Return the text that is counted; without a faithful rendering the plain one."""
        if self.tokenizer is not None:
            from training.render import render_completion, render_prompt

            try:
                prompt = render_prompt(self.tokenizer, trace.messages)
                parts = (trace.reasoning, trace.answer_text)
                return prompt + render_completion(self.tokenizer, prompt, *parts)
            except ValueError:
                pass
        asked = "\n".join(str(message.get("content")) for message in trace.messages)
        thought = f"<think>\n{trace.reasoning}\n</think>\n\n" if trace.reasoning.strip() else ""
        return f"{asked}\n{thought}{trace.answer_text}"


def from_file(path: Path) -> Callable[[list[str]], list[int]]:
    """Return the counting function of a `tokenizer.json`.

    Raises:
        ValueError: it is none.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception as wrong:  # its errors have no common class
        raise ValueError(f"tokenizer {str(path)!r} cannot be read: {wrong}") from wrong

    def count(texts: list[str]) -> list[int]:
        return [len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)]

    return count


def from_transformers(name: str) -> Any:
    """Load a tokenizer through transformers.

    Raises:
        ValueError: there is none. ImportError: transformers is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as missing:
        from training.commands import needs_train

        raise needs_train(missing) from missing
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as wrong:
        said = str(wrong).splitlines()[0]
        raise ValueError(f"tokenizer {name!r} cannot be loaded: {said}") from wrong
