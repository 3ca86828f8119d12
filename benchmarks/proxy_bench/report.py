"""The figures as tables, and the goals as ratios, each held or not held.

Owns arithmetic over measures (the load generator's answers, with `peer` and `round`) and their
layout. Refuses to own measuring.

    for line in tables(measures): print(line)
    for goal in goals(measures, "distill"): print(goal.line())

A ratio is taken within each round, where both saw the same machine; what is shown is the median of
the rounds, with the lowest and the highest.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy_bench.workloads import WORKLOADS

Measure = dict[str, Any]
Relation = Callable[[float, float], float]
MB = 1024 * 1024
BUSY = 64
"""Connections at which costs and the distance to LiteLLM count: the proxy is what all wait for."""
BEYOND_LITELLM = ("json-4k", "burst")
"""Where 100 times LiteLLM is possible: with 100 KB, nginx itself reaches some 50 times."""


@dataclass(frozen=True)
class Goal:
    """One goal of the proxy, with what was measured."""

    text: str
    values: tuple[float, ...]
    """One a round; empty when a side was not measured."""
    limit: float
    at_least: bool
    unit: str = ""
    n_errors: int = 0

    @property
    def value(self) -> float | None:
        """The median of the rounds."""
        return statistics.median(self.values) if self.values else None

    @property
    def held(self) -> bool | None:
        """Whether it held, None where it was not measured; wrong answers hold no goal."""
        if self.value is None:
            return None
        kept = self.value >= self.limit if self.at_least else self.value <= self.limit
        return kept and not self.n_errors

    def line(self) -> str:
        """Return the goal in one line."""
        bound = f"{'>=' if self.at_least else '<='} {self.limit:g}{self.unit}"
        if self.value is None:
            return f"{'not measured':12}  {self.text} {bound}"
        verdict = "held" if self.held else "NOT HELD"
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}"
        wrong = f"; {self.n_errors} wrong answers" if self.n_errors else ""
        return f"{verdict:12}  {self.text} {bound}: {self.value:.2f}{self.unit} ({spread}{wrong})"

    def as_json(self) -> dict[str, Any]:
        """Return the goal for the file of results."""
        return {
            "goal": self.text,
            "limit": self.limit,
            "at_least": self.at_least,
            "unit": self.unit,
            "value": self.value,
            "rounds": list(self.values),
            "held": self.held,
        }


@dataclass(frozen=True)
class Point:
    """One workload at one concurrency."""

    workload: str
    concurrency: int

    def __str__(self) -> str:
        return f"{WORKLOADS[self.workload].title}, {connections(self.concurrency)}"


def connections(number: int) -> str:
    """Return a number of connections in words."""
    return f"{number} connection{'s' if number > 1 else ''}"


def of_point(measures: Sequence[Measure], point: Point) -> list[Measure]:
    """Return the measures of one workload at one concurrency."""
    return [
        measure
        for measure in measures
        if (measure["workload"], measure["concurrency"]) == (point.workload, point.concurrency)
    ]


def points(measures: Sequence[Measure]) -> list[Point]:
    """Return what was measured, in the order of the workloads."""
    found = {Point(measure["workload"], measure["concurrency"]) for measure in measures}
    order = list(WORKLOADS)
    return sorted(found, key=lambda point: (order.index(point.workload), point.concurrency))


def compare(
    measures: Sequence[Measure],
    pair: tuple[str, str],
    figure: str,
    relation: Relation,
) -> tuple[float, ...]:
    """Return the relation of two peers' figures in each round that has both."""
    rounds: dict[int, dict[str, float]] = {}
    for measure in measures:
        if measure["peer"] in pair and measure[figure] is not None:
            rounds.setdefault(measure["round"], {})[measure["peer"]] = measure[figure]
    both = [values for values in rounds.values() if len(values) == len(set(pair))]
    return tuple(relation(values[pair[0]], values[pair[1]]) for values in both)


def ratio(value: float, other: float) -> float:
    """Return how many times one figure is the other."""
    return value / other if other else float("inf")


def percent_more(value: float, other: float) -> float:
    """Return by how many percent one figure is above the other."""
    return (value / other - 1) * 100


def goals(measures: Sequence[Measure], peer: str) -> list[Goal]:
    """Return the goals for one variant of this project's proxy."""
    return [
        goal
        for point in points(measures)
        for goal in goals_at(point, of_point(measures, point), peer)
    ]


