"""`distill-eval presets`: the published samplings, field by field, with k, remarks and sources.

Owns how they are shown. Refuses to own the presets (`sampling`). Imports no more than click.

Example: `distill-eval presets --json`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from harness_tasks.sampling import ANY, FIELDS, PRESETS, Preset
from harness_tasks.text_table import aligned

# The columns of the table; a sampling field that no preset sets has none.
SHOWN = tuple(
    name
    for name in FIELDS
    if name != "max_tokens" and any(getattr(one, name) is not None for one in PRESETS.values())
)
FOOT = """\
k: samples of a question behind the published scores; --repeats K asks so many (thesis: 2 unless
--repeats says otherwise, where every task is one of distill-eval). A model_arg such as
temperature=0.7 or max_tokens=16384 replaces that field alone; a field that is not set is left to
the server."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """Show the published samplings that --preset and preset= name."""
    if as_json:
        told = {name: told_of(preset) for name, preset in PRESETS.items()}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    names = ("preset", *SHOWN, "max_tokens", "k")
    rows = [row_of(name, preset) for name, preset in PRESETS.items()]
    numbers = {*SHOWN}
    width = max(map(len, PRESETS))
    remarks = [
        f"{name.ljust(width)}  {preset.note or '-'}\n{' ' * width}  {preset.source}"
        for name, preset in PRESETS.items()
    ]
    click.echo("\n\n".join([aligned(names, rows, right=numbers), "\n".join(remarks), FOOT]))


def row_of(name: str, preset: Preset) -> tuple[str, ...]:
    """Return a row of the table; a field that is not set is a dash."""
    fields = (getattr(preset, field) for field in SHOWN)
    limits = {ANY: preset.max_tokens or 0, **preset.task_max_tokens}
    return (
        name,
        *("-" if value is None else f"{value:g}" for value in fields),
        by_family(limits),
        by_family(preset.k) or "-",
    )


def by_family(numbers: Mapping[str, int]) -> str:
    """Return numbers by family of tasks.

    >>> by_family({"any": 32768, "AIME": 38912})
    '32,768; AIME 38,912'
    """
    return "; ".join(
        f"{number:,}" if family == ANY else f"{family} {number:,}"
        for family, number in numbers.items()
    )


def told_of(preset: Preset) -> dict[str, Any]:
    """Return a preset as JSON data."""
    return {
        "sampling": preset.to_request(),
        "max_tokens_by_task": dict(preset.task_max_tokens),
        "k": dict(preset.k),
        "timeout_s": preset.timeout_s,
        "note": preset.note,
        "source": preset.source,
    }
