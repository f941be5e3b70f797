#!/usr/bin/env python3
"""Print the failures in JUnit files as annotations of a GitHub workflow: `annotations.py FILE...`.

A failure is an error there; infrastructure trouble is a warning.
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

LEVELS = {"failure": "error", "error": "warning"}
MOST = 10
"""GitHub shows ten annotations of a level for each step."""


def escaped(text: str, *, title: bool = False) -> str:
    """Escape what would end a line or a property of a workflow command."""
    for sign in "%\r\n" + (":," if title else ""):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def annotations(path: Path) -> Iterator[str]:
    """Yield a workflow command for each failed case of a JUnit file."""
    for case in ElementTree.parse(path).iter("testcase"):
        for fault in case:
            if fault.tag in LEVELS:
                title = escaped(f"{case.get('classname')}: {case.get('name')}", title=True)
                words = fault.get("message") or (fault.text or "").strip()
                yield f"::{LEVELS[fault.tag]} title={title}::{escaped(words)}"


if __name__ == "__main__":
    lines = (line for name in sys.argv[1:] for line in annotations(Path(name)))
    print(*islice(lines, MOST), sep="\n")
