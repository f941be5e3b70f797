"""Trials and experiments by hand, and a database that is migrated once a session."""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.manifest import Experiment, Manifest
from harness.record import (
    Environment,
    EpochRecord,
    Failure,
    FinalRecord,
    Provenance,
    Source,
    StoredTrial,
    TrialSpec,
)
from harness.tracking import Tracked, default_uri
from harness.tracking.local_store import database_file, require_answer
from harness.workload import Parameters

T0_MS = 1_700_000_000_000
REFERENCES = ("true value", "paper - tolerance", "paper + tolerance", "paper")
"""The names of the runs that show values from the manifest, in the order of the view."""


class Knobs(Parameters):
    rate: float
    layers: tuple[int, ...]


MANIFEST: dict[str, Any] = {
    "format": 1,
    "title": "A curve that rises to two",
    "paper": {"title": "On curves", "author": "A. Nobody", "listing": "1", "command": "./run 1"},
    "unit": "bits",
    "workload": {
        "name": "toy",
        "parameters": {
            "rate": {"value": 0.5, "stated": "section 1"},
            "layers": {"value": [2, 3], "assumed": "the smallest that works"},
        },
    },
    "epochs": {"value": 50, "stated": "listing 1"},
    "seeds": [0, 1, 2],
    "claims": [
        {
            "name": "curve",
            "kind": "curve",
            "metric": "mi_bits",
            "reported": {1: 0.5, 10: 1.5, 50: 1.9},
            "tolerance": {"value": 0.1, "reason": "a twentieth"},
            "source": "listing 1",
        },
        {
            "name": "truth",
            "kind": "exact",
            "metric": "true_mi_bits",
            "reported": {1: 1.9991, 50: 1.9991},
            "decimals": 4,
            "source": "listing 1",
        },
        {
            "name": "test",
            "kind": "value",
            "metric": "test_mi_bits",
            "reported": 2.0831,
            "tolerance": {"value": 0.1, "reason": "a twentieth"},
            "source": "listing 1",
        },
    ],
}


def make_experiment(name: str = "toy-4", **changes: Any) -> Experiment:
    return Experiment(
        id=name,
        path=Path(f"experiments/{name}.yaml"),
        digest="d1" * 32,
        manifest=Manifest.model_validate(MANIFEST | changes),
        parameters=Knobs(rate=0.5, layers=(2, 3)),
        truths={"true_mi_bits": "mi_bits"},
    )


def make_trial(
    seed: int = 0,
    epochs: int = 10,
    *,
    done: int = 0,
    finals: tuple[int, ...] = (),
    failure: Failure | None = None,
    t0_ms: int = T0_MS,
) -> StoredTrial:
    return StoredTrial(
        spec=TrialSpec(
            workload="toy",
            revision=1,
            parameters={"rate": 0.5, "layers": [2, 3]},
            seed=seed,
            data={"digits": "ab" * 32},
        ),
        epochs=tuple(_epoch(seed, n, t0_ms) for n in range(1, epochs + 1)),
        finals={n: _final(seed, n, t0_ms) for n in finals},
        done=done,
        failure=failure,
        provenance=(PROVENANCE,),
    )


PROVENANCE = Provenance(
    host="node-7",
    source=Source(commit="c0ffee", dirty=True, digest="5e" * 32),
    environment=Environment(
        device="cpu",
        threads=1,
        form="cpu/1/plain",
        versions={"torch": "2.14.1"},
        hardware={"cpu": "a fast one"},
        settings={},
        data={"digits": "ab" * 32},
    ),
)


def _epoch(seed: int, n: int, t0_ms: int) -> EpochRecord:
    metrics = {"mi_bits": 2 - 1 / (n + seed), "true_mi_bits": 1.9991, "grad": 1 / n}
    return EpochRecord(epoch=n, metrics=metrics, ended_ms=t0_ms + 1000 * n, seconds=0.75)


def _final(seed: int, n: int, t0_ms: int) -> FinalRecord:
    metrics = {"test_mi_bits": 2.0 + seed / n, "test_whole_bits": 1.8}
    return FinalRecord(epoch=n, metrics=metrics, ended_ms=t0_ms + 1000 * n + 500, seconds=0.5)


class Shelf:
    """A store by hand: what the tracker reads."""

    def __init__(self, *trials: StoredTrial) -> None:
        self.trials = {trial.spec.id: trial for trial in trials}
        self.reads: Counter[str] = Counter()

    def put(self, trial: StoredTrial) -> str:
        self.trials[trial.spec.id] = trial
        return trial.spec.id

    def read(self, trial_id: str) -> StoredTrial | None:
        self.reads[trial_id] += 1
        return self.trials.get(trial_id)

    def tracked(self, *experiments: Experiment) -> list[Tracked]:
        return [Tracked(one, tuple(self.trials)) for one in experiments]


class Database:
    """What MLflow's tables hold, read past MLflow."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.uri = default_uri(workspace)
        self.path = workspace.resolve() / "mlflow" / "mlflow.db"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()

    def counts(self) -> dict[str, int]:
        tables = ("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "inputs")
        return {name: self.rows(f"SELECT count(*) FROM {name}")[0][0] for name in tables}

    def run_id(self, name: str) -> str:
        query = "SELECT run_uuid FROM runs WHERE name = ? AND lifecycle_stage = 'active'"
        [(found,)] = self.rows(query, name)
        return str(found)

    def points(self, name: str) -> list[tuple[str, int, float, int]]:
        """Key, step, value and time of every point of a run."""
        query = 'SELECT "key", step, value, timestamp FROM metrics WHERE run_uuid = ? ORDER BY 1, 2'
        return self.rows(query, self.run_id(name))

    def values(self, name: str) -> dict[tuple[str, int], float]:
        return {(key, step): value for key, step, value, _ in self.points(name)}

    def tags(self, name: str) -> dict[str, str]:
        query = "SELECT key, value FROM tags WHERE run_uuid = ?"
        return dict(self.rows(query, self.run_id(name)))

    def params(self, name: str) -> dict[str, str]:
        query = "SELECT key, value FROM params WHERE run_uuid = ?"
        return dict(self.rows(query, self.run_id(name)))

    def statuses(self) -> dict[str, str]:
        return dict(self.rows("SELECT name, status FROM runs WHERE lifecycle_stage = 'active'"))

    def dump(self) -> dict[str, Any]:
        """Everything that a reader sees of the seeds' runs, without MLflow's own ids."""
        names = [name for name in self.statuses() if name.startswith("seed")]
        times = "SELECT status, start_time, end_time FROM runs WHERE run_uuid = ?"
        return {
            name: (
                self.points(name),
                self.params(name),
                self.tags(name),
                self.rows(times, self.run_id(name)),
            )
            for name in names
        }


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's; its migrations take seconds, so they run once."""
    workspace = tmp_path_factory.mktemp("template") / "made%2Fhere?"
    require_answer(default_uri(workspace))
    MlflowClient(default_uri(workspace)).search_experiments(max_results=1)
    return database_file(workspace)


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> Database:
    return fresh_database(tmp_path / "results", migrated)


def fresh_database(workspace: Path, migrated: Path) -> Database:
    database = Database(workspace)
    database.path.parent.mkdir(parents=True)
    shutil.copy(migrated, database.path)
    return database
