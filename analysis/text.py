r"""Text from files that others wrote, made safe to print.

Owns nothing but that. A task's name, a model's name or a prompt may hold anything:

    >>> visible("red \x1b[31m")
    'red \\x1b[31m'
"""

from __future__ import annotations


def visible(text: str) -> str:
    """Return the text in one line, with control characters and lone surrogates as their escapes.

    A terminal obeys some of them, a Markdown table breaks at others, and UTF-8 has no surrogates.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
