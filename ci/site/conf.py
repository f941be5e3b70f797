"""The documentation as a site (Sphinx): `make docs` builds it, and it reads without a network.

The pages are the repository's own Markdown files, where they lie. The reference comes from the
docstrings.
"""

import re
from typing import Any

project = "harness"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "harness"
html_show_copyright = False

root_doc = "ci/site/index"
include_patterns = ["*.md", "ci/**", "docs/**", "experiments/**"]
exclude_patterns = ["ci/site/_build"]

myst_heading_anchors = 3  # pages link to one another's headings
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.xref_missing"]  # links to files that are not pages: GitHub shows them

default_role = "code"  # docstrings set names in single backticks
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True


def _without_badges(app: Any, name: str, content: list[str]) -> None:
    """Leave out the README's badges: a browser would fetch them from another host."""
    content[0] = re.sub(r"<!-- badges start.*badges end -->", "", content[0], flags=re.DOTALL)


def setup(app: Any) -> None:
    app.connect("source-read", _without_badges)
