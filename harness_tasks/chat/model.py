"""Asking a model many things: from the store where a reply is there already, else over HTTP.

Owns who is asked with what body, that a reply is stored at once, the limit on cost, and when an
endpoint is given up. Refuses to own HTTP and retries (`chat.client`), the rows (`chat.store`) and
the words. No lm_eval.

Example: `row = await model.ask("teacher", question_id, sample_index, messages, seed)`
"""

from __future__ import annotations

import asyncio
import dataclasses
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from harness_tasks.chat.client import NO_SERVER, ChatClient
from harness_tasks.chat.cost import Tally, cost_usd, usage_of
from harness_tasks.chat.endpoint import chosen_model, look_at
from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.chat.settings import RequestFields, Settings
from harness_tasks.chat.store import Request, Store, as_mapping
from harness_tasks.completion import Completion, has_inline_reasoning
from harness_tasks.sampling import seed_for

# What every further request meets: a refused key, no credit.
FATAL_STATUS = (401, 402)
# No such model, most often; but some providers refuse one question so.
LIKELY_FATAL = (403, 404)
# An endpoint is given up after so many failures in a row: of the first requests, of a server that
# is gone, of anything else (a run of over-long questions is no reason to stop).
FIRST_FAILURES = 8
GONE_FAILURES = 16
MOST_FAILURES = 100


