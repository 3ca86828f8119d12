"""`distill-proxy`: stand between clients and model servers, and keep what passes.

Owns the options of the server. Refuses to own serving (session), whose libraries load when it
starts, and the commands that read logs (log_cli).

    distill-proxy --upstream http://127.0.0.1:8080 --listen 127.0.0.1:8766 --log runs/base/
    distill-proxy verify runs/base/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from proxy.config import (
    Compression,
    Durability,
    LogConfig,
    OnLogFailure,
    ProxyConfig,
    parse_bytes,
    parse_duration_s,
    parse_limit_s,
    parse_listen,
    parse_names,
    parse_routes,
    parse_token,
)
from proxy.log_cli import COMMANDS

TOKEN_VARIABLE = "DISTILL_PROXY_TOKEN"


def words(kind: type[StrEnum]) -> click.Choice[str]:
    """Return an option's type that takes the values of an enumeration."""
    return click.Choice([item.value for item in kind])


@dataclass(frozen=True)
class Options:
    """The options as typed."""

    upstream: tuple[str, ...]
    route: tuple[str, ...]
    listen: str
    log: str | None
    durability: str
    rotate_size: str
    rotate_time: str
    compress: str
    on_log_failure: str
    redact: tuple[str, ...]
    token: str | None
    grace: str | None
    upstream_timeout: str | None
    quiet: bool

    def proxy_config(self) -> ProxyConfig:
        """Return the settings of the server.

        Raises:
            ValueError: an option that cannot be read.
        """
        return ProxyConfig(
            routes=parse_routes(self.upstream, self.route),
            redacted=parse_names(self.redact),
            token=self.read_token(),
            upstream_timeout_s=parse_limit_s(self.upstream_timeout, "--upstream-timeout", 0.1),
            grace_s=parse_limit_s(self.grace, "--grace", 0.0),
        )

    def read_token(self) -> str | None:
        """Return the token of the option, else of the environment."""
        if self.token is not None:
            return parse_token(self.token, "--token")
        return parse_token(os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE)

    def log_config(self) -> LogConfig:
        """Return the settings of the log.

        Raises:
            ValueError: an option that is missing or cannot be read.
        """
        if self.log is None:
            raise ValueError("--log FOLDER is missing: where the exchange log goes")
        if not self.log:  # an unset variable of a script; as a path it would mean this folder
            raise ValueError("--log must be a folder, got ''; use . for this one")
        return LogConfig(
            folder=Path(self.log),
            durability=Durability(self.durability),
            rotate_bytes=parse_bytes(self.rotate_size, "--rotate-size"),
            rotate_s=parse_duration_s(self.rotate_time, "--rotate-time", 1.0),
            compression=Compression(self.compress),
            on_failure=OnLogFailure(self.on_log_failure),
        )


class Commands(click.Group):
    """The command with its subcommands; a wrong command line is one line, without a usage text."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with one_line():
            return super().invoke(ctx)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Take from errors the context that makes click print the usage before them."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = None
        raise


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.option(
    "--upstream",
    multiple=True,
    metavar="URL",
    help="The model server, such as http://127.0.0.1:8080 (without /v1). Several are replicas: "
    "each request goes to the least loaded.",
)
@click.option(
    "--route",
    multiple=True,
    metavar="NAME=URL",
    help="A server for requests whose model is NAME or whose path begins with /NAME/. The same "
    "name again adds a replica; --upstream takes the other requests.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8766",
    metavar="HOST:PORT",
    help="Where clients connect; port 0 picks a free one.",
)
@click.option(
    "--log",
    metavar="FOLDER",
    type=click.Path(),
    help="Where the exchange log goes; several proxies may share a folder.",
)
@click.option(
    "--durability",
    type=words(Durability),
    default=Durability.GROUP.value,
    help="What a record survives before its answer ends. group: power cuts, records that wait "
    "together share one sync. fsync: the same, a sync for each. os: kill -9 of the proxy.",
)
@click.option(
    "--rotate-size", default="256MB", metavar="SIZE", help="Begin a new file at this size."
)
@click.option(
    "--rotate-time", default="1h", metavar="TIME", help="Begin a new file after this time."
)
@click.option(
    "--compress",
    type=words(Compression),
    default=Compression.ZSTD.value,
    help="What becomes of a file of the log once it is closed.",
)
@click.option(
    "--on-log-failure",
    type=words(OnLogFailure),
    default=OnLogFailure.REFUSE.value,
    help="While the log cannot be written (disk full): refuse requests with status 503, or pass "
    "them on without a record.",
)
@click.option(
    "--redact",
    multiple=True,
    metavar="NAME",
    help="A further field of queries and bodies that never reaches the log. May be repeated.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    help="What clients must send as a bearer token. Every user of this machine can see a command "
    f"line: better set {TOKEN_VARIABLE} in the environment.",
)
@click.option(
    "--grace",
    metavar="TIME",
    help="How long running answers may go on after SIGTERM or Ctrl-C, such as 30s; without it, "
    "until they end. A second signal ends them at once.",
)
@click.option(
    "--upstream-timeout",
    metavar="TIME",
    help="Give up when a server sends nothing for so long, such as 10m; without it, never.",
)
@click.option("--quiet", is_flag=True, help="Print the address and warnings only.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.pass_context
def main(context: click.Context, /, debug: bool, **options: Any) -> None:
    """Pass every request on to a model server unchanged, and log each generation.

    The client sees what the server sent, byte for byte and as it comes. Every generation becomes
    one line in FOLDER/exchanges-*.jsonl, safe before the client has the end of its answer.
    GET /healthz, /metrics and /_distill/stats tell how it is doing; the commands read the log.
    """
    if context.invoked_subcommand is not None:
        refuse_mixture(context)
        return
    try:
        chosen = Options(**options)
        config, log_config = chosen.proxy_config(), chosen.log_config()
        address = parse_listen(chosen.listen)
        from proxy.session import Session

        Session(config, log_config, address, chosen.quiet).run()
    except ValueError as error:
        if debug:
            raise
        raise click.UsageError(str(error)) from error


for _command in COMMANDS:
    main.add_command(_command)


def refuse_mixture(context: click.Context) -> None:
    """Say so when options of the server stand before a command, which takes none of them.

    Raises:
        UsageError: there are some.
    """
    typed = click.core.ParameterSource.COMMANDLINE
    given = [
        parameter.opts[0]
        for parameter in main.params
        if parameter.name and context.get_parameter_source(parameter.name) is typed
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)} cannot stand before {context.invoked_subcommand}; "
            f"see distill-proxy {context.invoked_subcommand} --help"
        )
