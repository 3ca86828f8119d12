"""`local-chat` beside lm-eval's `local-chat-completions`, before a server of fixed latency.

The server (client_bench/server.py) is a process of its own, so that its cost is nobody's, and takes
the same time for every reply. Both clients are the real classes, called as lm-eval calls them, each
in a process of its own (client_bench/peer.py); they take turns in each round, so that both see the
same machine. The ideal wall time is requests / concurrency x latency. Every reply is compared.

    python benchmarks/client.py
    python benchmarks/client.py --rounds 5 --out results.json
    python benchmarks/client.py --small                       # right or wrong, in seconds

Exit status 1: a reply was wrong. lm-eval's model needs `pip install 'lm_eval[api]'`; without, it is
left out. How to read the figures: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxy_bench.processes import first_line, started

BENCHMARKS = Path(__file__).resolve().parent
OURS, THEIRS = "local-chat", "local-chat-completions"
WALL_GOAL, CPU_GOAL = 1.05, 0.5


@dataclass(frozen=True)
class Cell:
    """One thing that is measured: what the server does, and how it is asked."""

    name: str
    peer: str
    n: int
    concurrent: int = 64
    n_chunks: int = 20
    latency_ms: int = 500
    stream: bool = False
    store: bool = False

    @property
    def ideal_s(self) -> float:
        return self.n / self.concurrent * self.latency_ms / 1000

    def small(self) -> Cell:
        """Return the same in a fraction of a second."""
        concurrent = min(self.concurrent, 32)
        return replace(self, n=2 * concurrent, concurrent=concurrent, latency_ms=50)

    def job(self, port: int, folder: Path) -> dict[str, Any]:
        """Return the job for the peer's process."""
        store = {"store": str(folder / f"{len(os.listdir(folder))}.jsonl")} if self.store else {}
        return {
            "peer": self.peer,
            "url": f"http://127.0.0.1:{port}",
            "model": f"chunks-{self.n_chunks}-{self.latency_ms}",
            "n": self.n,
            "concurrent": self.concurrent,
            "stream": self.stream,
            "further": store,
        }


CELLS = (
    Cell("theirs", THEIRS, 1280),
    Cell("whole", OURS, 1280),
    Cell("streamed", OURS, 1280, stream=True),
    Cell("whole, store", OURS, 1280, store=True),
    Cell("streamed, store", OURS, 1280, stream=True, store=True),
    Cell("512: theirs", THEIRS, 2048, concurrent=512, latency_ms=2000),
    Cell("512: whole", OURS, 2048, concurrent=512, latency_ms=2000),
    Cell("512: streamed", OURS, 2048, concurrent=512, latency_ms=2000, stream=True),
    Cell("long streams", OURS, 64, n_chunks=2000, latency_ms=20_000, stream=True),
)


class PeerProcess:
    """One client's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have one job done, and return its figures.

        Raises:
            RuntimeError: the process ended; its own words are above.
        """
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(job), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{job['peer']} ended with status {self.process.wait()}")
        figures: dict[str, Any] = json.loads(line)
        return figures


@contextlib.contextmanager
def running(peers: Sequence[str], folder: Path) -> Iterator[tuple[int, dict[str, PeerProcess]]]:
    """Start the server and a process for each peer; give the server's port."""
    env = {"PYTHONPATH": str(BENCHMARKS), "OPENAI_API_KEY": "none", "TQDM_DISABLE": "1"}
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-m", "client_bench.server"]
        server = stack.enter_context(started(command, folder, "server", env))
        port = json.loads(first_line(server, folder, "server", 30))["port"]
        command = [sys.executable, "-m", "client_bench.peer"]
        processes = {
            name: PeerProcess(stack.enter_context(started(command, folder, name, env, talks=True)))
            for name in peers
        }
        yield int(port), processes


def has_peer() -> bool:
    """Tell whether lm-eval's own model can be run here."""
    try:
        import aiohttp
        import tenacity
    except ImportError:
        return False
    return bool(aiohttp and tenacity)


