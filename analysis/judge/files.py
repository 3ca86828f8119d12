"""The files that judging leaves: each pair's votes, and the whole result.

Owns judgments.jsonl and judge.json. Refuses to own the replies themselves (`asking.REPLIES`, which
has every word that was asked and said) and the form of a table (`render.json`).

    {"task": "distill_gsm8k", "doc_id": 0, "sample_index": 0, "verdict": "candidate", ...,
     "votes": {...}, "bucket": "both correct", "chars": [812, 2304], "speaks": [false, false], ...}
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.judge.asking import Heard
from analysis.judge.ballots import Ballot
from analysis.judge.replies import ORDERS, Failure
from analysis.render import json as as_json
from analysis.tables.table import Table

JUDGMENTS, WHOLE = "judgments.jsonl", "judge.json"
SCHEMA_VERSION = 1


def write(out: Path, ballots: Sequence[Ballot], heard: Heard, head: dict[str, Any],
          tables: Sequence[Table]) -> None:  # fmt: skip
    """Write both files, each whole or not at all."""
    lines = (json.dumps(row(one, heard), ensure_ascii=False, allow_nan=False) for one in ballots)
    replace(out / JUDGMENTS, "".join(f"{line}\n" for line in lines))
    whole = {
        "schema": SCHEMA_VERSION,
        **head,
        "tables": {table.name: as_json.table(table) for table in tables},
    }
    replace(out / WHOLE, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def row(ballot: Ballot, heard: Heard) -> dict[str, Any]:
    """Return a pair with all votes; lists have the baseline's value first."""
    pair = ballot.pair
    sides = pair.baseline, pair.candidate
    return {
        "schema": SCHEMA_VERSION,
        "task": pair.task,
        "doc_id": pair.doc_id,
        "sample_index": pair.sample_index,
        "name": pair.name,
        "bucket": pair.bucket,
        "chars": [side.n_chars for side in sides],
        "truncated": [side.truncated for side in sides],
        "speaks": [side.speaks for side in sides],
        "verdict": ballot.verdict,
        "agreement": ballot.agreement,
        "votes": {judge: vote_row(ballot, judge, heard) for judge in ballot.votes},
    }


def vote_row(ballot: Ballot, judge: str, heard: Heard) -> dict[str, Any]:
    """Return a judge's vote with what it said in each order, baseline first as A, then B."""
    vote = ballot.votes[judge]
    replies = [heard.replies[judge, ballot.pair.id, order] for order in ORDERS]
    problems = [one.why if isinstance(one, Failure) else one.problem for one in replies]
    return {
        "verdict": vote.verdict,
        "state": vote.state,
        "said": [None if isinstance(one, Failure) else one.said for one in replies],
        "problems": [problem or None for problem in problems],
    }


def replace(path: Path, text: str) -> None:
    """Put a file in place of what was there, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    os.replace(new, path)
