"""The completions of an evaluation that are there already, and the ones that come.

Owns which row of the store is the reply to which job, and what of it a retry takes over. Refuses to
own the rows (`chat.store`), asking (`chat.asking`) and how far a run is (`chat.under_way`). No
lm_eval.

A row is of one model at one endpoint with one sampling, one prompt and one sample (DESIGN 4.3).
Replicas are one endpoint as long as one of them stays: a run over two servers goes on with one.

Example, inside a run:

    with Store(path) as store:
        kept = Kept(store, Who("m", ("http://127.0.0.1:8000/v1",)))
        kept.find(job)  # Found(reply, request_id), or None: it has to be asked
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from harness_tasks.chat.cost import amount
from harness_tasks.chat.reply import Reply, shown
from harness_tasks.chat.store import Request, Store, as_mapping, rows

if TYPE_CHECKING:
    from harness_tasks.chat.asking import Job

ROLE = "evaluation"
TEXT_OR_NONE = (
    "reasoning", "reasoning_source", "finish_reason", "model_served", "server", "provider"
)  # fmt: skip
NUMBER_OR_NONE = ("latency_s", "ttft_s")
FIELDS_OF_REPLY = frozenset(one.name for one in dataclasses.fields(Reply))
LIMIT = "max_tokens"


@dataclass(frozen=True)
class Who:
    """Who is asked: the model, the servers that are one, and what they tell of the model."""

    model: str
    endpoints: tuple[str, ...]
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """All servers in one text, whatever their order."""
        return " ".join(sorted(self.endpoints))


class Found(NamedTuple):
    """A reply that is there already, the id and the max_tokens that it was asked with."""

    reply: Reply
    request_id: str
    limit: int | None


class Kept:
    """The completions of one model in an open store.

    With `retry`, a larger max_tokens, a completion that was cut off at a smaller one is not there.
    """

    def __init__(self, store: Store, who: Who, retry: int | None = None) -> None:
        self.store = store
        self.who = who
        self.retry = retry
        self.n_not_retried = 0  # cut-off completions whose retry failed: they stay as they are
        self.retried: Counter[str] = Counter()  # by task: completions that have the larger limit
        mine = set(who.endpoints)
        others = {
            endpoint
            for name, endpoint in store.answered
            if name == who.model and mine & set(endpoint.split())
        }
        self.endpoints = [who.endpoint, *sorted(others - {who.endpoint})]

    def request(self, job: Job, endpoint: str | None = None) -> Request:
        """Return what the job asks, as the store knows it."""
        return Request(
            role=ROLE,
            name=self.who.model,
            endpoint=endpoint or self.who.endpoint,
            question_id=question_id(job.task, job.doc_id),
            sample_index=job.sample_index,
            body=job.body(self.who.model),
            told=dict(self.who.told),
        )

    def find(self, job: Job) -> Found | None:
        """Return the reply to a job, None where it has to be asked."""
        if self.retry is None:
            return self.row(job)
        have = self.by_limit(job)
        if not have or (have[0].limit != self.retry and is_cut(have[0].reply)):
            return None
        self.retried[job.task] += len(have) > 1
        return have[0]

    def row(self, job: Job) -> Found | None:
        """Return the reply to exactly this request, from any of its servers."""
        for endpoint in self.endpoints:
            row = self.store.get(self.request(job, endpoint))
            found = found_in(row, job) if row else None
            if found:
                return found
        return None

    def by_limit(self, job: Job) -> list[Found]:
        """Return the replies to a request under every limit up to the larger one, largest first."""
        most = self.retry or 0
        known = sorted({most, *(one for one in self.store.limits if one and one < most)})
        found = [self.row(job.limited(limit)) for limit in [*reversed(known), None]]
        return [one for one in found if one is not None]

    def keep(self, job: Job, reply: Reply) -> None:
        """Store a reply, at once."""
        told = {**vars(reply), "request_id": job.request_id}
        self.store.add(self.request(job), told, None, amount(reply.usage.get("cost")))
        self.retried[job.task] += self.retry is not None and len(self.by_limit(job)) > 1

    def fail(self, job: Job, why: str) -> Found | None:
        """Note a failure, and return the cut-off reply that a retry of it was to replace."""
        self.store.add(self.request(job), None, why, None)
        have = self.by_limit(job) if self.retry is not None else []
        self.n_not_retried += bool(have)
        return have[0] if have else None

    def why_none(self, job: Job) -> str | None:
        """Say how the store's rows of a job differ from it, None where it has none of it."""
        request = self.request(job)
        for row in rows(self.store.path):
            asked = (row.get("role"), row.get("question_id"), row.get("sample_index"))
            if asked == (ROLE, request.question_id, request.sample_index) and row["reply"]:
                return ", ".join(differences(row, request)) or None
        return None


def question_id(task: str, doc_id: Any) -> str:
    return f"{task}/{doc_id}"


def differences(row: Mapping[str, Any], request: Request) -> Iterator[str]:
    """Yield each thing in which a stored request differs from one that is to be made."""
    was = {"endpoint": row.get("endpoint"), **as_mapping(row.get("request"))}
    now = {"endpoint": request.endpoint, **request.body}
    was["what the server tells of the model"] = as_mapping(row.get("told"))
    now["what the server tells of the model"] = request.told
    for name in dict.fromkeys([*was, *now]):
        one, other = was.get(name), now.get(name)
        if name == "messages" and one != other:
            yield "the prompt is another"
        elif one != other:
            yield f"{name} was {brief(one)} and is {brief(other)}"


def brief(value: Any) -> str:
    return "not sent" if value is None else shown(json.dumps(value, default=str))[:80]


def found_in(row: Mapping[str, Any], job: Job) -> Found | None:
    """Return the reply of a row, None where it is none of ours (the file may be anybody's)."""
    told = as_mapping(row.get("reply"))
    reply = reply_of(told)
    if reply is None:
        return None
    asked_by = told.get("request_id")
    limit = job.fields.sampling.get(LIMIT)
    return Found(reply, asked_by if isinstance(asked_by, str) else job.request_id, limit)


def reply_of(told: Mapping[str, Any]) -> Reply | None:
    """Build a reply from what was stored, None where a field is not of its type."""
    if not isinstance(told.get("content"), str) or not isinstance(told.get("usage", {}), dict):
        return None
    if not all(isinstance(told.get(name), str | None) for name in TEXT_OR_NONE):
        return None
    if any(told.get(name) is not None and amount(told[name]) is None for name in NUMBER_OR_NONE):
        return None
    try:  # what no samples file can hold: NaN, lone surrogates
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return None
    given = {"reasoning": None, "reasoning_source": None, "finish_reason": None, **told}
    return Reply(**{name: value for name, value in given.items() if name in FIELDS_OF_REPLY})


def is_cut(reply: Reply) -> bool:
    """Tell whether a completion was cut off at its limit."""
    return reply.finish_reason == "length"
