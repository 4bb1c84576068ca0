"""Colours, sizes and spaces of pages and charts as data; contrast on paper is checked by a test."""

from __future__ import annotations

LIGHT = {
    "paper": "#FBFAF7",
    "card": "#FFFFFF",
    "ink": "#1B1F24",
    "muted": "#59626D",
    "accent": "#0B6B6B",
    "warn": "#9A3412",
    "bad": "#A11D33",
    "good": "#1F6F43",
    "line": "#D9D6CE",
    "series-1": "#0B6B6B",
    "series-2": "#B45309",
    "series-3": "#5B4B8A",
    "series-4": "#3B6FB6",
    "series-5": "#8C2F5B",
}
"""Token to colour on a light screen and in print."""

DARK = {
    "paper": "#14171A",
    "card": "#1B1F23",
    "ink": "#E9E7E1",
    "muted": "#A3ACB6",
    "accent": "#57C7BD",
    "warn": "#F2A272",
    "bad": "#F38BA0",
    "good": "#7CCB9A",
    "line": "#2E353B",
    "series-1": "#57C7BD",
    "series-2": "#F2B366",
    "series-3": "#B3A4E8",
    "series-4": "#8FB8F0",
    "series-5": "#EE9CC3",
}
"""Token to colour on a dark screen."""


SCALE = {
    "sans": 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif',
    "t1": "13px",
    "t2": "15px",
    "t3": "18px",
    "t4": "23px",
    "t5": "30px",
    "s1": "4px",
    "s2": "8px",
    "s3": "12px",
    "s4": "16px",
    "s5": "24px",
    "s6": "40px",
    "radius": "6px",
}
"""Token to type face, type size (t, body is the second), space (s) or radius."""


def _declare(tokens: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in tokens.items())


def scale_variables() -> str:
    """Sizes and spaces as CSS custom properties."""
    return f":root{{{_declare(SCALE)}}}\n"


def css_variables(*, chosen: bool = False) -> str:
    """The tokens as CSS custom properties; dark where the reader asks for it on a screen, light in print.

    Args:
        chosen: The page's ``data-theme``, light or dark, goes before what the reader's system asks for.
    """
    if chosen:
        light, dark = f"color-scheme:light;{_declare(LIGHT)}", f"color-scheme:dark;{_declare(DARK)}"
        return (
            f":root{{{light}}}\n"
            f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
            f"@media screen{{:root[data-theme=dark]{{{dark}}}}}\n"
        )
    return (
        f":root{{color-scheme:light dark;{_declare(LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_declare(DARK)}}}}}\n"
    )
