r"""The process in which sympy and math-verify run: one JSON line in, one out.

Owns its own limits: address space, no core files, and a watchdog that ends the process when a
comparison outlives its caller. Refuses to own when it is asked (`slow`). Started by its path, with
nothing of this package imported, so that it works from any directory and any parent.

Contained: time, memory, a crash of the parser. Not contained: the file system and the network; the
text is parsed by latex2sympy's grammar and is never evaluated as Python (math-verify's plain
expression parser, which is, stays switched off).

Example: `{"target": "\\int_0^1 x\\,dx", "answer": "\\frac12"}` is answered by `{"equal": true}`.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from typing import IO

MEMORY_BYTES = 2 * 1024**3
# The caller's own limit is far below; this one holds when the caller is gone.
WATCHDOG_S = 10.0


def limit_memory() -> None:
    """Cap the address space, where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, macOS refuses this one; time stays bounded


def compare(target: str, answer: str) -> bool:
    """Tell whether math-verify finds the answer equal; only what both sides parse to counts."""
    from math_verify import LatexExtractionConfig, parse, verify

    sides = []
    for text in (target, answer):
        parsed = parse(
            f"${text}$",
            extraction_config=[LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
        if not parsed or isinstance(parsed[0], str):
            return False
        sides.append(parsed[:1])
    return bool(verify(sides[0], sides[1], timeout_seconds=None))


def reply_to(line: str) -> dict[str, object]:
    """Answer one request; a failure of the libraries on this input is a reply too."""
    request = json.loads(line)
    try:
        return {"equal": compare(request["target"], request["answer"])}
    except MemoryError:
        return {"equal": False, "failed": "out of memory"}
    except RecursionError:
        return {"equal": False, "failed": "nested too deeply"}
    except Exception as failure:  # noqa: BLE001 (any error of a parser on hostile text: told, not hidden)
        return {"equal": False, "failed": f"{type(failure).__name__}: {failure}"[:200]}


def serve(lines: IO[str], out: IO[str], silent: IO[str]) -> None:
    """Answer requests until the input ends."""
    for line in lines:
        faulthandler.dump_traceback_later(WATCHDOG_S, exit=True, file=silent)
        reply = reply_to(line)
        faulthandler.cancel_dump_traceback_later()
        out.write(json.dumps(reply) + "\n")
        out.flush()


def main() -> None:
    """Load the libraries, say so, and serve."""
    limit_memory()
    # Nothing that a library prints may stand between the replies.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (kept for the whole process)
    sys.stdout = silent
    compare("1", "1")
    out.write('{"ready": true}\n')
    out.flush()
    serve(sys.stdin, out, silent)


if __name__ == "__main__":
    main()
