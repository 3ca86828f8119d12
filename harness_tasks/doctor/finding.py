"""What a check of `distill-eval doctor` says, and what it is given to look at.

Owns the form of a finding, of a check and of its context, and what findings mean together. Refuses
to own the checks (one theme a file), asking the server (`probe`) and the words on screen (`shown`).
Standard library only.

Example, a check and what it finds:

    >>> Finding("slots", "warn", "4 slots for 8 requests", "they wait", "--parallel 8").status
    'warn'
    >>> verdict([Finding("a", "pass", "x"), Finding("b", "warn", "y", "z", "do w")])
    'warn'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness_tasks.doctor.probe import Server

Status = Literal["pass", "warn", "fail", "skip"]
STATUSES: tuple[Status, ...] = ("pass", "warn", "fail", "skip")
EXIT_CODES = {"pass": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, why it matters, what mends it.

    `skip` means not looked at, for the reason in `found`; `broken` says that it was tried and could
    not be, which leaves a doubt, unlike a check that this call gave no cause for.

    Raises:
        ValueError: a warning or failure without its reason or its mending.
    """

    check: str
    status: Status
    found: str
    why: str = ""
    fix: str = ""
    broken: bool = False

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}")
        if self.status in ("warn", "fail") and not (self.why and self.fix):
            raise ValueError(
                f"the finding {self.check!r} must say why it matters and what mends it"
            )


@dataclass(frozen=True)
class Context:
    """What the checks look at; `server` is None where no --base_url was given.

    `replicas` are the further servers of a --base_url that names several. `tasks` are names of our
    tasks, groups taken apart, `n_samples` the completions of each question; `max_tokens` is the
    largest limit that a run of them would send, `max_tokens_is_default` whether nobody set it.
    """

    server: Server | None = None
    replicas: tuple[Server, ...] = ()
    against: Server | None = None
    tasks: tuple[str, ...] = ()
    data_dir: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    n_samples: int = 1
    tokenizer: str | None = None
    preset: str | None = None
    max_tokens: int = 32_768
    max_tokens_is_default: bool = True
    num_concurrent: int = 8

    @property
    def at_once(self) -> int:
        """Return how many requests of a run one server has to work on at once."""
        return -(-self.num_concurrent // (1 + len(self.replicas)))


Looked = Callable[[Context], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """A check by its name; `needs` is what it cannot be made without."""

    name: str
    look: Looked
    needs: Literal["nothing", "address", "server", "against"] = "server"


def passed(check: str, found: str) -> Finding:
    return Finding(check, "pass", found)


def skipped(check: str, found: str, *, broken: bool = False) -> Finding:
    return Finding(check, "skip", found, broken=broken)


def verdict(findings: Sequence[Finding]) -> Literal["pass", "warn", "fail"]:
    """Return the worst status; a check that could not be made is a warning, nothing at all too."""
    statuses = {finding.status for finding in findings}
    if "fail" in statuses:
        return "fail"
    if "warn" in statuses or any(f.broken for f in findings) or "pass" not in statuses:
        return "warn"
    return "pass"
