r"""`distill-report judge`: ask models which arm shows more reasoning effort.

Owns the options and the exit code. Refuses to own the work (`whole`). Loads nothing that computes.

    distill-report judge runs/base runs/student --out judged \
        --judge base_url=https://openrouter.ai/api/v1,model=openai/gpt-5.2,api_key_env=KEY
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from analysis.commands import (
    PATH,
    emit,
    errors_in_one_line,
    output_options,
    pair_options,
    read_comparison,
)
from analysis.text import visible

INTERRUPTED = 130
MOST_REASONS = 5


@click.command()
@pair_options
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="A model to ask: base_url=...,model=...,api_key_env=...; again for another one.",
)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder of the replies.")
@click.option(
    "--part",
    default="whole",
    show_default=True,
    type=click.Choice(["whole", "answer"]),
    help="What judges see: the whole completion, or what stands after the reasoning.",
)
@click.option("--limit", type=int, metavar="N", help="Judge N pairs, drawn by benchmark.")
@click.option("--max-cost-usd", type=float, help="Ask no more once the folder has cost this much.")
@click.option("--dry-run", is_flag=True, help="Estimate requests, tokens and cost; ask nobody.")
@output_options
@errors_in_one_line
def judge(baseline: Path, candidate: Path, **options: Any) -> None:
    """Ask judge models which of BASELINE and CANDIDATE shows more reasoning effort.

    Every pair is shown in both orders; a verdict that depends on the order counts as none. OUT gets
    replies.jsonl (every reply; a run that was killed goes on from it), judgments.jsonl and
    judge.json.

    \b
    distill-report judge runs/base runs/student --out judged --limit 200 \\
        --judge base_url=http://127.0.0.1:8000/v1,model=Qwen/Qwen3-32B \\
        --judge base_url=https://openrouter.ai/api/v1,model=openai/gpt-5.2,api_key_env=KEY
    """
    from analysis.judge import whole
    from analysis.judge.settings import read_judges

    max_cost_usd = options["max_cost_usd"]
    if max_cost_usd is not None and not max_cost_usd > 0:
        raise ValueError(f"--max-cost-usd must be > 0, got {max_cost_usd}")
    task = whole.Task(
        judges=read_judges(options["judges"]),
        out=options["out"],
        part=options["part"],
        limit=options["limit"],
        max_cost_usd=max_cost_usd,
    )
    try:
        comparison = read_comparison(baseline, candidate, options)
        if options["dry_run"]:
            click.echo(whole.prepare(comparison, task).estimate.text())
            return
        done = whole.judge(comparison, task, tell=say)
    except KeyboardInterrupt as pressed:
        say(str(pressed) or "interrupted")
        sys.exit(INTERRUPTED)
    if done.n_asked or done.n_found:  # else nobody said anything, and `end` says why
        emit(done.tables, options, comparison)
    end(done, task.out)


def say(text: str) -> None:
    """Tell the user something beside the tables."""
    for line in text.split("\n"):
        click.echo(visible(line), err=True)


def end(done: Any, out: Path) -> None:
    """Say where the files are and what is missing; exit code 1 where a reply is."""
    say(f"{done.n_asked} replies asked, {done.n_found} found in {out}")
    if done.damaged:
        lines = ", ".join(map(str, done.damaged[:MOST_REASONS]))
        say(
            f"replies.jsonl: {len(done.damaged)} damaged lines ({lines}) were passed over; what "
            "they held was asked again, and the damaged file is kept beside it"
        )
    for why in done.stopped:
        say(f"distill-report: {why}")
    for why, n in done.missing.most_common(MOST_REASONS):
        say(f"distill-report: {n} requests got no reply: {why}")
    if done.missing:
        say("distill-report: the same command asks them again")
        sys.exit(1)
