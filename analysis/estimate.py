"""The shape of a number in a report: value, interval, how it was made, and why it is missing.

Owns `Estimate`, `Share` and what "undefined" means: value NaN with a reason in words, never 0 and
never a bare blank. Refuses to own any formula.

    Estimate(0.572, 0.528, 0.615, method="Wilson")
    undefined("no completed sample")
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NAN = math.nan


@dataclass(frozen=True)
class Estimate:
    """One number with its interval (95% unless `method` says otherwise; NaN where it has none)."""

    value: float
    low: float = NAN
    high: float = NAN
    method: str = ""
    reason: str | None = None  # why the value, or the interval, is NaN

    @property
    def defined(self) -> bool:
        """Say whether there is a value at all."""
        return not math.isnan(self.value)


def undefined(reason: str, method: str = "") -> Estimate:
    """Return a missing number that says why it is missing."""
    return Estimate(NAN, method=method, reason=reason)


@dataclass(frozen=True)
class Share:
    """A count of samples with its share; None where the property has no meaning for the task."""

    count: int | None
    n: int

    @property
    def value(self) -> float:
        """Return the share, NaN where it is undefined."""
        return NAN if self.count is None or self.n == 0 else self.count / self.n

    @property
    def reason(self) -> str | None:
        """Say why there is no share, None where there is one."""
        if self.count is None:
            return "not defined for this task"
        return "no samples" if self.n == 0 else None
