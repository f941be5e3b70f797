"""A workload's own code: recorded with its trials, and held against today's."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import source
from harness.compare import Side, compare_experiments, sentence
from harness.manifest import Experiment, load
from harness.plan import Job, Selection, jobs
from harness.record import Source, StoredTrial, WorkloadCode
from harness.session import Session
from harness.store import Archive, Store
from harness.store.archive import Kept, encoded
from harness.trial import attempt
from tests.study.conftest import MANIFEST
from tests.toy import Toy

REGISTRY = {"toy": Toy()}
OLD = WorkloadCode("toy-walks", "1.0", "a" * 64)
TODAY = replace(OLD, digest="b" * 64)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Today's code is known, and nothing is stored yet."""
    monkeypatch.setattr("harness.session.session.workload_code", lambda _: TODAY)
    path = tmp_path / "walk.yaml"
    path.write_text(MANIFEST)
    experiments = load([path], REGISTRY)
    return Session(experiments, Selection(), Store(tmp_path / "results"), registry=REGISTRY)


def _run(session: Session, code: WorkloadCode | None, *seeds: int) -> None:
    found = Source("c0ffee", False, "d" * 64)
    with session.store.lock():
        for job in _jobs(session):
            if job.spec.seed in seeds:
                sent = attempt(job, Toy(), data={}, source=found, workload_code=code)
                session.store.append([(job.spec, message) for message in sent])


def _jobs(session: Session) -> list[Job]:
    return list(jobs(session.experiments, REGISTRY, Selection()))


def _trials(session: Session) -> list[StoredTrial]:
    found = (session.store.read(job.spec.id) for job in _jobs(session))
    return [trial for trial in found if trial is not None]


def _only(session: Session) -> Experiment:
    (experiment,) = session.experiments
    return experiment


def test_plan_warns_of_seeds_that_other_code_ran_under_one_revision(session: Session) -> None:
    _run(session, OLD, 0, 1, 3)
    _run(session, TODAY, 2)
    (warning,) = session.code_changes(_only(session))
    assert "the code of workload toy has changed since seeds 0-1,3 ran" in warning
    assert "toy-walks 1.0 aaaaaaaa then, toy-walks 1.0 bbbbbbbb now" in warning
    assert "revision is still 1" in warning


def test_plan_warns_of_committed_records_too(session: Session) -> None:
    _run(session, OLD, 0)
    Archive(_only(session).path.parent / "records").write(
        "walk", Kept(trials=tuple(_trials(session)))
    )
    elsewhere = replace(session, store=Store(session.store.root / "empty"))
    (warning,) = elsewhere.code_changes(_only(session))
    assert "since seed 0 ran" in warning


def test_records_that_do_not_tell_the_code_are_passed_over(session: Session) -> None:
    _run(session, None, 0, 1)
    assert list(session.code_changes(_only(session))) == []
    text = encoded(Kept(trials=tuple(_trials(session)))).decode()
    assert "workload_code" not in text, "older records keep their bytes"
    assert "unknown_because" not in text


def test_check_notes_that_the_seeds_of_one_verdict_had_different_code(session: Session) -> None:
    _run(session, OLD, 0)
    _run(session, TODAY, 1)
    (verdict,) = session.verdicts()
    (note,) = [note for note in verdict.notes if "workload code" in note]
    assert "toy-walks 1.0 aaaaaaaa / toy-walks 1.0 bbbbbbbb" in note


def test_compare_names_the_code_among_what_differs_where_both_sides_tell_it(
    session: Session,
) -> None:
    _run(session, TODAY, 0)
    (new,) = _trials(session)
    shifted = tuple(
        replace(epoch, metrics={"place": epoch.metrics["place"] + 0.2}) for epoch in new.epochs
    )
    for code, named in ((OLD, True), (TODAY, False), (None, False)):
        provenance = tuple(replace(each, workload_code=code) for each in new.provenance)
        old = replace(new, epochs=shifted, provenance=provenance)
        found = compare_experiments(
            [_only(session)], Side({("walk", 0): old}), Side({("walk", 0): new})
        )
        assert ("workload code toy-walks 1.0 aaaaaaaa →" in sentence(found[0])) is named


def test_a_workload_of_the_harness_never_warns(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(session, OLD, 0)
    own = WorkloadCode("harness", "0.1.0", source.package_digest())
    monkeypatch.setattr("harness.session.session.workload_code", lambda _: own)
    assert list(session.code_changes(_only(session))) == []
