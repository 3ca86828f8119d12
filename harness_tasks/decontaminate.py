"""Does a training question stand in a benchmark? Every kind of match, named.

Owns which benchmarks are looked at and what counts as a hit. Refuses to own what is done about one
(training leaves the question out or reports it; analysis scores with and without what leaked) and
the benchmarks' rows (`docs`).

Three ways, in this order, one hit for a benchmark question:

- `exact`: the same words, numbers and signs, whatever their case, spacing and LaTeX spacing;
  or the whole benchmark question inside a longer text (as sentences of its own where it is short);
- `ngram`: long shared runs of words that are no boilerplate, by the rule of
  `harness_tasks.overlap`; for benchmark questions of at least n words;
- `paraphrase`: the cosine of two embeddings, where an embedding model is given.

Example:
    benchmarks, not_checked = suite_benchmarks("benchmarks")
    Decontaminator(benchmarks).hits("What is the value of ...")
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness_tasks.overlap import N_WORDS, Overlap
from harness_tasks.wording import squeezed, stands_alone, words

if TYPE_CHECKING:
    import numpy as np

EXCERPT_CHARS = 200
PARAPHRASE_COSINE = 0.92
CHUNK = 256
# LiveCodeBench's releases hold the same problems; the newest holds them all, and its public form
# needs no private tests.
SKIPPED_PREFIX = "lcb_"
LIVECODEBENCH = "lcb_v6_public"

DOCSTRING = re.compile(r"(\"\"\"|\'\'\')(.*?)\1", re.DOTALL)
EXAMPLES = re.compile(r"^\s*(?:>>>|assert\b|for example|examples?\b)", re.MULTILINE | re.IGNORECASE)
# "Add two numbers" is no sign of a leak.
SAID_WORDS = 6

How = Literal["exact", "ngram", "paraphrase"]
Embed = Callable[[Sequence[str]], "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark's questions as (doc id, text); `origin` says where they were taken from.

    A doc may stand there with several texts; each is looked for.
    """

    name: str
    texts: list[tuple[str, str]]
    origin: str = ""


@dataclass(frozen=True)
class Hit:
    """One benchmark question that a text holds.

    `score` is 1 for `exact`, the share of the benchmark question's words for `ngram`, and the
    cosine for `paraphrase`. `excerpt` is the longest shared run, or the benchmark's question.
    """

    benchmark: str
    doc_id: str
    how: How
    score: float
    excerpt: str

    def to_json(self) -> dict[str, Any]:
        """Return the hit as a JSON object, the score to four places."""
        return {**asdict(self), "score": round(self.score, 4)}


def benchmark_sources() -> list[str]:
    """Return the sources of the suite's benchmarks: all but the demos that ship with it."""
    from harness_tasks import docs

    names = [name for name, spec in docs.SOURCES.items() if not spec.packaged]
    return [name for name in names if not name.startswith(SKIPPED_PREFIX)] + [LIVECODEBENCH]


def suite_benchmarks(
    data_dir: str | Path | None = None, names: Iterable[str] | None = None
) -> tuple[list[Benchmark], list[str]]:
    """Load every benchmark of the suite, or those named, and say which could not be loaded.

    `data_dir` comes before the environment variable DISTILL_EVAL_DATA, and both before the hub.
    Each of the lines returned begins with the benchmark's name and says why it is not checked.
    """
    from harness_tasks import docs

    folder = data_dir or os.environ.get(docs.DATA_ENV) or None
    loaded, not_checked = [], []
    with ExitStack() as unreachable:
        for name in benchmark_sources() if names is None else names:
            try:
                path = None if folder is None else Path(folder).expanduser()
                loaded.append(benchmark(name, path))
            except (ValueError, OSError, ImportError) as failed:
                not_checked.append(f"{name}: {' '.join(str(failed).split())}")
                if isinstance(failed.__cause__, ConnectionError):
                    unreachable.enter_context(cache_alone())
    return loaded, not_checked


@contextmanager
def cache_alone() -> Iterator[None]:
    """Take what is cached of the hub for a while: who cannot reach it waits half a minute a time.

    The libraries read their environment variable once, on import; these are what they read it into.
    """
    import datasets.config
    import huggingface_hub.constants

    held: list[Any] = [datasets.config, huggingface_hub.constants]
    before = [module.HF_HUB_OFFLINE for module in held]
    try:
        for module in held:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(held, before, strict=True):
            module.HF_HUB_OFFLINE = value


def benchmark(name: str, folder: Path | None) -> Benchmark:
    """Load one benchmark from a folder or the hub.

    A folder's copy need not be one that is pinned: texts that differ are looked for all the same.

    Raises:
        ValueError: unknown, not there, or damaged.
    """
    from harness_tasks import docs

    if name not in docs.SOURCES:
        raise ValueError(f"no benchmark of the suite; known are {', '.join(benchmark_sources())}")
    spec = docs.SOURCES[name]
    if folder is None or spec.packaged:
        rows, info = docs.load_rows(name, None)
        origin = spec.hub if info.origin == "hub" else info.origin
    else:
        paths = docs.find_files(name, spec, folder)
        rows, origin = docs.read_rows(spec, paths), docs.named(paths)
    texts = [(str(row["id"]), text) for row in rows for text in texts_of(row["question"])]
    return Benchmark(name, texts, origin)


