r"""A table as LaTeX with booktabs, in plain ASCII that pdflatex takes whatever the names hold.

Owns the LaTeX form and what is escaped. Refuses to own rounding (`cells`). A character beyond
ASCII becomes its macro, or its code point as `U+4E2D`: no package for it is needed.

    \begin{tabular}{@{}lr@{}}
    \toprule
    task & difference \\
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from analysis.render.cells import LEFT, foot_lines, written_rows
from analysis.tables.table import Table as TableData
from analysis.text import visible

PACKAGES: Final = "% needs \\usepackage{booktabs,longtable}\n"
FLOAT_ROWS: Final = 40  # a longer table runs over pages (longtable)
SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': r"\char34{}",  # \textquotedbl needs the T1 encoding
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"{-}",  # two of them are no dash
    "?": r"{?}",  # nor ?` and !` Spanish marks
    "!": r"{!}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "−": "$-$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "\u00b5": r"$\mu$",
    "ß": r"{\ss}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
}
ACCENTS: Final = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
GREEK: Final = {
    name: f"$\\{name}$" for name in ("alpha", "beta", "gamma", "delta", "kappa", "tau", "mu", "pi")
}
MINUS: Final = re.compile(r"(?<![\w.])-(?=\d)")


def table(data: TableData) -> str:
    """Return a table environment, or a longtable where the rows fill more than a page."""
    title = escaped(data.title)
    if not data.rows:
        return f"% {ascii_comment(data.name)}\n\\paragraph{{{title}}} {escaped(data.empty)}\n"
    head = " & ".join(escaped(one.heading) for one in data.columns) + r" \\"
    body = [
        " & ".join(
            escaped(cell) if column.kind in LEFT else number(cell)
            for cell, column in zip(cells, data.columns, strict=True)
        )
        + r" \\"
        for cells in written_rows(data)
    ]
    columns = "@{}" + "".join("l" if one.kind in LEFT else "r" for one in data.columns) + "@{}"
    frame = long_frame if len(body) > FLOAT_ROWS else float_frame
    lines = [f"% {ascii_comment(data.name)}"]
    lines += frame(f"\\caption{{{title}}}\\label{{tab:{label(data.name)}}}", columns, head, body)
    foot = [f"{{\\footnotesize {escaped(line)}\\par}}" for line in foot_lines(data)]
    at = len(lines) - 1 if frame is float_frame else len(lines)
    return "\n".join([*lines[:at], *foot, *lines[at:]]) + "\n"


def float_frame(caption: str, columns: str, head: str, body: list[str]) -> list[str]:
    """Return a table that floats on one page."""
    return [
        r"\begin{table}[htbp]",
        r"\centering\small",
        caption,
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}\par\smallskip",
        r"\end{table}",
    ]


def long_frame(caption: str, columns: str, head: str, body: list[str]) -> list[str]:
    """Return a table that runs over pages, with its head on each."""
    return [
        r"{\small",
        f"\\begin{{longtable}}{{{columns}}}",
        caption + r" \\",
        r"\toprule",
        head,
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        head,
        r"\midrule",
        r"\endhead",
        *body,
        r"\bottomrule",
        r"\end{longtable}}",
    ]


def number(written: str) -> str:
    """Return the text of a number, a minus as a minus."""
    return "$-$".join(escaped(part) for part in MINUS.split(written))


def escaped(text: str) -> str:
    r"""Return text in ASCII in which nothing is a command, nor an option of the `\\` before it."""
    flat = visible(" ".join(text.split()))
    made = "".join(map(character, flat))
    return f"{{{made[0]}}}{made[1:]}" if made.startswith(("[", "*")) else made


def character(c: str) -> str:
    """Return one character."""
    if c in SPECIAL:
        return SPECIAL[c]
    if c.isascii():
        return c
    name = unicodedata.name(c, "").rpartition("GREEK SMALL LETTER ")[2].lower()
    if name in GREEK:
        return GREEK[name]
    decomposed = unicodedata.normalize("NFD", c)
    base, marks = decomposed[0], decomposed[1:]
    if base.isascii() and base.isalpha() and marks in ACCENTS:
        base = f"\\{base}" if base in "ij" and marks != "\u0327" else base
        return f"\\{ACCENTS[marks]}{{{base}}}"
    return f"U+{ord(c):04X}"


def label(name: str) -> str:
    """Return the name of a table as a label takes it: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)


def ascii_comment(text: str) -> str:
    """Return text for the one line of a comment."""
    return ascii(" ".join(text.split()))[1:-1]
