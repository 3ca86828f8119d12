"""What was judged, in the form that every table of this room reads, and the columns they share.

Owns `Result` and its seeds. Refuses to own the tables (`tables`, `biases`, `kappas`, `costs`).

    Result("base vs student", ("one", "two"), ballots, seed=1234)
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.judge.ballots import Ballot
from analysis.judge.pairs import LeftOut
from analysis.judge.standing import Standing
from analysis.tables.table import Cell, Column, Kind

SEED = 20  # this room's own part of every seed


@dataclass(frozen=True)
class Result:
    """Everything that was judged: who by, the votes, and what a report says beside them."""

    comparison: str  # the arms in words
    judges: tuple[str, ...]
    ballots: Sequence[Ballot]
    seed: int
    left_out: Sequence[LeftOut] = ()
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def seeds(self, label: str) -> list[int]:
        """Return the seed of one set of verdicts."""
        return [self.seed, SEED, zlib.crc32(label.encode())]

    def rng(self, label: str) -> np.random.Generator:
        """Return the generator of one set of verdicts."""
        return np.random.default_rng(self.seeds(label))


STANDING_COLUMNS = (
    Column("pairs", "pairs", Kind.COUNT),
    Column("candidate", "distilled %", Kind.PERCENT),
    Column("baseline", "baseline %", Kind.PERCENT),
    Column("similar", "similar %", Kind.PERCENT),
)
TEST_COLUMNS = (
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
)


def shares(one: Standing) -> tuple[Cell, ...]:
    """Return the cells of `STANDING_COLUMNS`."""
    return one.n, one.candidate, one.baseline, one.similar
