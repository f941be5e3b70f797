"""A verdict without records says what is missing, and where it was looked for."""

import shutil
from pathlib import Path

from harness import workloads
from harness.manifest import Experiment, load
from harness.plan import Selection
from harness.record import StoredTrial, TrialSpec
from harness.session import CommittedUse, Session
from harness.session.committed import Committed
from harness.store import Archive, Kept, Store
from tests.commands import write
from tests.conftest import REPOSITORY


def committed(experiment: Experiment, epochs: int | None = None) -> Committed:
    session = Session((experiment,), Selection(epochs=epochs), Store(Path("nowhere")))
    return session.committed_of(experiment)


def trial(spec: TrialSpec) -> StoredTrial:
    return StoredTrial(
        spec=spec, epochs=(), finals={}, done=0, failure=None, provenance=(), history=()
    )


def test_a_missing_file_is_said_and_whether_the_workspace_was_searched(tmp_path: Path) -> None:
    (experiment,) = load([write(tmp_path)], workloads.registry())
    missing = f"there is no file {tmp_path / 'records' / 'script.jsonl'}"
    held = "the workspace holds no trial of 3 epochs of it as the manifest is now"
    assert [*committed(experiment).notes(searched=True)] == [f"{held}; {missing}"]
    asked = "only committed records were asked for, so the workspace was not searched"
    assert [*committed(experiment).notes(searched=False)] == [f"{asked}; {missing}"]
    for use, first in ((CommittedUse.WHERE_EMPTY, held), (CommittedUse.ALWAYS, asked)):
        session = Session((experiment,), Selection(), Store(tmp_path / "workspace"), use)
        assert f"{first}; {missing}" in session.verdicts()[0].notes


def test_records_of_another_length_are_named_as_such(tmp_path: Path) -> None:
    """A script's short trial is not the beginning of a long one."""
    (experiment,) = load([write(tmp_path)], workloads.registry())
    archive = Archive(tmp_path / "records")
    archive.write("script", Kept(trials=(trial(committed(experiment).spec),)))
    held, stale = committed(experiment, epochs=2).notes(searched=True)
    assert held == "the workspace holds no trial of 2 epochs of it as the manifest is now"
    assert stale == (
        f"the records of seed 0 in {archive.file('script')} are not used: "
        "they were made with another number of epochs"
    )


def test_records_of_other_cells_are_named_as_such(tmp_path: Path) -> None:
    for name in ("psa.yaml", "psa.csv"):
        shutil.copy(REPOSITORY / "experiments" / name, tmp_path)
    recorded, empty, *_ = load([tmp_path / "psa.yaml"], workloads.registry())
    archive = Archive(tmp_path / "records")
    archive.write_grid("psa", {recorded.id: Kept(trials=(trial(committed(recorded).spec),))})
    (note,) = committed(empty).notes(searched=False)
    assert note.endswith("psa.jsonl holds no trial of it, but 1 trial of other cells")
    (note,) = committed(recorded).notes(searched=False)
    assert note.startswith("judged by the committed records in ")
