"""Errors that explain themselves: one line and exit code 2, also under lm-eval's own command line.

Owns the mark on such an error, and the hook by which an interpreter that ends with one prints its
message in place of a traceback. Refuses to own the messages. Standard library only.

`lm_eval` catches nothing, so `sys.excepthook` is the one place where it can be told; a caller that
catches the error (a notebook, `distill-eval`) sees an ordinary exception. `DISTILL_EVAL_DEBUG=1`
shows the traceback.

Example: `raise explained(ValueError("math500.jsonl has 499 rows, expected 500"))`
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

DEBUG_ENV = "DISTILL_EVAL_DEBUG"
EXIT_CODE = 2
INTERRUPTED = 130


def explained(error: ValueError) -> ValueError:
    """Mark an error whose message is all that a user needs, and return it."""
    end_in_one_line()
    error.explained = True  # type: ignore[attr-defined]
    return error


def end_in_one_line() -> None:
    """Install the hook, once."""
    before = sys.excepthook
    if getattr(before, "of_distill_eval", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not getattr(error, "explained", False) or os.environ.get(DEBUG_ENV):
            before(kind, error, trace)
            return
        print(f"distill-eval: {error}", file=sys.stderr)
        raise SystemExit(INTERRUPTED if kind is KeyboardInterrupt else EXIT_CODE)

    hook.of_distill_eval = True  # type: ignore[attr-defined]
    sys.excepthook = hook
