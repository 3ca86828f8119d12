"""What judging costs: before it starts, by an estimate, and after, as the servers told.

Owns the table of costs and the estimate. Refuses to own the reading of `usage` and prices
(`harness_tasks.chat.cost`).

    print(estimate(judges, pairs, n_stored=0).text())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge.pairs import Pair
from analysis.judge.result import Result
from analysis.judge.settings import Judge
from analysis.tables.table import Cell, Column, Kind, Table

CHARS_PER_TOKEN = 4.0  # of English with formulas and code, in today's tokenizers: roughly
REPLY_TOKENS = 400  # a few sentences and a verdict; a judge that reasons writes more


@dataclass(frozen=True)
class Estimate:
    """What a run is going to ask for."""

    n_pairs: int
    n_judges: int
    n_stored: int
    prompt_tokens: int  # of all requests of one judge
    most_reply_tokens: int  # what all replies may have together
    cost_usd: float | None  # None where a judge has no price
    most_usd: float | None

    @property
    def n_requests(self) -> int:
        """Return the requests of the whole run, those already answered among them."""
        return 2 * self.n_pairs * self.n_judges

    def text(self) -> str:
        """Return the estimate in three lines."""
        n_left = self.n_requests - self.n_stored
        share = n_left / self.n_requests if self.n_requests else 0.0
        prompt = round(self.prompt_tokens * self.n_judges * share)
        replies, most = round(n_left * REPLY_TOKENS), round(self.most_reply_tokens * share)
        cost = "unknown (give price_in and price_out)"
        if self.cost_usd is not None and self.most_usd is not None:
            cost = f"about ${self.cost_usd * share:,.2f}, at most ${self.most_usd * share:,.2f}"
        return (
            f"{self.n_pairs:,} pairs x 2 orders x {self.n_judges} judges = {self.n_requests:,} "
            f"requests, {self.n_stored:,} of them answered already\n"
            f"to ask: about {prompt:,} tokens in, {replies:,} out (at most {most:,})\n"
            f"cost: {cost}"
        )


def estimate(judges: Sequence[Judge], pairs: Sequence[Pair], n_stored: int) -> Estimate:
    """Estimate requests, tokens and cost from the length of the prompts."""
    n_chars = sum(len(pair.messages(0)[0]["content"]) for pair in pairs)
    prompt_tokens = round(2 * n_chars / CHARS_PER_TOKEN)
    n_replies = 2 * len(pairs)
    limits = [limit_of(judge) for judge in judges]
    priced = [
        (one.price_in, one.price_out, limit)
        for one, limit in zip(judges, limits, strict=True)
        if one.price_in is not None and one.price_out is not None
    ]
    cost = most = None
    if len(priced) == len(judges):
        cost = sum(prompt_tokens * p + n_replies * REPLY_TOKENS * q for p, q, _ in priced) / 1e6
        most = sum(prompt_tokens * p + n_replies * limit * q for p, q, limit in priced) / 1e6
    return Estimate(
        n_pairs=len(pairs),
        n_judges=len(judges),
        n_stored=n_stored,
        prompt_tokens=prompt_tokens,
        most_reply_tokens=n_replies * sum(limits),
        cost_usd=cost,
        most_usd=most,
    )


def limit_of(judge: Judge) -> int:
    """Return the most tokens that a reply of a judge may have."""
    sampling = judge.fields.sampling
    return int(sampling.get("max_tokens") or sampling.get("max_completion_tokens") or REPLY_TOKENS)


def costs(result: Result) -> Table:
    """Return the requests, tokens and dollars of each judge, replies of earlier runs among them."""
    rows: list[tuple[Cell, ...]] = [
        (
            judge,
            told["n_requests"],
            told["prompt_tokens"],
            told["completion_tokens"],
            told["reasoning_tokens"],
            told["cost_usd"],
            told["n_unknown_cost"],
        )
        for judge, told in result.costs.items()
    ]
    return Table(
        "effort-cost",
        "What the judges cost",
        (
            Column("judge", "judge"),
            Column("replies", "replies", Kind.COUNT),
            Column("prompt_tokens", "tokens in", Kind.COUNT),
            Column("completion_tokens", "tokens out", Kind.COUNT),
            Column("reasoning_tokens", "of them reasoning", Kind.COUNT),
            Column("cost_usd", "US dollars", Kind.NUMBER),
            Column("unknown_cost", "replies of unknown cost", Kind.COUNT),
        ),
        rows,
        foot="As the servers told, over all replies that this report rests on, earlier runs' among "
        "them. Dollars by price_in and price_out where given, else as the server tells.",
        empty="" if rows else "nobody was asked",
    )
