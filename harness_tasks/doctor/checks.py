"""Which checks `distill-eval doctor` makes, in which order, and what happens when one breaks.

Owns the list and the walk along it. Refuses to own the checks. A check that breaks is a `skip` with
its cause, never a pass; where the server does not answer, what needs one is not tried.

Example: `findings = walk(context, CHECKS, told=lambda name, at, n: None)`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness_tasks.chat.reply import UpstreamError, shown
from harness_tasks.doctor import (
    arms,
    code_runs,
    data_files,
    flow,
    machine,
    prompts,
    reached,
    room,
    sampled,
    stops,
    thinking,
)
from harness_tasks.doctor.finding import Check, Context, Finding, skipped

CHECKS = (
    Check("reachable", reached.reachable, "address"),
    Check("model", reached.model, "address"),
    Check("context", room.context_length),
    Check("slots", room.slots),
    Check("answers", reached.answers, "address"),
    Check("replicas", reached.replicas),
    Check("reasoning", thinking.reasoning),
    Check("think_tag", thinking.think_tag),
    Check("length", sampled.length),
    Check("sampling", sampled.sampling),
    Check("seeds", sampled.seeds),
    Check("prompt_tokens", prompts.prompt_tokens),
    Check("stream", flow.stream),
    Check("concurrency", flow.concurrency),
    Check("stop_strings", stops.stop_strings),
    Check("retries", flow.retries),
    Check("arms", arms.arms, "against"),
    Check("lora", arms.lora, "against"),
    *code_runs.CHECKS,
    *data_files.CHECKS,
    *machine.CHECKS,
)

# Faults of a server that is gone, or hangs: after so many its other checks are not tried.
SILENT = ("connect", "transport", "timeout", "stall")
MOST_GONE = 2

Told = Callable[[str, int, int], None]


def walk(context: Context, checks: Sequence[Check], told: Told) -> Iterator[Finding]:
    """Yield what each check finds; `told` hears the name of each before it is made.

    The first failure of a check that needs an address alone ends what needs the server.
    """
    failed = ""
    gone: list[UpstreamError] = []
    for at, check in enumerate(checks, 1):
        failed = failed or (f"{gone[-1]}" if len(gone) >= MOST_GONE else "")
        missing = lacks(check, context, failed)
        if missing:
            yield skipped(check.name, missing)
            continue
        told(check.name, at, len(checks))
        for finding in made(check, context, gone):
            yield finding
            if check.needs == "address" and (finding.status == "fail" or finding.broken):
                failed = f"`{check.name}` failed"


def lacks(check: Check, context: Context, failed: str) -> str:
    """Say what a check needs and this call does not have, "" where nothing is missing.

    `failed` is why the server is not asked any more.
    """
    if check.needs == "nothing":
        return ""
    if context.server is None:
        return "no server to ask: give --base_url"
    if failed:
        return f"not looked at: {failed}"
    if check.needs == "against" and context.against is None:
        return "no second model to compare with: give --against URL or --against-model NAME"
    return ""


def made(check: Check, context: Context, gone: list[UpstreamError]) -> Iterator[Finding]:
    """Yield what a check finds, or why it could not be made; `gone` takes a server's silence."""
    try:
        yield from check.look(context)
    except UpstreamError as fault:
        if fault.kind in SILENT:
            gone.append(fault)
        yield skipped(check.name, f"could not be checked: {fault}", broken=True)
    except Exception as broke:  # noqa: BLE001 - a reply of unknown shape must not end the others
        cause = f"{type(broke).__name__}: {shown(str(broke))}"
        yield skipped(check.name, f"could not be checked: {cause}", broken=True)