def measure_all(cells: Sequence[Cell], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Do all rounds; each begins with another cell."""
    measures = []
    stores = folder / "stores"
    stores.mkdir()
    with running(sorted({cell.peer for cell in cells}), folder) as (port, peers):
        for cell in cells:  # the first requests load modules
            peers[cell.peer].measure(cell.small().job(port, stores))
        for turn in range(rounds):
            for cell in [*cells[turn % len(cells) :], *cells[: turn % len(cells)]]:
                figures = peers[cell.peer].measure(cell.job(port, stores))
                measures.append({"cell": cell.name, "round": turn, **figures})
            print(f"round {turn + 1} of {rounds} done", file=sys.stderr, flush=True)
    return measures


def of_cell(measures: Sequence[dict[str, Any]], cell: Cell, figure: str) -> list[float]:
    """Return one figure of a cell in all rounds."""
    return [float(one[figure]) for one in measures if one["cell"] == cell.name]


def spread(values: Sequence[float], digits: int) -> str:
    """Write the median, with the lowest and the highest."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(measures: Sequence[dict[str, Any]], cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the figures of all cells, and the ratios that are goals."""
    heads = f"{'':17}{'wall / ideal':>24}{'CPU us / request':>24}"
    yield f"{heads}{'/ theirs':>22}{'peak MB':>9}  wrong"
    for cell in cells:
        walls = [wall / cell.ideal_s for wall in of_cell(measures, cell, "wall_s")]
        costs = [cpu / cell.n * 1e6 for cpu in of_cell(measures, cell, "cpu_s")]
        peer = peer_of(cell, cells)
        theirs = of_cell(measures, peer, "cpu_s") if peer else []
        shares = [
            cost / (cpu / peer.n * 1e6) for cost, cpu in zip(costs, theirs, strict=False) if peer
        ]
        yield (
            f"{cell.name:17}{spread(walls, 3):>24}{spread(costs, 0):>24}"
            f"{spread(shares, 2) if shares else '':>22}"
            f"{max(of_cell(measures, cell, 'peak_mb')):9.0f}"
            f"{sum(of_cell(measures, cell, 'n_wrong')):7.0f}"
        )


def peer_of(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """Return their cell of the same load, None for their own and where they have none."""
    load = (cell.n, cell.concurrent, cell.n_chunks, cell.latency_ms)
    found = (
        one
        for one in cells
        if one.peer == THEIRS and (one.n, one.concurrent, one.n_chunks, one.latency_ms) == load
    )
    return next(found, None) if cell.peer == OURS else None


def goals(measures: Sequence[dict[str, Any]], cells: Sequence[Cell]) -> Iterator[str]:
    """Yield whether each goal held, by the median of the rounds; a ratio is taken in each round."""
    whole = next(cell for cell in cells if cell.name == "whole")
    for cell in cells:
        if cell.peer == OURS and cell.concurrent == 64 and cell.n_chunks == whole.n_chunks:
            wall = statistics.median(of_cell(measures, cell, "wall_s")) / cell.ideal_s
            yield verdict(f"{cell.name}: wall time over the ideal", wall, WALL_GOAL)
    peer = peer_of(whole, cells)
    if peer:
        pairs = zip(
            of_cell(measures, whole, "cpu_s"), of_cell(measures, peer, "cpu_s"), strict=True
        )
        share = statistics.median(ours / theirs for ours, theirs in pairs)
        yield verdict("whole: CPU per request over theirs", share, CPU_GOAL)


def verdict(name: str, value: float, limit: float) -> str:
    return f"  {name}: {value:.3f}, goal <= {limit:g}: {'held' if value <= limit else 'NOT HELD'}"


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", help=f"of: {'; '.join(cell.name for cell in CELLS)}")
    parser.add_argument("--small", action="store_true", help="right or wrong, no verdict on speed")
    parser.add_argument("--out", type=Path, help="write every measure as JSON")
    options = parser.parse_args(arguments)
    asked = options.cells.split(";") if options.cells else [cell.name for cell in CELLS]
    known = {cell.name: cell for cell in CELLS}
    for name in map(str.strip, asked):
        if name not in known:
            parser.error(f"--cells takes {'; '.join(known)}, got {name!r}")
    options.cells = [known[name.strip()] for name in asked]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = parse_options(arguments)
    cells = [cell.small() if options.small else cell for cell in options.cells]
    if not has_peer():
        cells = [cell for cell in cells if cell.peer != THEIRS]
        print(f"{THEIRS}: left out, it needs pip install 'lm_eval[api]'")
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} cores, load average {load:.2f} before", flush=True)
    with tempfile.TemporaryDirectory(prefix="client-bench-") as folder:
        measures = measure_all(cells, 1 if options.small else options.rounds, Path(folder))
    print(*table(measures, cells), sep="\n")
    if not options.small and any(cell.name == "whole" for cell in cells):
        print("Goals: median of the rounds")
        print(*goals(measures, cells), sep="\n")
    if options.out:
        options.out.write_text(json.dumps(measures, indent=1) + "\n")
    n_wrong = sum(one["n_wrong"] for one in measures)
    if n_wrong:
        print(f"WRONG: {n_wrong} replies are not what the server said", file=sys.stderr)
    return 1 if n_wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
