"""Reading while another process writes: what is read is whole, and never called damaged."""

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest

from harness.store import Store
from tests.store.trials import quiet, sent
from tests.toy import job

TRIAL = job(epochs=4)
READS = 4000
ATTEMPTS = 60
LIMIT_S = 120


def write_forever(root: Path, attempts: "Synchronized[int]") -> None:
    """Record the trial again and again from epoch 1, a message at a time."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # as fast as can be
    store = Store(root)
    with store.lock():
        while True:
            for message in sent(TRIAL, checkpoint_interval_s=0):
                store.append([(TRIAL.spec, message)])
            attempts.value += 1


@contextmanager
def writer(root: Path) -> "Iterator[Synchronized[int]]":
    context = multiprocessing.get_context("spawn")
    attempts: Synchronized[int] = context.Value("i", 0)
    process = context.Process(target=write_forever, args=(root, attempts), daemon=True)
    process.start()
    try:
        yield attempts
    finally:
        process.kill()
        process.join()


def test_a_trial_that_is_being_written_is_never_read_as_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    curve = quiet(TRIAL)
    reads, deadline = 0, time.monotonic() + LIMIT_S
    with writer(tmp_path / "results") as attempts, caplog.at_level(logging.WARNING):
        while reads < READS or attempts.value < ATTEMPTS:
            assert time.monotonic() < deadline, f"{reads} reads, {attempts.value} attempts"
            store = Store(tmp_path / "results")  # its check of the format is a read too
            trial = store.read(TRIAL.spec.id)
            if trial is not None:
                seen = [(each.epoch, dict(each.metrics)) for each in trial.epochs]
                assert seen == curve[: len(seen)]
            store.settled(TRIAL.spec.id, TRIAL.epochs)
            store.resume_point(TRIAL.spec.id)
            reads += 3
    assert caplog.text == ""
