"""A YAML file as a frozen model: strict, and every fault at once, with its line."""

import codecs
import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import Fault, ManifestError
from harness.manifest.faults import Finding, findings
from harness.manifest.tree import Node, dotted, parse

MAX_BYTES = 2**20
"""Far above any manifest; a file is never read whole before it is known to be below."""

M = TypeVar("M", bound=BaseModel)


def read(path: Path, model: type[M]) -> tuple[M, Node]:
    """The file as a model, and the tree that knows its lines.

    Raises:
        ManifestError: with every fault of the file.
    """
    file = str(path)
    root, faults = parse(content(path)[1], file)
    if root is None:
        raise ManifestError(faults)
    try:
        # By way of JSON: strict about types, yet a list may stand for a tuple.
        found = model.model_validate_json(json.dumps(root.plain()), strict=True)
    except ValidationError as error:
        wrong = (fault_of(finding, root, file) for finding in findings(error, model, root))
        raise ManifestError([*faults, *wrong]) from None
    if faults:
        raise ManifestError(faults)
    return found, root


def content(path: Path) -> tuple[bytes, str]:
    """The file's bytes and their text.

    Raises:
        ManifestError: it cannot be read, is too large, or is not UTF-8.
    """
    line, said = 0, f"larger than {MAX_BYTES} bytes"
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content, content.decode("utf-8-sig")
    except OSError as error:
        said = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        why = "it is UTF-16; save it as UTF-8" if utf_16 else error.reason
        line, said = content.count(b"\n", 0, error.start) + 1, f"not UTF-8: {why}"
    raise ManifestError([Fault(str(path), line, "", said)])


def fault_of(finding: Finding, root: Node, file: str) -> Fault:
    """A finding with its file and line."""
    return Fault(file, root.at(finding.path).line, dotted(finding.path), finding.message)
