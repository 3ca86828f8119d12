"""The proxy as an ASGI application: its own routes, and everything else forwarded.

Owns `/healthz`, what cannot be passed on (websockets, CONNECT) and the lifespan.
Refuses to own forwarding (forward) and serving (serve).

    app = create_app(config, UpstreamClient(config), Ledger(ExchangeLog.create(...)))
"""

from __future__ import annotations

from typing import Any

from proxy.asgi import App, Receive, Scope, Send, answer_lifespan, error_body, send_json
from proxy.config import ProxyConfig
from proxy.exchange import Outcome
from proxy.forward import Forwarding, Ledger, Upstream

HEALTH_PATH = "/healthz"


def create_app(config: ProxyConfig, upstream: Upstream, ledger: Ledger) -> App:
    """Return the application that forwards to `upstream` and records in the ledger's log."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send, upstream.aclose)
        elif scope["path"] == HEALTH_PATH and scope["method"] in ("GET", "HEAD"):
            await send_health(send, config, ledger)
        elif reason := unsupported(scope):
            close = [(b"connection", b"close")]
            await send_json(send, 501, error_body(reason, "not_supported"), close)
        else:
            await Forwarding(scope, receive, send, config, ledger).run(upstream)

    return app


def unsupported(scope: Scope) -> str | None:
    """Return why a request cannot be passed on, None when it can."""
    upgrades = [value.lower() for name, value in scope["headers"] if name == b"upgrade"]
    if b"websocket" in upgrades:
        return "distill-proxy does not pass websockets on; send plain HTTP requests"
    if scope["method"] == "CONNECT" or not scope["raw_path"].startswith((b"/", b"*")):
        return "distill-proxy is no forward proxy; use its address as the server's base URL"
    return None


async def send_health(send: Send, config: ProxyConfig, ledger: Ledger) -> None:
    """Answer /healthz: 200 while records can be written, 503 after one could not."""
    failure = ledger.log.failure
    body: dict[str, Any] = {
        "status": "ok" if failure is None else f"log cannot be written: {failure}",
        "upstream": config.upstream.url,
        "in_flight": ledger.in_flight,
        "exchanges": {outcome.value: ledger.outcomes[outcome] for outcome in Outcome},
        "log_failures": ledger.n_log_failures,
        "log": str(ledger.log.path),
        "durability": config.durability.value,
    }
    await send_json(send, 200 if failure is None else 503, body)
