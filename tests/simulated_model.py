"""A model without weights: text that depends on prompt, seed and temperature as a real one's does.

It knows sums; all else that it writes is noise, the same for the same prompt and seed. It thinks or
not, and its chat template opens the reasoning or not, so that a server around it
(`tests.misbehaving`) can be right or wrong about seeds, caps, tags and token counts. A token is a
word, a sign, a blank or a mark.

Example:

    model = SimulatedModel(thinks=True)
    "".join(model.continued(model.rendered([{"role": "user", "content": "hi"}]), seed=1))
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(r"<[^<>\s]{1,20}>| ?\w+|\s|[^\w\s]")
SUM = re.compile(r"(\d+) \+ (\d+)\?")
OPEN, CLOSE, TURN_END, BEGIN = "<think>", "</think>", "<|im_end|>", "<s>"
WORDS = [
    *("apple", "river", "seven", "stone", "light", "green", "count", "under", "maple", "forty"),
    *("table", "wind", "north", "eleven", "chalk", "sugar", "paper", "window", "silver", "twelve"),
    *("garden", "bridge", "copper", "winter", "ninety", "candle", "marble"),
]


def tokens_of(text: str) -> list[str]:
    """Cut text into tokens, which together are the text."""
    return TOKEN.findall(text)


@dataclass(frozen=True)
class SimulatedModel:
    """What the weights and the template of a model decide; `weights` names other noise."""

    weights: str = "base"
    thinks: bool = False
    opens: bool = False
    """The template begins every answer with `<think>`."""
    knows_sums: bool = True
    n_reasoning: int = 24
    n_answer: int = 60

    def rendered(self, messages: Sequence[Mapping[str, Any]], thinking: bool = True) -> str:
        """Return the prompt that the chat template makes of the messages."""
        turns = "".join(
            f"<|im_start|>{message['role']}\n{message['content']}{TURN_END}\n"
            for message in messages
        )
        begun = f"{OPEN}\n" if self.opens and thinking else ""
        off = f"{OPEN}\n\n{CLOSE}\n\n" if self.thinks and not thinking else ""
        return f"{BEGIN}{turns}<|im_start|>assistant\n{begun}{off}"

    def continued(self, prompt: str, seed: object = None) -> list[str]:
        """Return the tokens that follow; no seed is greedy decoding."""
        begins = prompt.removeprefix(BEGIN).removeprefix(BEGIN)
        noise = random.Random(f"{self.weights}|{begins}|{seed}")
        sums = SUM.findall(prompt) if self.knows_sums else []
        answer = [str(sum(map(int, sums[-1])))] if sums else self.words(noise, self.n_answer)
        if not self.thinks or prompt.endswith(f"{CLOSE}\n\n"):
            return answer
        begun = [] if prompt.endswith(f"{OPEN}\n") else [OPEN, "\n"]
        thought = self.words(noise, self.n_reasoning)
        return [*begun, *thought, "\n", CLOSE, "\n", "\n", *answer]

    def words(self, noise: random.Random, n: int) -> list[str]:
        """Return up to `n` words, a token each; some answers are shorter."""
        length = noise.randrange(n * 3 // 4, n + 1)
        return [("" if at == 0 else " ") + noise.choice(WORDS) for at in range(length)]
