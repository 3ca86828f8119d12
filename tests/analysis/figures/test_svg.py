from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from analysis.estimate import Estimate, undefined
from analysis.figures import svg
from analysis.figures.curves import Line, Panel, Series, distributions, lines, short, steps_of
from analysis.figures.intervals import Chart, Mark, Row, intervals, percent_tick, points_tick
from analysis.figures.matrix import Matrix, matrices
from analysis.figures.svg import About, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = About("one", "A title & <more>", "What it shows in words.", "A caption.")
CHART = Chart("points", points_tick, zero=True, ends=(-1.0, 1.0))
ROWS = [
    Row("quiz", (Mark(Estimate(0.1, -0.1, 0.3), svg.CANDIDATE),), "+10.0 [-10.0, +30.0]", 0.2),
    Row("a heading"),
    Row("$x^2$ <b>", (Mark(undefined("nothing")),), "-"),
]


def forest(width: float) -> Figure:
    """Draw a small forest plot."""
    return intervals(CHART, ROWS, width)


def texts(drawing: str) -> list[str]:
    """Return the texts of a drawing."""
    return [one.text or "" for one in ET.fromstring(drawing).iter(f"{{{svg.SVG}}}text")]


def test_a_drawing_has_no_style_and_no_colour_of_its_own() -> None:
    made = picture(ABOUT, forest)
    for drawing in (made.wide, made.narrow):
        assert "style" not in drawing
        assert not re.findall(r"#[0-9a-f]{6}\b", drawing)
        assert "var(--candidate)" in drawing
        assert "<metadata" not in drawing


def test_a_drawing_has_title_and_words_for_those_who_do_not_see_it() -> None:
    root = ET.fromstring(picture(ABOUT, forest).wide)
    assert root.get("role") == "img"
    title, words = (root.find(f"{{{svg.SVG}}}{tag}") for tag in ("title", "desc"))
    assert title is not None
    assert words is not None
    assert (title.text, words.text) == (ABOUT.title, ABOUT.alt)
    assert root.get("aria-labelledby") == f"{title.get('id')} {words.get('id')}"


def test_ids_are_the_figures_own_and_all_references_are_met() -> None:
    made = picture(ABOUT, forest)
    both = made.wide + made.narrow
    ids = re.findall(r'\bid="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    assert all(one.startswith(("one-wide-", "one-narrow-")) for one in ids)
    wanted = re.findall(r'href="#([^"]+)"', both) + re.findall(r"url\(#([^)]+)\)", both)
    assert wanted
    assert set(wanted) <= set(ids)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert picture(ABOUT, forest) == picture(ABOUT, forest)


def test_text_stays_text_and_is_no_formula() -> None:
    wide = texts(picture(ABOUT, forest).wide)
    assert {"quiz", "a heading", "$x^2$ <b>", "+10.0 [-10.0, +30.0]"} <= set(wide)


def test_a_name_in_letters_that_the_font_lacks_is_drawn_all_the_same() -> None:
    rows = [Row("数学 \N{GRINNING FACE}\x00", ROWS[0].marks)]
    drawing = picture(ABOUT, lambda width: intervals(CHART, rows, width)).wide
    assert "数学 \N{GRINNING FACE}\\x00" in texts(drawing)


def test_long_names_lose_their_middle_and_stay_apart() -> None:
    names = ["mmlu_pro_cot_zeroshot_physics", "mmlu_pro_cot_zeroshot_law"]
    assert [svg.shortened(name, 16) for name in names] == ["mmlu_pro…physics", "mmlu_pro…hot_law"]
    assert svg.shortened("short", 10) == "short"


def test_the_axis_holds_every_interval_and_zero() -> None:
    (axes,) = forest(svg.WIDE).axes
    low, high = axes.get_xlim()
    assert low < -0.1 < 0.3 < high
    far = [Row("quiz", (Mark(Estimate(0.9, 0.8, 1.0)),), "", reach=50.0)]
    assert intervals(CHART, far, svg.NARROW).axes[0].get_xlim() == (-0.06, 1.0)


def test_ticks_are_written_in_points_and_percent() -> None:
    assert [points_tick(x) for x in (-0.05, 0.0, 0.1)] == ["\N{MINUS SIGN}5", "0", "+10"]
    assert percent_tick(0.25) == "25"
    assert [short(x) for x in (50, 1000, 2500, 1.5e6)] == ["50", "1k", "2.5k", "1.5M"]


def test_distributions_draw_each_value_and_nothing_where_there_is_none() -> None:
    panel = Panel("quiz", (Series("a", [1, 10, 1000], svg.BASELINE), Series("b", [], svg.INK)))
    figure = distributions([panel] * 4, "tokens", svg.WIDE)
    assert len(figure.axes) == 4
    (curve,) = figure.axes[0].lines
    assert list(curve.get_xdata())[-1] == 1000
    assert figure.axes[0].get_xscale() == "log"


def test_lines_draw_points_with_their_intervals() -> None:
    line = Line("a", [64, 128], [0.1, 0.2], [0.0, 0.1], [0.2, 0.3], svg.CANDIDATE)
    (axes,) = lines([Panel("quiz", lines=(line,))], "tokens", svg.NARROW).axes
    assert list(axes.lines[0].get_ydata()) == [0.1, 0.2]
    assert axes.get_ylim()[0] == 0


def test_a_matrix_writes_every_count() -> None:
    one = Matrix("quiz", ("right", "wrong"), ((1234, 5), (0, 7)))
    wide = texts(picture(ABOUT, lambda width: matrices([one, one], width)).wide)
    assert wide.count("1,234") == 2
    assert {"right", "wrong", "candidate", "baseline", "0", "7"} <= set(wide)


def test_a_curve_of_few_values_holds_them_all() -> None:
    assert steps_of([3, 1, 2, 2]) == ([1, 1, 2, 2, 3], [0.0, 0.25, 0.5, 0.75, 1.0])


def test_a_curve_of_many_values_keeps_ends_and_shape_and_stays_small() -> None:
    x, y = steps_of(range(200_000))
    assert len(x) == len(y) <= 401
    assert (x[0], x[-1], y[0], y[-1]) == (0, 199_999, 0.0, 1.0)
    assert (
        max(abs(share - (value + 1) / 200_000) for value, share in zip(x[1:], y[1:], strict=True))
        < 1e-9
    )
