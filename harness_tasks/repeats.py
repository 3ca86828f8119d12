r"""Several samples of one doc: avg@k, pass@k and maj@k of the doc, and which answer each votes for.

Owns the three measures as lm-eval's table shows them, and the grouping of answers into votes.
Refuses to own grading (`results`), when two answers are the same (`graders`), and intervals and
other k (`analysis.stats.pass_at_k`, whose numbers these equal).

Example, four samples of one doc, of which two say the same in other words:

    >>> votes([None, "A", "a", "b"], [False] * 4, lambda one, other: one.lower() == other.lower())
    [None, 1, 1, 3]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from harness_tasks.records import SampleRecord, Verdict

Same = Callable[[str, str], bool]  # an answer, and another one in the place of the target

PASS_AT = (5,)  # pass@k with a k below the number of samples that a benchmark publishes
MAX_REPEATS = 1_000  # samples of one doc; the analysis counts no more of them exactly
# So often wrong answers of one doc are compared with each other; after that their text decides.
MAX_COMPARISONS = 1_000


def names(k: int) -> tuple[str, str, str]:
    """Return what the measures are called.

    >>> names(4)
    ('avg@4', 'pass@4', 'maj@4')
    """
    return f"avg@{k}", f"pass@{k}", f"maj@{k}"


def measures(
    samples: Sequence[SampleRecord], *, voted: bool, pass_at: Sequence[int] = ()
) -> dict[str, float]:
    """Return the measures of one doc by name; none of a single sample, none that is undefined.

    All are of the k samples together, so a doc with a grader error has none but pass@j of a smaller
    j in `pass_at`. `voted` says that `with_votes` told the answers apart.
    """
    k = len(samples)
    if k < 2:
        return {}
    graded = [sample for sample in samples if sample.verdict is not Verdict.GRADER_ERROR]
    n, c = len(graded), sum(sample.verdict is Verdict.CORRECT for sample in graded)
    found = {f"pass@{j}": pass_at_k(n, c, j) for j in {*pass_at, k} if j <= min(n, k)}
    if n == k:
        avg, _, maj = names(k)
        found = {avg: c / k, **found, **({maj: majority(graded)} if voted else {})}
    return found


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that any of k samples is right where c of n are; k is at most n.

    1 - C(n - c, k) / C(n, k), which is unbiased.
    Source: Chen et al. 2021, arXiv:2107.03374, equation 1.
    """
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority(samples: Sequence[SampleRecord]) -> float:
    """Return the score of the answer with most votes; 0 where no sample has an answer.

    Ties give the mean score of the tied answers; a sample without an answer has no vote.
    Source: Wang et al. 2022, arXiv:2203.11171; ties as in DeepSeek-R1's cons@64.
    """
    scores: dict[int, list[float]] = {}
    for sample in samples:
        if sample.vote is not None:
            right = float(sample.verdict is Verdict.CORRECT)
            scores.setdefault(sample.vote, []).append(right)
    most = max(map(len, scores.values()), default=0)
    return fmean(fmean(given) for given in scores.values() if len(given) == most) if scores else 0.0


def with_votes(samples: Sequence[SampleRecord], same: Same) -> list[SampleRecord]:
    """Return the samples of one doc, each with the answer that it votes for."""
    right = [sample.verdict is Verdict.CORRECT for sample in samples]
    graded = [None if s.verdict is Verdict.GRADER_ERROR else s.answer for s in samples]
    return [
        replace(sample, vote=vote)
        for sample, vote in zip(samples, votes(graded, right, same), strict=True)
    ]


def votes(answers: Sequence[str | None], right: Sequence[bool], same: Same) -> list[int | None]:
    """Return for each answer the index of the first one that says the same, None without one.

    All right answers are one: each equals the target. A wrong one is compared with the first of
    each wrong kind before it, so the grader's rules decide and not the text.
    """
    found: list[int | None] = []
    first_right: int | None = None
    by_text: dict[str, int] = {}  # of wrong answers
    firsts: list[int] = []
    left = MAX_COMPARISONS
    for index, (answer, is_right) in enumerate(zip(answers, right, strict=True)):
        text = (answer or "").strip()
        if not text:
            found.append(None)
            continue
        if is_right:
            first_right = index if first_right is None else first_right
            found.append(first_right)
            continue
        if text not in by_text:
            tried = firsts[:left]
            left -= len(tried)
            alike = (at for at in tried if same(text, str(answers[at]).strip()))
            by_text[text] = next(alike, index)
            if by_text[text] == index:
                firsts.append(index)
        found.append(by_text[text])
    return found
