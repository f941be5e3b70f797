"""The matrix of faults: what came of each, and the exit code of a run of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import engine
from harness.errors import Exit
from harness.manifest import load
from harness.plan import Job, Selection
from harness.record import FailureKind, StoredTrial
from harness.session.session import Session
from harness.store import Store
from harness.trial import attempt
from harness.verdict import exit_code
from tests.engine.sinks import StoreSink
from tests.faults.ledger import Entry
from tests.faults.proof import Account
from tests.faults.wild import EPOCHS, FAULTS, WILD, WORKLOADS, Outcome
from tests.store.trials import SOURCE, curve

_MANIFEST = """\
format: 1
title: A walk that is struck
paper: {{title: On walks, author: nobody, listing: none, command: none}}
unit: steps
workload:
  name: {workload}
  parameters: {{fault: {{value: {fault}, assumed: x}}}}
epochs: {{value: {epochs}, assumed: x}}
seeds: 0-1
claims:
  - name: rows
    kind: value
    metric: place
    source: made up
    reported: {{1: 0.0}}
    tolerance: {{value: 1000, reason: a walk is no claim}}
"""

_DEADLINE_S = 6.0
"""Without a message, where that is the fault; other trials have all the time they want."""


@dataclass(frozen=True)
class Row:
    """What came of one fault."""

    fault: str
    outcome: Outcome | None
    """None where the trial has no outcome at all."""
    code: Exit
    error: str
    innocent: bool
    """Whether the trial that was not struck has the records of one in a quiet process."""

    @property
    def as_expected(self) -> bool:
        """Whether all is as the table beside the faults says."""
        expected = FAULTS[self.fault].outcome
        unsent = FAULTS[self.fault].workload != WILD.name
        return (
            self.outcome is expected and self.code == expected.value and (self.innocent or unsent)
        )

    def __str__(self) -> str:
        outcome = self.outcome.name.lower() if self.outcome else "nothing"
        mark = "" if self.as_expected else f"  EXPECTED {FAULTS[self.fault].outcome.name.lower()}"
        innocent = "" if self.innocent else "  other seed lost"
        return f"{self.fault:<36} {outcome:<9} {self.code:>2}  {self.error[:60]}{innocent}{mark}"


def run(folder: Path, faults: Iterable[str]) -> list[Row]:
    """Run the faults together on the cluster that this process is connected to."""
    store = Store(folder / "results")
    sessions = {name: _session(folder, store, name) for name in faults}
    slow = [name for name in sessions if FAULTS[name].hangs]
    with store.lock():
        for names in (slow, [name for name in sessions if name not in slow]):
            jobs = [each for name in names for each in sessions[name].jobs()]
            options = engine.Options(
                retries=1,
                backoff_s=0.05,
                deadline_s=_DEADLINE_S if names is slow else 120.0,
                checkpoint_interval_s=0.0,
            )
            engine.run(
                jobs, StoreSink(store), workloads=WORKLOADS, load_data=_no_data, options=options
            )
    return [_row(name, session) for name, session in sessions.items()]


def entry(rows: Sequence[Row]) -> Entry:
    """What became of the faults and of the trials beside them, for the ledger."""
    innocent = sum(row.innocent for row in rows)
    blamed = sum(
        row.outcome is Outcome.METHOD and FAULTS[row.fault].outcome is not Outcome.METHOD
        for row in rows
    )
    account = Account(kept=EPOCHS * innocent, blamed=blamed)
    return Entry("faults inside a trial", len(rows), sum(r.as_expected for r in rows), account)


def _session(folder: Path, store: Store, fault: str) -> Session:
    path = folder / f"{fault}.yaml"
    workload = FAULTS[fault].workload
    path.write_text(_MANIFEST.format(workload=workload, fault=json.dumps(fault), epochs=EPOCHS))
    return Session(tuple(load([path], WORKLOADS)), Selection(), store, registry=WORKLOADS)


def _no_data(workload: Any, name: str) -> Any:
    raise NotImplementedError


def _row(fault: str, session: Session) -> Row:
    verdicts = session.verdicts()
    struck, other = (session.store.read(job.spec.id) for job in session.jobs())
    failure = struck.failure if struck else None
    return Row(
        fault,
        _outcome(struck),
        exit_code(verdicts),
        f"{failure.error}: {failure.message}" if failure else "",
        innocent=other is not None and curve(other) == _quiet(session.jobs()[1]),
    )


def _outcome(trial: StoredTrial | None) -> Outcome | None:
    match trial:
        case StoredTrial(failure=failure) if failure is not None:
            scientific = failure.kind is FailureKind.SCIENTIFIC
            return Outcome.METHOD if scientific else Outcome.MACHINE
        case StoredTrial(done=done) if done == EPOCHS:
            return Outcome.FINISHED
    return None


def _quiet(job: Job) -> Sequence[tuple[int, dict[str, float]]]:
    messages = attempt(job, WILD, data={}, source=SOURCE)
    return [(m.epoch, dict(m.metrics)) for m in messages if type(m).__name__ == "EpochRecord"]
