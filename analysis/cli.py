"""`distill-report`: comparisons of finished runs, in the terminal and as files.

Owns the list of commands, and those of two arms: `compare` and one for each table. Refuses to own
any number and any layout. The libraries that compute are imported when a command runs, so that
`--help` answers at once.

    distill-report compare runs/base runs/student --log runs/base-log --log runs/student-log
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

from analysis import commands, series_cli
from analysis.diff_config.command import diff_config
from analysis.html.command import html
from analysis.judge.command import judge
from analysis.tables import catalogue
from analysis.tables.catalogue import Entry

ARMS = "runs/base runs/student"
HELP = """Did distillation help, where did it hurt, and how sure are we?

\b
  distill-report compare runs/base runs/student --log runs/base/log --log runs/student/log
  distill-report flips runs/base runs/student --task distill_math500 --csv flips.csv
  distill-report html runs/base runs/student --out report.html
"""
COMPARE_HELP = """Compare two arms: doubts first, the verdict, the core tables, the notes.

BASELINE and CANDIDATE are run folders, or samples files of lm-eval. They must agree in docs,
prompts, graders and sampling. `-` writes to standard output in place of the tables.

Read the warnings first; then the difference and its interval: one that holds 0 shows nothing.

\b
Example:
  distill-report compare runs/base runs/student --log runs/base/log --log runs/student/log
  distill-report compare base.jsonl student.jsonl --json report.json --csv tables
"""


class Sections(click.Group):
    """A group whose help lists the commands under headings, in the order of the report."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sections: dict[str, list[str]] = {}

    def add(self, section: str, *added: click.Command) -> None:
        """Add commands under a heading."""
        for command in added:
            self.add_command(command)
            self.sections.setdefault(section, []).append(str(command.name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the headings and their commands."""
        for section, names in self.sections.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(200)) for name in names]
                )


@click.group(
    cls=Sections,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="distill-eval", prog_name="distill-report")
def cli() -> None:
    """Did distillation help, where did it hurt, and how sure are we?"""


@click.command(help=COMPARE_HELP, short_help="Doubts, the verdict, the core tables, the notes.")
@commands.pair_options
@commands.with_all(commands.TABLE_OPTIONS.values())
@commands.folder_output_options
@click.option("--all", "all_tables", is_flag=True, help="Every table, not the core ones alone.")
@commands.errors_in_one_line
def compare(baseline: Path, candidate: Path, *, all_tables: bool, **options: Any) -> None:
    """Compare two arms."""
    from analysis.render import document, items
    from analysis.render.report import Report, json_text, latex_text, markdown_text, print_report

    comparison = commands.read_comparison(baseline, candidate, options)
    told = commands.table_options(options)
    whole = all_tables or options["csv_path"] is not None or options["json_path"] is not None
    every = Report(comparison, catalogue.made(comparison, told, core=not whole))
    shown = every if all_tables else every.core()

    def write_csv(folder: Path) -> list[Path]:
        if not commands.is_folder(folder):
            raise ValueError(
                f"--csv {folder}: compare writes a folder of tables; one table is written by its "
                f"own command: distill-report scorecard {ARMS} --csv FILE"
            )
        return [
            *document.write_csv_folder(every.tables, folder),
            items.write(comparison.items, folder),
        ]

    texts = {
        "markdown": lambda: markdown_text(shown),
        "latex": lambda: latex_text(shown),
        "json": lambda: json_text(every),
    }
    commands.write_forms(options, write_csv, texts, lambda out: print_report(shown, out))


def table_command(entry: Entry) -> click.Command:
    """Return the command of a table."""

    @commands.pair_options
    @commands.with_all(commands.TABLE_OPTIONS[name] for name in entry.takes)
    @commands.output_options
    @commands.errors_in_one_line
    def show(baseline: Path, candidate: Path, **options: Any) -> None:
        if missing := [name for name in entry.needs if not options[name]]:
            raise ValueError(
                f"{entry.name} needs --{missing[0]}: distill-report {entry.name} {ARMS} "
                f"{entry.example}"
            )
        comparison = commands.read_comparison(baseline, candidate, options)
        table = entry.load()(comparison, commands.table_options(options))
        commands.emit([table], options, comparison)

    example = f"distill-report {entry.name} {ARMS} {entry.example}".rstrip()
    return click.command(
        entry.name,
        help=f"{entry.help}\n\n{entry.reading}\n\n\b\nExample:\n  {example}",
        short_help=entry.help,
    )(show)


cli.add("Comparison", compare, diff_config, html, judge)
cli.add("Tables of two arms", *(table_command(entry) for entry in catalogue.PAIR))
cli.add("Tables of other files", *series_cli.COMMANDS)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):  # a name may hold what the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="distill-report")
