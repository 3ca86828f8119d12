"""Where `local-chat` asks: the address of a server, what it offers, and what its faults mean.

Owns the forms of base_url, the look at a server before a run, and one clear line for each fault.
Refuses to own asking for completions (`chat.client`). No lm_eval.

Example, what a server offers:

    offered = look_at(Transport(Endpoint.of("http://127.0.0.1:8000")))
    offered.names  # ["Qwen/Qwen3-8B"]
"""

from __future__ import annotations

import dataclasses
import difflib
import email.utils
import ipaddress
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

import httpx2

from harness_tasks.chat import hosted
from harness_tasks.chat.reply import (
    MAX_REPLY_BYTES,
    UpstreamError,
    error_text,
    parse_json,
    shown,
)
from harness_tasks.sampling import FIELDS

CHAT_PATH = "/chat/completions"
RETRIED = (408, 425, 429)
LONGEST_WAIT_S = 600.0
LONGEST_BACKOFF_S = 30.0
CONNECT_TIMEOUT_S = 15.0
LOOK_TIMEOUT_S = 30.0
NO_LISTING = (404, 405, 501)
# Where a server tells its version, by the owner that it gives its models.
VERSION_AT = {"vllm": ("/version", "version"), "llamacpp": ("/props", "build_info")}
# What tells one model from another that is served by the same name.
WEIGHTS = ("root", "parent", "n_params", "n_vocab", "n_embd", "size")
# `transformers serve` names neither itself nor its version; this path is its own.
PATHS_OF = {"/load_model": "transformers"}


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers: `base` without a slash at its end, such as `http://host:8000/v1`."""

    base: str

    @classmethod
    def of(cls, base_url: str) -> Self:
        """Read any of `http://h:p`, `.../v1`, `.../v1/` and `.../v1/chat/completions`.

        Raises:
            ValueError: no http(s) URL, or one with a password, a query or a fragment in it.
        """
        text = base_url.strip()
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError as bad:
            raise ValueError(f"base_url is not a URL: {bad}") from bad
        if "@" in parts.netloc:
            raise ValueError(
                "base_url must not hold a user or password; put the key into the environment and "
                "name the variable with api_key_env"
            )
        if parts.scheme not in ("http", "https") or not host or re.search(r"\s", text):
            raise ValueError(
                f"base_url must look like http://127.0.0.1:8000/v1, got {shown(base_url)!r}"
            )
        if parts.query or parts.fragment:
            # What it holds may be a key, and is not shown.
            kept = f"{parts.scheme}://{parts.netloc}{parts.path}"
            raise ValueError(
                f"base_url must not hold a query or fragment; give {shown(kept)!r} alone (a key "
                "goes into the environment, its variable named with api_key_env)"
            )
        path = parts.path.rstrip("/").removesuffix(CHAT_PATH).rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{path or '/v1'}")

    @property
    def root(self) -> str:
        """The server without its API path."""
        return self.base.removesuffix("/v1")

    @property
    def chat(self) -> str:
        """Where completions are asked for."""
        return self.base + CHAT_PATH

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, where no proxy of the environment may step in."""
        host = urlsplit(self.base).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def is_certified(self) -> bool:
        """Whether a certificate may be asked for; reading all that are trusted takes 0.1 s."""
        return not (self.is_loopback and self.base.startswith("http:"))


def servers_of(base_url: str) -> tuple[Endpoint, ...]:
    """Read one address, or several with `|`, `;`, a comma or white space between them.

    Raises:
        ValueError: one is no address, or is given twice.
    """
    if re.search(r"//[^/]*@", base_url):
        return (Endpoint.of(base_url),)  # which refuses it, without a part of the password
    given = [text for text in re.split(r"[|;,\s]+", base_url) if text]
    endpoints = tuple(Endpoint.of(text) for text in given or [base_url])
    for endpoint in endpoints:
        if endpoints.count(endpoint) > 1:
            raise ValueError(f"base_url names {shown(endpoint.base)} twice; give each server once")
    return endpoints


