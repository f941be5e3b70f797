"""Disks that are full or read-only: nothing that was durable is lost, and the fault is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.options import Outputs
from harness.errors import StoreError
from harness.output import OutputError
from harness.session.reports import Reports
from harness.store import Store
from tests.faults.disks import filled, make_writable, small_disk
from tests.faults.proof import account, amiss_in_mlflow, quiet
from tests.faults.workload import RUDE
from tests.faults.world import World
from tests.report.studies import reproduced
from tests.store.trials import curve, run, sent
from tests.store.trials import quiet as quiet_curve
from tests.toy import job

PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", kib=256) as folder:
        yield folder


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 6])
def test_a_full_disk_costs_nothing_that_was_durable(disk: Path, pages: int) -> None:
    """At each size another file is the first that finds no room."""
    store = Store(disk / "results")
    run(store, job(epochs=3))
    longer = job(epochs=200)
    with filled(disk, leaving=pages * PAGE), pytest.raises(StoreError, match="No space left"):
        _append_one_by_one(store, longer)
    again = Store(store.root)
    stored = again.read(longer.spec.id)
    assert curve(stored) == quiet_curve(longer)[: len(curve(stored))]
    assert again.done(longer.spec.id) == 3
    run(again, longer)
    assert curve(again.read(longer.spec.id)) == quiet_curve(longer)


def _append_one_by_one(store: Store, a_job: object) -> None:
    with store.lock():
        for message in sent(a_job, store, checkpoint_interval_s=0):  # type: ignore[arg-type]
            store.append([(a_job.spec, message)])  # type: ignore[attr-defined]


def test_a_read_only_workspace_is_read_and_not_written(disk: Path) -> None:
    store = Store(disk / "results")
    run(store, job(epochs=3))
    make_writable(disk, False)
    assert curve(Store(store.root).read(job().spec.id)) == quiet_curve(job(epochs=3))
    with pytest.raises(StoreError, match=f"{store.root}.*Read-only file system"):
        run(Store(store.root), job(epochs=4))
    make_writable(disk, True)
    run(Store(store.root), job(epochs=4))


def test_pages_and_documents_that_cannot_be_written_are_named(disk: Path) -> None:
    make_writable(disk, False)
    for write in (
        lambda: Reports.write([reproduced()], disk / "report"),
        lambda: Outputs({"json": str(disk / "out.json")}).write([reproduced()]),
        lambda: Outputs({"junit": str(disk / "junit.xml")}).write([reproduced()]),
    ):
        with pytest.raises(OutputError, match=f"{disk}/.*: cannot be written: .*[Rr]ead-only"):
            write()


@pytest.mark.chaos
def test_a_run_on_a_disk_that_fills_says_so_and_goes_on_once_there_is_room(world: World) -> None:
    """The whole of it: records, checkpoints, MLflow's database and the report on one small disk."""
    world.walk(epochs=60, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    with small_disk(world.workspace, kib=16 * 1024) as disk:
        with filled(disk, leaving=5 * PAGE):
            full = world.run("run")
        assert full.returncode == 4, full.stdout
        assert "No space left on device" in full.stdout.splitlines()[-1]
        assert "Traceback" not in full.stdout
        done = world.run("run")
        assert done.returncode == 0, done.stdout
        assert account(world.store, truth).sound
        assert amiss_in_mlflow(world.workspace, world.store, truth) == []
        make_writable(disk, False)
        judged = world.run("check")
        assert judged.returncode == 0, judged.stdout
        refused = world.run("run", "--tracking-uri", "none")
        assert refused.returncode == 4
        assert refused.stdout.splitlines()[-1].endswith("Read-only file system")
        make_writable(disk, True)
