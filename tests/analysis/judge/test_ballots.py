"""From votes to verdicts: majorities, agreement, and the figures that were published."""

from __future__ import annotations

import json

import pytest

from analysis.items import BASELINE, CANDIDATE
from analysis.judge.ballots import Ballot, Said, majority, wins_and_losses
from analysis.judge.pairs import Pair, Side
from analysis.judge.replies import CONSISTENT, MALFORMED, NEITHER, Vote
from analysis.judge.result import Result
from analysis.judge.tables import effort
from tests.conftest import SHARED, needs_shared

JUDGES = ("one", "two", "three")


def pair(doc_id: int = 0, sample_index: int = 0, sizes: tuple[int, int] = (100, 100)) -> Pair:
    sides = [Side("x" * size, False, False) for size in sizes]
    return Pair("quiz", doc_id, sample_index, str(doc_id), "q", "both correct", *sides)


def ballot(*verdicts: str | None, doc_id: int = 0) -> Ballot:
    votes = [Vote(CONSISTENT if one else MALFORMED, one) for one in verdicts]
    return Ballot(pair(doc_id), dict(zip(JUDGES, votes, strict=False)))


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], None),
        ([CANDIDATE], CANDIDATE),
        ([CANDIDATE, BASELINE], NEITHER),
        ([CANDIDATE, NEITHER], NEITHER),
        ([CANDIDATE, CANDIDATE, BASELINE], CANDIDATE),
        ([CANDIDATE, BASELINE, NEITHER], NEITHER),
        ([BASELINE, BASELINE, CANDIDATE, NEITHER], BASELINE),
        ([BASELINE, BASELINE, CANDIDATE, CANDIDATE, NEITHER], NEITHER),
    ],
)
def test_most_votes_win_and_a_tie_is_neither(verdicts: list[str], said: str | None) -> None:
    assert majority(verdicts) == said


def test_who_gave_no_verdict_has_no_vote() -> None:
    one = ballot(CANDIDATE, None, CANDIDATE)
    assert (one.verdict, one.agreement, one.unanimous) == (CANDIDATE, 1.0, True)
    alone = ballot(CANDIDATE, None, None)
    assert (alone.verdict, alone.agreement, alone.unanimous) == (CANDIDATE, None, None)
    assert ballot(None, None, None).verdict is None


def test_a_question_leans_by_the_sum_of_its_samples() -> None:
    said = [
        *(Said(pair(1, k), one) for k, one in enumerate((CANDIDATE, CANDIDATE, BASELINE))),
        *(Said(pair(2, k), one) for k, one in enumerate((CANDIDATE, BASELINE, NEITHER))),
        *(Said(pair(3, k), one) for k, one in enumerate((BASELINE, NEITHER, NEITHER))),
    ]
    assert wins_and_losses(said) == (1, 1)


@pytest.mark.parametrize(
    ("sizes", "matched"),
    [((100, 100), True), ((91, 100), True), ((90, 100), False), ((100, 112), False)],
)
def test_lengths_match_below_a_tenth_of_the_longer(sizes: tuple[int, int], matched: bool) -> None:
    assert Said(pair(sizes=sizes), CANDIDATE).matched is matched


def test_the_longer_text_wins_or_loses_or_there_is_none() -> None:
    assert Said(pair(sizes=(50, 100)), CANDIDATE).longer_won is True
    assert Said(pair(sizes=(50, 100)), BASELINE).longer_won is False
    assert Said(pair(sizes=(50, 100)), NEITHER).longer_won is None
    assert Said(pair(sizes=(100, 100)), BASELINE).longer_won is None


# Votes that give the published figures of a row: unanimous ones by verdict (distilled, baseline,
# similar), two to one, and all three apart.
PUBLISHED = {
    "Base vs math-distilled": ((380, 30, 11), (48, 13, 8), 0),
    "Base vs code-distilled": ((370, 25, 12), (37, 29, 10), 7),
}


@needs_shared
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_published_table_comes_out_of_its_votes(name: str) -> None:
    table = json.loads((SHARED / "golden" / "published.json").read_text(encoding="utf-8"))
    printed = next(row for row in table["effort_judging"]["rows"] if row[0] == name)
    verdicts = (CANDIDATE, BASELINE, NEITHER)
    other = {CANDIDATE: NEITHER, BASELINE: CANDIDATE, NEITHER: BASELINE}
    alike, split, apart = PUBLISHED[name]
    votes = [[one] * 3 for one, n in zip(verdicts, alike, strict=True) for _ in range(n)]
    votes += [
        [one, one, other[one]] for one, n in zip(verdicts, split, strict=True) for _ in range(n)
    ]
    votes += [list(verdicts)] * apart
    ballots = [ballot(*own, doc_id=i) for i, own in enumerate(votes)]
    made = effort(Result(name, JUDGES, ballots, seed=1))
    row = dict(zip((one.name for one in made.columns), made.rows[0], strict=True))
    assert (row["comparison"], row["pairs"]) == (name, printed[1])
    shares = [row[key] for key in ("candidate", "baseline", "similar")]
    assert [f"{100 * one.value:.1f}" for one in shares] == [f"{one:.1f}" for one in printed[2:5]]
    digits = len(str(printed[5])) - 2
    assert f"{row['agreement'].value:.{digits}f}" == str(printed[5])
    assert f"{100 * row['unanimous'].value:.0f}" == str(printed[6])
    headings = [column.heading for column in made.columns][
        : len(table["effort_judging"]["columns"])
    ]
    assert headings == table["effort_judging"]["columns"]
