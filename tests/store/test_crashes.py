"""Whatever is cut off, wherever: each epoch once, and as in a trial left alone."""

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.errors import StoreError
from harness.plan import Job
from harness.record import Message
from harness.store import Store
from tests.store.trials import curve, final, quiet, run, sent
from tests.toy import job

LONGEST = 12


class Crashes(RuleBasedStateMachine):
    """A driver that is killed at any moment, and what the power takes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.epochs = 4
        self.finished = 0
        self.truth = quiet(job(epochs=LONGEST))
        self._begin()

    def _begin(self) -> None:
        self.store = Store(self.root)
        self.lock = self.store.lock()
        self.lock.__enter__()
        self.unsent: list[Message] = []

    @property
    def folder(self) -> Path:
        return self.root / "trials" / job().spec.id

    @rule(number=st.integers(1, 6), interval_s=st.sampled_from([0.0, 1000.0]))
    def goes_on(self, number: int, interval_s: float) -> None:
        target = job(epochs=self.epochs)
        if not self.unsent and not self.store.settled(target.spec.id, self.epochs):
            self.unsent = list(sent(target, self.store, checkpoint_interval_s=interval_s))
        batch, self.unsent = self.unsent[:number], self.unsent[number:]
        self.store.append([(target.spec, message) for message in batch])
        if batch and not self.unsent:
            self.finished = self.epochs

    @rule(cut=st.integers(0, 2000), garbage=st.binary(max_size=40), half=st.booleans())
    def dies(self, cut: int, garbage: bytes, half: bool) -> None:
        self.lock.__exit__(None, None, None)
        records = self.folder / "records.jsonl"
        if records.exists():
            whole, kept = records.read_bytes(), self._covered()
            records.write_bytes(whole[: max(kept, len(whole) - cut)] + garbage)
        if half and self.folder.exists():
            (self.folder / ".checkpoint.pt.new").write_bytes(b"half a check")
        self._begin()

    @rule()
    def is_asked_for_more(self) -> None:
        if self.finished == self.epochs:
            self.epochs = min(self.epochs + 4, LONGEST)

    @invariant()
    def reads_a_prefix_of_the_truth(self) -> None:
        stored = self.store.read(job().spec.id)
        assert curve(stored) == self.truth[: len(curve(stored))]
        assert self.store.done(job().spec.id) == self.finished <= len(curve(stored))

    def teardown(self) -> None:
        self.lock.__exit__(None, None, None)
        run(Store(self.root), job(epochs=LONGEST))
        stored = Store(self.root).read(job().spec.id)
        assert curve(stored) == self.truth
        assert stored is not None
        assert dict(stored.finals[LONGEST].metrics) == final(job(epochs=LONGEST))
        shutil.rmtree(self.root)

    def _covered(self) -> int:
        """How many bytes of the records are durable: no power failure takes those."""
        stored = self.store.read(job().spec.id)
        lines = (self.folder / "records.jsonl").read_bytes().splitlines(keepends=True)
        return sum(map(len, lines[: len(stored.epochs)])) if stored else 0


Crashes.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestCrashes = Crashes.TestCase


def append_one_by_one(store: Store, job: Job, messages: list[Message]) -> None:
    with store.lock():
        for message in messages:
            store.append([(job.spec, message)])


CALLS = [("fsync", call) for call in range(18)] + [("replace", call) for call in range(5)]
"""As many as continuing a trial by three epochs makes."""


@pytest.mark.parametrize(("function", "call"), CALLS)
def test_a_disk_that_is_full_at_any_moment_costs_nothing_that_was_durable(
    store: Store, monkeypatch: pytest.MonkeyPatch, function: str, call: int
) -> None:
    run(store, job(epochs=3))
    left, real = [call], getattr(os, function)

    def full(*arguments: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    longer = job(epochs=6)
    messages = list(sent(longer, store, checkpoint_interval_s=0))
    monkeypatch.setattr(os, function, full)
    with pytest.raises(StoreError, match=f"{re.escape(str(store.root))}.*: No space left"):
        append_one_by_one(store, longer, messages)
    monkeypatch.undo()
    again = Store(store.root)
    stored = again.read(longer.spec.id)
    assert stored is not None
    assert stored.done in (3, 6)
    assert dict(stored.finals[3].metrics) == final(job(epochs=3))
    assert curve(stored) == quiet(longer)[: len(stored.epochs)]
    run(again, longer)
    assert curve(again.read(longer.spec.id)) == quiet(longer)
