"""A client under measure, in a process of its own: jobs on stdin, figures on stdout, a line each.

Owns the real classes of both sides, called as lm-eval calls them. Refuses to own when and what
(benchmarks/client.py).

    python -m client_bench.peer
    {"peer": "local-chat", "url": "http://127.0.0.1:41234", "model": "chunks-20-500", "n": 1280,
     "concurrent": 64, "stream": true}
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from client_bench.server import NAME, text_of

QUESTION = (
    "Let $x$ and $y$ be positive integers with $x^2 + y^2 = {n}$. Reason step by step, and put the "
    "final answer into \\boxed{{}}. " + "The numbers need not differ. " * 20
)


def cpu_s() -> float:
    """Return the user and system seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def local_chat(job: dict[str, Any]) -> Any:
    """Build our model, as model_args does."""
    from harness_tasks.local_chat import LocalChat

    return LocalChat(
        base_url=job["url"],
        model=job["model"],
        num_concurrent=job["concurrent"],
        stream=job["stream"],
        **job.get("further", {}),
    )


def local_chat_completions(job: dict[str, Any]) -> Any:
    """Build lm-eval's model, as model_args does."""
    from lm_eval.models.openai_completions import LocalChatCompletion

    return LocalChatCompletion(
        base_url=f"{job['url']}/v1/chat/completions",
        model=job["model"],
        num_concurrent=job["concurrent"],
        max_retries=3,
    )


PEERS = {"local-chat": local_chat, "local-chat-completions": local_chat_completions}


def instances(model: Any, questions: list[str]) -> list[Instance]:
    """Build lm-eval's requests, with the chat template that its own model needs."""
    return [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(
                model.apply_chat_template([{"role": "user", "content": question}]),
                {"until": [], "max_gen_toks": 4096, "temperature": 0.0},
            ),
            idx=0,
            metadata=("bench", i, 1),
        )
        for i, question in enumerate(questions)
    ]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Ask for all of a job's replies once, and return what that took."""
    model = PEERS[job["peer"]](job)
    questions = [QUESTION.format(n=i) for i in range(job["n"])]
    requests = instances(model, questions)
    begun, begun_cpu = time.perf_counter(), cpu_s()
    replies = model.generate_until(requests, disable_tqdm=True)
    wall, cpu = time.perf_counter() - begun, cpu_s() - begun_cpu
    found = NAME.fullmatch(job["model"])
    assert found
    right = [text_of(question, int(found[1])) for question in questions]
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "n_wrong": sum(map(str.__ne__, map(str, replies), right)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Do one job after the other until stdin ends."""
    logging.disable(logging.WARNING)
    figures = sys.stdout
    sys.stdout = sys.stderr  # what a peer prints is no figure
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), file=figures, flush=True)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    main()
