"""`harness selftest` as its users meet it: real Ray, real MNIST."""

import subprocess
from itertools import chain
from pathlib import Path

import pytest

from harness.selftest import Subject, Training, cases, kind_cases
from harness.session.selftest import choose_subject
from tests.cli.conftest import REPOSITORY, Harness, command
from tests.waiting import HANG_S

EXPERIMENTS = REPOSITORY / "experiments"
TRAINED = ("bound without the logarithm's mean", "test images in training")
OTHERS = ("marginals not shuffled", "labels out of step with images")


def run(
    environment: dict[str, str], mnist: Path, *options: str, timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command("selftest", *options, "--data", mnist),
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def counts(subject: Subject, *trained: Training) -> str:
    """The last line if every verdict is right."""
    stored = (*cases(subject), *kind_cases(subject))
    planted = [case.is_fault for case in chain(stored, *(each.cases for each in trained))]
    faults, sound = sum(planted), planted.count(False)
    assert min(faults, sound) > 0
    return f"{faults} of {faults} planted faults detected, {sound} of {sound} sound runs passed"


def test_every_fault_is_caught_and_every_null_let_pass(
    environment: dict[str, str], mnist_cache: Path
) -> None:
    done = run(environment, mnist_cache, timeout_s=HANG_S)
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    subject = choose_subject([EXPERIMENTS])
    for name in (*(case.name for case in cases(subject)), *TRAINED):
        assert name in words
    assert counts(subject, Training.short(subject)) in words
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_in_full_pairs_that_are_not_redrawn_are_caught_by_what_the_network_memorised(
    environment: dict[str, str], mnist_cache: Path
) -> None:
    done = run(environment, mnist_cache, "--full", timeout_s=7100)
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    assert all(name in words for name in (*TRAINED, *OTHERS, "pairs not redrawn"))
    subject = choose_subject([EXPERIMENTS])
    trained = [made(subject) for made in (Training.short, Training.others, Training.whole)]
    assert counts(subject, *trained) in words


def test_a_folder_without_experiments_is_named(harness: Harness, tmp_path: Path) -> None:
    refused = harness("selftest", tmp_path)
    assert refused.returncode == 2
    assert str(tmp_path) in refused.stderr
    assert "Traceback" not in refused.stderr
