"""Which language a text is in: langdetect's guess, made repeatable.

Owns the detection. langdetect draws random samples of a text, so the official checker may answer
otherwise on every run. Here the same question is put with fixed seeds until most of five agree,
which is the verdict that the official checker gives most often. No global state is read or changed.

Example: `is_language("Das ist ein kurzer deutscher Satz.", "de")` is True.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

N_VOTES = 5
LOADING = Lock()


def is_language(text: str, language: str) -> bool:
    """Tell whether the text is in a language, an ISO 639-1 code (`zh-cn` and `zh-tw` apart).

    A text without any letters that langdetect knows follows every wish, as officially.
    """
    votes = {True: 0, False: 0}
    for seed in range(N_VOTES):
        guess = detect(text, seed)
        votes[guess is None or guess == language] += 1
        if max(votes.values()) > N_VOTES // 2:
            break
    return votes[True] > votes[False]


def detect(text: str, seed: int) -> str | None:
    """Return langdetect's guess with one seed, or None where the text gives it nothing to go by."""
    from langdetect.lang_detect_exception import LangDetectException

    with LOADING:
        factory = profiles()
    detector = factory.create()
    detector.seed = seed
    detector.append(text)
    try:
        guess: str = detector.detect()
    except LangDetectException:
        return None
    return guess


@cache
def profiles() -> Any:
    """Load langdetect's profiles into a factory of our own, in the order of their names."""
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    texts = [
        path.read_text(encoding="utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())
    ]
    # Its bare `except` makes a damaged profile of Ctrl-C, which reaches the main thread alone.
    with ThreadPoolExecutor(1) as apart:
        apart.submit(factory.load_json_profile, texts).result()
    return factory
