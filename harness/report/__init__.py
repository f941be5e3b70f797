"""Verdicts for whoever reads them: a terminal, a page, a CI server, a program, the eye.

Everything here returns what it made; printing and writing are the caller's. What draws or sets
pages (`figures`, `html`, `markdown`) is imported by name: it takes a second that `check` need not
spend.
"""

from harness.report.junit import junit
from harness.report.terminal import claims, summary

__all__ = ["claims", "junit", "summary"]
