"""Claims about seconds and memory: judged on the named hardware, never red for another one."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.compare import Side, Standing, compare_experiments, results_digest
from harness.manifest import AtMostClaim, Experiment, Hardware, ValueClaim
from harness.record import StoredTrial
from harness.verdict import ExperimentVerdict, Outcome, exit_code
from tests.verdict.builders import experiment, failed, near, row, trial, value, verdict_on

XEON = "Intel(R) Xeon(R) CPU @ 2.20GHz"


def ran(
    seconds: float,
    *,
    cpu: str = XEON,
    gpu: str = "",
    memory_mib: int | None = 100,
    test: float = 1.0,
    form: str = "plain",
    attempts: int = 1,
) -> StoredTrial:
    """A trial of two epochs that took so long in all."""
    made = trial([1.0, 1.0], test=test)
    hardware = {"cpu": cpu} | ({"gpu": gpu} if gpu else {})
    (before,) = made.provenance
    environment = replace(before.environment, hardware=hardware, device=gpu or "cpu", form=form)
    final = replace(
        made.finals[2],
        seconds=seconds - 2,
        peak_memory_bytes=None if memory_mib is None else memory_mib << 20,
    )
    return replace(
        made,
        finals={2: final},
        provenance=(replace(before, environment=environment),) * attempts,
    )


def time(reported: float = 10.0, **hardware: str) -> ValueClaim:
    return ValueClaim(
        kind="value",
        name="time",
        metric="seconds",
        unit="s",
        source="table 3",
        reported=reported,
        tolerance=near(1),
        hardware=Hardware(**(hardware or {"cpu": XEON})),
    )


MEMORY = AtMostClaim(
    kind="at_most",
    name="memory",
    metric="peak_memory_mib",
    unit="MiB",
    source="table 3",
    reported=120,
    tolerance=near(1),
    hardware=Hardware(cpu=".*Xeon.*"),
)


def judged(
    trials: Mapping[int, StoredTrial], *claims: ValueClaim | AtMostClaim, **options: int
) -> ExperimentVerdict:
    return verdict_on(asked(*claims), trials, **options)


def asked(*claims: ValueClaim | AtMostClaim) -> Experiment:
    return experiment(value(1.0), *(claims or (time(),)), epochs=2)


HERE = {seed: ran(10 + seed / 10) for seed in range(3)}
ELSEWHERE = {seed: ran(99 + seed, cpu="AMD EPYC", memory_mib=900) for seed in range(3)}


def test_time_and_memory_are_judged_on_the_named_hardware() -> None:
    found = judged(HERE, time(), MEMORY)
    assert [(one.claim, one.verdict, one.unit) for one in found.results] == [
        ("late rows", Outcome.REPRODUCED, "bits"),
        ("time", Outcome.REPRODUCED, "s"),
        ("memory", Outcome.REPRODUCED, "MiB"),
    ]
    assert row(found, "time").measured == pytest.approx(10.1)
    assert row(found, "memory").measured == 100
    slow = judged({seed: ran(99 + seed, memory_mib=900) for seed in range(3)}, time(), MEMORY)
    assert [row(slow, name).verdict for name in ("time", "memory")] == [Outcome.NOT_REPRODUCED] * 2


@pytest.mark.parametrize("trials", [ELSEWHERE, {0: ELSEWHERE[0]}])
def test_other_hardware_is_never_red_and_never_a_pass(trials: Mapping[int, StoredTrial]) -> None:
    without = verdict_on(experiment(value(1.0), epochs=2), trials)
    found = judged(trials, time(), MEMORY)
    for name in ("time", "memory"):
        assert row(found, name).verdict is Outcome.NOT_RUN
        assert "no trial that counts ran on" in row(found, name).note
        assert row(found, name).as_expected is None
    assert found.verdict is without.verdict
    assert exit_code([found]) == exit_code([without])
    alone = verdict_on(experiment(time(), epochs=2), trials)
    assert alone.verdict is Outcome.INCOMPLETE
    assert alone.as_expected is None


def test_only_the_trials_on_the_hardware_count() -> None:
    mixed = judged({**{seed + 3: one for seed, one in ELSEWHERE.items()}, **HERE})
    alone = judged(HERE)
    assert row(mixed, "time").by_seed == row(alone, "time").by_seed
    assert row(mixed, "time").interval == row(alone, "time").interval


@pytest.mark.parametrize("claims", [(time(),), (time(99.0), MEMORY)])
def test_no_other_verdict_depends_on_a_claim_about_time(claims: tuple[ValueClaim, ...]) -> None:
    without = verdict_on(experiment(value(1.0), epochs=2), HERE)
    assert row(judged(HERE, *claims), "late rows") == row(without, "late rows")


def test_what_a_pack_or_several_attempts_cost_is_not_taken_for_one_trials_cost() -> None:
    packed = {0: ran(10, form="plain/pack of 8"), 1: ran(10, form="plain/pack of 8")}
    assert row(judged(packed), "time").verdict is Outcome.NOT_RUN
    resumed = judged({0: ran(10, attempts=2), 1: ran(10, attempts=2)}, time(), MEMORY)
    assert row(resumed, "time").n == 2
    assert row(resumed, "memory").verdict is Outcome.NOT_RUN


def test_a_shorter_run_says_nothing_about_the_time_of_the_whole() -> None:
    assert row(judged(HERE, epochs=1), "time").verdict is Outcome.NOT_RUN


def test_a_seed_that_failed_or_is_missing_is_no_pass() -> None:
    (environment,) = (one.environment for one in HERE[0].provenance)
    broken = trial([1.0], failure=failed(1))
    broken = replace(broken, provenance=(replace(broken.provenance[0], environment=environment),))
    assert row(judged({**HERE, 3: broken}), "time").verdict is Outcome.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("hardware", "fits"),
    [
        ({"cpu": XEON}, True),
        ({"cpu": r"Intel\(R\) Xeon.*"}, True),
        ({"cpu": "Xeon"}, False),
        ({"gpu": "NVIDIA H100.*"}, False),
        ({"cpu": XEON, "gpu": "NVIDIA H100.*"}, False),
    ],
)
def test_a_name_is_exact_or_a_whole_regular_expression(
    hardware: dict[str, str], fits: bool
) -> None:
    counted = row(judged(HERE, time(**hardware)), "time").n
    assert bool(counted) == fits


def test_a_claim_about_a_cpu_is_not_judged_by_a_gpu() -> None:
    on_gpu = {seed: ran(10, gpu="NVIDIA H100 80GB HBM3") for seed in range(3)}
    assert row(judged(on_gpu), "time").n == 0
    assert row(judged(on_gpu, time(gpu="NVIDIA H100.*")), "time").n == 3


def test_times_and_memory_are_no_part_of_what_must_be_equal() -> None:
    assert results_digest(HERE[0], 2) == results_digest(ELSEWHERE[0], 2)
    assert HERE[0].spec.id == ELSEWHERE[0].spec.id
    moved = {
        seed: replace(one, finals={2: replace(one.finals[2], metrics={"test_mi_bits": 1 + 1e-9})})
        for seed, one in ELSEWHERE.items()
    }
    base, new = (
        Side({("made-up", seed): one for seed, one in side.items()}) for side in (HERE, moved)
    )
    (found,) = compare_experiments([asked(time(), MEMORY)], base, new)
    assert found.standing is not Standing.MOVED
    assert [change.claim for change in found.changes] == ["late rows"]
