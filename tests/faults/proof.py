"""What must hold after any fault: nothing lost, doubled or invented, and MLflow told of all."""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness.plan import Job
from harness.record import EpochRecord, FailureKind, FinalRecord, Source, StoredTrial
from harness.store import Store
from harness.trial import attempt
from harness.workload import Workload

Values = Mapping[tuple[str, int], float]
"""By metric and epoch; final estimates have metrics of their own."""

_SOURCE = Source("commit", dirty=False, digest="digest")


@dataclass(frozen=True)
class Account:
    """What became of the records of some trials."""

    kept: int = 0
    """Values equal to the quiet run's, bit for bit."""
    lost: int = 0
    doubled: int = 0
    """Epochs that are recorded more than once."""
    wrong: int = 0
    """Values that no quiet run has."""
    blamed: int = 0
    """Trials whose failure was put down to the method although a machine's fault caused it."""

    def __add__(self, other: "Account") -> "Account":
        return Account(
            self.kept + other.kept,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.wrong + other.wrong,
            self.blamed + other.blamed,
        )

    @property
    def sound(self) -> bool:
        """Whether nothing went amiss."""
        return self.kept > 0 and not (self.lost or self.doubled or self.wrong or self.blamed)

    def __str__(self) -> str:
        wrong = f" / {self.wrong} WRONG" if self.wrong else ""
        counts = f"{self.kept} kept / {self.lost} lost / {self.doubled} doubled"
        return f"{counts} / {self.blamed} wrongly blamed{wrong}"


def values(records: Iterable[object]) -> Values:
    """The records' values."""
    return {
        (name, record.epoch): value
        for record in records
        if isinstance(record, EpochRecord | FinalRecord)
        for name, value in record.metrics.items()
    }


def quiet(job: Job, workload: Workload) -> Values:
    """The values of a trial that is left alone in this process, and need not take its time."""
    parameters = dict(job.spec.parameters)
    if "sleep_s" in parameters:
        parameters["sleep_s"] = 0.0
    awake = replace(job, spec=replace(job.spec, parameters=parameters))
    return values(attempt(awake, workload, data={}, source=_SOURCE))


def stored(trial: StoredTrial | None) -> Values:
    """The values that the store believes."""
    return values((*trial.epochs, *trial.finals.values())) if trial else {}


def account(store: Store, truth: Mapping[str, Values]) -> Account:
    """Hold what is stored against the truth, by trial's id."""
    whole = Account()
    for trial_id, expected in truth.items():
        trial = store.read(trial_id)
        found = stored(trial)
        kept = sum(found.get(key) == value for key, value in expected.items())
        lost = sum(key not in found for key in expected)
        wrong = sum(expected.get(key) != value for key, value in found.items())
        failure = trial.failure if trial else None
        blamed = failure is not None and failure.kind is FailureKind.SCIENTIFIC
        whole += Account(kept, lost, _doubled(store, trial_id), wrong, int(blamed))
    return whole


def _doubled(store: Store, trial_id: str) -> int:
    """Read past the store: lines of the file that repeat an epoch."""
    file = store.root / "trials" / trial_id / "records.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    epochs = Counter(json.loads(line)["epoch"] for line in lines)
    return sum(count - 1 for count in epochs.values())


def amiss_in_mlflow(workspace: Path, store: Store, trials: Collection[str]) -> list[str]:
    """Where MLflow's tables, read past MLflow, do not say what the store says."""
    path = workspace / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        runs = database.execute(
            "SELECT r.run_uuid, r.status, r.experiment_id, t.value"
            " FROM runs r JOIN tags t USING (run_uuid)"
            " WHERE t.key = 'harness.trial' AND r.lifecycle_stage = 'active'"
        ).fetchall()
        found = [f"{key} is {status}" for _, status, _, key in runs if status == "RUNNING"]
        copies = Counter((experiment, key) for _, _, experiment, key in runs)
        found += [f"{n} runs of {key}" for (_, key), n in copies.items() if n > 1]
        held = {key for *_, key in runs}
        found += [f"no run of {trial}" for trial in trials if trial not in held]
        for run, *_, key in runs:
            if key in trials:
                found += _differences(database, run, stored(store.read(key)))
    return found


def _differences(database: sqlite3.Connection, run: str, expected: Values) -> list[str]:
    rows = database.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", [run])
    points = [(key.removeprefix("detail/"), step, value) for key, step, value in rows]
    points = [point for point in points if not point[0].startswith(("time/", "system/"))]
    held = {(key, step): value for key, step, value in points}
    if len(held) < len(points):
        return [f"{run}: {len(points) - len(held)} points twice"]
    return [] if held == dict(expected) else [f"{run}: {len(held)} points, {len(expected)} stored"]
