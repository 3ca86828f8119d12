"""Questions that say the same: exact duplicates, and near ones by MinHash.

Owns which of several like questions stays (the first) and what is said of the others. Refuses to
own the normal form of a text (`wording`) and which questions are compared. datasketch proposes
pairs; each is then checked by its true Jaccard similarity, so the threshold means what it says.

Example:
    finder = NearDuplicates(0.85)
    finder.add(0, "What is one and one?")
    finder.near("What is one and one")  # [(0, 1.0)]
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from harness_tasks.wording import WORD_OR_SIGN, cleaned, plain

if TYPE_CHECKING:
    import numpy as np

SHINGLE_WORDS = 3
N_PERMUTATIONS = 128
# Pairs are proposed from here below the threshold on, since MinHash misses some that lie on it.
MARGIN = 0.15
# A missed pair costs more than a proposed one that the true similarity then refuses.
WEIGHTS = (0.1, 0.9)  # of false positives, of false negatives
SEED = 1
# Thousands of questions made from one template propose one another: no more are compared.
MOST_PROPOSED = 1000


def exact_key(question: str) -> bytes:
    """Return what equal questions share: their text without case and with single spaces."""
    return hashlib.blake2b(plain(question).encode(errors="surrogatepass"), digest_size=16).digest()


def shingles(question: str) -> np.ndarray[Any, Any]:
    """Return the sorted hashes of all runs of three words or signs; of a shorter text, itself."""
    import numpy as np

    found = WORD_OR_SIGN.findall(cleaned(question).casefold()) or [plain(question)]
    runs = zip(*(found[start:] for start in range(SHINGLE_WORDS)), strict=False)
    texts = {" ".join(run) for run in runs} or {" ".join(found)}
    hashes = [zlib.crc32(text.encode(errors="surrogatepass")) for text in texts]
    return np.unique(np.array(hashes, dtype=np.uint32))


def jaccard(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the share of all shingles that two questions have both; in [0, 1]."""
    import numpy as np

    if len(one) > len(other):
        one, other = other, one
    places = np.searchsorted(other, one)
    n_common = int(np.count_nonzero(other[places.clip(max=len(other) - 1)] == one))
    return n_common / (len(one) + len(other) - n_common)


class NearDuplicates:
    """Finds for a question those that were added before and are nearly the same."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        if not 0.5 <= threshold <= 1:
            raise ValueError(f"--near-threshold must be between 0.5 and 1, got {threshold}")
        self.threshold = threshold
        self.empty = MinHash(num_perm=N_PERMUTATIONS, seed=SEED, hashfunc=lambda value: value)
        proposing = threshold - MARGIN
        self.index = MinHashLSH(threshold=proposing, num_perm=N_PERMUTATIONS, weights=WEIGHTS)
        self.last: tuple[str, np.ndarray[Any, Any], Any] | None = None
        self.added: dict[int, np.ndarray[Any, Any]] = {}

    def near(self, question: str) -> list[tuple[int, float]]:
        """Return the numbers of what is near with the similarity, in the order of the numbers."""
        found, sketch = self.sketched(question)
        proposed = sorted(self.index.query(sketch))[:MOST_PROPOSED]
        pairs = [(other, jaccard(found, self.added[other])) for other in proposed]
        return [(other, value) for other, value in pairs if value >= self.threshold]

    def add(self, number: int, question: str) -> None:
        """Let a question be found under a number from now on."""
        self.added[number], sketch = self.sketched(question)
        self.index.insert(number, sketch, check_duplication=False)

    def sketched(self, question: str) -> tuple[np.ndarray[Any, Any], Any]:
        """Return a question's shingles and their MinHash; the last one is remembered."""
        if self.last is None or self.last[0] != question:
            found, sketch = shingles(question), self.empty.copy()
            sketch.update_batch(found.tolist())
            self.last = (question, found, sketch)
        return self.last[1:]


def same_text(one: str, other: str) -> bool:
    """Tell whether two answers are written alike, but for case and spaces."""
    return plain(one).replace(" ", "") == plain(other).replace(" ", "")


def same_answer(one: str, other: str) -> bool:
    """Tell whether two answers of one question agree, as text or in the eyes of the grader."""
    if same_text(one, other):
        return True
    from harness_tasks.graders.grade import GraderError
    from harness_tasks.graders.math_answer import grade
    from harness_tasks.records import Verdict

    try:
        return grade(one, other).verdict is Verdict.CORRECT
    except GraderError:
        return False
