"""Do a stream and a whole reply say the same, and do requests at once do well?

Owns the checks `stream` and `concurrency`.

Example: `concurrency: 8 requests at once took 2.1 s, one alone 1.7 s`
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.doctor.finding import Context, Finding, passed
from harness_tasks.doctor.probe import (
    FEWEST_TOKENS,
    FREE_TASK,
    LONG_TASK,
    QUESTION,
    Server,
    tokens_of,
    whole,
)
from harness_tasks.doctor.reached import asked_of
from harness_tasks.doctor.sampled import SEEDS, free

MOST_AT_ONCE = 32
# A server that works on one request at a time needs n times as long for n of them.
ONE_BY_ONE = 0.8
WORTH_TELLING_S = 1.0
BUFFERED_S = 2.0
BUFFERED_SHARE = 0.95


def stream(context: Context) -> Iterator[Finding]:
    """Ask the same two questions whole and streamed."""
    server = asked_of(context)
    unlike: list[str] = []
    for content in (QUESTION, LONG_TASK):
        try:
            one, streamed = (server.ask(content, stream=way) for way in (False, True))
            if whole(one) != whole(streamed):
                one, streamed = both_ways(server, content)
            if whole(one) != whole(streamed) and noisy(server, content, one, streamed):
                yield noise(server)
                return
        except UpstreamError as fault:
            yield Finding(
                "stream", "fail", f"one of a stream and a whole reply fails: {fault}",
                "a run streams, unless --model_args says stream=false", "update the server",
            )  # fmt: skip
            return
        unlike += differences(one, streamed)
    if unlike:
        yield Finding(
            "stream", "fail",
            f"a stream and a whole reply differ in {', '.join(dict.fromkeys(unlike))}",
            "a run streams: what is graded then depends on how it was asked for",
            "start the server without a reasoning parser, update it, or give stream=false in "
            "--model_args, for both arms",
        )  # fmt: skip
    else:
        yield passed("stream", "a stream and a whole reply say the same")
    yield from uncounted(one, streamed)
    yield from buffered(streamed)


def differences(one: Reply, other: Reply) -> list[str]:
    """Name the parts in which two replies differ."""
    parts = ("content", "reasoning", "reasoning_source", "finish_reason")
    return [name for name in parts if getattr(one, name) != getattr(other, name)]


def both_ways(server: Server, content: str) -> tuple[Reply, Reply]:
    """Ask now, whole and streamed: what was asked before may have met another state."""
    return server.ask(content, anew=True, stream=False), server.ask(content, anew=True, stream=True)


def noisy(server: Server, content: str, one: Reply, streamed: Reply) -> bool:
    """Tell whether two texts that differ do so by themselves: the next two agree, or change."""
    again, streamed_again = (whole(reply) for reply in both_ways(server, content))
    changed = again != whole(one) or streamed_again != whole(streamed)
    return changed or again == streamed_again


def noise(server: Server) -> Finding:
    """Say that greedy decoding does not repeat here."""
    fix = "compare two runs of one model first (an A/A comparison); use several samples a question"
    if server.kind == "llamacpp":
        fix += '; extra_body={"cache_prompt": false} in --model_args takes one cause away'
    return Finding(
        "stream", "warn", "the same greedy request gave two texts: streams cannot be compared",
        "at temperature 0 this server is not deterministic: small differences are noise",
        fix,
    )  # fmt: skip


def uncounted(whole_one: Reply, streamed: Reply) -> Iterator[Finding]:
    """See whether a stream counts its tokens as a whole reply does."""
    counts = tokens_of(whole_one), tokens_of(streamed)
    if counts[0] is not None and counts[1] is None:
        yield Finding(
            "stream", "warn", "a stream tells no usage, a whole reply does",
            "a run streams: truncation is then seen by finish_reason alone, tokens are not counted",
            "give stream=false in --model_args, or update the server",
        )  # fmt: skip


def buffered(streamed: Reply) -> Iterator[Finding]:
    """See whether the stream is one, and does not come in one piece at its end."""
    if streamed.ttft_s is None:
        yield Finding(
            "stream", "warn", "asked for a stream, the server sends a whole reply",
            "a stall cannot be told from a long completion", "give stream=false in --model_args",
        )  # fmt: skip
    took, first = streamed.latency_s or 0.0, streamed.ttft_s or 0.0
    if took > BUFFERED_S and first > BUFFERED_SHARE * took and (tokens_of(streamed) or 0) > 8:
        yield Finding(
            "stream", "warn", f"the first token came after {first:.1f} of {took:.1f} s",
            "something on the way holds the stream back: long completions look like a stall",
            "raise stall_timeout_s in --model_args, or take buffering out of the way "
            "(nginx: proxy_buffering off)",
        )  # fmt: skip


def concurrency(context: Context) -> Iterator[Finding]:
    """Send as many requests at once as the run does; one of them was asked alone before."""
    server = asked_of(context)
    n = max(2, min(context.at_once, MOST_AT_ONCE))
    alone, other = free(server, SEEDS[0]), server.ask(LONG_TASK)
    bodies = [
        server.body(FREE_TASK, temperature=1.0, seed=SEEDS[0]), server.body(LONG_TASK)
    ]  # fmt: skip
    n_again, started = server.n_again, time.monotonic()
    replies = server.ask_at_once([bodies[at % 2] for at in range(n)])
    took_s, n_again = time.monotonic() - started, server.n_again - n_again
    server.n_again -= n_again  # told here, not again by `retries`
    faults = [reply for reply in replies if isinstance(reply, UpstreamError)]
    if faults:
        yield failed(faults, n, alone_too=server.n_again > 0)
        return
    found = f"{n} requests at once took {took_s:.1f} s, one alone {alone.latency_s or 0:.1f} s"
    if one_by_one(took_s, alone, n):
        yield Finding(
            "concurrency", "warn", found,
            "they are answered one after the other: a run gains nothing, and its requests wait",
            "give the server more room (llama-server --parallel, OLLAMA_NUM_PARALLEL, transformers "
            "serve --continuous-batching), or --num-concurrent 1",
        )  # fmt: skip
    else:
        yield passed("concurrency", found)
    texts = [whole(reply) for reply in replies if isinstance(reply, Reply)]
    if whole(other) != whole(alone) and (whole(other) in texts[::2] or whole(alone) in texts[1::2]):
        yield Finding(
            "concurrency", "fail", "requests at once got each other's answers",
            "a sample is graded on the answer to another question",
            "update the server, or --num-concurrent 1; look at any proxy or cache on the way",
        )  # fmt: skip
    elif server.repeats:
        yield from unlike_alone(server, whole(alone), texts[::2])
    if n_again:
        yield Finding(
            "concurrency", "warn", f"{n_again} of {n} requests at once had to be sent again",
            "a run waits longer and longer before it tries again, and loses samples in the end",
            f"--num-concurrent {max(1, n // 2)}, or a server with more room",
        )  # fmt: skip


def retries(context: Context) -> Iterator[Finding]:
    """Tell how many requests, asked one by one, had to be sent again."""
    server = asked_of(context)
    if server.n_again:
        yield Finding(
            "retries", "warn",
            f"{server.n_again} of {server.n_requests} requests had to be sent again",
            "the server fails now and then: a run takes longer, and loses what fails for good",
            "look at the server's log for the cause",
        )  # fmt: skip
    else:
        yield passed("retries", f"none of {server.n_requests} requests had to be sent again")


def failed(faults: list[UpstreamError], n: int, *, alone_too: bool) -> Finding:
    """Say how many failed and why; `alone_too` where requests also failed one by one."""
    causes = Counter(str(fault) for fault in faults)
    limited = any(fault.status == 429 for fault in faults)
    fix = f"--num-concurrent {max(1, (n - len(faults)) // 2)}, or a server with more room"
    if alone_too:
        fix = "look at the server's log: requests fail one by one as well"
    return Finding(
        "concurrency", "warn" if limited else "fail",
        f"{len(faults)} of {n} requests at once failed: {causes.most_common(1)[0][0]}",
        "a run waits and asks again, which takes long" if limited else "samples would be lost",
        fix,
    )  # fmt: skip


def one_by_one(took_s: float, alone: Reply, n: int) -> bool:
    """Tell whether n requests took about n times as long as one, for what can be told."""
    each_s = alone.latency_s or 0.0
    enough = n >= 4 and took_s >= WORTH_TELLING_S and (tokens_of(alone) or 0) >= FEWEST_TOKENS
    return enough and took_s > ONE_BY_ONE * n * each_s


def unlike_alone(server: Server, alone: str, under_load: list[str]) -> Iterator[Finding]:
    """See whether a seed gives under load what it gave alone."""
    n_unlike = sum(text != alone for text in under_load)
    if n_unlike:
        fix = "compare two runs of one model first (A/A); a run with num_concurrent=1 may repeat"
        if server.kind == "transformers":
            fix = "--num-concurrent 1: all requests of transformers serve share one generator"
        yield Finding(
            "concurrency", "warn",
            f"under load {n_unlike} of {len(under_load)} requests with one seed gave another text "
            "than alone",
            "a run cannot be repeated text by text, and small differences between arms are noise",
            fix,
        )  # fmt: skip