def texts_of(question: str) -> list[str]:
    """Return a question, and what it says in words where that stands in a docstring.

    A training set may hold MBPP's sentence without the assertion that MBPP+ prints below it, or the
    sentence of a HumanEval function without its head.
    """
    found = DOCSTRING.search(question)
    said = EXAMPLES.split(found[2], maxsplit=1)[0].strip() if found else ""
    return [question, said] if len(words(said)) >= SAID_WORDS else [question]


class Decontaminator:
    """Finds benchmark questions in texts.

    `embed` gives texts' embeddings as rows of length 1; without it nothing is said of paraphrases.
    """

    def __init__(
        self,
        benchmarks: Sequence[Benchmark],
        *,
        n: int = N_WORDS,
        embed: Embed | None = None,
        threshold: float = PARAPHRASE_COSINE,
    ) -> None:
        if n < 3:
            raise ValueError(f"n-grams need at least 3 words, got {n}")
        if not 0 < threshold <= 1:
            raise ValueError(
                f"the cosine's threshold must be above 0 and at most 1, got {threshold}"
            )
        self.n, self.embed, self.threshold = n, embed, threshold
        # Benchmarks overlap (AIME 2024 is in AIME 2022-2024): each text is indexed once.
        self.owners: dict[str, list[tuple[str, str]]] = {}
        self.texts: list[str] = []
        docs: dict[tuple[str, str], int] = {}
        same: list[int] = []  # the number of the doc that each text is of
        for part in benchmarks:
            for doc_id, text in part.texts:
                key = squeezed(text)
                if not key:
                    continue
                if key not in self.owners:
                    self.texts.append(text)
                    same.append(docs.setdefault((part.name, doc_id), len(same)))
                owners = self.owners.setdefault(key, [])
                if (part.name, doc_id) not in owners:
                    owners.append((part.name, doc_id))
        self.keys = list(self.owners)
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self.overlap = Overlap([words(text) for text in self.texts], n, same)
        self.short = self.overlap.unindexed()
        self.rows: Any = None

    def hits(self, text: str) -> list[Hit]:
        """Return every benchmark question that a text holds, the surest first."""
        return next(self.hits_of([text]))

    def hits_of(self, texts: Iterable[str]) -> Iterator[list[Hit]]:
        """Yield the hits of each text in order; paraphrases are looked for in batches."""
        waiting = iter(texts)
        while chunk := list(islice(waiting, CHUNK)):
            found = [self.worded_hits(text) for text in chunk]
            if self.embed is not None and self.texts:
                self.add_paraphrases(chunk, found)
            for by_number in found:
                hits = [hit for group in by_number.values() for hit in group]
                # Of several texts of one doc, the surest match stands for it.
                yield list({(hit.benchmark, hit.doc_id): hit for hit in hits[::-1]}.values())[::-1]

    def worded_hits(self, text: str) -> dict[int, list[Hit]]:
        """Return the hits by words, by number of the benchmark question."""
        key = squeezed(text)
        exact = {self.numbers[key]} if key in self.numbers else set()
        exact |= {
            number
            for number in self.short
            if self.keys[number] in key and stands_alone(text, self.keys[number])
        }
        matched = self.overlap.matched(words(text))
        exact |= {number for number in matched if self.keys[number] in key}
        found = {n: self.named(n, "exact", 1.0, self.texts[n]) for n in sorted(exact)}
        for one in self.overlap.shared(matched):
            if one.question not in exact:
                found[one.question] = self.named(one.question, "ngram", one.share, one.run)
        return found

    def add_paraphrases(self, texts: Sequence[str], found: list[dict[int, list[Hit]]]) -> None:
        """Add to each text's hits the benchmark question whose embedding is nearest, if near."""
        assert self.embed is not None
        if self.rows is None:
            self.rows = self.embed(self.texts)
        cosines = self.embed(texts) @ self.rows.T  # (texts, benchmark questions)
        for by_number, nearest, row in zip(found, cosines.argmax(axis=1), cosines, strict=True):
            number, cosine = int(nearest), min(1.0, float(row[nearest]))
            if cosine >= self.threshold and number not in by_number:
                by_number[number] = self.named(number, "paraphrase", cosine, self.texts[number])

    def named(self, number: int, how: How, score: float, excerpt: str) -> list[Hit]:
        """Return a hit for each benchmark that holds the question."""
        short = " ".join(excerpt.split())
        if len(short) > EXCERPT_CHARS:
            short = short[: EXCERPT_CHARS - 3] + "..."
        owners = self.owners[self.keys[number]]
        return [Hit(name, doc_id, how, score, short) for name, doc_id in owners]
