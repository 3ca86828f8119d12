"""A Matplotlib drawing as SVG for the inside of a page: without style, own ids or fixed colours.

Owns what makes a drawing fit any page: colours become the page's CSS variables (so that light, dark
and print are the page's business), `style` becomes attributes (a strict Content-Security-Policy
refuses the former), ids carry the figure's name, text stays text, and the same drawing gives the
same bytes. Refuses to own what is drawn.

    picture(About("forest", "Paired differences", "One row a task ..."), draw)   # draw(width)
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from analysis.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 800.0, 340.0  # user units, which are CSS pixels where the page shows it in full size
SMALL, TEXT = 12.0, 13.0  # font sizes
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colours that no drawing means: each stands for a variable of the page.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
BASELINE, CANDIDATE, BAND, CUT = "#050505", "#060606", "#070707", "#080808"
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    BASELINE: "var(--baseline)",
    CANDIDATE: "var(--candidate)",
    BAND: "var(--band)",
    CUT: "var(--cut)",
}
SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it is read aloud, selected and searched
    "svg.hashsalt": "distill-eval",
    "text.parse_math": False,  # a task's name may hold $
    "axes.unicode_minus": True,
    "font.size": SMALL,
    "path.simplify": True,
}
KEPT = frozenset(
    [
        "fill",
        "stroke",
        "stroke-width",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-linejoin",
        "stroke-linecap",
        "stroke-miterlimit",
        "stroke-opacity",
        "fill-opacity",
        "opacity",
        "text-anchor",
        "font-size",
        "font-weight",
        "fill-rule",
        "clip-rule",
    ]
)
REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class About:
    """What is said of a figure: its name (an id), title, what it shows in words, its caption."""

    name: str
    title: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure for a page, drawn once for wide screens and once for phones."""

    about: About
    wide: str
    narrow: str


def picture(about: About, draw: Callable[[float], Figure]) -> Picture:
    """Draw a figure in both widths."""
    return Picture(
        about,
        wide=inline(draw, WIDE, about, "wide"),
        narrow=inline(draw, NARROW, about, "narrow"),
    )


def inline(draw: Callable[[float], Figure], width: float, about: About, form: str) -> str:
    """Return the drawing as an `<svg>` element to stand in a page."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # The reader's own font draws the text: Matplotlib's may lack a letter of a name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = draw(width)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    # Our own drawing, not a file of someone else's: no entity is defined in it.
    root = ET.fromstring(out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2])
    return cleaned(root, about, f"{about.name}-{form}")


def cleaned(root: ET.Element, about: About, prefix: str) -> str:
    """Return the tree as text, without what a page must not hold."""
    ET.register_namespace("", SVG)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        restyle(element)
        rename(element, prefix)
    for size in ("width", "height"):
        root.attrib[f"data-{size}"] = root.attrib.pop(size).removesuffix("pt")
    root.attrib.update({"role": "img", "aria-labelledby": f"{prefix}-title {prefix}-desc"})
    for number, (tag, text) in enumerate((("title", about.title), ("desc", about.alt))):
        said = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        said.text = visible(text)
        root.insert(number, said)
    return re.sub(r"\s*\n\s*", " ", ET.tostring(root, encoding="unicode"))


def restyle(element: ET.Element) -> None:
    """Turn a style into attributes, and the stand-ins for colours into the page's variables."""
    for rule in element.attrib.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in rule.partition(":"))
        if name in KEPT:
            element.attrib[name] = value
    for name in ("fill", "stroke"):
        if element.get(name) in VARIABLES:
            element.attrib[name] = VARIABLES[element.attrib[name]]


def rename(element: ET.Element, prefix: str) -> None:
    """Give ids that are referred to the figure's name, and drop the others."""
    if (name := element.attrib.pop("id", None)) and element.tag != f"{{{SVG}}}g":
        element.attrib["id"] = f"{prefix}-{name}"
    if target := element.attrib.pop(f"{{{XLINK}}}href", None):
        element.attrib["href"] = f"#{prefix}-{target.removeprefix('#')}"
    if clip := element.get("clip-path"):
        element.attrib["clip-path"] = REFERENCE.sub(rf"url(#{prefix}-\1)", clip)


def canvas(width: float, height: float) -> Figure:
    """Return an empty drawing of that many user units, without a background."""
    from matplotlib.figure import Figure as Drawing

    return Drawing(figsize=(width / 72, height / 72), facecolor="none")


class Box(NamedTuple):
    """A place in user units, measured from the upper left."""

    left: float
    top: float
    width: float
    height: float


def panel(figure: Figure, box: Box) -> Axes:
    """Add axes at a place; only a thin lower edge."""
    whole_width, whole_height = (72 * side for side in figure.get_size_inches())
    axes = figure.add_axes(
        (
            box.left / whole_width,
            1 - (box.top + box.height) / whole_height,
            box.width / whole_width,
            box.height / whole_height,
        )
    )
    axes.set_facecolor("none")
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=RULE, linewidth=1)
    axes.tick_params(colors=MUTED, labelsize=SMALL, length=3, width=1, color=RULE, pad=3)
    axes.tick_params(axis="y", length=0)
    return axes


def write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text at a place in user units, measured from the upper left."""
    whole_width, whole_height = (72 * side for side in figure.get_size_inches())
    look = {"color": INK, "fontsize": TEXT, "va": "center", "ha": "left", **style}
    figure.text(x / whole_width, 1 - y / whole_height, visible(text), **look)


def shortened(text: str, longest: int) -> str:
    """Return a name that fits: its middle is cut, as names of tasks often begin or end alike."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (longest - 1 - head) :].lstrip()}"
