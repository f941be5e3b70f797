"""Errors that the user can fix. Any other exception is a bug and keeps its traceback."""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The command line's exit codes, which scripts rely on."""

    AS_EXPECTED = 0
    NOT_AS_EXPECTED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INCOMPLETE = 4
    BUG = 70
    INTERRUPTED = 130
    """SIGINT stopped the command."""
    TERMINATED = 143
    """SIGTERM stopped the command, or SIGHUP: the terminal or the ssh session closed."""


class HarnessError(Exception):
    """An error that the user can fix. Its message is printed without a traceback."""

    exit_code: Exit = Exit.USAGE


class UsageError(HarnessError):
    """An option or argument is wrong; the message says which and what to give instead."""


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One fault in one file, as `file:line: field: what is wrong`."""

    file: str
    line: int
    """Counted from 1; 0 for the file as a whole."""
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return (
            f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"
        )


class ManifestError(HarnessError):
    """Manifests have faults. `faults` lists all of them, in the order of the files."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(map(str, self.faults)))


class DataError(HarnessError):
    """A data set cannot be fetched, or its bytes do not match its digest."""

    exit_code = Exit.INCOMPLETE


class StoreError(HarnessError):
    """A workspace cannot be read or written; the message names the file and the fault."""

    exit_code = Exit.INCOMPLETE


class ResourceError(HarnessError):
    """A requested resource is not available (a GPU, a cluster, enough CPUs)."""

    exit_code = Exit.INCOMPLETE


class InfrastructureError(HarnessError):
    """A workload raises this to say that the machine failed, not the method.

    The trial is retried. If it fails every time it counts as incomplete, and never makes a verdict
    NOT REPRODUCED.
    """

    exit_code = Exit.INCOMPLETE


class StoppedError(HarnessError):
    """A signal stopped the run. Durable records stay, and the same call resumes from them."""

    def __init__(
        self, exit_code: Exit, text: str = "stopped; the same command goes on from here"
    ) -> None:
        self.exit_code = exit_code
        super().__init__(text)


_SECRETS = (
    # Greedy, because a password may hold any character. Hiding too much does no harm.
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|token|secret|key))=[^&\s'\"]+"), r"\1=***"),
)


def without_secrets(text: str) -> str:
    """Replace the passwords of addresses in a text by asterisks.

    >>> without_secrets("postgresql://me:p@ss@host/runs?sslpassword=abc")
    'postgresql://***@host/runs?sslpassword=***'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def number_of(count: int, noun: str) -> str:
    """A count with its noun in the singular or plural.

    >>> number_of(1, "trial"), number_of(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def regular_expression(text: str) -> str:
    """Check that a text is a regular expression, and return it.

    Raises:
        ValueError: it is none.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def one_line(message: str, width: int = 200) -> str:
    """Shorten an error's message to one line without control characters.

    >>> one_line("bad\\n\\x1b[31mvalue")
    'bad [31mvalue'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in message)
    return textwrap.shorten(plain, width, placeholder=" …")
