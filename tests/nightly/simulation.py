"""Simulate nights without training: write trials into each night's store, then finish it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from harness.errors import Exit
from harness.manifest import Experiment, load
from harness.nightly import History, NightSummary, Quarantine
from harness.plan import Job, Selection
from harness.record import (
    Environment,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Provenance,
    Source,
    Started,
)
from harness.session import Session
from harness.session.night import NightRules, Trouble, finish_night
from harness.store import Store
from tests.toy import Toy

EPOCHS = 3
REGISTRY = {"toy": Toy()}

MANIFEST = """\
format: 1
title: A walk called {name}
paper: {{title: A paper made up for {name}, author: nobody, listing: none, command: none}}
unit: steps
workload:
  name: toy
  parameters:
    scale: {{value: {scale}, assumed: made up}}
    sleep_s: {{value: 0.0, assumed: made up}}
    fault: {{value: "", assumed: made up}}
    at: {{value: 0, assumed: made up}}
    marker: {{value: "", assumed: made up}}
epochs: {{value: 3, assumed: made up}}
seeds: 0-4
control: {control}
claims:
  - name: rows
    kind: value
    metric: place
    source: made up
    reported: {{1: 1.0, 2: 2.0, 3: 3.0}}
    tolerance: {{value: 0.5, reason: made up}}
  - name: end
    kind: value
    metric: end
    source: made up
    reported: 6.0
    tolerance: {{value: 0.5, reason: made up}}
"""

LOST = Failure(FailureKind.INFRASTRUCTURE, "WorkerDied", "the node went away", 0)
NAN = Failure(FailureKind.SCIENTIFIC, "NotFinite", "place is NaN", 1)


@dataclass(frozen=True)
class Outcome:
    """What every seed of an experiment finds in a night: the paper's values, moved by `shift`."""

    shift: float = 0.0
    noise: int = 0
    """Nights with equal numbers have equal noise."""
    failures: Mapping[int, Failure] = field(default_factory=dict)
    torch: str = "2.1"


@dataclass
class Simulation:
    """Nights of some walks, one a day, finished as `harness nightly` finishes a night."""

    root: Path
    names: Sequence[str]
    controls: Sequence[str] = ()
    seeds: tuple[int, ...] | None = None
    quarantines: tuple[Quarantine, ...] = ()
    keep: int = 20

    def __post_init__(self) -> None:
        self.history = History(self.root / "nights" / "light")
        folder = self.root / "experiments"
        folder.mkdir(parents=True)
        for place, name in enumerate(self.names):
            control = str(name in self.controls).lower()
            # Of another scale each, so that no two walks share their trials.
            text = MANIFEST.format(name=name, control=control, scale=float(place + 1))
            (folder / f"{name}.yaml").write_text(text)
        self.experiments: tuple[Experiment, ...] = load([folder], REGISTRY)

    def night(
        self,
        day: int,
        outcomes: Mapping[str, Outcome] | None = None,
        *,
        trouble: Trouble | None = None,
    ) -> NightSummary:
        """Simulate one night; walks without an outcome match the paper."""
        now = datetime(2026, 1, day, 2, tzinfo=UTC)
        opened = self.history.begin(self.experiments, now)
        session = Session(self.experiments, Selection(seeds=self.seeds), Store(opened.folder))
        for job in session.jobs():
            outcome = (outcomes or {}).get(job.experiment, Outcome())
            messages = _messages(job, outcome)
            with session.store.lock():
                session.store.append([(job.spec, message) for message in messages])
        rules = NightRules(
            name="light", keep=self.keep, consistent_after=3, quarantines=self.quarantines
        )
        return finish_night(session, self.history, opened, rules, trouble=trouble)

    def folder(self, summary: NightSummary) -> Path:
        """Where a night was kept."""
        return self.history.folder / summary.record.night


def quarantine(experiment: str, day: int) -> Quarantine:
    """Until a day of January."""
    return Quarantine(
        experiment=experiment, owner="A. Nother", reason="known", expires=date(2026, 1, day)
    )


def state(summary: NightSummary, name: str) -> tuple[str, Exit]:
    """How a walk stands, and the night's exit code."""
    return str(summary.record.experiments[name].state), summary.record.code


def _messages(job: Job, outcome: Outcome) -> list[Message]:
    """What a worker would have sent."""
    failure = outcome.failures.get(job.spec.seed)
    if failure is LOST:
        return [failure]
    luck = random.Random(f"{job.experiment} {job.spec.seed} {outcome.noise}")
    usual = random.Random(job.spec.seed).gauss(0.0, 0.05)
    off = outcome.shift + usual + (luck.gauss(0.0, 0.004) if outcome.noise else 0.0)
    reached = EPOCHS if failure is None else failure.epoch
    messages: list[Message] = [Started(0, _provenance(outcome.torch))]
    messages += [
        EpochRecord(epoch, {"place": epoch + off}, 1000 * epoch, 1.0)
        for epoch in range(1, reached + 1)
    ]
    if failure is not None:
        return [*messages, failure]
    final = FinalRecord(EPOCHS, {"end": 6 + off}, 4000, 1.0)
    return [*messages, final, Finished(EPOCHS)]


def _provenance(torch: str) -> Provenance:
    environment = Environment(
        device="cpu",
        threads=1,
        form="plain",
        versions={"torch": torch},
        hardware={"cpu": "one"},
        settings={},
        data={},
    )
    return Provenance("host", Source("c0ffee12", False, "d" * 64), environment)
