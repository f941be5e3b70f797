"""`harness selftest` as its users meet it: real Ray, real MNIST."""

import subprocess
from pathlib import Path

import pytest

from harness.selftest import cases
from harness.session.selftest import choose_subject
from tests.cli.conftest import REPOSITORY, Harness, command

EXPERIMENTS = REPOSITORY / "experiments"
TRAINED = (
    "bound without the logarithm's mean",
    "marginals not shuffled",
    "labels out of step with images",
    "test images in training",
)


def run(
    environment: dict[str, str], mnist: Path, *options: str, timeout_s: int
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


@pytest.mark.timeout(900)  # half a minute, where others do not want the processors too
def test_every_fault_is_caught_and_every_null_let_pass(
    environment: dict[str, str], mnist_cache: Path
) -> None:
    done = run(environment, mnist_cache, timeout_s=880)
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    for name in (*(case.name for case in cases(choose_subject([EXPERIMENTS]))), *TRAINED):
        assert name in words
    assert "16 of 16 planted faults detected, 3 of 3 sound runs passed" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_in_full_pairs_that_are_not_redrawn_are_caught_by_what_the_network_memorised(
    environment: dict[str, str], mnist_cache: Path
) -> None:
    done = run(environment, mnist_cache, "--full", timeout_s=7100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 of 17 planted faults detected, 4 of 4 sound runs passed" in done.stdout


def test_a_folder_without_experiments_is_named(harness: Harness, tmp_path: Path) -> None:
    refused = harness("selftest", tmp_path)
    assert refused.returncode == 2
    assert str(tmp_path) in refused.stderr
    assert "Traceback" not in refused.stderr
