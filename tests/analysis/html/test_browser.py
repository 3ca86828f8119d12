"""The page in headless Chromium: what people do with it, and what hostile runs try."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from analysis.html.page import PageOptions
from analysis.html.page import page as page_of
from tests.analysis.comparisons import compared_paths
from tests.analysis.html.pages import IMAGE, SCRIPT, quiz_page
from tests.analysis.runs import foreign_row, write_run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not CHROMIUM,
    reason="THE HTML REPORT WAS NOT OPENED IN A BROWSER: no chromium on PATH; "
    "`apt-get install chromium` brings Debian's",
)
DESK, PHONE = {"width": 1360, "height": 900}, {"width": 375, "height": 812}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    path.write_text(quiz_page(folder, 60, n_flips=120), encoding="utf-8")
    return path


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Page]:
    """Open a file; anything on the console, an error, or a request but for the file fails."""
    context = browser.new_context(**{"viewport": DESK, **options})
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "request",
        lambda one: one.url in (path.as_uri(), "data:,") or faults.append(f"request: {one.url}"),
    )
    page.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    with opened(browser, report) as page:
        yield page


def entries(page: Page) -> list[dict[str, Any]]:
    """Return what the page holds of the questions."""
    found: list[dict[str, Any]] = json.loads(page.locator("#flip-data").text_content() or "")
    return found


def n_found(page: Page) -> int:
    """Return how many questions the page says it found."""
    text = page.locator("#f-count").text_content() or ""
    number = re.match(r"([\d,]+) of", text)
    return int(number[1].replace(",", "")) if number else 0


def search(page: Page, text: str) -> None:
    """Type into the search field, and wait until the page has answered."""
    page.locator("#f-search").fill(text)
    wait_for_search(page, text)


def wait_for_search(page: Page, text: str) -> None:
    """Wait until what is listed is what was searched for."""
    script = "sought => document.getElementById('f-list').dataset.sought === sought"
    page.wait_for_function(script, arg=text.lower())


def open_first(page: Page, text: str) -> Locator:
    """Search for a text, open the first question found, and unfold the reasoning."""
    search(page, text)
    page.locator(".q-head").first.click()
    item = page.locator(".q").first
    for folded in item.locator("details").all():
        unfold(folded)
    return item


def unfold(folded: Locator) -> None:
    """Open a reasoning, and wait for its text: the browser tells of the opening a moment later."""
    folded.locator("summary").click()
    folded.locator(":scope > :nth-child(2)").wait_for()


def test_it_opens_and_shows_verdict_tables_and_figures(page: Page) -> None:
    assert "points [" in (page.locator(".sentence").text_content() or "")
    assert page.locator("#table-scorecard table").is_visible()
    assert page.locator("#differences .wide svg").is_visible()
    assert page.locator("#differences .narrow svg").is_hidden()
    page.wait_for_timeout(300)


@pytest.mark.parametrize(
    ("field", "value", "fits"),
    [
        ("task", "second_quiz", lambda one: one["task"] == "second_quiz"),
        ("direction", "candidate", lambda one: one["direction"] == "candidate"),
        ("direction", "neither", lambda one: one["direction"] == "neither"),
        ("baseline", "correct", lambda one: one["arms"][0]["verdict"] == "correct"),
        ("candidate", "incorrect", lambda one: one["arms"][1]["verdict"] == "incorrect"),
        ("truncated", "any", lambda one: any(arm["truncated"] for arm in one["arms"])),
        ("truncated", "none", lambda one: not any(arm["truncated"] for arm in one["arms"])),
    ],
)
def test_a_filter_leaves_what_fits(page: Page, field: str, value: str, fits: Any) -> None:
    expected = sum(map(fits, entries(page)))
    assert 0 < expected < len(entries(page)) == n_found(page)
    page.locator(f"#f-{field}").select_option(value)
    assert n_found(page) == expected
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(
        "n => document.getElementById('f-count').textContent.startsWith(n + ' of')",
        arg=str(len(entries(page))),
    )


def test_filters_add_up_and_nothing_found_is_said(page: Page) -> None:
    page.locator("#f-direction").select_option("baseline")
    page.locator("#f-task").select_option("second_quiz")
    assert "No question fits" in (page.locator("#f-count").text_content() or "")
    assert page.locator(".q").count() == 0


@pytest.mark.parametrize(
    "text", ["needle53", "NEEDLE53", "question 53: what", "thought 53", "the answer is 106"]
)
def test_search_finds_questions_and_completions(page: Page, text: str) -> None:
    search(page, text)
    found = n_found(page)
    assert 0 < found <= 2
    assert "53" in (page.locator(".q-name b").first.text_content() or "")


def test_a_question_shows_both_completions_side_by_side_with_the_reasoning_folded(
    page: Page,
) -> None:
    search(page, "needle53")
    page.locator(".q-head").first.click()
    item = page.locator(".q").first
    texts = item.inner_text()
    for one in ("question 53", "Target", "Extracted", "Why", "the answer is"):
        assert one in texts
    assert "thought 53" not in texts
    unfold(item.locator("details").first)
    assert "thought 53" in item.inner_text()
    one, other = (arm.bounding_box() for arm in item.locator(".completion").all())
    assert one is not None
    assert other is not None
    assert one["x"] + one["width"] < other["x"]
    assert abs(one["y"] - other["y"]) < 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>document", SCRIPT),
        ("onerror", IMAGE),
        ("{{ 7 * 7 }}", "{{ 7 * 7 }} ${alert(1)}"),
        (
            "override",
            "right to left \\u202e override, \\u2066isolate\\u2069, NUL \\x00, bell \\x07",
        ),
        ("half", "half \\ud800 a pair"),
        ("display: none", "<style>* { display: none }</style><svg onload="),
    ],
)
def test_a_hostile_completion_is_shown_as_text_and_does_nothing(
    page: Page, text: str, shown: str
) -> None:
    title = page.title()
    scripts = page.locator("script").count()
    item = open_first(page, text)
    page.wait_for_timeout(100)
    assert shown in item.inner_text()
    assert page.title() == title != "stolen"
    assert page.locator("script").count() == scripts
    assert item.locator("img, svg, style, iframe, a").count() == 0
    assert page.locator(".sentence").is_visible()


def test_a_hostile_name_group_target_and_answer_are_text_in_every_table(page: Page) -> None:
    for table in ("groups", "flips", "questions"):
        cells = " ".join(page.locator(f"#table-{table} td").all_inner_texts())
        assert "document.title = 'stolen'" in cells
    assert page.title() != "stolen"
    assert page.locator("main img").count() == 0


def test_a_completion_of_megabytes_is_cut_and_says_so(page: Page) -> None:
    item = open_first(page, "long long long")
    assert "1,979,999 characters left out here" in item.inner_text()
    assert len(item.inner_text()) < 100_000


def test_keys_search_walk_open_unfold_and_close(page: Page) -> None:
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "f-search"
    page.keyboard.type("needle")
    wait_for_search(page, "needle")
    page.locator("#f-count").click()
    page.evaluate("document.activeElement.blur()")
    for key in ("j", "j", "k", "j"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.parentElement.dataset.index") == page.locator(
        ".q"
    ).nth(1).get_attribute("data-index")
    page.keyboard.press("Enter")
    item = page.locator(".q").nth(1)
    assert item.locator(".completion").count() == 2
    page.keyboard.press("r")
    assert item.locator("details[open]").count() == 2
    page.keyboard.press("Escape")
    assert item.locator(".completion").count() == 0
    assert page.evaluate("document.activeElement.className") == "q-head"


def test_a_thousand_questions_are_made_a_page_at_a_time(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "thousand.html"
    path.write_text(quiz_page(tmp_path, 500, n_flips=1000), encoding="utf-8")
    with opened(browser, path) as page:
        assert n_found(page) == 1000
        assert page.locator(".q").count() == 40
        page.get_by_role("button", name="Show 40 more").click()
        assert page.locator(".q").count() == 80
        search(page, "needle483")
        assert n_found(page) == 2
        search(page, "")
        page.locator(".q-head").nth(39).focus()
        page.keyboard.press("j")
        assert page.locator(".q").count() == 80


@pytest.mark.parametrize("width", [320, 375, 768])
def test_nothing_reaches_beyond_a_narrow_screen(browser: Browser, report: Path, width: int) -> None:
    with opened(browser, report, viewport={"width": width, "height": 800}) as page:
        open_first(page, "onerror")
        assert page.evaluate(OVERFLOW) <= 0


def test_on_a_phone_completions_are_stacked_and_figures_narrow(
    browser: Browser, report: Path
) -> None:
    with opened(browser, report, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        assert page.locator("#differences .narrow svg").is_visible()
        assert page.locator("#differences .wide svg").is_hidden()
        item = open_first(page, "needle53")
        one, other = (arm.bounding_box() for arm in item.locator(".completion").all())
        assert one is not None
        assert other is not None
        assert one["x"] == other["x"]
        assert one["y"] + one["height"] <= other["y"]
        assert page.locator(".contents ol").is_hidden()
        page.locator(".contents summary").click()
        page.locator(".contents a", has_text="Provenance").click()
        assert page.evaluate("location.hash") == "#provenance"


def ground(page: Page) -> str:
    """Return the colour behind the page."""
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def ink_of_figures(page: Page) -> str:
    """Return the colour of a text in a drawing."""
    text = page.locator("#differences .wide svg text").first
    colour: str = text.evaluate("one => getComputedStyle(one).fill")
    return colour


def test_light_and_dark_follow_the_system_and_the_button(browser: Browser, report: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with opened(browser, report, color_scheme=scheme) as page:
            seen[scheme] = ground(page), ink_of_figures(page)
            page.locator("#theme").click()
            assert ground(page) == "rgb(255, 255, 255)"
            page.locator("#theme").click()
            assert ground(page) != "rgb(255, 255, 255)"
            dark = ground(page), ink_of_figures(page)
            page.reload()
            assert (ground(page), ink_of_figures(page)) == dark
    assert seen["light"][0] == "rgb(255, 255, 255)"
    assert seen["dark"] == dark != seen["light"]


def test_paper_is_white_and_has_tables_without_boxes_and_no_explorer(
    browser: Browser, report: Path
) -> None:
    with opened(
        browser, report, color_scheme="dark", viewport={"width": 680, "height": 1000}
    ) as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert ground(page) == "rgb(255, 255, 255)"
        assert page.locator("#explorer").is_hidden()
        assert page.locator(".contents").is_hidden()
        assert page.locator("#differences .wide svg").is_visible()
        boxes = page.locator(".table").evaluate_all(
            "all => all.map(one => getComputedStyle(one).overflowX)"
        )
        assert set(boxes) == {"visible"}
        assert page.locator("#table-questions tbody tr").nth(24).is_visible()
        assert page.locator("#table-questions tbody tr").nth(25).is_hidden()
        assert page.evaluate(OVERFLOW) <= 0
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("#empty dl").is_visible()


def test_without_javascript_tables_and_figures_are_there(browser: Browser, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False) as page:
        assert page.locator("#table-scorecard table").is_visible()
        assert page.locator("noscript").is_visible() or "needs JavaScript" in page.content()
        assert page.locator("#flips").is_hidden()


def test_it_does_not_say_that_a_model_did_not_reason_where_nobody_knows(
    browser: Browser, tmp_path: Path
) -> None:
    plain = [foreign_row(i, float(i % 2), text="just an answer") for i in range(4)]
    thought = [foreign_row(i, 1.0, text="<think>so</think>an answer") for i in range(4)]
    chosen = [foreign_row(i, 1.0, resps=[[[-1.5, False]]]) for i in range(4)]
    path = tmp_path / "report.html"
    served = {"model": "local-completions"}  # it loses what a server sends apart
    arms = [tmp_path / name for name in ("base", "student")]
    for arm, written in zip(arms, (plain, thought), strict=True):
        write_run(arm, written, task="written", config=served)
        write_run(arm, chosen, task="chosen", config=served)
    path.write_text(page_of(compared_paths(*arms), PageOptions()), encoding="utf-8")
    with opened(browser, path) as page:
        for task, said in (
            ("written", "Whether it reasoned is not known"),
            ("chosen", "Graded by likelihoods"),
        ):
            page.locator("#f-task").select_option(task)
            page.locator(".q-head").first.click()
            text = page.locator(".completion").first.inner_text()
            assert said in text
            assert "No reasoning." not in text
