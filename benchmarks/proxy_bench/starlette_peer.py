"""The plain Starlette + httpx proxy of the benchmark: what one writes in half an hour.

Owns nothing but the bytes' way: no log, no checks. A script that imports nothing of ours, since it
may run in another environment:

    python starlette_peer.py http://127.0.0.1:8080 8766
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

try:
    import httpx
except ImportError:
    import httpx2 as httpx

DROPPED = {"connection", "keep-alive", "transfer-encoding"}
UPSTREAM, PORT = sys.argv[1], int(sys.argv[2])
limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
client = httpx.AsyncClient(base_url=UPSTREAM, timeout=None, limits=limits)


async def forward(request: Request) -> StreamingResponse:
    """Send a request on, and its answer back as it comes."""
    sent = client.build_request(
        request.method, request.url.path, headers=request.headers.raw, content=await request.body()
    )
    answer = await client.send(sent, stream=True)
    headers = {name: value for name, value in answer.headers.items() if name not in DROPPED}
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, headers, background=BackgroundTask(answer.aclose)
    )


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="warning")
