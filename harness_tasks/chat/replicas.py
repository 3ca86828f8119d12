"""Several servers of one model: which is asked next, which is left out, and when it is back.

Owns the look at all of them before a run, the choice of the least loaded, and the state of each.
Refuses to own how often a request is tried (`chat.client`) and how it travels (`chat.wire`). No
lm_eval. Seeds and request ids know nothing of this: a sample is the same from any replica.

Example, inside the client:

    replicas = Replicas(transport)
    replica = replicas.pick()
    await replica.wire.send("POST", url, content, request_id, reader)
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from harness_tasks.chat.endpoint import NO_LISTING, Endpoint, Offered, Transport, backoff, look_at
from harness_tasks.chat.proxied import ProxiedWire, wire_to
from harness_tasks.chat.reading import ReplyReader
from harness_tasks.chat.reply import UpstreamError, parse_json, shown
from harness_tasks.chat.wire import Wire

log = logging.getLogger(__name__)

# A server that is gone, straight or behind a proxy, or that hangs.
GONE = ("connect", "transport", "cut", "stall", "HTTP 502", "HTTP 503", "HTTP 504")
# Faults that end a run where they are every server's, and leave one out where they are its own.
ESTRANGED = ("html", "HTTP 401", "HTTP 403", "HTTP 404")
# Faults that are the question's or our own, and would be another server's as well.
NOT_ITS_OWN = ("timeout", "too large", "descriptors", "refused question")
MOST_OUTDONE = 3
"""Requests that a server may fail and another then answer, before it is left out."""
FIRST_WAIT_S = 2.0
CHECK_TIMEOUT_S = 10.0


class Replica:
    """One of the servers; `down` says why it is left out, None while it is asked."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.wire: Wire | ProxiedWire = wire_to(transport)
        self.n_busy = 0
        self.n_replies = 0
        self.n_faults = 0  # since it last replied
        self.n_outdone = 0  # requests since then that it failed and another server answered
        self.down: UpstreamError | None = None

    @property
    def base(self) -> str:
        return self.transport.endpoint.base


