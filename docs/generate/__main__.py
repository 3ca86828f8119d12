"""`python -m docs.generate`: renews the blocks of the pages that are read from the code.

python -m docs.generate            write them
python -m docs.generate --check    say which pages are not current, and exit with 1 if any
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from docs.generate import catalogue, commands, schemas
from docs.generate.pages import Maker, renewed

DOCS = Path(__file__).resolve().parent.parent
MAKERS: dict[str, Maker] = {
    "tasks": catalogue.tasks_table,
    "states": catalogue.states_table,
    "groups": catalogue.groups_table,
    "replayed": catalogue.replayed_table,
    **{program: partial(commands.section, program) for program in commands.PROGRAMS},
    **schemas.MAKERS,
}


def stale() -> dict[Path, str]:
    """Return the pages whose blocks say something else than the code, with what they should say."""
    pages = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    made = {path: renewed(text, MAKERS) for path, text in texts.items()}
    return {path: text for path, text in made.items() if text != texts[path]}


def main(argv: list[str] | None = None) -> int:
    """Renew the pages, or with `--check` say which are stale; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate")
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    found = stale()
    for path, text in found.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        name = path.relative_to(DOCS.parent)
        print(f"{name}: {'not current, run `make docs`' if check else 'written'}")
    return int(bool(check and found))


if __name__ == "__main__":
    sys.exit(main())
