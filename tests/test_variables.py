"""Which environment variables a trial sees."""

import os
from dataclasses import dataclass
from typing import Any

import pytest

from harness.errors import UsageError
from harness.plan import Job
from harness.variables import Variables, carried, trial_environment, visible
from tests.toy import Toy, job


@dataclass(frozen=True)
class Reading(Toy):
    """Declares what its parameter `marker` names: as a manifest may list names."""

    def environment_variables(self, parameters: Any) -> tuple[str, ...]:
        return tuple(filter(None, parameters.marker.split()))


def _reader(names: str, experiment: str = "toy-walk") -> tuple[str, object, Any]:
    a_job: Job = job(marker=names)
    return experiment, Reading(), Toy().parameters.model_validate(dict(a_job.spec.parameters))


def test_a_trial_sees_the_machine_and_what_it_declares_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEVEL", "91")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    before = dict(os.environ)
    with trial_environment(carried([_reader("LEVEL")])):
        seen = dict(os.environ)
        os.environ["LEFT_BEHIND"] = "1"
    assert seen["LEVEL"] == "91"
    assert {"PATH", "OMP_NUM_THREADS", "https_proxy"} <= seen.keys()
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTEST_CURRENT_TEST"} & seen.keys()
    assert seen == {**visible(before), "LEVEL": "91"}
    assert dict(os.environ) == before


def test_on_a_worker_the_rest_stays_hidden_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    with trial_environment(Variables({"LEVEL": "91", "OMP_NUM_THREADS": "3"}), hide=True):
        os.environ["LEFT_BEHIND"] = "1"
        assert "SECRET" not in os.environ
    found = dict(os.environ)
    os.environ.update(before)
    assert found == visible(before)
    assert found["OMP_NUM_THREADS"] == "7"


def test_a_declared_name_wins_over_the_machines_own_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with trial_environment(Variables({"OMP_NUM_THREADS": "3"})):
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_every_missing_variable_is_named_with_its_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    with pytest.raises(UsageError) as refused:
        carried([_reader("ABSENT"), _reader("not-a-name PATH", "other")])
    assert str(refused.value).splitlines() == [
        "toy-walk: the workload reads the environment variable ABSENT, which is not set; "
        "set it where you run the harness",
        "other: 'not-a-name' can be no environment variable's name",
    ]


def test_a_value_is_shown_by_no_repr() -> None:
    shown = f"{Variables({'TOKEN': 'secret'})!r} {Variables({'TOKEN': 'secret'})}"
    assert "TOKEN" in shown
    assert "secret" not in shown


def test_a_workload_that_declares_nothing_reads_nothing() -> None:
    assert carried([("walk", Toy(), None)]) == Variables()
