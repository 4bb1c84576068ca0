"""Sphinx settings. Builds without network; every warning is an error (``make docs``)."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import rectitude

here = Path(__file__).parent
sys.path.insert(0, str(here))

project = "Rectitude"
author = "The Rectitude developers"
copyright = f"2026, {author}"
version = release = rectitude.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Rectitude {release}"
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0B6B6B", "color-brand-content": "#0B6B6B"},
    "dark_css_variables": {"color-brand-primary": "#57C7BD", "color-brand-content": "#57C7BD"},
}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "returns_style")]


def _write_reference(app: Sphinx) -> None:
    """Write the pages that are read off the code: models with their settings, and the command line."""
    import reference

    folder = here / "_build" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in reference.pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect the reference pages."""
    app.connect("builder-inited", _write_reference)
