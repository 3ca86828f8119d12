"""What a run has made, as one JSON document: every figure of the printed tables comes from it.

Owns the figures. Refuses to own their layout (`tables`) and intervals (`analysis`): rates here are
plain counts. Undefined is None, never 0.

Example: `report(made, questions, traces, chosen)["pass_rates"]["teacher"][0]["pass_rate"]`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from harness_tasks.lengths import EDGES_CHARS, bucket_counts, summary
from harness_tasks.records import Verdict
from training.records import Question, Trace
from training.settings import as_dict
from training.traces.columns import column
from training.traces.run import Made
from training.traces.settings import TracesSettings

SCHEMA_VERSION = 1
MAX_NAMED = 1000


@dataclass(frozen=True)
class Checked:
    """What the decontamination found, by question id; `why_not` says why there was none."""

    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    hits: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    why_not: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, each hit named."""
        named = [{"question_id": name, **hit} for name, hits in self.hits.items() for hit in hits]
        return {
            "not_done": self.why_not,
            "benchmarks": self.benchmarks,
            "not_checked": self.not_checked,
            "n_contaminated": None if self.why_not else len(self.hits),
            "hits": named,
        }


@dataclass(frozen=True)
class Counted:
    """Tokens of each trace by its id, and how they were counted."""

    tokenizer: str
    how: str
    n_tokens: Mapping[str, int]


