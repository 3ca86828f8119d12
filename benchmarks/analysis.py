"""Seconds and memory of `distill-report` on generated runs and logs, beside pandas.

    python benchmarks/analysis.py                                       # half a minute, 0.5 GB
    python benchmarks/analysis.py --exchanges 1000000 --samples 200000 --folder /data   # 13 GB

Makes two runs of five tasks (once, four and eight times sampled) and the proxy's log of both, in
which strangers stand between the exchanges of samples. Then runs the command as a child and prints
seconds, bytes read, and the highest sum of the resident memory of its processes. The baseline's
samples name their request ids; the candidate's are found by messages and text.

The peer is pandas, as one would write it in a notebook: `read_json(lines=True)` of samples and log,
a merge, lengths of reasoning and answer, means by task. It computes far less, and holds everything.
Both run in turns on a cut of `--cut` exchanges. Everything is deleted afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
from proxy_bench.processes import rss_bytes

REPO = Path(__file__).resolve().parent.parent
TIME = "2026-01-31T10-00-00.000000"
TASKS = {"quiz_one": 1, "quiz_two": 1, "quiz_three": 1, "quiz_four": 4, "quiz_eight": 8}
ARMS = ("base", "student")
WORDS = """
so we add the carry and then let me check that step again before the next one because three from
seven leaves four wait that is wrong perhaps alternatively the sum of both sides equals first, the
area of the square is x times x which gives twelve hmm
"""
FILE_EXCHANGES = 100_000  # exchanges a log file
PEER = """
import sys, pandas
from pathlib import Path
folder = Path(sys.argv[1])
log = pandas.concat([pandas.read_json(f, lines=True) for f in sorted(folder.glob("log/*.jsonl"))])
log["reasoning_chars"] = log.content.str.extract("(?s)<think>(.*?)</think>")[0].str.len()
log["answer_chars"] = log.content.str.split("</think>").str[-1].str.len()
for arm in ("base", "student"):
    for path in sorted((folder / arm).rglob("samples_*.jsonl")):
        rows = pandas.read_json(path, lines=True)
        samples = pandas.DataFrame([one for row in rows.samples for one in row])
        samples["correct"] = samples.verdict == "correct"
        joined = samples.merge(log, on="request_id", how="left")
        print(path.name, joined[["correct", "reasoning_chars_y", "answer_chars_y"]].mean().tolist())
