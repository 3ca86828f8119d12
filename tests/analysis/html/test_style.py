"""The style sheet: what is written can be read, by the contrasts of WCAG 2 (level AA)."""

from __future__ import annotations

import re

import pytest

from analysis.html.shell import asset

THEMES = {"light": ":root {", "dark": ':root:not([data-theme="light"]) {'}
WRITTEN = ("ink", "muted", "baseline", "candidate", "stop", "warn", "info", "cut")
GROUNDS = ("paper", "raised")


def colours(theme: str) -> dict[str, str]:
    """Return the variables of a theme."""
    block = asset("report.css").split(THEMES[theme])[1].split("}")[0]
    return dict(re.findall(r"--(\w+): #(\w+)", block))


def luminance(colour: str) -> float:
    """Return the relative luminance.

    Source: WCAG 2.2, "relative luminance".
    """
    digits = "".join(2 * one for one in colour) if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("fff", "000") == pytest.approx(21)
    assert contrast("777777", "ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_fields_stand_out_from_their_ground(theme: str) -> None:
    of = colours(theme)
    for ground in GROUNDS:
        for name in WRITTEN:
            assert contrast(of[name], of[ground]) >= 4.5, (theme, name, ground)
    assert contrast(of["edge"], of["paper"]) >= 3, theme
    assert contrast(of["ink"], of["found"]) >= 4.5, theme
