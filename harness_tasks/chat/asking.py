"""Asking for all completions of a run: how many at once, what a fault means, what a reply becomes.

Owns the requests of a run while they are under way. Refuses to own which requests there are
(`local_chat`), one request (`chat.client`) and what makes the numbers doubtful (`chat.doubts`).
No lm_eval.

Example: `completions = run_to_end(Asker("m", transport, offered).ask_all(jobs))`
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.endpoint import Offered, Transport
from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.chat.settings import RequestFields
from harness_tasks.completion import Completion, cut_at_stop, has_inline_reasoning
from harness_tasks.progress import bar

log = logging.getLogger(__name__)

# A run whose first requests all fail in the same way is not going to succeed.
STOP_AFTER = 8
# Faults that no other request can escape: the key, the model or the address is wrong.
FATAL_STATUS = (401, 403, 404)


@dataclass(frozen=True)
class Job:
    """One request that is to be made."""

    task: str
    sample_index: int
    request_id: str
    messages: list[dict[str, Any]]
    fields: RequestFields
    seed: int


class Asker:
    """Asks one model for a run's completions; `served` counts the names that it answered by."""

    def __init__(
        self, model: str, transport: Transport, offered: Offered, stream: bool = True
    ) -> None:
        self.model = model
        self.transport = transport
        self.offered = offered
        self.stream = stream
        self.served: Counter[str] = Counter()

    async def ask_all(self, jobs: Sequence[Job], hidden: bool = False) -> list[Completion]:
        """Ask for all completions, `num_concurrent` at once.

        Raises:
            UpstreamError: a fault that every request must meet.
        """
        completions: list[Completion | None] = [None] * len(jobs)
        waiting = iter(range(len(jobs)))
        watch = FaultWatch()
        shown = bar(len(jobs), f"local-chat {self.model}", "req", hidden=hidden)

        async def work(client: ChatClient) -> None:
            for index in waiting:
                completions[index] = await self.ask(client, jobs[index], index, watch)
                if watch.n_faults:
                    shown.set_postfix(failed=watch.n_faults, refresh=False)
                shown.update()

        with shown:
            async with ChatClient(self.transport) as client:
                n_workers = min(self.transport.num_concurrent, len(jobs))
                workers = [asyncio.create_task(work(client)) for _ in range(n_workers)]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
                if client.n_retries:
                    log.info("%d requests were sent again after a passing fault", client.n_retries)
        return [completion for completion in completions if completion is not None]

    async def ask(self, client: ChatClient, job: Job, index: int, watch: FaultWatch) -> Completion:
        """Return one completion; a fault of its own makes it an `error` sample.

        Raises:
            UpstreamError: a fault that every request must meet.
        """
        body = {"model": self.model, "messages": job.messages, **job.fields.sampling}
        body |= {"seed": job.seed, "stream": self.stream}
        try:
            reply = await client.complete(body, job.request_id)
        except UpstreamError as fault:
            watch.note(index, fault)
            return Completion(
                error=str(fault), request_id=job.request_id, sample_index=job.sample_index
            )
        self.served[reply.model_served or self.model] += 1
        return self.completion_of(reply, job)

    def completion_of(self, reply: Reply, job: Job) -> Completion:
        """Build the completion: the cap seen, stop strings applied to the answer."""
        finish_reason = "length" if self.reached_limit(reply, job) else reply.finish_reason
        content = cut_at_stop(
            reply.content, job.fields.until, reasoning=reply.reasoning, finish_reason=finish_reason
        )
        inline = reply.reasoning is None and has_inline_reasoning(content)
        return Completion(
            content=content,
            reasoning=reply.reasoning,
            reasoning_source="inline" if inline else reply.reasoning_source,
            finish_reason=finish_reason,
            usage=reply.usage,
            model_served=reply.model_served,
            request_id=job.request_id,
            latency_s=reply.latency_s,
            ttft_s=reply.ttft_s,
            sample_index=job.sample_index,
        )

    def reached_limit(self, reply: Reply, job: Job) -> bool:
        """Tell whether a completion filled its limit, whatever finish_reason the server gave."""
        used = reply.usage.get("completion_tokens")
        limit = job.fields.sampling.get("max_tokens")
        if limit is None:
            window = self.offered.max_model_len.get(self.model)
            prompt = reply.usage.get("prompt_tokens")
            limit = window - prompt if window and isinstance(prompt, int) else None
        return isinstance(used, int) and isinstance(limit, int) and used >= limit > 0


class FaultWatch:
    """Stops a run that cannot succeed."""

    def __init__(self) -> None:
        self.first: dict[int, str] = {}
        self.n_faults = 0

    def note(self, index: int, fault: UpstreamError) -> None:
        """Take note of a request that failed for good; `index` is its place in the run.

        Raises:
            UpstreamError: all requests must fail like this one.
        """
        self.n_faults += 1
        if fault.status in FATAL_STATUS or fault.kind == "html":
            raise fault
        if index < STOP_AFTER:
            self.first[index] = fault.kind
        if len(self.first) == STOP_AFTER and len(set(self.first.values())) == 1:
            raise UpstreamError(
                f"stopped, since the first {STOP_AFTER} requests all failed: {fault}",
                kind=fault.kind,
                status=fault.status,
            )


def run_to_end(coroutine: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """Run a coroutine, in a thread of its own where this one runs a loop (a notebook does)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
