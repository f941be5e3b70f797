"""The templates of all pages, read one way."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

Filters = Mapping[str, Callable[..., Any]]


def environment(filters: Filters, *, escape: bool) -> Environment:
    """Where `harness/report/templates` is read; what a template asks for must be there.

    Args:
        filters: by the names that the templates give them.
        escape: every value as HTML; in Markdown the templates escape what is not ours.
    """
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=escape,  # noqa: S701 - each caller says what it writes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= filters
    return made
