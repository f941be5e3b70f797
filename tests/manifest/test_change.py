"""A manifest changed in memory is checked as its file would be."""

import pytest

from harness import workloads
from harness.manifest import Experiment, change, load
from tests.conftest import FIRST_PAPER

REGISTRY = workloads.registry()
EXPERIMENTS = load(FIRST_PAPER, REGISTRY)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.id)
def test_nothing_changed_is_the_same_manifest(experiment: Experiment) -> None:
    same, faults = change(experiment, {}, REGISTRY, id=experiment.id, varied=())
    assert not faults
    assert same is not None
    assert (same.manifest, same.parameters) == (experiment.manifest, experiment.parameters)
    assert same.digest != experiment.digest, "a digest of a file's bytes is that file's alone"


def test_a_change_that_the_file_could_not_hold_is_the_files_own_fault() -> None:
    (asked,) = (each for each in EXPERIMENTS if each.id == "sequence-pair-16")
    place = ("workload", "parameters", "length", "value")
    none, faults = change(asked, {place: 1000}, REGISTRY, id="short", varied=())
    assert none is None
    (fault,) = faults
    assert fault.path == place
    assert fault.message.endswith("need at least 1106 samples, got 1000")