class Asked(Protocol):
    """What the settings of a model must tell; prices in US dollars per million tokens."""

    @property
    def model(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def price_in(self) -> float | None: ...
    @property
    def price_out(self) -> float | None: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def stream(self) -> bool: ...
    @property
    def send_seed(self) -> bool: ...

    def chat(self) -> Settings:
        """Return the settings of the chat client."""

    def request_fields(self) -> RequestFields:
        """Return the sampling as it goes on the wire."""


A = TypeVar("A", bound=Asked)


class NotAskedError(Exception):
    """A request was not made: the cost limit is reached, or the endpoint was given up."""


class FailedError(Exception):
    """A request failed for good; the next run asks it again."""


@dataclasses.dataclass
class Budget:
    """The limit on cost over the whole output folder, in US dollars."""

    store: Store
    max_cost_usd: float | None = None
    reached: str | None = None

    def check(self) -> None:
        """Let a request pass.

        Raises:
            NotAskedError: the limit is reached, or cannot be kept because a cost is unknown.
        """
        if self.max_cost_usd is None:
            return
        total = self.store.total
        if total.cost_usd >= self.max_cost_usd:
            self.reached = f"the cost limit of ${self.max_cost_usd:g} is reached"
        elif total.n_unknown_cost:
            self.reached = (
                f"the cost limit cannot be kept: {total.n_unknown_cost} requests told no cost "
                "(give price_in and price_out, or leave the limit out)"
            )
        if self.reached:
            raise NotAskedError(self.reached)


class Model(Generic[A]):
    """One model on one endpoint; use as an async context manager.

    `purpose` is the first part of request ids and of what seeds are drawn from.
    """

    def __init__(self, asked: A, store: Store, budget: Budget, purpose: str = "traces") -> None:
        self.asked = asked
        self.purpose = purpose
        self.store = store
        self.budget = budget
        self.transport = asked.chat().transport()
        self.fields = asked.request_fields()
        self.name = name_of(asked)
        self.model = asked.model
        self.room = asyncio.Semaphore(asked.concurrency)
        self.looking = asyncio.Lock()
        self.client: ChatClient | None = None
        self.given_up: str | None = None
        self.tally = Tally()  # of all rows that this run used, asked now or before
        self.n_in_a_row = 0

    async def __aenter__(self) -> Self:
        self.client = await ChatClient(self.transport).__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.client is not None:
            await self.client.__aexit__(kind, error, trace)

    async def found_model(self) -> str:
        """Return the model's name; where none was given, the only one that the server offers.

        Raises:
            NotAskedError: the server does not tell which.
        """
        async with self.looking:
            if self.given_up:
                raise NotAskedError(self.given_up)
            if self.model is None:
                try:
                    offered = await asyncio.to_thread(look_at, self.transport)
                    self.model = chosen_model(None, offered, self.transport)
                except UpstreamError as fault:
                    self.given_up = self.given_up or str(fault)
                    raise NotAskedError(self.given_up) from fault
            return self.model

    def request(
        self,
        model: str,
        role: str,
        question_id: str,
        sample_index: int,
        messages: list[dict[str, Any]],
        seed: int,
    ) -> Request:
        """Return what is asked, which is also the key of its reply."""
        body = {"model": model, "messages": messages, **self.fields.sampling}
        if self.asked.send_seed:
            body["seed"] = seed_for(
                f"{self.purpose}/{self.name}/{role}/{question_id}", 0, sample_index, seed
            )
        endpoint = self.transport.where
        return Request(role, self.name, endpoint, question_id, sample_index, body)

    async def ask(
        self,
        role: str,
        question_id: str,
        sample_index: int,
        messages: list[dict[str, Any]],
        seed: int,
    ) -> dict[str, Any]:
        """Return the row of one reply, from the store or asked for now.

        Raises:
            NotAskedError: the limit on cost is reached, or this endpoint was given up.
            FailedError: it failed for good; the failure is in the store.
        """
        model = self.model or await self.found_model()
        request = self.request(model, role, question_id, sample_index, messages, seed)
        row = self.store.get(request)
        if row is None:
            async with self.room:
                row = await self.ask_now(request)
        self.tally.add(usage_of(as_mapping(row["reply"].get("usage"))), row.get("cost_usd"))
        return row

    async def ask_now(self, request: Request) -> dict[str, Any]:
        """Send a request and store what came.

        Raises:
            NotAskedError, FailedError: as in `ask`.
        """
        if self.given_up:
            raise NotAskedError(self.given_up)
        self.budget.check()
        assert self.client is not None, "a Model is used as a context manager"
        request_id = f"{self.purpose}/{request.key[:32]}"
        try:
            body = {**request.body, "stream": self.asked.stream}
            reply = await self.client.complete(body, request_id)
        except UpstreamError as fault:
            raise self.failed(request, fault) from fault
        self.n_in_a_row = 0
        usage = usage_of(reply.usage)
        cost = cost_usd(usage, self.asked.price_in, self.asked.price_out)
        return self.store.add(request, self.as_json(reply), None, cost)

    def failed(self, request: Request, fault: UpstreamError) -> FailedError:
        """Note a failure, and give the endpoint up where no further request can succeed."""
        said = str(fault)
        self.store.add(request, None, said, None)
        self.n_in_a_row += 1
        # What has replied before, in an earlier run too, may only dislike these questions.
        fresh = (self.name, self.transport.where) not in self.store.answered
        some = self.n_in_a_row >= FIRST_FAILURES
        if (
            fault.status in FATAL_STATUS
            or (fault.status in LIKELY_FATAL and (fresh or some))
            or (fresh and some)
            or (fault.kind in NO_SERVER and self.n_in_a_row >= GONE_FAILURES)
            or self.n_in_a_row >= MOST_FAILURES
        ):
            self.given_up = self.given_up or f"{self.name} was given up: {said}"
        return FailedError(said)

    def as_json(self, reply: Reply) -> dict[str, Any]:
        """Return a reply as it is stored; a completion that fills its limit ended by length."""
        told = dataclasses.asdict(reply)
        used, limit = (
            usage_of(reply.usage).completion_tokens,
            self.fields.sampling.get("max_tokens"),
        )
        if used is not None and limit is not None and used >= limit:
            told["finish_reason"] = "length"
        return told


def completion_of(row: dict[str, Any], prefilled: bool) -> Completion:
    """Return a stored reply as the suite's graders take it."""
    reply = row["reply"]
    content, reasoning = str(reply.get("content") or ""), reply.get("reasoning")
    inline = reasoning is None and has_inline_reasoning(content)
    finish_reason = reply.get("finish_reason")
    return Completion(
        content=content,
        reasoning=reasoning,
        reasoning_source="inline" if inline else reply.get("reasoning_source"),
        finish_reason=finish_reason,
        usage=as_mapping(reply.get("usage")),
        model_served=reply.get("model_served"),
        latency_s=reply.get("latency_s"),
        sample_index=int(row["sample_index"]),
        prefilled=prefilled and reasoning is None and not inline,
    )


def name_of(asked: Asked) -> str:
    """Return what a model is called in ids: its name, or the last part of its model's."""
    return asked.name or (asked.model or "model").rstrip("/").rsplit("/", 1)[-1]
