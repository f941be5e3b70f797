"""Verdicts for whoever reads them: a terminal, a page, a CI server, a program, the eye.

Everything here returns what it made; printing and writing are the caller's.
"""

from harness.report.figures import figure, image
from harness.report.jsondoc import document
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.terminal import claims, summary

__all__ = ["claims", "document", "figure", "image", "junit", "markdown", "summary"]
