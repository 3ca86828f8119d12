r"""Text from exchanges, made safe to print.

Owns nothing but that. A model's name, a request id or an answer may hold anything:

    >>> visible("red \x1b[31m")
    'red \\x1b[31m'
"""

from __future__ import annotations

import json

ELLIPSIS = "…"


def visible(text: str) -> str:
    """Return the text in one line, with control characters and lone surrogates as their escapes.

    A terminal obeys some of them, bidirectional overrides turn a line around, and UTF-8 has no
    surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible_json(line: bytes) -> str:
    """Return a line of JSON as ASCII in which a terminal finds nothing to obey."""
    return json.dumps(json.loads(line), separators=(",", ":"))


def fitted(text: str, width: int, keep_end: bool = False, right: bool = False) -> str:
    """Return the text in exactly `width` cells of a terminal, cut at the end or at the start."""
    from rich.cells import cell_len, set_cell_size

    text = visible(text[: 4 * width] if not keep_end else text[-4 * width :])
    missing = width - cell_len(text)
    if missing >= 0:
        return " " * missing + text if right else text + " " * missing
    if keep_end:
        return ELLIPSIS + set_cell_size(text[::-1], width - 1)[::-1]
    return set_cell_size(text, width - 1) + ELLIPSIS


def size(n_bytes: int) -> str:
    """Return a number of bytes in decimal units, as `13.4 MB`."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    value = float(n_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
