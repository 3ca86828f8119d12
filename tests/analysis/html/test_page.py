from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.html.page import PageOptions, notes, page
from analysis.html.shell import with_code
from analysis.reliability import warnings
from analysis.tables import catalogue
from tests.analysis.comparisons import compared, compared_tasks
from tests.analysis.html.pages import COMMAND, quiz_comparison, quiz_page
from tests.analysis.runs import foreign_row

FIXED = ["verdict", "warnings", "differences", "explorer", "notes", "data-quality", "method"]


class Tags(HTMLParser):
    """Every element of a page with its attributes, and the text of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = True

    def handle_data(self, data: str) -> None:
        if self.open:
            number = len(self.elements) - 1
            self.texts[number] = self.texts.get(number, "") + data

    def handle_endtag(self, tag: str) -> None:
        self.open = False


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quiz_page(tmp_path_factory.mktemp("quiz"))


@pytest.fixture(scope="module")
def tags(text: str) -> Tags:
    return Tags(text)


def test_sections_stand_in_the_order_of_a_report(tags: Tags) -> None:
    ids = [str(attrs.get("id")) for tag, attrs in tags.elements if tag == "section"]
    assert [one for one in ids if one in FIXED] == FIXED
    assert ids[-1] == "provenance"
    tables = [number for number, one in enumerate(ids) if one.startswith("table-")]
    assert ids.index("differences") < tables[0] < tables[-1] < ids.index("explorer")
    assert "table-scorecard" in ids


def test_ids_are_unique_and_links_lead_somewhere(tags: Tags) -> None:
    ids = [attrs["id"] for _, attrs in tags.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [str(attrs["href"]) for _, attrs in tags.elements if "href" in attrs]
    assert {one.removeprefix("#") for one in targets if one.startswith("#")} <= set(map(str, ids))
    assert all(one.startswith("#") or one == "data:," for one in targets)


def test_nothing_runs_or_styles_but_what_the_policy_names(tags: Tags) -> None:
    policy = next(a["content"] for t, a in tags.elements if "http-equiv" in a) or ""
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for number, (tag, attrs) in enumerate(tags.elements):
        assert not [name for name in attrs if name.startswith("on") or name == "style"], attrs
        assert "src" not in attrs
        if tag == "style" or (tag == "script" and attrs.get("type") != "application/json"):
            digest = hashlib.sha256(tags.texts[number].encode()).digest()
            assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_a_page_holds_one_style_one_script_and_one_block_of_data(tags: Tags) -> None:
    names = [tag for tag, _ in tags.elements]
    assert (names.count("style"), names.count("script")) == (1, 2)


def test_every_figure_has_a_title_words_and_a_table_beside_it(tags: Tags) -> None:
    drawings = [attrs for tag, attrs in tags.elements if tag == "svg"]
    assert len(drawings) >= 4
    ids = {attrs.get("id") for _, attrs in tags.elements}
    for attrs in drawings:
        assert attrs["role"] == "img"
        assert set(str(attrs["aria-labelledby"]).split()) <= ids
    figures = [str(a["id"]).removeprefix("figure-") for t, a in tags.elements if t == "figure"]
    tables = {f"table-{name}" for name in figures if name != "forest"}
    assert tables <= ids


def test_the_same_runs_give_the_same_bytes(text: str, tmp_path: Path) -> None:
    pages = [quiz_page(tmp_path / name, n_flips=3) for name in ("one", "one")]
    assert pages[0] == pages[1]


def test_the_verdict_is_on_the_page_with_its_uncertainty(text: str) -> None:
    sentence = re.search(r'<p class="sentence">(.+?)</p>', text)
    assert sentence
    assert "points [" in sentence[1]
    assert "p=" in sentence[1]


def test_provenance_names_files_hashes_seed_and_command(text: str) -> None:
    part = text[text.index('id="provenance"') :].replace("<wbr>", "")
    assert "sha256" in part
    assert "base-model" in part
    assert COMMAND in part
    assert "seed 1234" in text


def test_names_of_models_are_text(tmp_path: Path) -> None:
    page = quiz_page(tmp_path, names=("<script>base</script>", "a & b \u202e"))
    assert "<script>base" not in page
    assert "&lt;script&gt;base&lt;/script&gt;" in page
    assert "a &amp; b \\u202e" in page


def test_a_hostile_name_of_a_task_is_text_without_hidden_marks(tmp_path: Path) -> None:
    hard = [foreign_row(i, 0.0, text="") for i in range(10)]
    name = "<b>q\u202e\x07uiz"
    made = page(compared_tasks(tmp_path, {name: (hard, hard)}), PageOptions())
    assert "<b>q" not in made
    assert not {"\u202e", "\x07"} & set(made)
    assert made.count("&lt;b&gt;q\\u202e\\x07uiz") > 5


def test_without_flips_no_text_of_a_run_is_in_the_file(tmp_path: Path) -> None:
    base = [foreign_row(i, float(i % 2), text=f"secret completion {i}") for i in range(12)]
    cand = [foreign_row(i, float(i % 3 == 0), text=f"secret answer {i}") for i in range(12)]
    for row in (*base, *cand):
        row["target"] = "secret target"
        row["arguments"]["gen_args_0"]["arg_0"] = "secret prompt"
        row["doc"] = {"question": "secret question"}
    text = page(compared(tmp_path, base, cand), PageOptions(n_flips=0))
    assert "secret" not in text
    assert "--flips 0" in text
    assert "secret question" in page(compared(tmp_path, base, cand), PageOptions(n_flips=1))


def test_a_table_without_rows_is_named_with_its_reason(text: str) -> None:
    part = text[text.index('id="empty"') : text.index('id="explorer"')]
    assert "<details>" in part
    assert "needs --train" in part


def test_warnings_of_one_kind_are_folded_beyond_the_first(tmp_path: Path) -> None:
    rows = [foreign_row(i, float(i % 2), text="x") for i in range(4)]
    made = page(
        compared_tasks(tmp_path, {f"quiz{i}": (rows, rows) for i in range(6)}), PageOptions()
    )
    part = made[made.index('id="warnings"') : made.index('id="differences"')]
    assert part.count('<li class="info">') == 3
    assert "<summary>4 more of few-questions on quiz2, quiz3, quiz4, quiz5</summary>" in part
    assert all(f"<b>quiz{i}</b>" in part for i in range(6))


def test_a_name_wraps_at_its_joints_and_heads_its_row(tmp_path: Path) -> None:
    rows = [foreign_row(i, float(i % 2), text="x") for i in range(4)]
    made = page(compared_tasks(tmp_path, {"a_long<b>_name": (rows, rows)}), PageOptions())
    assert ">a_<wbr>long&lt;b&gt;_name</th>" in made
    assert '<th scope="row" class="text short">' in made


def test_a_warning_is_not_said_again_among_the_notes(tmp_path: Path) -> None:
    comparison = quiz_comparison(tmp_path)
    found = warnings(comparison)
    assert not {one.text for one in found} & {one.text for one in notes(comparison, found)}


def test_one_question_is_one_and_a_command_that_is_named_is_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [replace(entry, reading="Read `ratio`.") for entry in catalogue.PAIR]
    monkeypatch.setattr(catalogue, "PAIR", named)
    rows = [foreign_row(0, 1.0, text="x")]
    made = page(compared(tmp_path, rows, rows), PageOptions())
    assert "1 task, 1 paired question<" in made
    assert ">only 1 question<" in made.replace("<b>quiz</b>: ", ">")
    assert '<p class="lead">Read <code>ratio</code>.</p>' in made


def test_data_of_the_explorer_is_json_that_ends_no_script(tags: Tags) -> None:
    data = next(
        tags.texts[number]
        for number, (tag, attrs) in enumerate(tags.elements)
        if attrs.get("id") == "flip-data"
    )
    assert not set("<>&\u2028\u2029") & set(data)
    assert len(json.loads(data)) == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `ratio`.", "see <code>ratio</code>."),
        ("`<b>` & c", "<code>&lt;b&gt;</code> &amp; c"),
        ("a lone ` stays", "a lone ` stays"),
    ],
)
def test_backticks_become_code_and_nothing_else_becomes_markup(text: str, expected: str) -> None:
    assert str(with_code(text)) == expected