class Replicas:
    """The servers of a run, of which there may be only one; closed with `close`."""

    def __init__(self, transport: Transport) -> None:
        self.all = [Replica(transport.at(endpoint)) for endpoint in transport.endpoints]
        self.models: set[str] = set()  # that were asked for, and that a server must have
        self.checks: set[asyncio.Task[None]] = set()

    def pick(self, tried: Collection[Replica] = ()) -> Replica:
        """Return the least loaded server, one that is up and was not `tried` before all others."""

        def rank(replica: Replica) -> tuple[bool, bool, int, int]:
            was_tried = replica in tried
            return replica.down is not None, was_tried, replica.n_busy, replica.n_replies

        return self.all[0] if len(self.all) == 1 else min(self.all, key=rank)

    def replied(self, replica: Replica, tried: Mapping[Replica, UpstreamError]) -> None:
        """Take note of a completion that the servers of `tried` had failed to give.

        One that refuses what others answer is no replica, and left alone it would draw most
        requests: it is always the least loaded.
        """
        replica.n_replies += 1
        replica.n_faults = replica.n_outdone = 0
        for other, fault in tried.items():
            if other is not replica and fault.kind not in NOT_ITS_OWN:
                other.n_outdone += 1
                if other.n_outdone >= MOST_OUTDONE and other.down is None:
                    self.drain(other, fault)

    def moves(self, replica: Replica, fault: UpstreamError, tried: Collection[Replica]) -> bool:
        """Tell whether a request may go to another server at once; one that is gone is left out."""
        if len(self.all) == 1 or fault.kind in NOT_ITS_OWN:
            return False
        others = [r for r in self.all if r is not replica and r.down is None and r not in tried]
        is_gone = fault.kind in GONE or (fault.kind in ESTRANGED and bool(others))
        if is_gone and replica.down is None:
            self.drain(replica, fault)
        return bool(others)

    def drain(self, replica: Replica, fault: UpstreamError) -> None:
        """Send no more requests to a server until it answers again."""
        replica.down = fault
        n_left = sum(other.down is None for other in self.all)
        log.warning(
            "%s is left out, %d of %d servers are asked: %s",
            replica.base, n_left, len(self.all), fault,
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(self.bring_back(replica))
        self.checks.add(task)
        task.add_done_callback(self.checks.discard)

    async def bring_back(self, replica: Replica) -> None:
        """Wait until a server answers again, with growing waits in between."""
        while replica.down is not None:
            await asyncio.sleep(backoff(replica.n_faults, FIRST_WAIT_S))
            replica.n_faults += 1
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    await self.check(replica)
            except (UpstreamError, TimeoutError) as still:
                log.debug("%s: %s", replica.base, still)
            else:
                replica.down = None
                log.warning("%s answers again and is asked", replica.base)

    async def check(self, replica: Replica) -> None:
        """Return where a server lists the models that are asked for, or lists none at all.

        Raises:
            UpstreamError: it is still gone, or has come back with another model.
        """
        reader = ReplyReader(replica.transport, asyncio.get_running_loop().time)
        url = f"{replica.base}/models"
        await replica.wire.send("GET", url, b"", "replica/check", reader)
        if reader.head.status_code in NO_LISTING:
            return
        if reader.head.status_code != 200:
            raise UpstreamError(f"HTTP {reader.head.status_code}", kind="check")
        listed = parse_json(reader.body(), "its list of models").get("data")
        listed = listed if isinstance(listed, list) else []
        names = {str(m.get("id")) for m in listed if isinstance(m, dict)}
        if names and not self.models <= names:
            raise UpstreamError(f"it lacks {', '.join(sorted(self.models))}", kind="model")

    def counts(self) -> dict[str, int]:
        """Return how many completions each server gave."""
        return {replica.base: replica.n_replies for replica in self.all}

    async def close(self) -> None:
        """Stop looking after servers, and close the connections."""
        for task in self.checks:
            task.cancel()
        await asyncio.gather(*self.checks, return_exceptions=True)
        for replica in self.all:
            await replica.wire.close()


def look_at_all(transport: Transport) -> Offered:
    """Look at all servers at once; one that is not there is told, and left out by the run itself.

    Raises:
        UpstreamError: none is there, one is no server at all, or they do not serve the same.
    """
    with ThreadPoolExecutor(len(transport.endpoints)) as pool:
        found = list(pool.map(lambda e: looked(transport.at(e)), transport.endpoints))
    offered: dict[Endpoint, Offered] = {}
    gone: list[UpstreamError] = []
    for endpoint, one in zip(transport.endpoints, found, strict=True):
        if isinstance(one, Offered):
            offered[endpoint] = one
        elif one.kind in GONE:
            gone.append(one)
        else:
            raise one
    if not offered:
        raise gone[0]
    agreed = agreement(offered)
    for fault in gone:
        log.warning("%d of %d servers are asked: %s", len(offered), len(found), fault)
    return agreed


def looked(transport: Transport) -> Offered | UpstreamError:
    """Return what a server offers, or why it does not."""
    try:
        return look_at(transport)
    except UpstreamError as fault:
        return fault


def agreement(offered: dict[Endpoint, Offered]) -> Offered:
    """Return what all servers offer alike.

    Raises:
        UpstreamError: two are of another kind, share no model, or differ in one that they share.
    """
    (first, theirs), *others = offered.items()
    for endpoint, other in others:
        if other.kind != theirs.kind:
            raise differ(first, f"is {kind_of(theirs)}", endpoint, f"is {kind_of(other)}")
        if (other.names is None) != (theirs.names is None):
            raise differ(first, models_of(theirs), endpoint, models_of(other))
        common = [name for name in theirs.names or () if name in (other.names or ())]
        if theirs.names and not common:
            raise differ(first, models_of(theirs), endpoint, models_of(other))
        for name in common:
            if facts_of(name, theirs) != facts_of(name, other):
                raise differ(first, described(name, theirs), endpoint, described(name, other))
    return shared(offered)


def shared(offered: dict[Endpoint, Offered]) -> Offered:
    """Return the models that all servers have, and who lacks each of the others."""
    one = next(iter(offered.values()))
    if one.names is None:
        return one
    lacking = {
        name: endpoint.base
        for other in offered.values()
        for name in other.names or ()
        for endpoint, its in offered.items()
        if name not in (its.names or ())
    }
    versions = sorted({its.version for its in offered.values() if its.version})
    if len(versions) > 1:
        log.warning("the servers of base_url are of several versions: %s", ", ".join(versions))
    return dataclasses.replace(
        one,
        names=[name for name in one.names if name not in lacking],
        lacking=lacking,
        version=", ".join(versions) or None,
    )


def facts_of(name: str, offered: Offered) -> dict[str, object]:
    """Return what a server tells of a model that its replicas must tell as well."""
    facts = {"max_model_len": offered.max_model_len.get(name), **offered.told.get(name, {})}
    return {key: value for key, value in facts.items() if value is not None}


def differ(first: Endpoint, said: str, second: Endpoint, other: str) -> UpstreamError:
    """Return the fault of servers that are no replicas."""
    return UpstreamError(
        f"the servers of base_url differ: {first.base} {said}, {second.base} {other}; give servers "
        "of one model, started with the same options",
        kind="replicas",
    )


def kind_of(offered: Offered) -> str:
    return offered.kind or "of an unknown kind"


def models_of(offered: Offered) -> str:
    if offered.names is None:
        return "lists no models"
    return "serves " + (", ".join(shown(name) for name in offered.names[:5]) or "none")


def described(name: str, offered: Offered) -> str:
    """Say what a server tells of a model."""
    facts = ", ".join(f"{k}={shown(str(v))}" for k, v in facts_of(name, offered).items())
    return f"serves {shown(name)} with {facts or 'nothing told'}"
