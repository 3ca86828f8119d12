"""Which family of models a name belongs to, as far as the name tells.

Owns the names of families. Refuses to own what follows from kinship: a judge prefers its own.

    >>> sorted(families("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"))
    ['DeepSeek', 'Qwen']
"""

from __future__ import annotations

import re

# A family, and how the words of its models' names begin.
FAMILIES = {
    "OpenAI": ("openai", "gpt", "chatgpt", "o1", "o3", "o4", "davinci"),
    "Claude": ("anthropic", "claude", "opus", "sonnet", "haiku"),
    "Gemini and Gemma": ("gemini", "gemma", "palm", "learnlm"),
    "Qwen": ("qwen", "qwq", "qvq"),
    "Llama": ("llama", "vicuna", "alpaca"),
    "Mistral": ("mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral"),
    "DeepSeek": ("deepseek",),
    "Phi": ("phi",),
    "Grok": ("grok",),
    "GLM": ("glm", "chatglm"),
    "Kimi": ("kimi", "moonshot", "moonlight"),
    "Command": ("cohere", "command", "aya"),
    "Nemotron": ("nemotron",),
    "OLMo": ("olmo", "tulu"),
    "Granite": ("granite",),
    "SmolLM": ("smollm",),
    "MiniMax": ("minimax",),
    "Yi": ("yi",),
    "Falcon": ("falcon",),
    "InternLM": ("internlm",),
}
WHOLE_WORDS = ("o1", "o3", "o4", "phi", "yi", "palm", "aya", "command", "opus", "falcon")
WORD = re.compile(r"[a-z]+[0-9.]*|[0-9.]+")


def families(name: str | None) -> set[str]:
    """Return the families that a model's name speaks of; none where it tells nothing.

    A distilled model's name often has two: that of its teacher and its own.
    """
    words = WORD.findall((name or "").lower())
    return {family for family, begins in FAMILIES.items() if any(begun(w, begins) for w in words)}


def begun(word: str, begins: tuple[str, ...]) -> bool:
    """Tell whether a word is, or begins with, one of a family's."""
    letters = word.rstrip("0123456789.")
    return any(
        word == one or letters == one or (one not in WHOLE_WORDS and word.startswith(one))
        for one in begins
    )
