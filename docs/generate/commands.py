"""The blocks of docs/commands.md: every command and option of the programs, as `--help` has them.

Owns the reading of click's commands. Refuses to own what a page by hand says about them.

    >>> "`--listen HOST:PORT`" in section("distill-proxy")
    True
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import click

import analysis.cli
import harness_tasks.cli
import proxy.cli
import training.cli
from docs.generate.pages import code, table

PROGRAMS: dict[str, click.Command] = {
    "distill-eval": harness_tasks.cli.main,
    "distill-proxy": proxy.cli.main,
    "distill-train": training.cli.cli,
    "distill-report": analysis.cli.cli,
}
# What each of these pages says of its commands by hand; the first that fits is linked.
PAGES = {
    "distill-eval run": "running.md",
    "distill-eval runs": "running.md",
    "distill-eval presets": "running.md",
    "distill-eval doctor": "doctor.md",
    "distill-eval": "tasks.md",
    "distill-proxy": "proxy.md",
    "distill-proxy verify": "exchange_log.md",
    "distill-proxy tail": "exchange_log.md",
    "distill-proxy stats": "exchange_log.md",
    "distill-proxy export": "exchange_log.md",
    "distill-train bank": "bank.md",
    "distill-train traces": "traces.md",
    "distill-train sft": "sft.md",
    "distill-train grpo": "grpo.md",
    "distill-train": "checkpoints.md",
    "distill-report compare": "reports.md",
    "distill-report html": "reports.md",
    "distill-report judge": "judge.md",
    "distill-report diff-config": "reports.md",
    "distill-report": "tables.md",
}
MANY = 8


def section(program: str) -> str:
    """Return the part of one program: its own options, those of many commands, each command."""
    blocks = [first_paragraph(PROGRAMS[program])]
    own = list(option_rows(PROGRAMS[program]))
    blocks += [options(own)] if own else []
    shared = of_many_commands(program)
    if shared:
        blocks += ["### Options of many commands", options(shared)]
    for name, command in list(commands(program))[1:]:
        rows = list(option_rows(command))
        there = [row for row in rows if row not in shared]
        many = [code(row[0].strip("`").split()[0]) for row in rows if row in shared]
        blocks.append(f"### {usage(name, command)}")
        blocks.append(f"{first_paragraph(command)} More: [{linked(name)}]({linked(name)}).")
        blocks += [options(there)] if there else []
        every = len(many) == len(shared)
        blocks += [f"And {'all' if every else ', '.join(many)} of many commands."] if many else []
    return "\n\n".join(blocks)


def options(rows: list[tuple[str, str]]) -> str:
    """Return options as a table."""
    return table(("option", "meaning"), rows)


def of_many_commands(program: str) -> list[tuple[str, str]]:
    """Return the options that, with the same meaning, `MANY` commands and more have."""
    found = Counter(row for _, command in commands(program) for row in option_rows(command))
    return [row for row, times in found.items() if times >= MANY]


def commands(program: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a program and its commands, with their whole names."""
    top = PROGRAMS[program]
    yield program, top
    if isinstance(top, click.Group):
        for name, command in top.commands.items():
            yield f"{program} {name}", command


def option_rows(command: click.Command) -> Iterator[tuple[str, str]]:
    """Yield the options of a command with what they mean; `--version` is told above."""
    for option in command.params:
        if (
            isinstance(option, click.Option)
            and "--version" not in option.opts
            and not option.hidden
        ):
            yield code(shown(option)), " ".join([option.help or "", *facts(option)]).strip()


def shown(option: click.Option) -> str:
    """Return the names of an option and what stands behind it: `--show N`."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return names
    if option.metavar:
        return f"{names} {option.metavar}"
    if isinstance(option.type, click.Choice):
        return f"{names} {'|'.join(map(str, option.type.choices))}"
    return f"{names} {option.type.name.upper().split()[0]}"


def facts(option: click.Option) -> Iterator[str]:
    """Yield what click knows besides: needed, repeatable, default."""
    if option.required:
        yield "Required."
    if (
        option.multiple
        and "repeat it" not in (option.help or "")
        and "again" not in (option.help or "")
    ):
        yield "Repeatable."
    default = option.default
    if isinstance(option.show_default, str):  # what it is on this machine is not every machine's
        default = option.show_default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    if plain and not option.is_flag and default != "" and not option.required:
        yield f"Default {default}."


def usage(name: str, command: click.Command) -> str:
    """Return the command with its arguments: `distill-report groups BASELINE CANDIDATE`."""
    arguments = [
        param.make_metavar(click.Context(command))
        for param in command.params
        if isinstance(param, click.Argument) and param.name != "lm_eval_args"
    ]
    return " ".join([name, *arguments])


def first_paragraph(command: click.Command) -> str:
    """Return the beginning of a command's help as one line."""
    text = re.sub(r"\x08", "", command.help or command.short_help or "")
    return " ".join(text.strip().split("\n\n")[0].split())


def linked(name: str) -> str:
    """Return the page by hand of a command."""
    return PAGES.get(name) or PAGES[name.split()[0]]
