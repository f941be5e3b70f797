"""The manifests of the paper's six listings say what those say; our own controls say so."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from harness.errors import ManifestError
from harness.manifest import (
    Basis,
    Claim,
    CurveClaim,
    ExactClaim,
    Experiment,
    OnsetClaim,
    Tolerance,
    load,
)
from harness.manifest.schema import text
from harness.manifest.tree import parse_yaml
from harness.workload import Workload
from harness.workloads import registry
from tests.conftest import FIRST_PAPER, REPOSITORY
from tests.manifest.conftest import SOUND, TOY

FOLDER = REPOSITORY / "experiments"
SCHEMA = FOLDER / "manifest.schema.json"
ORDER = (
    "image-pair-4",
    "image-pair-8",
    "image-values-pair-4",
    "image-values-pair-8",
    "sequence-pair-16",
    "sequence-pair-16-independent",
)
"""As the paper lists them."""
GAUSSIANS = ("gaussian-20d-rho-30", "gaussian-2d-rho-50", "gaussian-2d-rho-90")
CONTROLS = (*GAUSSIANS, "image-pair-4-independent")
"""Our own, in no listing."""


@pytest.fixture(scope="module")
def workloads() -> Mapping[str, Workload]:
    return registry()


@pytest.fixture(scope="module")
def experiments(workloads: Mapping[str, Workload]) -> dict[str, Experiment]:
    return {experiment.id: experiment for experiment in load(FIRST_PAPER, workloads)}


@pytest.fixture(scope="module")
def listed(experiments: dict[str, Experiment]) -> dict[str, Experiment]:
    return {name: experiments[name] for name in ORDER}


@pytest.fixture(scope="module")
def listings() -> dict[str, Any]:
    runs = yaml.safe_load(Path(__file__).with_name("reported.yaml").read_text(encoding="utf-8"))
    return dict(zip(ORDER, runs, strict=True))


def rows_of(experiment: Experiment, metric: str) -> dict[int, float]:
    """All rows that the claims report for a metric; of any epoch once."""
    found: dict[int, float] = {}
    for claim in experiment.manifest.claims:
        if claim.metric == metric and isinstance(claim.reported, Mapping):
            assert not found.keys() & claim.reported.keys()
            found |= claim.reported
    return found


def one_of(experiment: Experiment, metric: str) -> float:
    (value,) = (claim.reported for claim in experiment.manifest.claims if claim.metric == metric)
    assert isinstance(value, float)
    return value


def toleranced(experiment: Experiment) -> Iterator[tuple[Claim, Tolerance]]:
    for claim in experiment.manifest.claims:
        if not isinstance(claim, ExactClaim):
            yield claim, claim.tolerance


def true_bits(experiment: Experiment) -> float:
    classes = experiment.parameters.model_dump()["classes"]
    return math.log2(classes if isinstance(classes, int) else len(classes))


def test_there_is_a_manifest_for_every_listing_and_every_control_of_our_own(
    experiments: dict[str, Experiment],
) -> None:
    assert set(experiments) == {*ORDER, *CONTROLS}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_of_our_own_says_that_the_paper_does_not_show_it(
    experiments: dict[str, Experiment], name: str
) -> None:
    said = experiments[name].manifest
    assert said.control
    assert said.paper.listing.startswith("none: the paper shows no such run")
    assert said.paper.title == experiments["image-pair-4"].manifest.paper.title  # whom it gates
    assert all(item.basis is Basis.ASSUMED for item in said.workload.parameters.values())
    assert all(claim.source.startswith("theory") for claim in said.claims)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_the_information_of_gaussians_is_that_of_the_closed_form(
    experiments: dict[str, Experiment], name: str
) -> None:
    found = re.fullmatch(r"gaussian-(\d+)d-rho-(\d+)", name)
    assert found
    dimensions, rho = int(found[1]), int(found[2]) / 100
    parameters = experiments[name].parameters.model_dump()
    assert (parameters["dimensions"], parameters["correlation"]) == (dimensions, rho)
    # By another route than the workload's: half the log of the covariance's determinant.
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    bits = -dimensions / 2 * math.log2(np.linalg.det(covariance))
    for claim in experiments[name].manifest.claims:
        values = (
            claim.reported.values() if isinstance(claim.reported, Mapping) else [claim.reported]
        )
        assert set(values) == {round(bits, 4)}
        if not isinstance(claim, ExactClaim):
            assert claim.tolerance.value == round(0.1 * bits, 4)


def test_the_reason_of_a_gaussian_tolerance_gives_the_deviation_of_theory(
    experiments: dict[str, Experiment],
) -> None:
    for name in GAUSSIANS:
        p = experiments[name].parameters.model_dump()
        d, rho, pairs = p["dimensions"], p["correlation"], p["test_pairs"]
        # Of the log density ratio under the joint, and of the ratio under the product.
        variance = (d * rho**2 + (1 - rho**2) ** -d - 1) / pairs
        (claim,) = (each for each in experiments[name].manifest.claims if each.kind == "band")
        assert f"= {math.sqrt(variance):.4f} nats" in claim.tolerance.reason
        assert 6 * math.sqrt(variance) / math.log(2) < claim.tolerance.value


@pytest.mark.parametrize("name", ORDER)
def test_every_number_of_the_listing_is_a_claim_and_no_other(
    experiments: dict[str, Experiment], listings: dict[str, Any], name: str
) -> None:
    experiment, listing = experiments[name], listings[name]

    assert experiment.manifest.paper.command == listing["command"]
    assert rows_of(experiment, "mi_bits") == {row[0]: row[1] for row in listing["epochs"]}
    assert rows_of(experiment, "true_mi_bits") == {row[0]: row[2] for row in listing["epochs"]}
    assert one_of(experiment, "test_mi_floor_bits") == listing["test"][0]
    assert one_of(experiment, "test_true_mi_bits") == listing["test"][1]
    assert experiment.manifest.epochs.value == listing["epochs"][-1][0]


@pytest.mark.parametrize("name", ORDER)
def test_the_command_of_the_listing_agrees_with_what_is_said_to_be_stated(
    experiments: dict[str, Experiment], name: str
) -> None:
    manifest, parameters = experiments[name].manifest, experiments[name].parameters.model_dump()
    command = manifest.paper.command

    assert parameters["independent"] == ("--independent" in command)
    digits = re.search(r"--mnist_classes='([\d,]+)'", command)
    number = re.search(r"--nb_classes=(\d+)", command)
    if digits:
        assert parameters["classes"] == tuple(map(int, digits[1].split(",")))
    if number:
        assert parameters["classes"] == int(number[1])
    stated = {
        key for key, item in manifest.workload.parameters.items() if item.basis is Basis.STATED
    }
    assert stated <= {
        *("classes", "independent", "offset_max", "noise_max", "kernel_size", "pooling_size")
    }


def test_true_values_of_mnist_are_exact_to_all_four_decimals(
    experiments: dict[str, Experiment],
) -> None:
    for name in ORDER[:4]:
        exact = {c.metric: c for c in experiments[name].manifest.claims if c.kind == "exact"}
        assert exact.keys() == {"true_mi_bits", "test_true_mi_bits"}
        assert {claim.decimals for claim in exact.values()} == {4}


def test_the_test_estimate_is_averaged_in_one_way_for_all_six(
    listed: dict[str, Experiment],
) -> None:
    tests = {
        claim.metric
        for experiment in listed.values()
        for claim in experiment.manifest.claims
        if claim.metric.startswith("test_mi")
    }
    assert tests == {"test_mi_floor_bits"}


def test_the_same_kind_of_claim_has_the_same_share_of_the_true_value_everywhere(
    experiments: dict[str, Experiment],
) -> None:
    for names in (ORDER[:4], ORDER[4:]):
        shares: dict[str, set[float]] = {}
        for experiment in (experiments[name] for name in names):
            for claim, tolerance in toleranced(experiment):
                share = round(tolerance.value / true_bits(experiment), 6)
                shares.setdefault(claim.name, set()).add(share)
        assert all(len(share) == 1 for share in shares.values())


def test_tolerances_of_estimates_are_the_whole_percentages_that_they_say(
    experiments: dict[str, Experiment],
) -> None:
    for name in (*ORDER, "image-pair-4-independent"):
        for claim, tolerance in toleranced(experiments[name]):
            said = re.match(r"(\d+) % of log2\((\d+)\)", tolerance.reason)
            if said:
                share = int(said[1]) / 100 * math.log2(int(said[2]))
                assert tolerance.value == pytest.approx(share)
            else:
                assert claim.kind == "onset" or "true" in claim.metric


def test_true_values_of_the_sequences_are_held_to_sampling_theory(
    experiments: dict[str, Experiment],
) -> None:
    pairs, classes = 10_000, 16
    # Of the plug-in entropy: (chi-squared with Q - 1 degrees of freedom) / (2 N ln 2) below log2 Q.
    deviation = math.sqrt(2 * (classes - 1)) / (2 * pairs * math.log(2))

    for name in ORDER[4:]:
        assert experiments[name].parameters.model_dump()["pairs"] == pairs
        for claim, tolerance in toleranced(experiments[name]):
            if "true" in claim.metric:
                assert 6 < tolerance.value / deviation < 7


def test_the_onset_is_where_the_listing_crosses_the_threshold(
    experiments: dict[str, Experiment], listings: dict[str, Any]
) -> None:
    claims = experiments["sequence-pair-16"].manifest.claims
    (onset,) = (claim for claim in claims if isinstance(claim, OnsetClaim))
    (curve,) = (claim for claim in claims if isinstance(claim, CurveClaim))
    rows = [(row[0], row[1]) for row in listings["sequence-pair-16"]["epochs"]]
    threshold = onset.takeoff.threshold

    (before, low), (_, high) = next(pair for pair in pairwise(rows) if pair[1][1] >= threshold)

    assert onset.reported == pytest.approx(before + (threshold - low) / (high - low), abs=0.005)
    assert curve.takeoff is not None
    assert curve.takeoff.threshold == threshold


def test_only_the_control_of_the_paper_is_one_of_its_listings(
    listed: dict[str, Experiment],
) -> None:
    controls = [name for name, experiment in listed.items() if experiment.manifest.control]
    assert controls == ["sequence-pair-16-independent"]


@pytest.mark.parametrize("twin", ["image-pair-4", "sequence-pair-16"])
def test_control_and_twin_differ_in_independence_alone(
    experiments: dict[str, Experiment], twin: str
) -> None:
    dependent, control = (
        experiments[name].parameters.model_dump() for name in (twin, f"{twin}-independent")
    )
    assert control == dependent | {"independent": True}
    said = experiments[f"{twin}-independent"].manifest
    assert set(said.seeds) <= set(experiments[twin].manifest.seeds)
    assert said.twin is not None
    assert said.twin.experiment == twin
    bands = [claim.tolerance.value for claim in said.claims if claim.kind == "band"]
    assert said.twin.takeoff.threshold > 2 * max(bands)  # what takes off is out of the band


def test_the_schema_is_fresh(workloads: Mapping[str, Workload]) -> None:
    again = "python -m harness.manifest.schema"
    assert SCHEMA.read_text(encoding="utf-8") == text(workloads), (
        f"write it again with `{again}` (pydantic {version('pydantic')})"
    )


def plain(file_text: str) -> Any:
    root, faults = parse_yaml(file_text, "")
    assert root is not None
    assert not faults
    return root.plain()


@pytest.mark.parametrize("name", [*ORDER, *CONTROLS])
def test_editors_find_no_fault_with_the_manifests(name: str) -> None:
    manifest = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))

    assert manifest.startswith(f"# yaml-language-server: $schema={SCHEMA.name}\n")
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(plain(manifest))


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("title: A toy", "titel: A toy"),
        ("rate: {value: 1e-4", "rat: {value: 1e-4"),
        ("value: 1e-4", "value: fast"),
        ("stated: page 1}\n    sizes", "stated: page 1, assumed: x}\n    sizes"),
        ("0-2,5", "some"),
        ("metric: score", "metric: scores"),
        ("kind: value", "kind: vale"),
        ("format: 1", "format: 2"),
    ],
)
def test_editors_see_what_is_wrong(there: str, instead: str) -> None:
    editor = Draft202012Validator(json.loads(text({"toy": TOY})))

    assert editor.is_valid(plain(SOUND))
    assert not editor.is_valid(plain(SOUND.replace(there, instead, 1)))


GRID = FOLDER / "psa.yaml"

BETWEEN = (
    "{name: x, kind: order, metric: bounty, source: x, below: {mode: full}, above: {mode: none}}"
)
"""Belongs under `comparisons`."""


def test_editors_find_no_fault_with_the_grid() -> None:
    text = GRID.read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema=../{SCHEMA.name}\n")
    editor = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    editor.validate(plain(text))


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("\ngrid:", "\ngrids:"),
        ("\ncells:", "\ncell:"),
        ("\ncomparisons:", "\ncomparison:"),
        ("  mode: [none", "  Mode: [none"),
        ("1*64: {depth: 1, width: 64}", "1*64: 64"),
        ("kind: order", "kind: orders"),
        ("    kind: difference\n", ""),
        ("    below: {shape: $shape", "    under: {shape: $shape"),
        ("each: {shape: [1*64, 2*30, 4*29]}", "each: 1*64"),
        ("    exceed: 11.02", "    exceed: chance"),
        ("format: 1", "format: 2"),
        ("seeds: 0-9", "seeds: some"),
        ("  name: persistent_ablation", "  name: $workload"),
        ("table: psa.csv", "tables: psa.csv"),
        ("\nclaims:", f"\nclaims:\n  - {BETWEEN}"),
    ],
)
def test_editors_see_what_is_wrong_in_a_grid(there: str, instead: str) -> None:
    text = GRID.read_text(encoding="utf-8")
    assert there in text
    editor = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert not editor.is_valid(plain(text.replace(there, instead, 1)))


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        ("[4, 5, 8, 4]", "value: each class once, but 4 is repeated"),
        ("[4, 10]", "value[1]: must be at most 9, got 10"),
        ("[4, -1]", "value[1]: must not be negative, got -1"),
    ],
)
def test_classes_are_digits_each_once(
    tmp_path: Path, workloads: Mapping[str, Workload], classes: str, fault: str
) -> None:
    sound = (FOLDER / "image-pair-4.yaml").read_text(encoding="utf-8")
    (tmp_path / "pair.yaml").write_text(sound.replace("[4, 5, 8, 9]", classes), encoding="utf-8")

    with pytest.raises(ManifestError) as caught:
        load([tmp_path], workloads)

    assert str(caught.value).endswith(f"pair.yaml:15: workload.parameters.classes.{fault}")
