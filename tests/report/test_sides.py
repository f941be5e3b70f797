"""The pictures of claims between experiments, one for each kind."""

from collections.abc import Mapping
from typing import Any

import pytest

from harness.manifest import Claim
from harness.manifest.claims import KINDS
from harness.report.pages import html
from tests.verdict.builders import TEST, experiment, near, trial, value, verdicts_on

TWO: dict[str, tuple[str, ...]] = {"of": ("high", "higher"), "minus": ("low",)}
FIELDS: Mapping[str, dict[str, Any]] = {
    "difference": {**TWO, "reported": 1.0, "tolerance": near(0.5)},
    "ratio": {"of": ("high",), "to": ("low",), "reported": 2.0, "tolerance": near(0.5)},
    "mean_over": {"over": ("low", "high"), "reported": 1.5, "tolerance": near(0.5)},
    "extreme_difference": {
        **TWO,
        "reported": 1.0,
        "tolerance": near(0.5),
        "which": "highest",
        "runs": 3,
    },
    "order": {"below": ("low",), "above": ("high", "higher")},
    "all_within": {"of": ("low", "high"), "high": 3.0},
    "sometimes": {"of": ("low", "high"), "exceed": 1.5, "reported": 2, "runs": 3},
}


def claim(kind: str) -> Claim:
    (made,) = (each for each in KINDS if each.kind_name() == kind)
    return made(kind=kind, name=f"claim of kind {kind}", **FIELDS[kind], **TEST)  # type: ignore[return-value]


@pytest.mark.parametrize("missing", [False, True])
def test_every_kind_of_claim_between_experiments_has_a_picture(missing: bool) -> None:
    claims = [claim(kind) for kind in FIELDS]
    places = {"low": 1.0, "high": 2.0, "higher": 2.2}
    cells = [
        (
            experiment(value(1.0), id=name, epochs=1, seeds=range(3)),
            {seed: None if missing else trial([0.0], test=place + seed / 100) for seed in range(3)},
        )
        for name, place in places.items()
    ]
    between = experiment(*claims, id="between", epochs=1, seeds=range(3))
    between = between.model_copy(update={"compares": "a grid"})
    verdict = verdicts_on([*cells, (between, dict.fromkeys(range(3)))])[-1]
    page = html([verdict])
    for each in claims:
        assert page.count(f">Claim of kind {each.kind}<") == 1, each.kind
    assert page.count(">higher<") == 3
    assert (page.count(">tolerance<") >= 4) is not missing
    assert page.count("limit, as reported") >= 1
