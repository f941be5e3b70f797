"""`harness logs`: what a trial printed."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.logs import added
from harness.plan import Selection
from harness.record import Message, Output, Printed
from harness.session import Session, load
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
    assert added(before, now) == new


def test_logs_shows_each_stream_on_its_own(harness: Harness, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    session = Session(load([TINY]), Selection(seeds=(3,)), store)
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


def test_logs_of_a_trial_that_has_not_begun_says_so(harness: Harness, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    with store.lock():
        pass
    done = harness("logs", TINY, "--seed", "4", "--workspace", store.root)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("seed 4 has not begun in ")
