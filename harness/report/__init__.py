"""Render verdicts for a terminal, as pages and figures, as JSON, JUnit XML and Arrow tables.

Every function returns its result; the caller prints it or writes it. Import `figures`, `pages` and
`study_page` only where needed: matplotlib and jinja take a second to load, which `check` saves.
"""

from harness.report.junit import junit
from harness.report.terminal import claims, summary

__all__ = ["claims", "junit", "summary"]
