"""Asking every judge about every pair in both orders, all at once within each judge's room.

Owns the order of a run and what is kept of a reply: its verdict. Refuses to own requests and their
store (`harness_tasks.chat.model`, `chat.store`) and what the verdicts add up to (`ballots`).

    heard = ask_all(judges, pairs, Path("judged/replies.jsonl"), Limits(seed=1234))
    heard.replies["gpt-5.2", "distill_gsm8k/0/0", BASELINE_FIRST]
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.judge.pairs import Pair
from analysis.judge.replies import ORDERS, Failure, Reading, Vote, read_reply, vote
from analysis.judge.settings import Judge
from harness_tasks.chat.model import Budget, FailedError, Model, NotAskedError
from harness_tasks.chat.store import Store, answered_keys, as_mapping
from harness_tasks.progress import bar
from harness_tasks.side_by_side import all_or_none, cancelled_by_signals

PURPOSE = "judge"
REPLIES = "replies.jsonl"


@dataclass(frozen=True)
class Limits:
    """The seed of what is sampled, and the most that the folder may cost in US dollars."""

    seed: int
    max_cost_usd: float | None = None


@dataclass
class Heard:
    """What all judges said, by judge, pair and order; and how the asking went."""

    replies: dict[tuple[str, str, int], Reading | Failure] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    n_asked: int = 0  # replies that this run asked for, and got
    n_found: int = 0  # replies that were in the store
    damaged: list[int] = field(default_factory=list)  # lines of the store that were passed over
    stopped: list[str] = field(default_factory=list)

    def vote(self, judge: str, pair: Pair) -> Vote:
        """Return what a judge makes of a pair."""
        first, second = (self.replies[judge, pair.id, order] for order in ORDERS)
        return vote((first, second))

    def failures(self) -> list[str]:
        """Return why requests got no reply, one text for each request."""
        return [reply.why for reply in self.replies.values() if isinstance(reply, Failure)]


def ask_all(judges: Sequence[Judge], pairs: Sequence[Pair], path: Path, limits: Limits) -> Heard:
    """Ask what the store at `path` does not hold yet.

    Raises:
        ValueError: another run is writing to the store. KeyboardInterrupt: Ctrl-C or SIGTERM; all
            replies so far are in the store.
    """
    for name in ("httpx2", "httpcore2"):  # they log every request at INFO
        logging.getLogger(name).setLevel(logging.WARNING)
    with Store(path) as store:
        run = Run(store, limits)
        try:
            asyncio.run(run.whole(judges, pairs))
        except (asyncio.CancelledError, KeyboardInterrupt) as stopped:
            raise KeyboardInterrupt(
                f"interrupted: {len(store.places)} replies are in {path} ({store.total.shown()}); "
                "the same command goes on from there"
            ) from stopped
        return run.heard


class Run:
    """One run over an open store."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store = store
        self.limits = limits
        self.budget = Budget(store, limits.max_cost_usd)
        self.known = frozenset(store.places)
        self.heard = Heard(damaged=list(store.damaged))

    async def whole(self, judges: Sequence[Judge], pairs: Sequence[Pair]) -> None:
        """Ask all judges side by side; a slow one does not hold up the others."""
        with cancelled_by_signals():
            async with AsyncExitStack() as stack:
                models = [
                    await stack.enter_async_context(Model(one, self.store, self.budget, PURPOSE))
                    for one in judges
                ]
                await all_or_none([self.by_one(model, pairs) for model in models])
                for model in models:
                    self.heard.costs[model.name] = model.tally.to_json()
                    self.heard.stopped += [model.given_up] if model.given_up else []
        self.heard.stopped += [self.budget.reached] if self.budget.reached else []

    async def by_one(self, model: Model[Judge], pairs: Sequence[Pair]) -> None:
        """Ask one judge everything."""
        jobs = iter([(pair, order) for pair in pairs for order in ORDERS])
        with bar(2 * len(pairs), f"judge {model.name}", "reply") as shown:

            async def worker() -> None:
                for pair, order in jobs:
                    reply = await self.one(model, pair, order)
                    self.heard.replies[model.name, pair.id, order] = reply
                    shown.set_postfix_str(self.store.total.shown(), refresh=False)
                    shown.update()

            await all_or_none([worker() for _ in range(min(model.asked.concurrency, len(pairs)))])

    async def one(self, model: Model[Judge], pair: Pair, order: int) -> Reading | Failure:
        """Ask one judge about one pair in one order."""
        try:
            row = await model.ask(PURPOSE, pair.id, order, pair.messages(order), self.limits.seed)
        except (FailedError, NotAskedError) as fault:
            return Failure(str(fault))
        if row["key"] in self.known:
            self.heard.n_found += 1
        else:
            self.heard.n_asked += 1
        return read_reply(as_mapping(row["reply"]), quoting=pair.speaks)


def n_stored(judges: Sequence[Judge], pairs: Sequence[Pair], path: Path, seed: int) -> int:
    """Return how many of the replies are there already; nobody is asked.

    A judge without a model's name counts as new: only its server knows the name.
    """
    keys = answered_keys(path)
    store = Store(path)  # not opened: nobody is asked, and another run may have it
    models = [Model(one, store, Budget(store), PURPOSE) for one in judges if one.model]
    return sum(
        model.request(str(model.model), PURPOSE, pair.id, order, pair.messages(order), seed).key
        in keys
        for model in models
        for pair in pairs
        for order in ORDERS
    )
