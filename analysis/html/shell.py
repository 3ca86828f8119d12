"""The one template, style and script of a page, and the policy that lets nothing else run.

Owns what of a page is markup: this package's own files. Refuses to own what stands in them
(`page`).

    css, js = asset("report.css"), asset("report.js")
    template().render(css=trusted(css), js=trusted(js), policy=policy(css, js), ...)
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from analysis.render.wrapping import JOINT

if TYPE_CHECKING:
    from jinja2 import Template


def policy(css: str, js: str) -> str:
    """Return the Content-Security-Policy: our style and our script by hash, and nothing else."""
    return (
        f"default-src 'none'; style-src '{source_hash(css)}'; script-src '{source_hash(js)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def source_hash(text: str) -> str:
    """Return the hash of a style or script as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def asset(name: str) -> str:
    """Return a file of this package as it stands in the page."""
    return (resources.files("analysis.html") / name).read_text(encoding="utf-8")


def trusted(text: str) -> Any:
    """Mark text of this package as HTML that needs no escape."""
    from markupsafe import Markup

    return Markup(text)


def with_code(text: str) -> Any:
    """Return text as HTML, escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def with_breaks(text: str) -> Any:
    """Return text as HTML, escaped, that may wrap at the joints of its names."""
    from markupsafe import Markup

    return Markup("<wbr>").join(JOINT.split(text))


@cache
def template() -> Template:
    """Return the template; every value is escaped unless it is marked as safe there."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["with_code"] = with_code
    environment.filters["with_breaks"] = with_breaks
    return environment.from_string(asset("report.html.j2"))
