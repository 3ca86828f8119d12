"""This project's proxy beside nginx, a plain Starlette proxy and LiteLLM's, in one run.

Every peer stands before the same upstream and gets the same load: 4 KB and 100 KB of JSON, bursts
of 400 chunks, 64 slow streams; over 1 connection and 64. The peers take turns in each round, so
that all see the same machine; shown are medians over the rounds, and the goals as ratios. Every
answer is checked byte by byte, and the log must hold each. Missing peers are left out, and said.

    python benchmarks/proxy.py --litellm-venv ~/.cache/litellm-proxy --out results.json
    python benchmarks/proxy.py --peers distill --exchanges 100000     # is memory flat?
    python benchmarks/proxy.py --small                                # right or wrong, in seconds

nginx comes from PATH (Debian: apt-get install nginx-light). Exit status 1: an answer was wrong, or
a log is not whole. The parts lie in proxy_bench/: workloads, upstream, load, peers, processes,
report. How to read the figures: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_bench.peers import PEERS, LeftOutError, Peer, Setting, n_logged
from proxy_bench.processes import NotStartedError, first_line, started
from proxy_bench.report import MB, Measure, goals, tables
from proxy_bench.workloads import WORKLOADS

BENCHMARKS = Path(__file__).resolve().parent
DEFAULT_PEERS = "direct,nginx,distill,starlette,litellm"
DEFAULT_WORKLOADS = "json-4k,json-100k,burst,slow"
MEMORY_STEPS = 20
MEMORY_SETTLED = 4
"""Steps after which pools and caches have their size."""
MEMORY_GROWTH = 1.05


@dataclass(frozen=True)
class Plan:
    """What is measured, how often and how long."""

    workloads: tuple[str, ...]
    seconds: float
    rounds: int
    most_connections: int


class Load:
    """The load generator's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.n_right: Counter[str] = Counter()

    def measure(self, peer: Peer, **job: Any) -> Measure:
        """Have one job done, and return its figures."""
        job |= {"port": peer.port, "pid": peer.pid, "exact": peer.exact}
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(job), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            status = self.process.wait()
            raise RuntimeError(f"the load generator ended with status {status}, at job {job}")
        figures = json.loads(line)
        self.n_right[peer.name] += figures["n_requests"]
        return {"peer": peer.name, **figures}


def own_part(name: str) -> list[str]:
    """Return the command for a part that is a process of its own."""
    return [sys.executable, "-m", f"proxy_bench.{name}"]


@contextlib.contextmanager
def running(options: argparse.Namespace) -> Iterator[tuple[Load, list[Peer], dict[str, str]]]:
    """Start everything; give the load generator, the peers, and why others are left out."""
    names = options.peers.split(",")
    env = {"PYTHONPATH": str(BENCHMARKS)}
    left_out = {}
    with tempfile.TemporaryDirectory(prefix="proxy-bench-", dir=options.folder) as temporary:
        folder = Path(temporary)
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(started(own_part("upstream"), folder, "upstream", env))
            told = json.loads(first_line(upstream, folder, "upstream", 30))
            load = stack.enter_context(started(own_part("load"), folder, "load", env, talks=True))
            setting = Setting(
                folder=folder,
                upstream_port=told["port"],
                upstream_pid=upstream.pid,
                litellm_venv=options.litellm_venv,
                distill_flags=tuple(options.distill_flags.split()),
            )
            peers = []
            for name in names:
                try:
                    peers.append(stack.enter_context(PEERS[name](setting)))
                except (LeftOutError, NotStartedError) as error:
                    left_out[name] = str(error)
            yield Load(load), peers, left_out


def measure_all(load: Load, peers: Sequence[Peer], plan: Plan) -> list[Measure]:
    """Do all rounds; in each one another peer begins."""
    measures = []
    for peer in peers:
        for name in plan.workloads:  # first answers load modules and open files
            if not WORKLOADS[name].gap_s:
                load.measure(peer, workload=name, concurrency=1, n_requests=1)
    for turn in range(plan.rounds):
        order = [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]
        for name in plan.workloads:
            workload = WORKLOADS[name]
            for connections in workload.concurrencies:
                for peer in order:
                    job = {
                        "workload": name,
                        "concurrency": min(connections, plan.most_connections),
                        "seconds": 0 if workload.gap_s else plan.seconds,
                    }
                    measures.append({**load.measure(peer, **job), "round": turn})
        print(f"round {turn + 1} of {plan.rounds} done", file=sys.stderr, flush=True)
    names = [peer.name for peer in peers]
    return sorted(measures, key=lambda measure: names.index(measure["peer"]))


