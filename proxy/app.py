"""The proxy put together: its own pages, who may pass, and everything else forwarded.

Owns `/healthz`, `/metrics`, `/_distill/stats`, the token, what cannot be passed on (websockets,
CONNECT), and the life of a proxy from its first request to the end of its drain.
Refuses to own forwarding (forward), connections (server) and what the pages say (stats, metrics).

    await serve_proxy(config, log, ledger, listener, on_ready)    # until SIGTERM or SIGINT
"""

from __future__ import annotations

import gc
import hmac
import socket
import sys
from collections.abc import Callable

from proxy.config import ProxyConfig
from proxy.forward import Forwarding, Gateway
from proxy.http1 import Headers, RequestHead
from proxy.log import ExchangeLog
from proxy.metrics import CONTENT_TYPE, render
from proxy.request import Request
from proxy.routes import RouteTable
from proxy.serve import serve
from proxy.server import Handler, Server
from proxy.stats import Ledger, health_document, stats_document

HEALTH_PATH = b"/healthz"
METRICS_PATH = b"/metrics"
STATS_PATH = b"/_distill/stats"
MODELS_PATH = b"/v1/models"
NO_WEBSOCKETS = "distill-proxy does not pass websockets on; send plain HTTP requests"
NO_FORWARD_PROXY = "distill-proxy is no forward proxy; use its address as the server's base URL"
NO_TOKEN = "this proxy asks for its token, as `Authorization: Bearer TOKEN`"
SWITCH_INTERVAL_S = 0.0005
"""The log's thread needs the interpreter for microseconds at a time; by default it would wait 5 ms
for it while the event loop is busy."""

GC_THRESHOLD = (10_000, 20, 50)
"""An exchange makes some hundred objects and hardly a cycle: looking for cycles every 700 objects,
as is the default, and among all that was loaded at the start, is wasted time."""


def create_handler(gateway: Gateway) -> Handler:
    """Return what answers each request."""

    async def handle(request: Request) -> None:
        head = admitted(request.head, gateway.config.token)
        path = request.head.target.partition(b"?")[0]
        reads = request.head.method in ("GET", "HEAD")
        if reads and path == HEALTH_PATH:
            send_health(request, gateway, in_full=head is not None)
        elif head is None:
            challenge = [(b"WWW-Authenticate", b"Bearer")]
            request.refuse(401, NO_TOKEN, "authentication_error", challenge)
        elif (reason := unsupported(request.head)) is not None:
            request.keep_alive = False
            request.refuse(501, reason, "not_supported")
        elif not (reads and send_page(request, path, gateway)):
            await Forwarding(request, head, gateway).run()

    return handle


def unsupported(head: RequestHead) -> str | None:
    """Return why a request cannot be passed on, None when it can."""
    if b"upgrade" in head.names and b"websocket" in [
        value.lower() for value in head.values(b"upgrade")
    ]:
        return NO_WEBSOCKETS
    if head.method == "CONNECT" or not head.target.startswith((b"/", b"*")):
        return NO_FORWARD_PROXY
    return None


def admitted(head: RequestHead, token: str | None) -> RequestHead | None:
    """Return the request as it goes on, without the proxy's own token; None where that is missing.

    A client that needs Authorization for the server sends the token as Proxy-Authorization, which
    never goes on.
    """
    if token is None:
        return head
    wanted = b"bearer " + token.encode()
    kept: Headers = []
    passes = False
    for name, value in head.headers:
        lowered = name.lower()
        if lowered in (b"authorization", b"proxy-authorization"):
            scheme, space, rest = value.partition(b" ")
            if hmac.compare_digest(scheme.lower() + space + rest.strip(), wanted):
                passes = True
                continue
        kept.append((name, value))
    return RequestHead(head.method, head.target, kept) if passes else None


def send_page(request: Request, path: bytes, gateway: Gateway) -> bool:
    """Answer one of the proxy's own pages; False where the path is none of them."""
    if path == METRICS_PATH:
        page = render(gateway.ledger, gateway.log)
        request.answer(200, page, [(b"Content-Type", CONTENT_TYPE.encode())])
    elif path == STATS_PATH:
        request.answer_json(200, stats_document(gateway.ledger, gateway.log))
    elif path == MODELS_PATH and gateway.routes.rest is None:
        request.answer_json(200, list_routes(gateway.routes))
    else:
        return False
    return True


def send_health(request: Request, gateway: Gateway, in_full: bool) -> None:
    """Answer /healthz: 200 while records can be written, 503 after one could not."""
    status = 200 if gateway.log.failure is None else 503
    document = health_document(gateway.ledger, gateway.log)
    request.answer_json(status, document if in_full else {"status": document["status"]})


def list_routes(routes: RouteTable) -> dict[str, object]:
    """Return the routes' names as a list of models, where no single server could be asked."""
    rows = [{"id": name, "object": "model", "owned_by": "distill-proxy"} for name in routes.named]
    return {"object": "list", "data": rows}


async def serve_proxy(
    config: ProxyConfig,
    log: ExchangeLog,
    ledger: Ledger,
    listener: socket.socket,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT and the end of the drain; see `serve`."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    routes = RouteTable(config)
    ledger.replicas = routes.replicas
    gateway = Gateway(config, routes, log, ledger, log.config.on_failure)
    server = Server(create_handler(gateway), config.stall_timeout_s)
    await serve(server, listener, on_ready, config.grace_s)
    routes.close()
