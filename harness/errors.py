"""Faults that the user can mend. Everything else is our bug and keeps its traceback."""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The command line's exit codes: a contract with whoever calls it from a script."""

    AS_EXPECTED = 0
    NOT_AS_EXPECTED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INCOMPLETE = 4
    BUG = 70
    INTERRUPTED = 130
    """By SIGINT."""
    TERMINATED = 143
    """By SIGTERM, or by SIGHUP: the terminal or the ssh session is gone."""


class HarnessError(Exception):
    """A fault that the user can mend: printed as its message, without a traceback."""

    exit_code: Exit = Exit.USAGE


class UsageError(HarnessError):
    """An option or argument of the command line that cannot be honoured."""


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
    """Manifests that cannot be used; carries every fault at once, in the files' order."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(map(str, self.faults)))


class DataError(HarnessError):
    """A data set that cannot be had, or is not the one that its digest names."""

    exit_code = Exit.INCOMPLETE


class StoreError(HarnessError):
    """A workspace that cannot be read or written; names the file and the fault."""

    exit_code = Exit.INCOMPLETE


class ResourceError(HarnessError):
    """Resources that were asked for and are not there (a GPU, a cluster, enough CPUs)."""

    exit_code = Exit.INCOMPLETE


class InfrastructureError(HarnessError):
    """A workload raises this to say that the machine failed, not the method.

    The trial is tried again, and counts as incomplete if that does not help. It never makes a
    verdict NOT REPRODUCED.
    """

    exit_code = Exit.INCOMPLETE


class StoppedError(HarnessError):
    """A signal stopped the run. What is durable stays, and the same call goes on from there."""

    def __init__(self, exit_code: Exit) -> None:
        self.exit_code = exit_code
        super().__init__("stopped; the same command goes on from here")


_SECRETS = (
    # Greedy: a password may hold what an address may not, and too much hidden harms nobody.
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|token|secret|key))=[^&\s'\"]+"), r"\1=***"),
)


def without_secrets(text: str) -> str:
    """The text without the passwords that addresses in it may hold.

    >>> without_secrets("postgresql://me:p@ss@host/runs?sslpassword=abc")
    'postgresql://***@host/runs?sslpassword=***'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def one_line(message: str, width: int = 200) -> str:
    """An error's message in one line that no terminal takes for a command.

    >>> one_line("bad\\n\\x1b[31mvalue")
    'bad [31mvalue'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in message)
    return textwrap.shorten(plain, width, placeholder=" …")
