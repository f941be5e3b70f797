"""Addresses of clusters: what can be one, and what answers there."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from harness import cluster_address
from harness.cluster_address import ClusterAddress, choose, parse_address, reach, unreachable
from harness.errors import ResourceError, UsageError


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("auto", "auto", 0),
        ("127.0.0.1:6379", "127.0.0.1", 6379),
        ("ray-head:6379", "ray-head", 6379),
        ("head.cluster.local.:1", "head.cluster.local.", 1),
        ("[::1]:6379", "::1", 6379),
    ],
)
def test_an_address_is_read_and_spelt_as_ray_takes_it(text: str, host: str, port: int) -> None:
    found = parse_address(text)
    assert found == ClusterAddress(host, port, "address")
    assert found.text == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the address is empty"),
        ("10.0.0.1", "the port is missing; a head usually listens at 10.0.0.1:6379"),
        ("ray-head", "the port is missing"),
        ("localhost", "the port is missing"),
        ("::1", "the port is missing; a head usually listens at [::1]:6379"),
        ("127.0.0.1:abc", "'abc' is no port"),
        ("127.0.0.1:99999", "'99999' is no port"),
        ("127.0.0.1:0", "'0' is no port"),
        ("127.0.0.1:", "'' is no port"),
        ("127.0.0.1:²", "'²' is no port"),
        (":6379", "'' can be no host's name"),
        ("1.2.3:6379", "'1.2.3' can be no host's name"),
        ("my head:6379", "can be no host's name"),
        ("me:secret@head:6379", "can be no host's name"),
        ("me:secret@head", "is no port"),
        ("ray://head:10001", "Ray Client cannot stream"),
        ("http://127.0.0.1:8265", "the address of Ray's dashboard"),
        ("ftp://head", "ftp:// is no scheme"),
    ],
)
def test_what_can_be_no_address_is_refused_and_says_who_named_it(
    text: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as refused:
        choose(text)
    assert str(refused.value).startswith("--address ")
    assert fault in str(refused.value)
    assert "ray job submit" in str(refused.value)
    assert "secret" not in str(refused.value)
    if text and not text.startswith("http"):
        monkeypatch.setenv("RAY_ADDRESS", text)
        with pytest.raises(UsageError, match=r"^RAY_ADDRESS "):
            choose(None)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(None) is None
    for value in ("", "  "):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert choose(None) is None


def test_the_option_wins_over_the_variable_and_local_joins_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert choose(None) == ClusterAddress("head", 6379, "RAY_ADDRESS")
    assert choose("other:1") == ClusterAddress("other", 1, "--address")
    assert choose("local") is None


def test_the_address_for_submitting_jobs_blocks_no_local_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://me:secret@127.0.0.1:8265")
    with caplog.at_level(logging.WARNING):
        assert choose(None) is None
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "RAY_ADDRESS ***@127.0.0.1:8265 is for `ray job submit`" in warning
    assert "secret" not in warning


@contextmanager
def _server(answer: bytes | None) -> Iterator[int]:
    """Listen on a free port; accept, and send the answer, or keep silent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        kept: list[socket.socket] = []

        def serve() -> None:
            connection, _ = listener.accept()
            kept.append(connection)
            if answer is not None:
                connection.sendall(answer)
                with suppress(OSError):  # the other side has hung up already
                    connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in kept:
            connection.close()


def _fault(host: str, port: int) -> str:
    with pytest.raises(ResourceError) as refused:
        reach(ClusterAddress(host, port, "RAY_ADDRESS"))
    text = str(refused.value)
    assert text.startswith(f"RAY_ADDRESS {host}:{port}: no Ray cluster answers: ")
    assert "--address local" in text
    assert "correct RAY_ADDRESS, or" in text
    return text


def test_the_cluster_that_auto_found_is_named_without_a_stray_colon() -> None:
    found = ClusterAddress("192.0.2.2", 6379, "--address auto:")
    text = str(unreachable(found, "gone"))
    assert text.startswith("--address auto: 192.0.2.2:6379: no Ray cluster answers: gone.")
    assert "correct --address auto, or" in text


def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_address.greeting_fault, "__kwdefaults__", {"timeout_s": 0.3})
    with _server(None) as port:
        assert "no answer within 0.3 s" in _fault("127.0.0.1", port)


def test_another_kind_of_server_is_no_head() -> None:
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"SSH-2.0-x\r\n"):
        with _server(answer) as port:
            assert "is not the head" in _fault("127.0.0.1", port)


def test_a_server_that_greets_as_grpc_does_may_be_a_head() -> None:
    with _server(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + bytes(6)) as port:
        reach(ClusterAddress("127.0.0.1", port, "--address"))


def test_a_port_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert "refused" in _fault("127.0.0.1", port)


def test_a_name_that_does_not_resolve_or_hangs_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_words: object, **_options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert "the name ray-head does not resolve" in _fault("ray-head", 6379)
    monkeypatch.setattr(cluster_address, "ANSWER_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
    assert "no name server told ray-head within 0.2 s" in _fault("ray-head", 6379)
