"""Asking for all completions of a run: how many at once, what a fault means, what a reply becomes.

Owns the requests of a run while they are under way. Refuses to own which requests there are
(`local_chat`), one request (`chat.client`) and what makes the numbers doubtful (`chat.doubts`).
No lm_eval.

Example: `completions = run_to_end(Asker("m", transport, offered).ask_all(jobs))`
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.endpoint import Offered, Transport
from harness_tasks.chat.hosted import renamed
from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.chat.resume import Found, Kept
from harness_tasks.chat.settings import RequestFields
from harness_tasks.completion import Completion, cut_at_stop, has_inline_reasoning
from harness_tasks.progress import bar, start_at

log = logging.getLogger(__name__)

# A run whose first requests all fail in the same way is not going to succeed.
STOP_AFTER = 8
LOOK_FOR_CTRL_C_S = 0.2
# Faults that no other request can escape: the key, the model or the address is wrong.
FATAL_STATUS = (401, 402)
# Some providers refuse a single question so; before any answer it is the key or the model.
LIKELY_FATAL = (403, 404)


@dataclass(frozen=True)
class Job:
    """One request that is to be made."""

    task: str
    sample_index: int
    request_id: str
    messages: list[dict[str, Any]]
    fields: RequestFields
    seed: int
    doc_id: Any = 0

    def body(self, model: str) -> dict[str, Any]:
        """Return what goes on the wire, but for the way it is streamed."""
        body = {"model": model, "messages": self.messages, **self.fields.sampling}
        return renamed(body | {"seed": self.seed}, self.fields.wire_names)

    def limited(self, max_tokens: int | None) -> Job:
        """Return the same request under another limit; None sends none."""
        sampling = {k: v for k, v in self.fields.sampling.items() if k != "max_tokens"}
        if max_tokens is not None:
            sampling["max_tokens"] = max_tokens
        fields = dataclasses.replace(self.fields, sampling=sampling)
        return dataclasses.replace(self, fields=fields)


class Asker:
    """Asks one model for a run's completions; `served` counts the names that it answered by."""

    def __init__(
        self,
        model: str,
        transport: Transport,
        offered: Offered,
        stream: bool = True,
        kept: Kept | None = None,
    ) -> None:
        self.model = model
        self.transport = transport
        self.offered = offered
        self.stream = stream
        self.kept = kept  # the completions that are there already, None without a store
        self.served: Counter[str] = Counter()
        self.by_server: Counter[str] = Counter()  # completions asked for now, by address
        self.begun: Callable[[int], None] | None = None  # called with how many are there already
        self.completed: Callable[[Job, Completion], None] = lambda job, completion: None

    async def ask_all(self, jobs: Sequence[Job], hidden: bool = False) -> list[Completion]:
        """Ask for all completions, `num_concurrent` at once.

        Raises:
            UpstreamError: a fault that every request must meet.
        """
        completions = [self.found(job) for job in jobs]
        missing = [index for index, one in enumerate(completions) if one is None]
        waiting = iter(enumerate(missing))
        watch = FaultWatch(answered=len(missing) < len(jobs))
        shown = bar(len(jobs), f"local-chat {self.model}", "req", hidden=hidden)
        start_at(shown, len(jobs) - len(missing))
        if self.begun:
            self.begun(len(jobs) - len(missing))
        for job, completion in zip(jobs, completions, strict=True):
            if completion is not None:
                self.completed(job, completion)

        async def work(client: ChatClient) -> None:
            for turn, index in waiting:
                completions[index] = done = await self.ask(client, jobs[index], turn, watch)
                self.completed(jobs[index], done)
                if watch.n_faults:
                    shown.set_postfix(failed=watch.n_faults, refresh=False)
                shown.update()

        with shown:
            async with ChatClient(self.transport) as client:
                n_workers = min(self.transport.num_concurrent, len(missing))
                workers = [asyncio.create_task(work(client)) for _ in range(n_workers)]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
                    self.by_server.update(client.replicas.counts())
                self.tell(client)
        return [completion for completion in completions if completion is not None]

    def tell(self, client: ChatClient) -> None:
        """Say how the requests fared on their way; lm-eval shows INFO of its own alone."""
        if client.n_retries:
            log.warning("%d requests were sent again after a passing fault", client.n_retries)
        if client.n_moved:
            log.warning("%d requests moved to another server", client.n_moved)
        if self.transport.others:
            counts = ", ".join(f"{base} {n}" for base, n in self.by_server.items())
            log.warning("completions by server: %s", counts)

    def found(self, job: Job) -> Completion | None:
        """Return the completion that is there already, None where there is none."""
        found = self.kept.find(job) if self.kept else None
        return self.taken(found, job) if found else None

    def taken(self, found: Found, job: Job) -> Completion:
        """Build the completion of a stored reply, under the id that it was asked by."""
        self.served[found.reply.model_served or self.model] += 1
        return self.completion_of(
            found.reply, dataclasses.replace(job, request_id=found.request_id)
        )

    async def ask(self, client: ChatClient, job: Job, turn: int, watch: FaultWatch) -> Completion:
        """Return one completion; a fault of its own makes it an `error` sample.

        Raises:
            UpstreamError: a fault that every request must meet.
        """
        try:
            reply = await client.complete(
                {**job.body(self.model), "stream": self.stream}, job.request_id
            )
        except UpstreamError as fault:
            earlier = self.kept and self.kept.fail(job, str(fault))
            watch.note(turn, fault)
            if earlier:
                return self.taken(earlier, job)
            return Completion(
                error=str(fault), request_id=job.request_id, sample_index=job.sample_index
            )
        watch.answered = True
        if self.reached_limit(reply, job):
            reply = dataclasses.replace(reply, finish_reason="length")
        if self.kept:
            self.kept.keep(job, reply)
        self.served[reply.model_served or self.model] += 1
        return self.completion_of(reply, job)

    def completion_of(self, reply: Reply, job: Job) -> Completion:
        """Build the completion: stop strings applied to the answer."""
        finish_reason = reply.finish_reason
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
            server=reply.server,
            provider=reply.provider,
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
    """Stops a run that cannot succeed; one that has been `answered` before can."""

    def __init__(self, answered: bool = False) -> None:
        self.answered = answered
        self.first: dict[int, str] = {}
        self.n_faults = 0

    def note(self, turn: int, fault: UpstreamError) -> None:
        """Take note of a request that failed for good; `turn` is its place among those asked.

        Raises:
            UpstreamError: all requests must fail like this one.
        """
        self.n_faults += 1
        likely = fault.status in LIKELY_FATAL and fault.kind != "refused question"
        if fault.status in FATAL_STATUS or (likely and not self.answered) or fault.kind == "html":
            raise fault
        if turn < STOP_AFTER and not self.answered:
            self.first[turn] = fault.kind
        if len(self.first) == STOP_AFTER and len(set(self.first.values())) == 1:
            raise UpstreamError(
                f"stopped, since the first {STOP_AFTER} requests all failed: {fault}",
                kind=fault.kind,
                status=fault.status,
            )


def run_to_end(coroutine: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """Run a coroutine, in a thread of its own where this one runs a loop (a notebook does).

    Ctrl-C ends it at once, in a thread as well.
    """
    try:
        outer = asyncio.current_task()
    except RuntimeError:
        return run_on_uvloop(coroutine)
    started: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = SimpleQueue()

    async def known() -> list[Completion]:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        started.put((asyncio.get_running_loop(), task))
        return await coroutine

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_on_uvloop, known())
        try:
            while not wait([running], LOOK_FOR_CTRL_C_S).done:
                # asyncio.run of the outer loop takes the first Ctrl-C for itself.
                if outer is not None and outer.cancelling():
                    break
            else:
                return running.result()
        except KeyboardInterrupt:
            cancel(*started.get())
            raise
        cancel(*started.get())
        return running.result()


def cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Cancel a task of another thread's loop."""
    loop.call_soon_threadsafe(task.cancel)


def run_on_uvloop(coroutine: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """Run a coroutine on the quick event loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)
