"""`distill-train`: the name is reserved, and it says what is coming."""

from __future__ import annotations

import sys

MESSAGE = (
    "distill-train is not in this release: traces, sft, grpo, sweep and merge are planned next. "
    "Evaluate a base and a student today with `distill-eval run` and `distill-report compare`"
)
HELP = """Usage: distill-train [OPTIONS] COMMAND [ARGS]...

  Teacher traces to adapter to checkpoint. Nothing of it is in this release yet;
  planned: traces, sft, grpo, sweep, merge.

Options:
  --help  Show this message and exit.
"""


def main() -> None:
    """Print the help where it is asked for; anything else says what is coming and exits 2."""
    if "--help" in sys.argv[1:]:
        sys.stdout.write(HELP)
        return
    sys.stderr.write(MESSAGE + "\n")
    sys.exit(2)
