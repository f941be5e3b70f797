"""Each claim is in its metric's unit; a claim in percent about a fraction is converted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.errors import ManifestError
from harness.manifest import Experiment
from harness.record import FinalRecord, StoredTrial, TrialSpec
from harness.verdict import Case, ExperimentVerdict, judge
from harness.workload import Metric, Parameters
from tests.commands import REGISTRY, written
from tests.manifest.conftest import SOUND

UNITS = {"share": "fraction", "percentage": "%", "loss": "nats"}

Read = Callable[..., Experiment]
FaultsOf = Callable[..., list[str]]


@pytest.fixture
def registry() -> Mapping[str, Any]:
    metrics = {
        name + "_curve" * curve: Metric(unit, name, final=not curve)
        for name, unit in UNITS.items()
        for curve in (False, True)
    }
    return {"toy": SimpleNamespace(name="toy", parameters=Parameters, metrics=metrics)}


def manifest(*claims: Mapping[str, Any], **fields: Any) -> str:
    whole = yaml.safe_load(SOUND)
    del whole["unit"], whole["expected"]
    whole["workload"] = {"name": "toy"}
    named = [{"name": f"claim {at}", "source": "p", **one} for at, one in enumerate(claims)]
    return yaml.safe_dump({**whole, "claims": named, **fields}, sort_keys=False)


def near(value: float) -> dict[str, Any]:
    return {"value": value, "reason": "r"}


PERCENT: list[dict[str, Any]] = [
    {"kind": "value", "reported": 96.74, "decimals": 2, "tolerance": near(0.3)},
    {"kind": "value", "reported": 96, "tolerance": {"relative": 0.01, "reason": "r"}},
    {"kind": "exact", "reported": 96.7, "decimals": 1},
    {"kind": "band", "reported": 50, "tolerance": near(7)},
    {"kind": "at_least", "reported": 95.5, "decimals": 1, "tolerance": near(0.1)},
    {"kind": "never", "reported": 11.02, "decimals": 2},
    {
        "kind": "sample",
        "reported": {"mean": 95.81, "sd": 0.23, "runs": 10, "ddof": 0},
        "tolerance": near(0.3),
        "largest_spread": near(0.4),
        "decimals": 2,
    },
    {"kind": "sample", "reported": {"values": [95.3, 95.65]}, "tolerance": near(0.3)},
    {
        "kind": "extreme",
        "reported": 96.15,
        "which": "highest",
        "runs": 10,
        "tolerance": near(0.2),
    },
    {"kind": "all_within", "of": ["toy"], "low": 8.5, "high": 11, "decimals": 1},
    {"kind": "sometimes", "of": ["toy"], "exceed": 50, "reported": 3, "runs": 10},
    {"kind": "order", "below": ["toy"], "above": ["toy"], "reported": 1.5},
    {"kind": "difference", "of": ["a"], "minus": ["b"], "reported": 1.5, "tolerance": near(0.5)},
    {"kind": "ratio", "of": ["a"], "to": ["b"], "reported": 1.5, "tolerance": near(0.5)},
]
FRACTION: list[dict[str, Any]] = [
    {"reported": 0.9674, "decimals": 4, "tolerance": near(0.003)},
    {"reported": 0.96},
    {"reported": 0.967, "decimals": 3},
    {"reported": 0.5, "tolerance": near(0.07)},
    {"reported": 0.955, "decimals": 3, "tolerance": near(0.001)},
    {"reported": 0.1102, "decimals": 4},
    {
        "reported": {"mean": 0.9581, "sd": 0.0023, "runs": 10, "ddof": 0},
        "tolerance": near(0.003),
        "largest_spread": near(0.004),
        "decimals": 4,
    },
    {"reported": {"values": [0.953, 0.9565]}, "tolerance": near(0.003)},
    {"reported": 0.9615, "tolerance": near(0.002)},
    {"low": 0.085, "high": 0.11, "decimals": 3},
    {"exceed": 0.5},
    {"reported": 0.015},
    {"reported": 0.015, "tolerance": near(0.005)},
    {},
]
CURVES = (
    {
        "kind": "curve",
        "reported": {1: 10, 10: 96.7},
        "decimals": 1,
        "tolerance": near(0.3),
    },
    {
        "reported": {1: 0.1, 10: 0.967},
        "decimals": 3,
        "tolerance": near(0.003),
    },
)
ONSETS = (
    {
        "kind": "onset",
        "reported": 3,
        "decimals": 0,
        "tolerance": near(2),
        "takeoff": {"threshold": 50, "reason": "r"},
    },
    {"takeoff": {"threshold": 0.5, "reason": "r"}},
)
PAIRS = [
    *((a, {**a, **b}, "") for a, b in zip(PERCENT, FRACTION, strict=True)),
    *((a, {**a, **b}, "_curve") for a, b in (CURVES, ONSETS)),
]


@pytest.mark.parametrize(("percent", "fraction", "curve"), PAIRS)
def test_a_claim_in_percent_and_the_same_in_fractions_are_one_claim(
    read: Read, percent: dict[str, Any], fraction: dict[str, Any], curve: str
) -> None:
    def of(claim: dict[str, Any], metric: str, **fields: Any) -> Experiment:
        return read(manifest({**claim, "metric": metric + curve}, **fields))

    wanted = of(fraction, "share")
    for found in (of({**percent, "unit": "%"}, "share"), of(percent, "share", unit="%")):
        assert found.manifest.claims == wanted.manifest.claims
        assert found.converted == {"claim 0": "%"}
    assert wanted.converted == {}
    backwards = of({**fraction, "unit": "fraction"}, "percentage")
    assert backwards.manifest.claims == of(percent, "percentage").manifest.claims


def judged(experiment: Experiment, values: list[float]) -> ExperimentVerdict:
    trials = [
        StoredTrial(
            TrialSpec("toy", 1, {}, seed, {}),
            finals={20: FinalRecord(20, {"share": value}, ended_ms=0, seconds=1.0)},
            done=20,
        )
        for seed, value in enumerate(values)
    ]
    case = Case(experiment, tuple(range(len(values))), 20)
    return judge([case], lambda _, seed: trials[seed])[0]


@pytest.mark.parametrize("values", [[0.9675, 0.967, 0.9678], [0.9, 0.91, 0.92], [0.9671]])
def test_a_conversion_changes_no_verdict_and_is_named(read: Read, values: list[float]) -> None:
    one, other = (
        judged(read(manifest({**claim, "metric": "share"}, unit=unit)), values)
        for claim, unit in ((PERCENT[0], "%"), ({**PERCENT[0], **FRACTION[0]}, "fraction"))
    )
    assert one.verdict == other.verdict
    row, same = one.results[0], other.results[0]
    assert (row.reported, row.measured, row.tolerance) == (
        same.reported,
        same.measured,
        same.tolerance,
    )
    assert (row.note, row.unit, same.unit) == (same.note, "fraction", "fraction")
    said = "converted from % to fraction, as recorded: claim 0"
    assert said in one.notes
    assert said not in other.notes


def test_each_claim_has_the_unit_of_its_metric(read: Read) -> None:
    two = (
        {**PERCENT[0], "metric": "percentage"},
        {"kind": "value", "metric": "loss", "reported": 0.5, "tolerance": near(1)},
    )
    for unit, fields in (({}, {}), ({"unit": "nats"}, {"unit": "%"})):
        found = read(manifest(two[0], {**two[1], **unit}, **fields)).manifest
        assert [found.unit_of(name) for name in ("percentage", "loss")] == ["%", "nats"]


SHARE = {"metric": "share", "reported": 50.5}
LOSS = {"kind": "value", "metric": "loss", "reported": 0.5, "tolerance": near(1)}


@pytest.mark.parametrize(
    ("claim", "fields", "fault"),
    [
        ({"unit": "bits"}, {}, "claims[0].unit: 'bits' cannot be converted: loss is recorded in"),
        ({}, {"unit": "bits"}, "unit: no claim is in 'bits': the workload records loss in nats"),
        (
            {"metric": "percentage", "unit": "fraction", "decimals": 1},
            {},
            "claims[0]: cannot be converted from fraction to %: decimals",
        ),
        (
            SHARE,
            {"unit": "%", "rivals": [{"name": "r", "reason": "r", "constant": 10}]},
            "rivals[0].constant: the manifest is in %, but share is recorded in fraction",
        ),
        (
            SHARE,
            {"unit": "%", "rivals": [{"name": "r", "reason": "r", "constant": {"share": 10}}]},
            "rivals[0].constant: the manifest is in %, but share is recorded in fraction",
        ),
        (
            SHARE,
            {
                "unit": "%",
                "control": True,
                "twin": {
                    "experiment": "other",
                    "metric": "share_curve",
                    "takeoff": {"threshold": 0.2, "reason": "r"},
                },
            },
            "twin.takeoff: the manifest is in %, but share_curve is recorded in fraction",
        ),
    ],
)
def test_units_that_contradict_are_a_fault(
    faults_of: FaultsOf, claim: dict[str, Any], fields: dict[str, Any], fault: str
) -> None:
    text = manifest({**LOSS, **claim}, **fields)
    (found,) = faults_of(text)
    assert fault in found
    file, line, _ = found.split(":", 2)
    assert file == "toy.yaml"
    assert int(line) > 0


def test_a_claim_whose_unit_the_manifests_cannot_be_says_its_own(faults_of: FaultsOf) -> None:
    text = manifest({**PERCENT[0], "metric": "percentage"}, LOSS, {**COST, **ON}, unit="%")
    (found,) = faults_of(text)
    said = "claims[1].unit: required: the manifest is in %, but loss is recorded in nats"
    assert found.partition(": ")[2] == said


def test_a_take_off_in_another_unit_is_not_that_of_a_curve(faults_of: FaultsOf) -> None:
    takeoff = {"threshold": 0.5, "reason": "r"}
    curve = {"kind": "curve", "unit": "%", "reported": {1: 0.1, 2: 90}, "tolerance": near(1)}
    onset = {"kind": "onset", "unit": "fraction", "reported": 1.5, "tolerance": near(1)}
    both = [{**one, "metric": "share_curve", "takeoff": takeoff} for one in (curve, onset)]
    (found,) = faults_of(manifest(*both))
    assert "claims[0].takeoff: needs a claim of kind onset on share_curve" in found


COST = {"kind": "at_most", "metric": "seconds", "reported": 5, "tolerance": near(1)}
ON = {"hardware": {"cpu": "Xeon.*"}}


def test_time_is_claimed_beside_the_workloads_own_metrics(read: Read) -> None:
    found = read(manifest({**LOSS, "metric": "percentage"}, {**COST, **ON}, unit="%")).manifest
    assert [found.unit_of(name) for name in ("percentage", "seconds")] == ["%", "s"]


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        (COST, "claims[0].hardware: required: seconds depends on it"),
        ({**LOSS, **ON}, "claims[0].hardware: only claims about seconds and peak_memory_mib"),
        ({**COST, "hardware": {}}, "claims[0].hardware.gpu: name the cpu, the gpu or both"),
        ({**COST, "hardware": {"cpu": "("}}, "claims[0].hardware.cpu: is no regular expression"),
        (
            {**COST, **ON, "kind": "ratio", "of": ["a"], "to": ["b"]},
            "claims[0].metric: seconds is compared within one experiment only",
        ),
    ],
)
def test_a_claim_about_time_names_its_hardware(
    faults_of: FaultsOf, claim: dict[str, Any], fault: str
) -> None:
    (found,) = faults_of(manifest(claim))
    assert fault in found


def test_a_command_records_in_the_unit_of_metric_claim_or_manifest(tmp_path: Path) -> None:
    claim = {"name": "a", "source": "p", "kind": "value", "metric": "accuracy"}
    claim |= {"reported": 90, "tolerance": near(1)}

    def unit(metrics: Any, *units: str | None, of_all: str | None = "%") -> tuple[str, Any]:
        claims = [
            {**claim, "name": f"c{at}"} | ({} if unit is None else {"unit": unit})
            for at, unit in enumerate(units)
        ]
        section = {"metrics": {"accuracy": {"final": True, **metrics}}}
        found = written(tmp_path, claims=claims, unit=of_all, **section)
        recorded = found.workload(REGISTRY).metrics["accuracy"].unit
        return recorded, found.manifest.claims[0].values[None]

    assert unit({}, None) == ("%", 90)
    assert unit({}, "points", of_all=None) == ("points", 90)
    with pytest.raises(ManifestError, match=r"claims\[0\].unit: nothing says the unit of accuracy"):
        unit({}, None, of_all=None)
    assert unit({"unit": "fraction"}, "%") == ("fraction", 0.9)
    assert unit({"unit": "fraction"}, "%", "fraction")[0] == "fraction"
    with pytest.raises(ManifestError, match=r"accuracy: claims report it in % and fraction"):
        unit({}, "%", "fraction")
