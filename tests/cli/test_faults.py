"""What the command line says to input that cannot be used."""

from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Harness

TEN_FAULTS = {
    "format: 1": "format: 7",
    "title: A tiny run of the sequences": "titel: A tiny run of the sequences",
    "unit: bits": "unit: nats",
    "classes: {value: 4,": "classes: {value: four,",
    "noise: {value: 0.02,": "noise: {value: .nan,",
    "learning_rate: {value: 1e-3,": "lerning_rate: {value: 1e-3,",
    "batch_size: {value: 50, assumed: small}": "batch_size: {value: 50}",
    "epochs: {value: 6,": "epochs: {value: -6,",
    "seeds: 0-1": "seeds: 5-1",
    "tolerance: {value: 0.1,": "tolerance: {value: -0.1,",
}


def test_ten_faults_are_ten_lines_and_exit_2(harness: Harness, tmp_path: Path) -> None:
    text = TINY.read_text()
    for sound, faulty in TEN_FAULTS.items():
        assert text.count(sound) == 1
        text = text.replace(sound, faulty)
    path = tmp_path / "faulty.yaml"
    path.write_text(text)
    refused = harness("validate", path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    lines = refused.stderr.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    assert len({line.split(":")[1] for line in lines}) >= 10, refused.stderr


def test_a_file_of_nights_is_checked_with_the_manifests_of_its_nights(
    harness: Harness, tmp_path: Path
) -> None:
    path = tmp_path / "nights.yaml"
    path.write_text(f"format: 1\nnights:\n  short: {{experiments: [{TINY}], seeds: '0'}}\n")
    sound = harness("validate", path, TINY)
    assert (sound.returncode, sound.stdout) == (0, "no faults in night short, tiny\n")
    gone = tmp_path / "gone.yaml"
    path.write_text(f"format: 1\nnights:\n  short: {{experiments: [{gone}], seeds: '0', kep: 1}}\n")
    (field,) = harness("validate", path).stderr.splitlines()
    assert field.startswith(f"{path}:3: nights.short.kep: unknown field")
    path.write_text(f"format: 1\nnights:\n  short: {{experiments: [{gone}]}}\n")
    refused = harness("validate", path, tmp_path / "other.yaml")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"{gone}: no such file or folder",
        f"{tmp_path / 'other.yaml'}: no such file or folder",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", TINY, "--seeds", "4-"], "--seeds"),
        (["run", TINY, "--epochs", "0"], "--epochs"),
        (["run", TINY, "--gpus-per-trial", "1.5"], "1.5"),
        (["check", TINY, "--nonsense"], "--nonsense"),
        (["export", TINY, "--out", "records.xlsx"], ".parquet"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_word_is_named_and_exits_2(
    harness: Harness, tmp_path: Path, arguments: list[str], said: str
) -> None:
    workspace = ["--workspace", str(tmp_path / "results")] if len(arguments) > 1 else []
    refused = harness(*arguments, *workspace)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "results" / "trials").exists()


@pytest.mark.parametrize("seed", ["4294967296", "-1"])
def test_every_command_refuses_a_seed_that_no_generator_takes(harness: Harness, seed: str) -> None:
    one = harness("trial", TINY, f"--seed={seed}")
    assert one.returncode == 2
    assert f"seeds lie between 0 and 4294967295, got {seed}" in one.stderr
    several = harness("run", TINY, f"--seeds={seed}")
    assert several.returncode == 2
    assert seed in several.stderr
