"""Planted workloads: each computes with its fault, and leaves nothing of it behind."""

from collections.abc import Callable, Mapping

import pytest
from ray import cloudpickle

from harness.selftest import Subject, Training
from harness.selftest.cases import NONE, PlantedWorkload
from harness.workload import Context, PlantedFault, Workload, planted_faults
from harness.workloads.mutual_information import image_pair
from tests.workloads.tiny import PARAMETERS, images

EPOCHS = 3
Which = Callable[[Subject], Training]
FAULTS = planted_faults(image_pair)


def planted(name: str) -> PlantedWorkload:
    return PlantedWorkload(image_pair, name, FAULTS.get(name, PlantedFault("nothing")))


def metrics(workload: Workload) -> list[Mapping[str, float]]:
    """What a short run of tiny images records, its final estimate last."""
    parameters = workload.parameters.model_validate(dict(PARAMETERS["mine_image_pair"]))
    data = {item.name: images() for item in workload.data_sets(parameters)}
    context = Context(seed=0, data=data, device="cpu", threads=1)
    run = workload.start(parameters, context)
    return [*(run.epoch() for _ in range(EPOCHS)), run.final()]


@pytest.fixture(scope="module")
def sound() -> list[Mapping[str, float]]:
    return metrics(image_pair)


def test_without_a_fault_a_planted_workload_is_the_sound_one(
    sound: list[Mapping[str, float]],
) -> None:
    assert metrics(planted(NONE)) == sound


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows_while_its_run_computes_and_never_after(
    sound: list[Mapping[str, float]], fault: str
) -> None:
    assert metrics(planted(fault)) != sound
    assert metrics(image_pair) == sound


def test_the_bound_without_its_mean_is_lower_by_the_logarithm_of_the_batch(
    sound: list[Mapping[str, float]],
) -> None:
    """At the very first weights; from then on the two runs have the same gradients."""
    found = metrics(planted("bound_without_the_mean"))
    lower = [
        one["mi_bits"] - other["mi_bits"] for one, other in zip(sound[:-1], found, strict=False)
    ]
    # Of 30 pairs, and of fewer in each epoch's last minibatch.
    assert all(4.5 < by < 4.91 for by in lower)


def test_pairs_that_are_not_shuffled_bear_no_information() -> None:
    found = metrics(planted("marginals_not_shuffled"))
    assert all(each["mi_bits"] <= 1e-6 for each in found[:-1])


def test_test_images_in_training_are_seen_in_the_digest_alone() -> None:
    faulty = planted("test_images_in_training")
    parameters = faulty.parameters.model_validate(dict(PARAMETERS["mine_image_pair"]))
    data = {item.name: images() for item in faulty.data_sets(parameters)}
    context = Context(seed=0, data=data, device="cpu", threads=1)
    digests = [
        workload.start(parameters, context).environment.data for workload in (image_pair, faulty)
    ]
    assert digests[0].keys() == digests[1].keys()
    assert digests[0] != digests[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_workload_travels_to_a_worker_and_says_nothing_of_its_fault(fault: str) -> None:
    faulty = planted(fault)
    again = cloudpickle.loads(cloudpickle.dumps(faulty))
    assert (again.name, again.fault.title) == (faulty.name, FAULTS[fault].title)
    assert (faulty.revision, faulty.metrics) == (image_pair.revision, image_pair.metrics)


@pytest.mark.parametrize(
    ("which", "nulls"), [(Training.short, 1), (Training.others, 0), (Training.whole, 1)]
)
def test_every_fault_of_training_has_its_experiment(
    subject: Subject, which: Which, nulls: int
) -> None:
    training = which(subject)
    assert len(training.experiments) == len(training.cases)
    assert sum(not case.is_fault for case in training.cases) == nulls
    for experiment in training.experiments:
        assert experiment.manifest.workload.name in training.registry
        assert experiment.manifest.claims == subject.experiment.manifest.claims


def test_every_fault_is_planted_in_some_training(subject: Subject) -> None:
    plans = Training.short(subject), Training.others(subject), Training.whole(subject)
    trained = [experiment for plan in plans for experiment in plan.experiments]
    names = [experiment.id.partition("[")[2].rstrip("]") for experiment in trained]
    assert sorted(names) == sorted([*FAULTS, NONE, NONE])