@dataclass(frozen=True)
class Transport:
    """How requests travel; times in seconds.

    `others` are further servers of the same model: replicas, among which requests are shared out.
    """

    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    num_concurrent: int = 8
    timeout_s: float = 7200.0
    stall_timeout_s: float = 600.0
    max_retries: int = 5
    backoff_s: float = 0.5
    others: tuple[Endpoint, ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All servers."""
        return (self.endpoint, *self.others)

    @property
    def where(self) -> str:
        """The addresses of all servers, sorted: their order does not matter."""
        return " ".join(sorted(endpoint.base for endpoint in self.endpoints))

    def at(self, endpoint: Endpoint) -> Transport:
        """Return the way to one of the servers alone."""
        return dataclasses.replace(self, endpoint=endpoint, others=())

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request, the key among them."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"accept-encoding": "identity", **self.headers, **key}

    def without_secrets(self, text: str) -> str:
        """Blank the key, and the values of own headers, in what a server sent back."""
        for secret in (self.api_key, *self.headers.values()):
            if secret and len(secret) >= 4:
                text = text.replace(secret, "***")
        return text

    def cleaned(self, fault: UpstreamError) -> UpstreamError:
        """Return a fault without the key, which a server may send back anywhere."""
        return fault.worded(self.without_secrets(str(fault)))


@dataclass(frozen=True)
class Offered:
    """What a server said about itself; `names` is None where it does not list what it can serve."""

    names: list[str] | None
    max_model_len: dict[str, int] = field(default_factory=dict)
    kind: str | None = None
    version: str | None = None
    told: dict[str, dict[str, Any]] = field(default_factory=dict)  # by model: which weights it is
    lacking: dict[str, str] = field(default_factory=dict)  # models that a replica lacks: its base


class Answered(Protocol):
    """What an HTTP answer says before its body."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Head(NamedTuple):
    """The beginning of an HTTP answer; names of headers in lower case."""

    status_code: int
    headers: Mapping[str, str]


def look_at(transport: Transport) -> Offered:
    """Ask a server for its models, once, before anything is measured; of replicas, all of them.

    Raises:
        UpstreamError: nothing listens, the key is refused, it is no OpenAI-compatible server, or
            the replicas do not serve the same.
    """
    if transport.others:
        from harness_tasks.chat.replicas import look_at_all

        return look_at_all(transport)
    try:
        return look_at_one(transport)
    except UpstreamError as fault:
        raise transport.cleaned(fault) from None


def look_at_one(transport: Transport) -> Offered:
    """Ask one server for its models.

    Raises:
        UpstreamError: as in `look_at`; the message may hold what the server sent back of the key.
    """
    endpoint = transport.endpoint
    url = f"{endpoint.base}/models"
    timeout = httpx2.Timeout(LOOK_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    # A connection each: after an error some servers close theirs without a word.
    headers = {**transport.request_headers(), "connection": "close"}
    with httpx2.Client(
        headers=headers,
        timeout=timeout,
        trust_env=not endpoint.is_loopback,
        verify=endpoint.is_certified,
    ) as client:
        for attempt in range(transport.max_retries + 1):
            try:
                response = fetch(client, url)
            except httpx2.TransportError as fault:
                raise transport_fault(fault, endpoint) from fault
            if response.status_code not in (429, 503) or attempt == transport.max_retries:
                break
            time.sleep(backoff(attempt, transport.backoff_s))  # a server that loads its model
        if response.status_code in NO_LISTING:
            return Offered(names=None)
        if response.status_code == 500 and (kind := kind_by_api(client, endpoint)):
            return Offered(names=None, kind=kind)  # it has no cache to list
        body = checked(response, transport)
        return offered_by(body, client, endpoint)


def fetch(client: httpx2.Client, url: str) -> httpx2.Response:
    """Get a small document; anything above the limit is cut off, and so not valid JSON."""
    with client.stream("GET", url) as response:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                break
    return httpx2.Response(
        response.status_code,
        headers={"content-type": response.headers.get("content-type", "")},
        content=bytes(body),
    )


def offered_by(body: dict[str, Any], client: httpx2.Client, endpoint: Endpoint) -> Offered:
    """Read a list of models, and ask the two common servers for their version.

    Raises:
        UpstreamError: it is no list of models.
    """
    listed = body.get("data")
    if not isinstance(listed, list):
        raise UpstreamError(
            f"{endpoint.base} is not an OpenAI-compatible server: {endpoint.base}/models lists no "
            "models; base_url must lead to the API, as in http://127.0.0.1:8000/v1",
            kind="not openai",
        )
    models = [m for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str)]
    lengths = {m["id"]: hosted.context_of(m) for m in models}
    kinds = {m.get("owned_by") for m in models}
    kind = kinds.pop() if len(kinds) == 1 else None
    kind = kind if isinstance(kind, str) else None
    if kind not in VERSION_AT and (by_api := kind_by_api(client, endpoint)):
        return Offered(names=None, kind=by_api)  # it lists a cache, and loads whatever is asked for
    return Offered(
        names=[m["id"] for m in models],
        max_model_len={name: length for name, length in lengths.items() if length},
        kind=shown(kind) if kind else None,
        version=version_of(kind, client, endpoint),
        told={m["id"]: weights_of(m) for m in models},
    )


def weights_of(listed: dict[str, Any]) -> dict[str, Any]:
    """Return what a server tells of a model's weights: vLLM its folder, llama.cpp their sizes."""
    meta = listed.get("meta")
    told = {**listed, **(meta if isinstance(meta, dict) else {})}
    return {name: told[name] for name in WEIGHTS if isinstance(told.get(name), str | int)}


def kind_by_api(client: httpx2.Client, endpoint: Endpoint) -> str | None:
    """Return the kind of a server that only its API's description tells, None for any other."""
    try:
        said = fetch(client, endpoint.root + "/openapi.json").json()
    except (httpx2.HTTPError, ValueError, RecursionError):
        return None
    paths = said.get("paths") if isinstance(said, dict) else None
    found = paths if isinstance(paths, dict) else {}
    return next((kind for path, kind in PATHS_OF.items() if path in found), None)


def version_of(kind: str | None, client: httpx2.Client, endpoint: Endpoint) -> str | None:
    """Return the version of vLLM or llama.cpp, None where it is not told."""
    path, name = VERSION_AT.get(kind or "", ("", ""))
    if not path:
        return None
    try:
        said = fetch(client, endpoint.root + path).json()
    except (httpx2.HTTPError, ValueError, RecursionError):
        return None
    version = said.get(name) if isinstance(said, dict) else None
    return shown(version) if isinstance(version, str) else None


def chosen_model(asked: str | None, offered: Offered, transport: Transport) -> str:
    """Return the model to ask for.

    Raises:
        UpstreamError: the server does not have it, or it is not clear which one is meant.
    """
    base, names = transport.endpoint.base, offered.names
    if names is None:
        if asked:
            return asked
        raise UpstreamError(
            f"{base} does not list its models (at {base}/models): add model=NAME to model_args "
            "(the path or hub name for transformers serve), or check base_url",
            kind="not openai",
        )
    if asked and (asked in names or hosted.is_listed(asked, names)):
        return asked
    if asked is None and len(names) == 1:
        return names[0]
    if asked in offered.lacking:
        raise UpstreamError(
            f"{offered.lacking[asked]} has no model {asked!r}, unlike another server of base_url; "
            "give servers of one model",
            kind="replicas",
        )
    close = difflib.get_close_matches(asked or "", names, n=3, cutoff=0.4)
    ordered = [*close, *(name for name in names if name not in close)]
    listed = ", ".join(shown(name) for name in ordered[:20]) + (", ..." if len(names) > 20 else "")
    offers = f"it offers {listed}" if names else "it offers none"
    if asked is None:
        raise UpstreamError(f"{base}: add model=NAME to model_args; {offers}", kind="model")
    raise UpstreamError(f"{base} has no model {asked!r}; {offers}", kind="model")


def checked(response: httpx2.Response, transport: Transport) -> dict[str, Any]:
    """Return the JSON object of a good answer.

    Raises:
        UpstreamError: any other answer, in one line.
    """
    if response.status_code != 200:
        raise status_error(response, response.content, transport)
    refuse_html(response, transport)
    return parse_json(response.content, f"the reply of {transport.endpoint.base}")


def refuse_html(response: Answered, transport: Transport) -> None:
    """Refuse a web page.

    Raises:
        UpstreamError: the reply is HTML.
    """
    if "text/html" in response.headers.get("content-type", "").lower():
        raise UpstreamError(
            f"{transport.endpoint.base} is not an OpenAI-compatible server: it answers with a web "
            "page (HTML); base_url must lead to the API, as in http://127.0.0.1:8000/v1",
            kind="html",
        )


def transport_fault(fault: Exception, endpoint: Endpoint) -> UpstreamError:
    """Say in one line what happened on the way."""
    if isinstance(fault, httpx2.ConnectError | httpx2.ConnectTimeout):
        return no_connection(endpoint.base, str(fault))
    if isinstance(fault, httpx2.TimeoutException):
        return UpstreamError(
            f"{endpoint.base} did not answer in time", kind="transport", retry=True
        )
    what = shown(str(fault)) or "no further cause given"
    return broken(endpoint.base, f"{type(fault).__name__}: {what}")


def no_connection(base: str, why: str) -> UpstreamError:
    """Return the fault of a server that takes no connection."""
    return UpstreamError(
        f"nothing listens at {base} ({shown(why)}): start the server, or check base_url",
        kind="connect",
        retry=True,
    )


def broken(base: str, how: str) -> UpstreamError:
    """Return the fault of a connection that broke."""
    return UpstreamError(f"the connection to {base} broke: {how}", kind="transport", retry=True)


def status_error(response: Answered, body: bytes, transport: Transport) -> UpstreamError:
    """Say in one line what an HTTP status other than 200 means."""
    status, base = response.status_code, transport.endpoint.base
    is_html = "text/html" in response.headers.get("content-type", "").lower()
    if is_html:
        said = "a web page (HTML)"
    else:
        try:
            said = error_text(parse_json(body, "the error"))
        except UpstreamError:
            said = shown(body.decode(errors="replace")) or "no cause given"
    said = transport.without_secrets(said)
    message = f"HTTP {status} from {base}: {said}"
    if status in (401, 403):
        key = "the key was refused" if transport.api_key else "it wants a key and got none"
        message += f" ({key}: api_key_env names the environment variable that holds it)"
    elif 300 <= status < 400:
        message += " (a redirect: give base_url the address that it leads to)"
    elif status in (404, 405) and is_html:
        message += " (base_url must lead to the API, as in http://127.0.0.1:8000/v1)"
    advice = hosted.advice(status, said, FIELDS)
    message += advice
    retry = (status in RETRIED or status >= 500) and not advice
    wait = waiting_time(response.headers, body) if retry else None
    if wait is not None and wait > LONGEST_WAIT_S:
        retry, message = False, f"{message} (it asks to wait {wait:.0f} s)"
    flagged = status == 403 and hosted.FLAGGED.search(said)
    kind = "refused question" if flagged else f"HTTP {status}"
    return UpstreamError(message, kind=kind, retry=retry, status=status, retry_after_s=wait)


def waiting_time(headers: Mapping[str, str], body: bytes) -> float | None:
    """Return how long a server asks to wait, None where it does not say."""
    named = retry_after(headers.get("retry-after"))
    return hosted.wait_of(headers, body) if named is None else named


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date; None where it is neither."""
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value.strip()):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def backoff(attempt: int, base_s: float) -> float:
    """Return the wait before a retry: doubling up to 30 s, with jitter of half of it."""
    wait = min(base_s * 2.0 ** min(attempt, 20), LONGEST_BACKOFF_S)
    return wait * random.uniform(0.5, 1.0)
