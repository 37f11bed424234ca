"""Settings of the documentation: `make docs` builds it with Sphinx."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "extensions"))

from dermedge import __version__  # noqa: E402

project = "dermedge"
author = "The dermedge authors"
project_copyright = "2026, the dermedge authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "generated_references",
    "repository_pages",
]
exclude_patterns = ["_build", "extensions"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Docstrings write names as Markdown does, between single backticks.
default_role = "code"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_use_ivar = True

html_theme = "furo"
html_title = "dermedge"
html_static_path = ["_static"]
html_css_files = ["dermedge.css"]
html_js_files = ["dermedge.js"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#004f7c", "color-brand-content": "#0060a0"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
    "footer_icons": [],
    "announcement": "For research and education only. Not a medical device.",
}
copybutton_exclude = ".linenos, .gp, .go"