def goals_at(point: Point, here: list[Measure], peer: str) -> Iterator[Goal]:
    """Yield the goals that one workload at one concurrency decides."""
    if WORKLOADS[point.workload].merged:
        return  # shown, but the goals are set for chunks that come one by one
    n_errors = sum(measure["n_errors"] for measure in here if measure["peer"] == peer)

    def at_least(limit: float, text: str, values: tuple[float, ...]) -> Goal:
        return Goal(f"{peer}: {text} ({point})", values, limit, True, " x", n_errors)

    def at_most(limit: float, unit: str, text: str, values: tuple[float, ...]) -> Goal:
        return Goal(f"{peer}: {text} ({point})", values, limit, False, unit, n_errors)

    def against(other: str, figure: str, relation: Relation = ratio) -> tuple[float, ...]:
        return compare(here, (peer, other), figure, relation)

    if WORKLOADS[point.workload].gap_s:
        later = against("direct", "p99_ms", percent_more)
        yield at_most(2, " %", "slow streams longer than direct, p99", later)
        return
    what = "chunks/s" if WORKLOADS[point.workload].is_stream else "requests/s"
    yield at_least(0.5, f"{what} of nginx's", against("nginx", "requests_per_s"))
    if point.concurrency == BUSY:
        yield at_most(3, " x", "CPU per request of nginx's", against("nginx", "cpu_us"))
        if point.workload in BEYOND_LITELLM:
            yield at_least(100, f"{what} of LiteLLM's", against("litellm", "requests_per_s"))
    if (point.workload, point.concurrency) == ("json-4k", 1):
        added = against("direct", "p50_ms", operator.sub)
        yield at_most(0.5, " ms", "p50 added", added)


def tables(measures: Sequence[Measure]) -> Iterator[str]:
    """Yield one aligned table for each workload and concurrency."""
    for point in points(measures):
        here = of_point(measures, point)
        columns = slow_columns() if WORKLOADS[point.workload].gap_s else fast_columns(point)
        rows = [["", *columns]]
        for peer in dict.fromkeys(measure["peer"] for measure in here):
            own = [measure for measure in here if measure["peer"] == peer]
            rows.append([peer, *(render(own) for render in columns.values())])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        yield ""
        yield f"{point}"
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()


Render = Callable[[list[Measure]], str]


def fast_columns(point: Point) -> dict[str, Render]:
    """Return the columns for answers that come as fast as they can."""
    n_chunks = WORKLOADS[point.workload].n_chunks
    speed: dict[str, Render] = {"requests/s": median("requests_per_s")}
    if n_chunks:
        speed["chunks/s"] = median("requests_per_s", n_chunks)
        speed["first ms"] = median("first_p50_ms", digits=2)
    return {
        **speed,
        "lowest": extreme("requests_per_s", min),
        "highest": extreme("requests_per_s", max),
        "p50 ms": median("p50_ms", digits=2),
        "p99 ms": median("p99_ms", digits=2),
        **cost_columns(),
    }


def slow_columns() -> dict[str, Render]:
    """Return the columns for streams with a time for each chunk."""
    return {
        "stream p50 s": median("p50_ms", 0.001, 3),
        "stream p99 s": median("p99_ms", 0.001, 3),
        "chunk late p50 ms": median("delay_p50_ms", digits=2),
        "chunk late p99 ms": median("delay_p99_ms", digits=2),
        "highest": extreme("delay_p99_ms", max, 2),
        **cost_columns(),
    }


def cost_columns() -> dict[str, Render]:
    """Return the columns of what a peer costs."""
    return {
        "CPU us/request": median("cpu_us"),
        "RSS MB": median("rss_after_bytes", 1 / MB),
        "asked": lambda own: str(sum(measure["n_requests"] for measure in own)),
        "wrong": lambda own: str(sum(measure["n_errors"] for measure in own)),
    }


def median(figure: str, factor: float = 1.0, digits: int = 0) -> Render:
    """Return how to show the median of the rounds."""
    return lambda own: shown(own, figure, statistics.median, factor, digits)


def extreme(figure: str, choose: Callable[[list[float]], float], digits: int = 0) -> Render:
    """Return how to show the lowest or highest of the rounds."""
    return lambda own: shown(own, figure, choose, 1.0, digits)


def shown(
    own: list[Measure],
    figure: str,
    choose: Callable[[list[float]], float],
    factor: float,
    digits: int,
) -> str:
    """Return one cell; "-" where no right answer speaks for it."""
    values = [measure[figure] for measure in own if measure[figure] is not None]
    return f"{choose(values) * factor:,.{digits}f}" if values else "-"
