"""What a trial on a worker sees of the driver's environment."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray

from harness import engine
from harness.record import Environment, digest
from harness.store import Store
from harness.workload import Context
from tests.engine import sinks
from tests.toy import Toy, Walk, job

ON_IMPORT = os.environ.get("TOY_LEVEL")
"""Read as some modules do; on a worker this module is imported for the trial."""


@dataclass(frozen=True)
class Seeing(Toy):
    """Records the environment that it finds."""

    def environment_variables(self, parameters: Any) -> tuple[str, ...]:
        return ("TOY_LEVEL",)

    def start(self, parameters: Any, context: Context) -> Walk:
        walk = super().start(parameters, context)
        seen: Mapping[str, str] = {
            "level": digest(os.environ.get("TOY_LEVEL", "hidden")),
            "on import": digest(str(ON_IMPORT)),
            "secret": os.environ.get("TOY_SECRET", "hidden"),
            "path": "shown" if "PATH" in os.environ else "hidden",
        }
        return Walk(parameters, context, replace(walk.environment, settings=dict(seen)), walk.rng)


def seen(folder: Path) -> Environment:
    """What one trial on the cluster recorded."""
    store = Store(folder)
    sink = sinks.StoreSink(store)
    a_job = job(epochs=1)
    with store.lock():
        engine.run([a_job], sink, workloads={"toy": Seeing()}, load_data=sinks.load)
    trial = store.read(a_job.spec.id)
    assert trial is not None
    assert trial.provenance[-1].workload_code is not None
    assert trial.provenance[-1].workload_code.name == "tests"
    return trial.provenance[-1].environment


@pytest.mark.usefixtures("cluster")
def test_a_trial_on_a_worker_sees_what_its_workload_declares_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster was started before these were set: only the driver can have carried them."""
    value = f"level-{uuid.uuid4().hex}"
    monkeypatch.setenv("TOY_LEVEL", value)
    monkeypatch.setenv("TOY_SECRET", "s3cret")
    found = seen(tmp_path).settings
    expected = {"level": digest(value), "on import": digest(value)}
    assert found == {**expected, "secret": "hidden", "path": "shown"}
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [path for root in (tmp_path, session) for path in root.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if value.encode() in path.read_bytes()] == []
