"""Asking one server for small completions, as a run would ask, and what it tells about itself.

Owns the requests of the doctor: how many tokens, how long to wait, what was asked already. Refuses
to own what the answers mean (the checks) and HTTP (`chat.client`, `chat.endpoint`). No lm_eval.

Example, the greedy answer to a question:

    server = Server(read_settings({"base_url": "http://127.0.0.1:8000"}))
    server.look()
    server.ask("What is 2 + 2?").content
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx2

from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.endpoint import (
    CONNECT_TIMEOUT_S,
    Offered,
    Transport,
    chosen_model,
    look_at,
    status_error,
    transport_fault,
)
from harness_tasks.chat.hosted import renamed
from harness_tasks.chat.reply import Reply, UpstreamError, parse_json
from harness_tasks.chat.settings import RequestFields, Settings, request_fields
from harness_tasks.sampling import FIELDS

# Asked greedily. A plain model needs two tokens for the first, and has no end of the second.
QUESTION = "What is 7 + 5? Answer with the number alone."
LONG_TASK = "Count from 1 to 200 in words, one number after the other."
# Asked at temperature 1: two samples of any model that is not set on one text differ.
FREE_TASK = "Write a list of random English words, as unlike each other as possible."

PROBE_TOKENS = 64
FEWEST_TOKENS = 16
SMALL_CAP = 8
# A probe should not take longer: a slow server is asked for fewer tokens.
PROBE_S = 3.0
# Enough for a model that reasons about 7 + 5 to come to its end, and the longest to wait for it.
LONGER_TOKENS, LONGER_S = 512, 15.0
# The first request of a server that loads its model on demand may take longer.
TIMEOUT_S, LOADING_S = 90.0, 240.0
ON_DEMAND = ("transformers", "ollama", None)
GET_TIMEOUT_S = 10.0
# Far above what a server tells of itself, or answers to a short question.
MAX_TOLD_BYTES = 16 << 20
MAX_RETRIES = 1


class Server:
    """One model on one server, as the checks ask it; `kind` and `model` are settled by checks."""

    def __init__(self, settings: Settings, probe_tokens: int = PROBE_TOKENS) -> None:
        self.settings = settings
        self.transport = doctored(settings.transport(), LOADING_S)
        self.probe_tokens = probe_tokens
        self.longer_tokens = max(LONGER_TOKENS, probe_tokens)
        self.cut_off: Reply | None = None
        self.offered = Offered(names=None)
        self.model = settings.model or ""
        self.kind: str | None = None
        self.version: str | None = None
        self.asked: dict[str, Reply] = {}
        self.told: dict[str, Any] = {}
        self.repeats = False  # whether one seed gave one text, asked alone
        self.numbers = itertools.count(1)
        self.n_requests = self.n_again = 0  # asked for, and sent again after a passing fault

    @property
    def base(self) -> str:
        return self.transport.endpoint.base

    def look(self) -> None:
        """Ask what the server offers.

        Raises:
            UpstreamError: nothing listens, the key is refused, or it is no chat server.
        """
        self.offered = look_at(self.transport)
        self.kind, self.version = self.offered.kind, self.offered.version

    def settle_model(self) -> None:
        """Settle which model is asked.

        Raises:
            UpstreamError: the server does not have it, or it is not clear which one is meant.
        """
        self.model = chosen_model(self.settings.model, self.offered, self.transport)

    def names(self) -> list[str]:
        """Return what the model is called: by the user, and by the server's weights."""
        told = self.offered.told.get(self.model, {}).values()
        return [self.model, *(name for name in told if isinstance(name, str))]

    def fields(self) -> RequestFields:
        """Return what a run sends beside model and messages."""
        return request_fields(self.settings, {})

    def body(self, content: str, **fields: Any) -> dict[str, Any]:
        """Return a request: greedy and short unless `fields` say otherwise, else as a run's.

        A field that is None is not sent.
        """
        system = self.settings.system_prompt
        messages = [{"role": "system", "content": system}] if system else []
        kept = {k: v for k, v in self.fields().sampling.items() if k not in FIELDS}
        body = {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": content}],
            "temperature": 0.0,
            "max_tokens": self.probe_tokens,
            "seed": self.settings.seed,
            "stream": self.settings.stream,
            **kept,
            **fields,
        }
        return {name: value for name, value in body.items() if value is not None}

    def ask(self, content: str, *, anew: bool = False, **fields: Any) -> Reply:
        """Return the completion of one short request; what was asked before is not asked again.

        One that filled its limit ended by length, whatever the server says.

        Raises:
            UpstreamError: it failed, after one retry where that is honest.
        """
        body = self.body(content, **fields)
        key = json.dumps(body, sort_keys=True)
        if anew or key not in self.asked:
            reply = self.ask_as_told(body)
            if (tokens_of(reply) or 0) >= body.get("max_tokens", math.inf):
                reply = dataclasses.replace(reply, finish_reason="length")
            self.asked[key] = reply
        return self.asked[key]

    def ask_as_told(self, body: Mapping[str, Any]) -> Reply:
        """Return the completion of one request, every word of it the server's.

        Raises:
            UpstreamError: it failed, after one retry where that is honest.
        """
        [reply] = self.ask_at_once([body])
        if isinstance(reply, UpstreamError):
            raise reply
        return reply

    def capped(self) -> Reply:
        """Return what LONG_TASK brings within SMALL_CAP tokens, every word of it the server's.

        Raises:
            UpstreamError: it failed.
        """
        if self.cut_off is None:
            self.cut_off = self.ask_as_told(self.body(LONG_TASK, max_tokens=SMALL_CAP))
        return self.cut_off

    def warm_up(self) -> Reply:
        """Ask for the first time, then see how fast the server is; return the first answer.

        From then on the limits of tokens stay as they are: what is compared has one length.

        Raises:
            UpstreamError: it failed.
        """
        if self.kind not in ON_DEMAND:
            self.transport = doctored(self.transport, TIMEOUT_S)
        first = self.ask(QUESTION, max_tokens=min(FEWEST_TOKENS, self.probe_tokens))
        self.transport = doctored(self.transport, TIMEOUT_S)
        rate = tokens_per_s(self.capped())
        self.probe_tokens = within(rate * PROBE_S, self.probe_tokens)
        self.longer_tokens = within(rate * LONGER_S, self.longer_tokens)
        return first

    def ask_at_once(self, bodies: Sequence[Mapping[str, Any]]) -> list[Reply | UpstreamError]:
        """Return the completions, or faults, of requests that are under way together."""
        transport = dataclasses.replace(self.transport, num_concurrent=max(1, len(bodies)))
        sent = [renamed(dict(body), self.settings.wire_names) for body in bodies]
        replies, n_again = asyncio.run(all_of(transport, sent, self.numbers))
        self.n_requests += len(bodies)
        self.n_again += n_again
        return replies

    def raw(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a whole reply as the server sent it, to a request without `x-request-id`.

        Raises:
            UpstreamError: any answer but a JSON object.
        """
        sent = renamed({**body, "stream": False}, self.settings.wire_names)
        return self.post_to(self.transport.endpoint.chat, sent)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the JSON object that a path below the server's root answers with, None if none."""
        try:
            return self.post_to(self.transport.endpoint.root + path, body)
        except UpstreamError:
            return None

    def post_to(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post JSON and return the JSON object that comes back.

        Raises:
            UpstreamError: any other answer.
        """
        content = json.dumps(dict(body), allow_nan=False).encode("ascii")
        try:
            response = self.fetched("POST", url, self.transport.timeout_s, content)
        except httpx2.TransportError as fault:
            raise transport_fault(fault, self.transport.endpoint) from fault
        if response.status_code != 200:
            raise status_error(response, response.content, self.transport)
        return parse_json(response.content, f"the reply of {url}")

    def get(self, path: str) -> Any:
        """Return the JSON at a path below the server's root, None where there is none."""
        return self.get_from(self.transport.endpoint.root + path)

    def get_from(self, url: str) -> Any:
        """Return the JSON at an address, None where there is none; asked once."""
        if url not in self.told:
            try:
                response = self.fetched("GET", url, GET_TIMEOUT_S)
                self.told[url] = response.json() if response.status_code == 200 else None
            except (httpx2.HTTPError, ValueError, RecursionError):
                self.told[url] = None
        return self.told[url]

    def fetched(
        self, method: str, url: str, timeout_s: float, content: bytes | None = None
    ) -> httpx2.Response:
        """Return a reply of which neither the size nor the time it takes is the server's to choose.

        What is above the limit is cut off, and so no valid JSON.

        Raises:
            httpx2.TransportError: no whole reply came in time.
        """
        until, body = time.monotonic() + timeout_s, bytearray()
        headers = {"content-type": "application/json"} if content else {}
        with (
            self.http(timeout_s) as client,
            client.stream(method, url, content=content, headers=headers) as response,
        ):
            for piece in response.iter_bytes():
                body += piece
                if time.monotonic() > until:
                    raise httpx2.ReadTimeout(f"no whole reply within {timeout_s:g} s")
                if len(body) > MAX_TOLD_BYTES:
                    break
        told = {"content-type": response.headers.get("content-type", "")}
        return httpx2.Response(response.status_code, headers=told, content=bytes(body))

    def listed(self) -> dict[str, Any]:
        """Return the model's own entry of `/v1/models`, empty where there is none."""
        entries = mapping(self.get_from(f"{self.base}/models")).get("data")
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("id") == self.model:
                return entry
        return {}

    def http(self, timeout_s: float) -> httpx2.Client:
        """Return a client for one small request; some servers close a connection without a word."""
        endpoint = self.transport.endpoint
        return httpx2.Client(
            verify=endpoint.is_certified,
            headers={**self.transport.request_headers(), "connection": "close"},
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            trust_env=not endpoint.is_loopback,
        )


def tokens_per_s(reply: Reply) -> float:
    """Return how fast a completion that filled SMALL_CAP came, infinite where nothing tells."""
    n, took_s = tokens_of(reply) or SMALL_CAP, reply.latency_s or 0.0
    # The wait for the first token is left out, unless all came at once.
    if reply.ttft_s and took_s - reply.ttft_s > 0.1 * took_s:
        n, took_s = n - 1, took_s - reply.ttft_s
    return n / took_s if took_s > 0 else math.inf


def within(n_tokens: float, most: int) -> int:
    """Return a limit of tokens: no more than `most`, and enough to see something."""
    return int(min(most, max(FEWEST_TOKENS, n_tokens)))


def doctored(transport: Transport, timeout_s: float) -> Transport:
    """Return a transport that gives up soon, and does not ask again what took too long."""
    return dataclasses.replace(
        transport,
        timeout_s=min(transport.timeout_s, timeout_s),
        stall_timeout_s=min(transport.stall_timeout_s, timeout_s + 1),
        max_retries=min(transport.max_retries, MAX_RETRIES),
    )


async def all_of(
    transport: Transport, bodies: Sequence[Mapping[str, Any]], numbers: Iterator[int]
) -> tuple[list[Reply | UpstreamError], int]:
    """Ask for all of them at once; a fault stands in its place. And how many were sent again."""

    async def one(client: ChatClient, body: Mapping[str, Any]) -> Reply | UpstreamError:
        try:
            return await client.complete(dict(body), f"doctor/probe/{next(numbers)}/0")
        except UpstreamError as fault:
            return fault

    async with ChatClient(transport) as client:
        replies = await asyncio.gather(*(one(client, body) for body in bodies))
        return list(replies), client.n_retries


def tokens_of(reply: Reply, name: str = "completion_tokens") -> int | None:
    """Return a count of the usage, None where the server told none, or 0 for not counted."""
    told = reply.usage.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None


def mapping(value: Any) -> dict[str, Any]:
    """Return an object that a server sent, empty where it is none."""
    return value if isinstance(value, dict) else {}


def whole(reply: Reply) -> str:
    """Return all that was written, reasoning first."""
    return f"{reply.reasoning or ''}{reply.content}"