def watch_memory(load: Load, peer: Peer, n_exchanges: int) -> tuple[bool, list[Measure]]:
    """Send many exchanges through a peer, print its memory on the way; return whether it is flat.

    Flat: at no later step more than 5% above the highest of the first fifth.
    """
    steps = []
    print(f"\n{peer.name}: memory over {n_exchanges:,} exchanges of 4 KB, 64 connections")
    for step in range(MEMORY_STEPS):
        job = {"workload": "json-4k", "concurrency": 64, "n_requests": n_exchanges // MEMORY_STEPS}
        steps.append({**load.measure(peer, **job), "round": step})
        n_done = sum(measure["n_requests"] for measure in steps)
        rss_mb = steps[-1]["rss_after_bytes"] / MB
        print(
            f"  {n_done:>9,} exchanges  {rss_mb:7.1f} MB  {steps[-1]['n_errors']} wrong", flush=True
        )
    sizes = [measure["rss_after_bytes"] for measure in steps]
    flat = max(sizes[MEMORY_SETTLED:]) <= MEMORY_GROWTH * max(sizes[:MEMORY_SETTLED])
    print(f"  {'flat: held' if flat else 'flat: NOT HELD'}")
    return flat, steps


def machine(folder: str | None) -> dict[str, Any]:
    """Return the facts without which the figures say little."""
    where = folder or tempfile.gettempdir()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if Path(where).resolve().is_relative_to(mount[1])]
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpus[0].partition(":")[2].strip() if cpus else platform.machine(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "log_filesystem": max(above, key=lambda mount: len(mount[1]))[2] if above else None,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("uvloop", "httptools")},
    }


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", default=DEFAULT_PEERS, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--workloads", default=DEFAULT_WORKLOADS, help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="one short round, 8 connections")
    parser.add_argument("--exchanges", type=int, help="watch the memory over so many, no speed")
    parser.add_argument("--litellm-venv", type=Path, help="LiteLLM's environment, made if absent")
    parser.add_argument("--distill-flags", default="", help="more options for distill-proxy")
    parser.add_argument("--folder", help="where logs go for the time of the run, on a real disk")
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    options = parser.parse_args(arguments)
    for option, known in (("peers", PEERS), ("workloads", WORKLOADS)):
        for name in getattr(options, option).split(","):
            if name not in known:
                parser.error(f"--{option} takes {', '.join(known)}, got {name!r}")
    if options.litellm_venv:
        options.litellm_venv = options.litellm_venv.absolute()
    return options


def main() -> int:
    """Run the benchmark; return the exit status."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the peers on the way out
    facts = machine(options.folder)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    results: dict[str, Any] = {"machine": facts}
    with running(options) as (load, peers, left_out):
        for peer in peers:
            print(f"{peer.name}: {peer.note or 'as it comes'}")
        for name, reason in left_out.items():
            print(f"{name}: left out, {reason}")
        sys.stdout.flush()
        if options.exchanges:
            watched = [watch_memory(load, peer, options.exchanges) for peer in peers]
            measures = [measure for _, steps in watched for measure in steps]
            results["memory_flat"] = dict(
                zip((peer.name for peer in peers), (flat for flat, _ in watched), strict=True)
            )
        else:
            plan = Plan(
                workloads=tuple(options.workloads.split(",")),
                seconds=0.2 if options.small else options.seconds,
                rounds=1 if options.small else options.rounds,
                most_connections=8 if options.small else 64,
            )
            measures = measure_all(load, peers, plan)
            results["goals"] = show(measures, [peer.name for peer in peers], options.small)
        results["logs"] = check_logs(load, peers)
    results |= {"peers": {p.name: p.note for p in peers}, "left_out": left_out}
    if options.out:
        options.out.write_text(json.dumps({**results, "measures": measures}, indent=1) + "\n")
    return 1 if say_wrong(measures) or not all(results["logs"].values()) else 0


def show(measures: list[Measure], names: list[str], small: bool) -> list[dict[str, Any]]:
    """Print the tables and the goals; return the goals."""
    print(*tables(measures), sep="\n")
    if small:  # too short for a verdict
        return []
    found = [goal for name in names if name.startswith("distill") for goal in goals(measures, name)]
    print("\nGoals: median of the rounds (lowest to highest)")
    print(*(f"  {goal.line()}" for goal in found), sep="\n", flush=True)
    return [goal.as_json() for goal in found]


def check_logs(load: Load, peers: Sequence[Peer]) -> dict[str, bool]:
    """Count the records of each log, and return whether all answers are in it, none twice."""
    whole = {}
    for peer in peers:
        if peer.log:
            n_records, n_right = n_logged(peer.log), load.n_right[peer.name]
            whole[peer.name] = n_records == n_right
            verdict = "whole" if whole[peer.name] else "NOT WHOLE"
            print(f"\n{peer.name}: log {verdict}, {n_records:,} records of {n_right:,} answers")
    return whole


def say_wrong(measures: Sequence[Measure]) -> bool:
    """Print what was wrong; return whether anything was."""
    wrong = [measure for measure in measures if measure["n_errors"]]
    for measure in wrong:
        for error, n in measure["errors"].items():
            print(f"WRONG {n} x {measure['peer']}, {measure['workload']}: {error}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
