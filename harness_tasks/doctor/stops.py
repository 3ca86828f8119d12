"""What may end a completion inside its reasoning: stop strings of the server, or of a request.

Owns the check `stop_strings`. A run never sends one: they fire inside the reasoning.

Example: `stop_strings: the server stops at 'Question:'`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness_tasks.chat.reply import Reply, UpstreamError, shown
from harness_tasks.doctor.finding import Context, Finding, passed, skipped
from harness_tasks.doctor.probe import QUESTION, Server, mapping, whole
from harness_tasks.doctor.reached import asked_of
from harness_tasks.doctor.thinking import shape
from harness_tasks.reasoning import UNCLOSED

# The end of a turn is the model's own token; a stop string that a user would set is none.
SPECIAL = re.compile(r"\s*(<[|｜].*[|｜]>|</?s>|<\w+>|\[/?INST\])\s*")
STOP_CHARS = 6


def stop_strings(context: Context) -> Iterator[Finding]:
    """Look for stop strings of the server's own, and for what ends inside the reasoning."""
    server = asked_of(context)
    own = [stop for stop in own_stops(server) if not SPECIAL.fullmatch(stop)]
    if own:
        yield Finding(
            "stop_strings", "fail", f"the server stops at {', '.join(map(repr, map(shown, own)))}",
            "a stop string fires inside the reasoning, and the answer is never written",
            "take them out of the server's settings; the tasks' own are applied to the answer here",
        )  # fmt: skip
    ended = ended_inside(list(server.asked.values()))
    if ended is not None:
        yield Finding(
            "stop_strings", "warn",
            f"a completion ended inside its reasoning: {shown(whole(ended)[-60:])!r}",
            "an answer that is never written counts as truncated",
            "look for stop strings in the server's settings, and whether its end token is right",
        )  # fmt: skip
    if not own and ended is None:
        yield fires_inside(server)


def own_stops(server: Server) -> list[str]:
    """Return the stop strings that the server applies by itself, as far as it tells."""
    if server.kind == "llamacpp":
        defaults = mapping(mapping(server.get("/props")).get("default_generation_settings"))
        stops = mapping(defaults.get("params")).get("stop")
        return [stop for stop in stops if isinstance(stop, str)] if isinstance(stops, list) else []
    if server.kind == "ollama":
        told = mapping(server.post("/api/show", {"model": server.model})).get("parameters")
        lines = re.findall(r'^stop\s+"?(.*?)"?$', str(told or ""), re.MULTILINE)
        return [line for line in lines if line]
    return []


def ended_inside(replies: Sequence[Reply]) -> Reply | None:
    """Return a reply that stopped by itself with its reasoning open, None where there is none."""
    # Reasoning alone may be a plain answer that a parser took, which `reasoning` tells.
    split_well = any(reply.reasoning and reply.content.strip() for reply in replies)
    for reply in replies:
        open_end = reply.reasoning and not reply.content.strip() and split_well
        if reply.finish_reason == "stop" and (open_end or shape(reply).state == UNCLOSED):
            return reply
    return None


def fires_inside(server: Server) -> Finding:
    """See what the server does with a stop string whose text comes in the reasoning."""
    reply = server.ask(QUESTION)
    thought = shape(reply).reasoning.strip()
    if len(thought) < 4 * STOP_CHARS:
        return skipped("stop_strings", "too little reasoning was seen for one to fire in")
    stop = thought[len(thought) // 2 :][:STOP_CHARS].strip()
    built = stopped(server, {"stop": [stop]})
    if built is None:
        return passed("stop_strings", "the server takes none; none is sent")
    if len(built) < len(whole(reply)) and stop not in built:
        return passed(
            "stop_strings", "one fires inside the reasoning here; none is sent, by design"
        )
    return passed("stop_strings", "none fires inside the reasoning")


def stopped(server: Server, fields: Mapping[str, Any]) -> str | None:
    """Return the text of a request with stop strings, None where it is refused."""
    try:
        return whole(server.ask(QUESTION, **fields))
    except UpstreamError:
        return None
