"""`harness logs`: what a trial printed."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.logs import appended
from harness.plan import Selection
from harness.record import Failure, FailureKind, Message, Output, Printed
from harness.report.documents import verdicts_document
from harness.report.pages import html
from harness.session import Session, load_experiments
from harness.session.session import LAST_WORDS
from harness.store import Store
from tests.cli.conftest import TINY, Harness
from tests.store.trials import sent
from tests.toy import job


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        (b"", b"one\n", b"one\n"),
        (b"one\n", b"one\ntwo\n", b"two\n"),
        (b"head" + b"a" * 9000 + b"1\n2\n", b"head[gap]" + b"a" * 5000 + b"1\n2\n3\n", b"3\n"),
        (b"all of it is gone", b"something else", b"something else"),
    ],
)
def test_only_new_lines_are_shown_even_if_the_middle_was_cut_out(
    before: bytes, now: bytes, new: bytes
) -> None:
    assert appended(before, now) == new


def test_logs_shows_each_stream_on_its_own(harness: Harness, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    session = Session(load_experiments([TINY]), Selection(seeds=(3,)), store)
    (asked,) = session.jobs()
    started = replace(next(iter(sent(job()))))
    printed: list[Message] = [
        started,
        Output(Printed.STDOUT, b"loss 1\n", 5, b"loss 2\n"),
        Output(Printed.STDERR, b"careful: \xff\n"),
    ]
    with store.lock():
        store.append([(asked.spec, message) for message in printed])
    done = harness("logs", TINY, "--seed", "3", "--workspace", store.root)
    assert done.returncode == 0
    assert done.stdout == "loss 1\n\n[5 bytes are left out]\nloss 2\n"
    assert done.stderr == "careful: \N{REPLACEMENT CHARACTER}\n"


def test_reports_show_the_end_of_what_a_failed_trial_printed(
    harness: Harness, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results")
    session = Session(load_experiments([TINY]), Selection(seeds=(3, 4, 5)), store)
    hostile = b"</pre><script>alert(1)</script> \x1b[31m\xff\x1b]0;title\x07\x00\n"
    words = {3: b"x" * 99 + b"\n" + 1000 * b"early\n" + hostile + b"last words\n", 4: b"\x1b[0m\n"}
    with store.lock():
        for each in session.jobs():
            said: list[Message] = [
                next(iter(sent(job()))),
                Output(Printed.STDERR, words.get(each.spec.seed, b"")),
                Failure(FailureKind.SCIENTIFIC, "CommandFailedError", "exit code 1", epoch=0),
            ]
            store.append([(each.spec, message) for message in said])
    (verdict,) = session.verdicts()
    assert set(verdict.stderr) == {3, 4}
    assert len(verdict.stderr[3]) <= LAST_WORDS
    escaped = "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    shown = f"{escaped} \N{REPLACEMENT CHARACTER}\nlast words</pre>"
    page = html([verdict])
    assert shown in page
    assert page.count("End of its standard error") == 1
    assert "--seed 3</code>" in page
    (document,) = verdicts_document([verdict]).as_json()["experiments"]
    assert document["stderr"] == {"3": verdict.stderr[3], "4": "\x1b[0m\n"}
    done = harness("check", TINY, "--seeds", "3-5", "--workspace", store.root)
    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    assert f"harness logs {TINY} --seed 3" in told
    assert "early </pre><script>alert(1)</script> \N{REPLACEMENT CHARACTER} last words" in told
    assert told.count("end of standard error") == 1
    assert "\x1b" not in done.stdout


def test_logs_of_a_trial_that_has_not_begun_says_so(harness: Harness, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    with store.lock():
        pass
    done = harness("logs", TINY, "--seed", "4", "--workspace", store.root)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("seed 4 has not begun in ")
