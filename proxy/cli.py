"""`distill-proxy`: stand between a client and a model server, and keep what passes.

Owns the command line. Refuses to own everything else; the server's libraries load when it starts.

    distill-proxy --upstream http://127.0.0.1:8080 --listen 127.0.0.1:8766 --log runs/base/
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click

from proxy.config import Durability, ProxyConfig, Upstream, parse_listen, parse_upstream

PROBE_S = 2.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--upstream",
    required=True,
    metavar="URL",
    help="The model server, such as http://127.0.0.1:8080 (without /v1).",
)
@click.option(
    "--listen",
    default="127.0.0.1:8766",
    show_default=True,
    metavar="HOST:PORT",
    help="Where clients connect; port 0 picks a free one.",
)
@click.option(
    "--log",
    "log_dir",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where the exchange log goes; each process writes a file of its own.",
)
@click.option(
    "--durability",
    type=click.Choice([item.value for item in Durability]),
    default=Durability.OS.value,
    show_default=True,
    help="os: a record survives kill -9 of the proxy. fsync: it survives a power cut, and each "
    "answer waits for the disk.",
)
@click.option(
    "--grace",
    "grace_s",
    type=click.IntRange(0, 86400),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long running answers may go on after SIGTERM or Ctrl-C.",
)
@click.option("--quiet", is_flag=True, help="Print the address only, no log path and no summary.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def main(
    upstream: str,
    listen: str,
    log_dir: Path,
    durability: str,
    grace_s: int,
    quiet: bool,
    debug: bool,
) -> None:
    """Pass every request on to a model server unchanged, and log each generation.

    The client sees what the server sent, byte for byte and as it comes. Every chat or legacy
    completion becomes one line in FOLDER/exchanges-*.jsonl, on disk before the client has the end
    of its answer. GET /healthz tells the counts.
    """
    try:
        config = ProxyConfig(
            upstream=parse_upstream(upstream),
            log_dir=log_dir,
            durability=Durability(durability),
            grace_s=grace_s,
        )
        run_proxy(config, listen, quiet)
    except ValueError as error:
        if debug:
            raise
        raise click.UsageError(str(error)) from error


def run_proxy(config: ProxyConfig, listen_at: str, quiet: bool) -> None:
    """Serve until a signal.

    Raises:
        ValueError: the address or the log folder cannot be used.
    """
    from proxy.app import create_app
    from proxy.forward import Ledger
    from proxy.log import ExchangeLog
    from proxy.serve import address_of, listen, serve
    from proxy.upstream import UpstreamClient

    address = parse_listen(listen_at)
    listener = listen(address)
    with listener:
        log = ExchangeLog.create(config.log_dir, config.durability)
        ledger = Ledger(log)

        def announce() -> None:
            print(f"listening on {address_of(listener).url}", flush=True)
            if not quiet:
                print(f"logging to {log.path}", flush=True)
            warn_if_absent(config.upstream)

        try:
            app = create_app(config, UpstreamClient(config), ledger)
            serve(app, listener, config.grace_s, announce)
        finally:
            log.close()
    if not quiet:
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(ledger.outcomes.items()))
        print(f"stopped; exchanges: {counts or 'none'}; log: {log.path}", flush=True)


def warn_if_absent(upstream: Upstream) -> None:
    """Say so when nothing answers at the upstream yet; the proxy starts nevertheless."""
    try:
        socket.create_connection((upstream.host, upstream.port), timeout=PROBE_S).close()
    except OSError as error:
        print(
            f"warning: no server at {upstream.url} yet ({error.strerror or error}); "
            "requests get status 502 until there is one",
            file=sys.stderr,
            flush=True,
        )
