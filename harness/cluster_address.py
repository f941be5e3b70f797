"""The address of a Ray cluster to join: parse it, and check that a cluster's head answers there.

Ray itself retries an address for minutes, and raises errors of many types for one that is wrong.
Nothing here imports Ray, so a wrong address is refused before Ray is imported.
"""

import ipaddress
import logging
import os
import re
import socket
import threading
from contextlib import closing
from dataclasses import dataclass

from harness.errors import ResourceError, UsageError, without_secrets

VARIABLE = "RAY_ADDRESS"
"""Ray's own variable. Inside a submitted job it names the cluster that runs the job."""

AUTO = "auto"
"""The cluster that runs on this machine, found by Ray."""
LOCAL = "local"
"""No cluster to join: start a private one, whatever the variable says."""

ANSWER_S = 10.0
"""Seconds in which a name must resolve, and again in which the head must answer."""

_log = logging.getLogger(__name__)

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_USUAL_PORT = 6379


@dataclass(frozen=True)
class ClusterAddress:
    """Where a cluster's head listens, and who named it."""

    host: str
    """A name, or an IP address without brackets; 'auto' for the cluster on this machine."""
    port: int
    """0 for 'auto'."""
    named_by: str
    """The option, variable or file that named it: messages begin with it."""

    @property
    def text(self) -> str:
        """The address as Ray takes it."""
        if self.host == AUTO:
            return AUTO
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.named_by} {self.text}"


def choose(option: str | None, *, named_by: str = "--address") -> ClusterAddress | None:
    """Return the cluster to join, by the option or else by RAY_ADDRESS; None to join none.

    In RAY_ADDRESS an http address is the one at which `ray job submit` finds the jobs' server. It
    does not ask to join, so it is passed over with a warning.

    Raises:
        UsageError: the text can be no cluster's address.
    """
    if option is not None:
        return parse_address(option, named_by=named_by)
    variable = os.environ.get(VARIABLE, "").strip()
    if not variable:  # an empty variable is one that is not set
        return None
    if variable.partition("://")[0].lower() in ("http", "https"):
        _log.warning(
            "%s %s is for `ray job submit` and names no cluster to join: trials run on this "
            "machine; --address host:port joins a cluster",
            VARIABLE,
            _shown(variable),
        )
        return None
    return parse_address(variable, named_by=VARIABLE)


def parse_address(text: str, *, named_by: str = "address") -> ClusterAddress | None:
    """Return the address that a text names; None for 'local', which asks to join none.

    Raises:
        UsageError: the text can be no cluster's address. The message says what is wrong with it.
    """
    text = text.strip()
    if text == LOCAL:
        return None
    if text == AUTO:
        return ClusterAddress(AUTO, 0, named_by)
    scheme, separator, _ = text.partition("://")
    if separator:
        raise _refusal(text, named_by, _scheme_fault(scheme.lower()))
    host, colon, port = text.rpartition(":")
    bare = ipaddress_or_none(text)
    if not text:
        raise _refusal(text, named_by, "the address is empty")
    if not colon or bare is not None:
        example = f"[{text}]" if ":" in text else text
        fault = f"the port is missing; a head usually listens at {example}:{_USUAL_PORT}"
        raise _refusal(text, named_by, fault)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise _refusal(
            text, named_by, f"{_shown(port)!r} is no port: a port is a number up to 65535"
        )
    bracketed = host.startswith("[") and host.endswith("]")
    address = ipaddress_or_none(host[1:-1]) if bracketed else None
    if bracketed and address is not None and address.version == 6:
        return ClusterAddress(host[1:-1], int(port), named_by)
    numeric = re.fullmatch(r"[0-9.]+", host)
    if not _HOST.fullmatch(host) or (numeric and ipaddress_or_none(host) is None):
        raise _refusal(text, named_by, f"{_shown(host)!r} can be no host's name")
    return ClusterAddress(host, int(port), named_by)


def ipaddress_or_none(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a text spells, or None."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _shown(text: str) -> str:
    """Hide a password that the text may hold, also where it is no proper address."""
    return re.sub(r"\S*@", "***@", without_secrets(text))


def _scheme_fault(scheme: str) -> str:
    if scheme == "ray":
        return "Ray Client cannot stream a trial's records"
    if scheme in ("http", "https"):
        return "this is the address of Ray's dashboard"
    return f"{scheme}:// is no scheme of a Ray cluster's address"


def _refusal(text: str, named_by: str, fault: str) -> UsageError:
    """Say what is wrong, and which ways there are."""
    return UsageError(
        f"{named_by} {_shown(text) or repr(text)}: {fault}. Give host:port from inside "
        "the cluster, 'auto' for the cluster on this machine, or 'local' for one of our own; or "
        "run the same command on the cluster with `ray job submit -- harness run …`"
    )


def reach(address: ClusterAddress) -> None:
    """Check within 2 x `ANSWER_S` seconds that a cluster's head answers.

    Raises:
        ResourceError: the name does not resolve, nothing listens, or what listens is no head.
    """
    fault = _resolution_fault(address) or greeting_fault(address.host, address.port)
    if fault:
        raise unreachable(address, fault)


def unreachable(address: ClusterAddress, fault: object) -> ResourceError:
    """Say that no cluster answers, why, and what to do."""
    return ResourceError(
        f"{address}: no Ray cluster answers: {fault}. Start one with `ray start --head`, correct "
        f"{address.named_by.rstrip(':')}, or use --address local to run on this machine"
    )


def _resolution_fault(address: ClusterAddress) -> str:
    """Resolve the name in a thread: a name server that says nothing cannot be interrupted."""
    faults: list[str] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            faults.append("")
        except (OSError, UnicodeError) as error:
            faults.append(f"the name {address.host} does not resolve ({error})")

    thread = threading.Thread(target=resolve, name="resolve", daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    return faults[0] if faults else f"no name server told {address.host} within {ANSWER_S:g} s"


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER_BYTES = 9
_SETTINGS = 4


def greeting_fault(host: str, port: int, *, timeout_s: float = ANSWER_S) -> str:
    """Greet the head as gRPC does; return what is wrong, or an empty text.

    A head is a gRPC server. Such a server answers the HTTP/2 preface (RFC 9113, section 3.4) with a
    SETTINGS frame at once, before it asks for a token.
    """
    try:
        with closing(socket.create_connection((host, port), timeout=timeout_s)) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return ""  # the greeting would have to be encrypted
            connection.sendall(_PREFACE + _EMPTY_SETTINGS)
            header = connection.recv(_FRAME_HEADER_BYTES, socket.MSG_WAITALL)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except (OSError, OverflowError, UnicodeError) as error:
        return str(error)
    if len(header) == _FRAME_HEADER_BYTES and header[3] == _SETTINGS:
        return ""
    return "what listens there is not the head of a Ray cluster"
