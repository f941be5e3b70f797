"""Trials for the store: what a worker would send, and what must come back."""

from collections.abc import Iterator
from typing import Any

from harness.plan import Job
from harness.record import (
    EpochRecord,
    FinalRecord,
    Message,
    Source,
    StoredTrial,
)
from harness.store import Store
from harness.trial import attempt
from tests.toy import Toy

SOURCE = Source("commit", dirty=False, digest="digest")


def sent(job: Job, store: Store | None = None, **options: Any) -> Iterator[Message]:
    """What an attempt sends that goes on from where the store stands."""
    checkpoint = store.resume_point(job.spec.id) if store else None
    options = {"checkpoint_interval_s": 1000.0, **options}
    return attempt(job, Toy(), data={}, source=SOURCE, checkpoint=checkpoint, **options)


def run(store: Store, job: Job, **options: Any) -> None:
    """Run a trial to its end."""
    with store.lock():
        store.append([(job.spec, message) for message in sent(job, store, **options)])


def curve(trial: StoredTrial | None) -> list[tuple[int, dict[str, float]]]:
    """The epochs, without what differs between two runs."""
    return [(each.epoch, dict(each.metrics)) for each in trial.epochs] if trial else []


def quiet(job: Job) -> list[tuple[int, dict[str, float]]]:
    """The curve of a trial that nothing disturbs."""
    records = [each for each in sent(job) if isinstance(each, EpochRecord)]
    return [(each.epoch, dict(each.metrics)) for each in records]


def final(job: Job) -> dict[str, float]:
    """The final estimate of a trial that nothing disturbs."""
    (record,) = [each for each in sent(job) if isinstance(each, FinalRecord)]
    return dict(record.metrics)