"""


class Measured(NamedTuple):
    """One run of a command."""

    seconds: float
    cpu_seconds: float  # of all its processes
    peak_bytes: int


def main() -> int:
    """Make the files, measure, print, delete; 1 where the report fails or breaks a goal."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-analysis-", dir=given.folder) as scratch:
        whole = make(Path(scratch) / "whole", given.exchanges, given.samples)
        done = measure(report_of(whole, given.command))
        print(
            f"distill-report {given.command}: {given.exchanges:,} exchanges, {given.samples:,} "
            f"samples, {bytes_in(whole) / 1e9:.2f} GB read in {done.seconds:.1f} s "
            f"({done.cpu_seconds:.1f} s of CPU), peak {done.peak_bytes / 1e9:.2f} GB of memory",
            flush=True,
        )
        shutil.rmtree(whole)
        if given.cut:
            beside_the_peer(Path(scratch) / "cut", given)
    return 0 if done.peak_bytes < given.limit_gb * 1e9 else 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exchanges", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=10_000, help="completions, both arms")
    parser.add_argument("--command", choices=("compare", "json", "html"), default="json")
    parser.add_argument(
        "--cut", type=int, default=20_000, help="exchanges beside the peer; 0: none"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-gb", type=float, default=2.0, help="memory that is too much")
    parser.add_argument("--folder", type=Path, help="where the files go for the time of the run")
    return parser.parse_args()


def beside_the_peer(folder: Path, given: argparse.Namespace) -> None:
    """Run the report and pandas in turns on the smaller cut, and print the ratios."""
    make(folder, given.cut, given.cut // 5)
    commands = {
        "distill-report": report_of(folder, given.command),
        "pandas": [sys.executable, "-c", PEER, str(folder)],
    }
    found: dict[str, list[Measured]] = {name: [] for name in commands}
    for number in range(given.rounds):
        for name in list(commands)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(measure(commands[name]))
            seconds, _, peak = found[name][-1]
            print(f"round {number + 1}, {name}: {seconds:.1f} s, {peak / 1e9:.2f} GB", flush=True)
    for what in Measured._fields:
        values = [[getattr(one, what) for one in found[name]] for name in commands]
        ratios = [peer / ours for ours, peer in zip(*values, strict=True)]
        print(
            f"{what}, pandas / distill-report on {given.cut:,} exchanges: "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def report_of(folder: Path, command: str) -> list[str]:
    """Return the command line of the report over generated files."""
    arms = [str(folder / arm) for arm in ARMS]
    out = str(folder / "report")
    options = {
        "compare": ["compare", *arms],
        "json": ["compare", *arms, "--json", f"{out}.json"],
        "html": ["html", *arms, "--out", f"{out}.html"],
    }
    return [sys.executable, "-m", "analysis", *options[command], "--log", str(folder / "log")]


def measure(command: list[str]) -> Measured:
    """Run a command to its end.

    Raises:
        SystemExit: it fails.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    used, before = usage.ru_utime + usage.ru_stime, time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=errors)
        while child.poll() is None:
            peak = max(peak, rss_bytes(child.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - before
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = usage.ru_utime + usage.ru_stime - used
        if child.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)[:200]} failed:\n{errors.read().decode()}")
    return Measured(seconds, cpu_seconds, peak)


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files that the report reads."""
    return sum(path.stat().st_size for path in folder.rglob("*.jsonl"))


def make(folder: Path, n_exchanges: int, n_samples: int) -> Path:
    """Write two runs and the log of both."""
    rng = random.Random(1234)
    corpus = " ".join(rng.choices(WORDS.split(), k=400_000))
    log = Log(folder / "log", rng, corpus)
    strangers = max(n_exchanges // n_samples - 1, 0)
    for task, k in TASKS.items():
        n_docs = max(n_samples // (len(ARMS) * len(TASKS) * k), 1)
        for arm in ARMS:
            inner = folder / arm / arm
            inner.mkdir(parents=True, exist_ok=True)
            with (inner / f"samples_{task}_{TIME}.jsonl").open("wb") as out:
                for doc_id in range(n_docs):
                    row, exchanges = one_doc(rng, corpus, (arm, task, doc_id, k))
                    out.write(orjson.dumps(row) + b"\n")
                    for exchange in exchanges:
                        log.write(exchange)
                        log.write_strangers(strangers)
    log.write_strangers(n_exchanges - log.n_written)
    log.close()
    for arm in ARMS:
        results = {"config": {"model": "local-chat", "model_served": arm}, "model_name": arm}
        (folder / arm / arm / f"results_{TIME}.json").write_text(json.dumps(results))
    return folder


def one_doc(
    rng: random.Random, corpus: str, what: tuple[str, str, int, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the row of a doc and the exchanges of its completions."""
    arm, task, doc_id, k = what
    own = random.Random(f"{task} {doc_id}")  # both arms are asked the same
    question = f"{task}, question {doc_id}: {piece(own, corpus, 400)}"
    texts, records, exchanges = [], [], []
    for index in range(k):
        reasoning, answer = piece(rng, corpus, 8_000), piece(rng, corpus, 800)
        text = f"<think>{reasoning}</think>{answer} {rng.random()}"
        request_id = f"{arm}/{task}/{doc_id}/{index}"
        right = rng.random() < (0.6 if arm == "base" else 0.65)
        records.append(
            {
                "schema": 1,
                "sample_index": index,
                "verdict": "correct" if right else "incorrect",
                "answer": str(rng.randrange(10)),
                "truncated": False,
                "state": "closed",
                "finish_reason": "stop",
                "reasoning_chars": len(reasoning),
                "answer_chars": len(answer),
                "request_id": request_id if arm == "base" else None,
            }
        )
        texts.append(text)
        exchanges.append(
            one_exchange(
                request_id if arm == "base" else f"proxy-{request_id}", question, text, arm
            )
        )
    doc = {"question": question, "subject": f"subject {doc_id % 7}", "level": doc_id % 5}
    row = {
        "doc_id": doc_id,
        "doc": doc,
        "target": str(doc_id),
        "arguments": {"gen_args_0": {"arg_0": question, "arg_1": {"temperature": 0.6}}},
        "resps": [texts],
        "filtered_resps": texts,
        "filter": "none",
        "metrics": ["score"],
        "score": 0.0,
        "samples": records,
    }
    return row, exchanges


def piece(rng: random.Random, corpus: str, n_chars: int) -> str:
    """Return some text of about a length."""
    start = rng.randrange(len(corpus) - 2 * n_chars)
    return corpus[start : start + rng.randrange(n_chars // 2, n_chars * 3 // 2)]


def one_exchange(request_id: str, question: str, text: str, model: str) -> dict[str, Any]:
    """Return the exchange of one completion."""
    messages = [{"role": "user", "content": question}]
    canonical = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return {
        "schema": 2,
        "request_id": request_id,
        "started_at": "2026-01-31T10:00:00.000000+00:00",
        "endpoint": "/v1/chat/completions",
        "upstream": "http://127.0.0.1:8000",
        "model_requested": model,
        "model_served": model,
        "messages": messages,
        "sampling": {"temperature": 0.6, "max_tokens": 32768, "seed": 7},
        "messages_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "stream": False,
        "status": 200,
        "content": text,
        "reasoning": None,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": len(question) // 4, "completion_tokens": len(text) // 4},
        "duration_s": 1.5,
        "outcome": "complete",
    }


class Log:
    """Writes a log in files of FILE_EXCHANGES, strangers between the exchanges of samples."""

    def __init__(self, folder: Path, rng: random.Random, corpus: str) -> None:
        folder.mkdir(parents=True)
        self.folder, self.rng, self.corpus = folder, rng, corpus
        self.n_written = 0
        self.out: BinaryIO | None = None

    def write(self, exchange: dict[str, Any]) -> None:
        """Append an exchange."""
        if self.n_written % FILE_EXCHANGES == 0:
            self.close()
            name = f"exchanges-20260131T{self.n_written // FILE_EXCHANGES:06}-1.jsonl"
            self.out = (self.folder / name).open("wb")
        if self.out is not None:
            self.out.write(orjson.dumps(exchange) + b"\n")
        self.n_written += 1

    def write_strangers(self, n: int) -> None:
        """Append exchanges that no sample asked for."""
        for _ in range(n):
            text = f"<think>{piece(self.rng, self.corpus, 8_000)}</think>{self.rng.random()}"
            name = f"other/{self.n_written}"
            self.write(one_exchange(name, piece(self.rng, self.corpus, 400), text, "other"))

    def close(self) -> None:
        """Close the file that is open."""
        if self.out is not None:
            self.out.close()


if __name__ == "__main__":
    sys.exit(main())
