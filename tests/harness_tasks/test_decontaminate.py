"""What is found of benchmark questions in texts, and what is not mistaken for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness_tasks import docs
from harness_tasks.decontaminate import (
    Benchmark,
    Decontaminator,
    Hit,
    benchmark_sources,
    suite_benchmarks,
)
from harness_tasks.overlap import N_WORDS
from harness_tasks.records import read_jsonl
from tests.conftest import SHARED, needs_shared

DATA = SHARED / "data" / "benchmarks"
STORY = (
    "Aya walks nine kilometers every morning and then drinks tea in a small shop beside the old "
    "harbour, where she stays for exactly t minutes before the long way home begins again."
)
OTHER = (
    "A farmer sells red apples for two coins and green pears for three coins each, and after the "
    "market closes he counts ninety coins in a leather bag. How many pears did he sell at most?"
)
SHORT = "Simplify $\\sqrt{242}$."


def finder(*texts: str, **options: Any) -> Decontaminator:
    return Decontaminator(
        [Benchmark("bench", [(str(number), text) for number, text in enumerate(texts)])], **options
    )


def hows(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    return [(hit.doc_id, hit.how) for hit in hits]


@pytest.mark.parametrize(
    "changed",
    [
        STORY,
        STORY.upper(),
        STORY.replace(" ", " \n "),
        f"Here is one for you. {STORY} Think before you answer!",
        f"Question:\n{STORY}\nAnswer:",
    ],
)
def test_the_whole_question_is_an_exact_hit(changed: str) -> None:
    assert hows(finder(STORY, OTHER).hits(changed)) == [("0", "exact")]


@pytest.mark.parametrize(
    "changed",
    [
        r"simplify $\sqrt{242}$",
        r"Simplify \( \sqrt { 242 } \).",
        r"Please do this. Simplify $\sqrt{242}$. Thank you.",
        r"SIMPLIFY $\SQRT{242}$.",
        r"Simplify $\displaystyle\sqrt{\,242\,}$ and explain.",
    ],
)
def test_a_short_question_is_found_as_sentences_of_its_own(changed: str) -> None:
    assert hows(finder(SHORT).hits(changed)) == [("0", "exact")]


@pytest.mark.parametrize(
    "longer",
    [
        r"Simplify $\sqrt{242}+\sqrt{2}$.",
        r"Simplify $\sqrt{242x}$.",
        r"To simplify $\sqrt{242}$ is easy, so find its cube.",
        r"Simplify $\sqrt{2420}$.",
    ],
)
def test_a_short_question_inside_another_formula_or_sentence_is_no_hit(longer: str) -> None:
    assert finder(SHORT).hits(longer) == []


def test_a_sign_makes_a_short_formula_another_question() -> None:
    assert finder("Evaluate $(1+2i)6-3i$.").hits("Evaluate $(1+2i)6+3i$.") == []


def test_most_of_a_question_is_an_ngram_hit_with_the_run_as_excerpt() -> None:
    changed = STORY.replace("nine", "four") + " How long is she away?"
    (hit,) = finder(STORY, OTHER).hits(changed)
    assert hit.how == "ngram"
    assert 0.8 < hit.score < 1
    assert hit.excerpt.startswith("kilometers every morning and then drinks")


def test_a_long_quotation_from_a_much_longer_question_is_a_hit() -> None:
    long = f"{STORY} {OTHER} " + " ".join(f"word{chr(97 + i)}x" for i in range(26)) * 3
    quoted = "Consider this: " + " ".join(OTHER.split()[:24]) + " and nothing else is known."
    assert hows(finder(long).hits(quoted)) == [("0", "ngram")]


def test_a_phrase_that_two_benchmark_questions_have_is_boilerplate() -> None:
    phrase = (
        "can be written in the form m over n where m and n are relatively prime positive "
        "integers find m plus n and give it as your answer"
    )
    found = finder(f"{STORY} The time {phrase}.", f"{OTHER} The share {phrase}.")
    assert found.hits(f"A die is thrown until a six comes up. The chance {phrase}.") == []


def test_equal_texts_in_two_benchmarks_are_both_named_and_are_no_boilerplate() -> None:
    parts = [Benchmark("one", [("a", STORY)]), Benchmark("two", [("b", STORY.upper())])]
    found = Decontaminator(parts).hits(STORY.replace("nine", "four"))
    assert [(hit.benchmark, hit.doc_id, hit.how) for hit in found] == [
        ("one", "a", "ngram"),
        ("two", "b", "ngram"),
    ]


def test_a_doc_with_several_texts_gives_one_hit() -> None:
    part = Benchmark("code", [("f", f'def f():\n    """{STORY}"""'), ("f", STORY)])
    assert hows(Decontaminator([part]).hits(f"{STORY}\n\nassert f() == 1")) == [("f", "exact")]


def test_a_run_of_numbers_is_no_hit() -> None:
    numbers = " ".join(str(number) for number in range(40))
    assert finder(f"Sort these: {numbers}").hits(f"Add up {numbers} quickly.") == []


def test_many_texts_give_what_each_gives() -> None:
    found = finder(STORY, OTHER, SHORT)
    texts = [STORY, "nothing", SHORT, OTHER.lower()] * 200
    assert list(found.hits_of(texts)) == [found.hits(text) for text in texts]


def test_nothing_is_found_in_nothing() -> None:
    assert finder(STORY).hits("") == []
    assert finder("", "$$").hits("") == []
    assert Decontaminator([]).hits(STORY) == []


def test_hostile_text_is_looked_through() -> None:
    found = finder(STORY)
    assert found.hits("\ud800 \x00 " * 1000 + r"\left" * 1000 + "[asy]" * 1000) == []
    assert hows(found.hits(f"\ud800. {STORY}")) == [("0", "exact")]


@pytest.mark.parametrize(("n", "threshold"), [(2, 0.9), (13, 0.0), (13, 1.1)])
def test_a_senseless_rule_is_refused(n: int, threshold: float) -> None:
    with pytest.raises(ValueError, match="got"):
        finder(STORY, n=n, threshold=threshold)


def by_first_word(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    rows = np.array([[1.0, 0.2] if text.startswith("A") else [0.0, 1.0] for text in texts])
    unit: np.ndarray[Any, Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_a_near_embedding_is_a_paraphrase_with_its_cosine() -> None:
    found = finder(STORY, embed=by_first_word)
    (hit,) = found.hits("Another text that shares no run of words with the first.")
    assert (hit.doc_id, hit.how) == ("0", "paraphrase")
    assert hit.score == pytest.approx(1.0)
    assert found.hits("Not near at all.") == []


def test_a_question_found_by_its_words_is_not_named_again_as_a_paraphrase() -> None:
    assert hows(finder(STORY, embed=by_first_word).hits(STORY)) == [("0", "exact")]


def test_every_benchmark_of_the_suite_is_looked_at() -> None:
    covered = set(benchmark_sources())
    livecodebench = {name for name in docs.SOURCES if name.startswith("lcb_")}
    demos = {name for name, spec in docs.SOURCES.items() if spec.packaged}
    assert set(docs.SOURCES) == covered | livecodebench | demos
    assert len(covered & livecodebench) == 1


def test_a_benchmark_that_cannot_be_loaded_is_named_with_its_reason(tmp_path: Path) -> None:
    loaded, missing = suite_benchmarks(tmp_path)
    assert loaded == []
    assert [line.partition(": ")[0] for line in missing] == benchmark_sources()
    assert all("no file" in line for line in missing)


def test_without_a_folder_and_without_the_hub_every_benchmark_is_named() -> None:
    _, missing = suite_benchmarks(names=["math500"])
    assert len(missing) == 1
    assert missing[0].startswith("math500: cannot load HuggingFaceH4/MATH-500@")


def test_the_folder_of_the_environment_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_EVAL_DATA", str(tmp_path))
    _, missing = suite_benchmarks(names=["gsm8k"])
    assert str(tmp_path) in missing[0]


def test_an_unknown_benchmark_is_named() -> None:
    _, missing = suite_benchmarks(names=["nonsense"])
    assert missing[0].startswith("nonsense: no benchmark of the suite; known are math500")


@cache
def suite() -> tuple[list[Benchmark], Decontaminator]:
    benchmarks, not_checked = suite_benchmarks(DATA)
    assert not_checked == []
    return benchmarks, Decontaminator(benchmarks)


def spaced(text: str) -> str:
    return re.sub(r"([=+<>])", r" \1\\, ", text).replace("{", "{ ")


@needs_shared
@pytest.mark.parametrize(
    "changed",
    [
        str,
        str.upper,
        lambda text: text.replace(" ", "  \n"),
        spaced,
        lambda text: f"Here is a problem for you. {text} Please think hard about it.",
        lambda text: f"Question:\n{text.lower()}\n\nAnswer:",
    ],
    ids=["same", "capitals", "spaces", "LaTeX spaces", "sentences around", "lower, lines around"],
)
def test_every_benchmark_question_is_found_exactly(changed: Callable[[str], str]) -> None:
    benchmarks, decontaminator = suite()
    names = [(part.name, doc_id) for part in benchmarks for doc_id, _ in part.texts]
    texts = (changed(text) for part in benchmarks for _, text in part.texts)
    missed = [
        name
        for name, hits in zip(names, decontaminator.hits_of(texts), strict=True)
        if not any((h.benchmark, h.doc_id, h.how) == (*name, "exact") for h in hits)
    ]
    assert missed == []


# Each was read beside its benchmark question. The first four are that question in other words at
# its start or end; the others ask the same of other numbers.
ALIKE = {
    "test/precalculus/1281.json",
    "test/intermediate_algebra/1063.json",
    "test/counting_and_probability/1003.json",
    "test/intermediate_algebra/345.json",
    "test/intermediate_algebra/279.json",
    "test/precalculus/541.json",
    "test/intermediate_algebra/102.json",
    "test/prealgebra/1742.json",
}


@needs_shared
def test_of_2894_clean_questions_only_those_are_flagged_that_are_alike() -> None:
    rows = [row["problem"] for row in read_jsonl(DATA / "competition_math_sample.jsonl.gz")]
    found = [hits for hits in suite()[1].hits_of(rows) if hits]
    assert {hit.doc_id for hits in found for hit in hits} == ALIKE
    assert len(found) == len(ALIKE)


@needs_shared
def test_no_question_of_jeebench_is_flagged() -> None:
    rows = [row["question"] for row in read_jsonl(DATA / "jeebench.jsonl")]
    assert [hits for hits in suite()[1].hits_of(rows) if hits] == []


@needs_shared
def test_the_sentence_alone_of_an_mbpp_task_is_found() -> None:
    in_plus = {doc_id for part in suite()[0] if part.name == "mbppplus" for doc_id, _ in part.texts}
    rows = [
        row
        for row in read_jsonl(DATA / "mbpp_sanitized.jsonl")
        if f"Mbpp/{row['task_id']}" in in_plus
    ]
    found = suite()[1].hits_of(row["prompt"] for row in rows)
    missed = [
        row["task_id"]
        for row, hits in zip(rows, found, strict=True)
        if f"Mbpp/{row['task_id']}" not in {hit.doc_id for hit in hits}
    ]
    assert len(rows) == 378
    assert missed == []


@needs_shared
def test_leetcode_problems_are_flagged_where_livecodebench_has_them_or_a_sibling() -> None:
    titles = {
        slug(row["question_title"]) for row in read_jsonl(DATA / "livecodebench_v6_public.jsonl.gz")
    }
    rows = list(read_jsonl(DATA / "leetcode_dataset_test.jsonl.gz"))
    found = list(suite()[1].hits_of(row["problem_description"] for row in rows))
    same = [slug(row["task_id"]) in titles for row in rows]
    assert sum(same) > 100
    assert all(hits for hits, known in zip(found, same, strict=True) if known)
    # Nothing else is `exact`; what else is flagged is told in other words, or a sibling (I, II).
    assert not any(
        hit.how == "exact"
        for hits, known in zip(found, same, strict=True)
        if not known
        for hit in hits
        if hit.benchmark != "lcb_v6_public"
    )


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")


def test_the_usual_length_of_a_run_is_thirteen_words() -> None:
    assert N_WORDS == 13


def test_where_the_hub_cannot_be_reached_the_other_benchmarks_come_from_the_cache_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub.constants as hub

    waits: list[bool] = []

    def load_rows(name: str, folder: str | None) -> Any:
        waits.append(not hub.HF_HUB_OFFLINE)
        raise ValueError(f"cannot load {name}") from ConnectionError("no such host")

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(docs, "load_rows", load_rows)
    monkeypatch.delenv(docs.DATA_ENV, raising=False)
    loaded, missing = suite_benchmarks()
    assert (loaded, len(missing)) == ([], len(benchmark_sources()))
    assert waits == [True] + [False] * (len(missing) - 1)
    assert hub.HF_HUB_OFFLINE is False