def report(
    made: Made,
    questions: Sequence[Question],
    chosen: TracesSettings,
    checked: Checked,
    counted: Counted | None = None,
    published: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """Return every figure of a run; `made.traces` are those that `select` has decided on."""
    traces = made.traces
    kept = [trace for trace in traces if trace.kept]
    names = ["teacher", *chosen.topics]
    return {
        "schema": SCHEMA_VERSION,
        "settings": plain_settings(chosen),
        "n_questions": len(questions),
        "n_questions_left_out": len(made.barred),
        "left_out": reason_rows(list(made.barred.values())),
        "n_samples_wanted": made.n_jobs,
        "n_traces": len(traces),
        "n_correct": sum(trace.verdict is Verdict.CORRECT for trace in traces),
        "n_kept": len(kept),
        "stopped": made.stopped,
        "missing": [
            {"model": model, "what": what, "reason": reason, "n": n}
            for (model, what, reason), n in made.missing.most_common()
        ],
        "pass_rates": {name: rate_rows(traces, name) for name in names if worth(traces, name)},
        "reasons": reason_rows([str(trace.reason) for trace in traces if not trace.kept]),
        "trace_statistics": statistics_rows(traces),
        "lengths": {
            "traces": lengths_of(traces, counted),
            "kept": lengths_of(kept, counted),
        },
        "think_length_buckets": {"traces": buckets_of(traces), "kept": buckets_of(kept)},
        "max_length": over_length(kept, chosen, counted),
        "judge": judge_figures(traces) if chosen.judge else None,
        "checker": checker_figures(traces) if chosen.checker else None,
        "cost": {"by_model": made.costs, "output_folder": made.total or None},
        "decontamination": checked.to_json(),
        "published": agreement(traces, published) if published is not None else None,
    }


def plain_settings(chosen: TracesSettings) -> dict[str, Any]:
    """Return the settings without what may be a secret: of headers the names alone."""
    return without_headers(as_dict(chosen))


def without_headers(value: Any) -> Any:
    """Return data in which each `headers` lists its names."""
    if isinstance(value, list):
        return [without_headers(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: sorted(part) if name == "headers" else without_headers(part)
        for name, part in value.items()
    }


def worth(traces: Sequence[Trace], name: str) -> bool:
    """Tell whether a column says anything of these traces."""
    return any(column(trace, name) != "-" for trace in traces)


def rate_rows(traces: Sequence[Trace], name: str) -> list[dict[str, Any]]:
    """Return counts and pass rate for each value of a column; grader errors are left out of it."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(column(trace, name), []).append(trace)
    return [{"value": value, **rates(group)} for value, group in sorted(groups.items())]


def rates(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return the counts of one group."""
    n_graded = sum(trace.verdict is not Verdict.GRADER_ERROR for trace in traces)
    n_correct = sum(trace.verdict is Verdict.CORRECT for trace in traces)
    return {
        "n_traces": len(traces),
        "n_graded": n_graded,
        "n_correct": n_correct,
        "pass_rate": n_correct / n_graded if n_graded else None,
        "n_truncated": sum(trace.truncated for trace in traces),
        "n_kept": sum(trace.kept for trace in traces),
    }


def reason_rows(reasons: Sequence[str]) -> list[dict[str, Any]]:
    """Count reasons by their first word, with one example each."""
    counts = Counter(word_of(reason) for reason in reasons)
    example = {word_of(reason): reason for reason in reversed(reasons)}
    return [{"reason": word, "n": n, "example": example[word]} for word, n in counts.most_common()]


def word_of(reason: str) -> str:
    """Return the word of a reason."""
    return reason.partition(":")[0]


def think_chars(trace: Trace) -> int:
    """Return the characters of the reasoning."""
    return len(trace.reasoning.strip())


def whole_chars(trace: Trace) -> int:
    """Return the characters of reasoning and answer."""
    return think_chars(trace) + len(trace.answer_text.strip())


def statistics_rows(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """Return a row per teacher and source: generated, correct, used, lengths of the used."""
    groups: dict[tuple[str, str], list[Trace]] = {}
    for trace in traces:
        groups.setdefault((trace.teacher, column(trace, "source")), []).append(trace)
    rows = []
    for (teacher, source), group in sorted(groups.items()):
        used = [trace for trace in group if trace.kept]
        chars = summary([whole_chars(trace) for trace in used])
        rows.append(
            {
                "teacher": teacher,
                "source": source,
                "generated": len(group),
                "available": sum(trace.verdict is Verdict.CORRECT for trace in group),
                "used": len(used),
                **{f"{name}_chars": chars[name] for name in ("median", "mean", "p95")},
            }
        )
    return rows


def lengths_of(traces: Sequence[Trace], counted: Counted | None) -> dict[str, Any]:
    """Return the lengths of traces in characters, and in tokens where there is a tokenizer."""
    measures: dict[str, Callable[[Trace], int | None]] = {
        "reasoning_chars": think_chars,
        "chars": whole_chars,
        "completion_tokens": lambda trace: trace.completion_tokens,
    }
    if counted is not None:
        measures["training_tokens"] = lambda trace: counted.n_tokens[trace.id]
    return {
        name: summary([size for trace in traces if (size := measure(trace)) is not None])
        for name, measure in measures.items()
    }


def buckets_of(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return how many traces reason how long; no reasoning at all is counted apart."""
    none, counts = bucket_counts([think_chars(trace) for trace in traces])
    return {
        "edges_chars": list(EDGES_CHARS),
        "counts": counts,
        "n_without_reasoning": none,
        "n": len(traces),
    }


def over_length(
    kept: Sequence[Trace], chosen: TracesSettings, counted: Counted | None
) -> dict[str, Any] | None:
    """Return how many kept traces are longer than training takes, None without a tokenizer."""
    if counted is None or chosen.max_length is None:
        return None
    n_over = sum(counted.n_tokens[trace.id] > chosen.max_length for trace in kept)
    return {
        "tokenizer": counted.tokenizer,
        "counted": counted.how,
        "max_length": chosen.max_length,
        "n": len(kept),
        "n_over": n_over,
        "share_over": n_over / len(kept) if kept else None,
    }


def judge_figures(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return how often the judge gave a score, and how it agrees with the graders."""
    scored = [trace for trace in traces if trace.judge is not None]
    judges = [trace.judge for trace in scored if trace.judge is not None]
    graded = [trace for trace in scored if trace.verdict is not Verdict.GRADER_ERROR]
    agree = sum(
        (trace.judge or {})["correct"] == (trace.verdict is Verdict.CORRECT) for trace in graded
    )
    return {
        "n_scored": len(scored),
        "n_unscored": sum("judge_reason" in trace.meta for trace in traces),
        "n_correct": sum(judge["correct"] for judge in judges),
        "mean_quality": fmean(judge["quality"] for judge in judges) if judges else None,
        "quality": dict(sorted(Counter(str(judge["quality"]) for judge in judges).items())),
        "n_agree_with_grader": agree,
        "n_both": len(graded),
    }


def checker_figures(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return what checking came to."""
    checks = [trace.meta["checks"] for trace in traces if "checks" in trace.meta]
    return {
        "n_checked": len(checks),
        "n_ok": sum(check["ok"] is True for check in checks),
        "n_faults_left": sum(check["ok"] is False for check in checks),
        "n_unclear": sum(check["ok"] is None for check in checks),
        "n_repaired": sum(check["n_repairs"] > 0 for check in checks),
        "n_repairs": sum(check["n_repairs"] for check in checks),
    }


def agreement(traces: Sequence[Trace], published: Mapping[str, bool]) -> dict[str, Any]:
    """Compare our verdicts with those that a file gives; each difference is named."""
    told = [trace for trace in traces if trace.id in published]
    differ = [
        {
            "id": trace.id,
            "published": published[trace.id],
            "verdict": str(trace.verdict),
            "answer": trace.answer,
            "target": trace.question.answer,
            "why": trace.meta.get("grade_reason"),
        }
        for trace in told
        if published[trace.id] != (trace.verdict is Verdict.CORRECT)
    ]
    return {
        "n": len(told),
        "n_agree": len(told) - len(differ),
        "n_differ": len(differ),
        "differ": differ[:MAX_NAMED],
    }
