"""`ci/nightly.yaml`, what is wrong with a file like it, and how a night is told."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cli.nightly import tell
from harness.errors import ManifestError, UsageError
from harness.manifest import discover
from harness.nightly import load_nights

REPOSITORY = Path(__file__).parents[2]

SOUND = """\
format: 1
nights:
  light:
    experiments: [experiments]
    seeds: 0-2
quarantine:
  - {experiment: walk, owner: someone, reason: known, expires: "2026-01-31"}
"""


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "nightly.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        load_nights(path)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def test_our_own_nights_are_sound_and_light_is_light() -> None:
    nights = load_nights(REPOSITORY / "ci" / "nightly.yaml")
    light = nights.night("light")
    assert (light.seeds, light.epochs) == ((0,), 10)
    assert light.time_limit_min is not None
    assert light.time_limit_min < 60
    for night in nights.nights.values():
        for path in night.experiments:
            assert discover([REPOSITORY / "ci" / path])


def test_a_night_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"'heavy'; there are light, grid, full"):
        load_nights(REPOSITORY / "ci" / "nightly.yaml").night("heavy")


@pytest.mark.parametrize(
    ("sound", "faulty", "said"),
    [
        ("format: 1", "format: 2", "1: format: format 2 is unknown"),
        ("seeds: 0-2", "seed: 0-2", "5: nights.light.seed: unknown field; did you mean seeds?"),
        ("seeds: 0-2", "keep: 0", "5: nights.light.keep: must be positive, got 0"),
        ("seeds: 0-2", "seeds: 2-0", "5: nights.light.seeds: a range of seeds must rise"),
        ("[experiments]", "[]", "4: nights.light.experiments: at least 1 wanted"),
        ("owner: someone, ", "", "7: quarantine[0].owner: required"),
        ("2026-01-31", "some day", "7: quarantine[0].expires: "),
        ("nights:", "knights:", "nights: required"),
        ("light:", "../light:", "2: nights: '../light': use only small letters"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, sound: str, faulty: str, said: str) -> None:
    assert SOUND.count(sound) == 1 or sound == "nights:"
    found = faults(tmp_path, SOUND.replace(sound, faulty, 1))
    assert any(said in fault for fault in found), found


def test_two_quarantines_of_one_experiment_are_refused(tmp_path: Path) -> None:
    again = SOUND.splitlines()[-1]
    assert faults(tmp_path, f"{SOUND}{again}\n") == [
        "8: quarantine[1].experiment: walk is in quarantine already"
    ]


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """A webhook on this machine that answers with `status`, and what it was sent."""
    sent: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/secret-path", sent
        finally:
            listening.shutdown()
            thread.join()


def test_the_summary_reaches_github_and_the_webhook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    with server(200) as (url, sent):
        monkeypatch.setenv("HOOK", url)
        tell("# A night\n", "HOOK")
    assert page.read_text() == "before\n# A night\n"
    assert sent == [b'{"text": "# A night\\n"}']


def test_a_webhook_that_fails_is_said_without_its_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with server(500) as (url, _):
        monkeypatch.setenv("HOOK", url)
        tell("# A night\n", "HOOK")
    tell("# A night\n", "HOOK")  # nobody listens any more
    monkeypatch.setenv("HOOK", "no address at all")
    tell("# A night\n", "HOOK")
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith("not delivered: HTTP status 500")
    assert said[1].endswith("not delivered: ConnectionRefusedError")
    assert len(said) == 3
    assert "secret" not in caplog.text
