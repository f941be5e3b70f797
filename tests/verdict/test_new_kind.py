"""Adding a claim kind takes one class and one rule; nothing else has to know of it."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pytest
from pydantic import PositiveFloat
from rich.console import Console

from harness.manifest import Experiment, Manifest, ReportedNumber, claims, faults, load
from harness.manifest.claims import KINDS, BaseClaim, Claim
from harness.manifest.draft import Reported, draft
from harness.manifest.schema import text as schema_text
from harness.report import figures, terminal
from harness.report.documents import junit, verdicts_document
from harness.report.pages import html, verdicts_markdown
from harness.report.text import description
from harness.tracking.images import Kind, reference_images
from harness.verdict import Case, ExperimentVerdict, Outcome, judge, kinds
from harness.verdict.decision import Decision, Terms
from harness.verdict.evidence import Evidence, MeasuredRow
from harness.verdict.kinds import RULES, Rule, rule_for
from harness.workload import Metric, Parameters
from tests.verdict.builders import trial

REPOSITORY = Path(__file__).parents[2]


class UnderClaim(BaseClaim):
    """No seed's curve ever reaches the threshold."""

    kind: Literal["under"]
    threshold: PositiveFloat

    needs_every_epoch: ClassVar[bool] = True
    estimate: ClassVar[bool] = False

    @property
    def values(self) -> Mapping[int | None, float]:
        return {}

    @property
    def margin(self) -> float:
        return 0.0

    def numbers(self) -> tuple[ReportedNumber, ...]:
        return (self._number(None, self.threshold),)


class UnderRule(Rule[UnderClaim]):
    """Every seed's highest value lies below the threshold."""

    method = "every seed below the threshold"

    def rows(self, claim: UnderClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        highest = evidence.curves[claim.metric].max(axis=1)
        (number,) = claim.numbers()
        absent = np.isnan(highest)
        yield MeasuredRow(
            number=number,
            values=highest,
            absent=absent,
            off=~absent & (highest >= claim.threshold),
        )

    def decide(self, claim: UnderClaim, row: MeasuredRow, terms: Terms) -> Decision:
        return Decision(outcome=Outcome.REPRODUCED, method=self.method)


MANIFEST = """
format: 1
title: A toy
paper: {title: On toys, author: A. Nother, listing: the only one, command: ./toy}
unit: bits
workload: {name: toy, parameters: {}}
epochs: {value: 3, stated: page 1}
seeds: 0-1
claims:
  - {name: bounded, kind: under, metric: mi_bits, source: page 2, threshold: THRESHOLD}
  - name: rows
    kind: value
    metric: mi_bits
    source: page 3
    reported: {1: 0.5, 3: 0.9}
    tolerance: {value: 0.1, reason: a tenth}
"""

TOY: Any = SimpleNamespace(
    name="toy", parameters=Parameters, metrics={"mi_bits": Metric("bits", "after every epoch")}
)


@pytest.fixture
def _with_the_kind() -> Iterator[None]:
    """Put the class and the rule into the tables that hold those of every other kind."""
    KINDS.append(UnderClaim)  # type: ignore[arg-type]
    RULES[UnderClaim] = UnderRule()
    _read_again()
    yield
    KINDS.remove(UnderClaim)  # type: ignore[arg-type]
    del RULES[UnderClaim]
    _read_again()


def _read_again() -> None:
    """In the source the tables are complete before these are made from them."""
    faults._schema.cache_clear()
    Manifest.model_rebuild(force=True)


def loaded(folder: Path, threshold: str) -> Experiment:
    file = folder / "toy.yaml"
    file.write_text(MANIFEST.replace("THRESHOLD", threshold), encoding="utf-8")
    return load([file], {"toy": TOY})[0]


def judged(experiment: Experiment) -> ExperimentVerdict:
    seeds = {0: trial([0.5, 0.7, 0.90]), 1: trial([0.52, 0.7, 0.92])}
    (verdict,) = judge([Case(experiment, (0, 1), 3)], lambda _, seed: seeds[seed])
    return verdict


@pytest.mark.usefixtures("_with_the_kind")
@pytest.mark.parametrize(
    ("threshold", "outcome", "note"),
    [("1.5", Outcome.REPRODUCED, ""), ("0.91", Outcome.NOT_REPRODUCED, "seed 1 off")],
)
def test_a_new_kind_is_loaded_judged_and_reported_everywhere(
    tmp_path: Path, threshold: str, outcome: Outcome, note: str
) -> None:
    experiment = loaded(tmp_path, threshold)
    verdict = judged(experiment)
    row = verdict.results[0]
    assert (row.name, row.kind, row.verdict, row.note) == ("bounded", "under", outcome, note)
    assert row.measured == pytest.approx(0.91)

    document = verdicts_document([verdict]).text()
    assert json.loads(document)["experiments"][0]["claims"][0]["kind"] == "under"
    assert b'name="bounded"' in junit([verdict])
    assert "| bounded |" in verdicts_markdown([verdict])
    assert "bounded" in html([verdict])
    assert "bounded" in _printed(verdict)
    assert "rows @ 3" in description(verdict)
    assert figures.figure(verdict) is not None
    (paper,) = (image for image in reference_images(experiment) if image.kind is Kind.PAPER)
    assert [(point.epoch, dict(point.metrics)) for point in paper.rows] == [
        (1, {"mi_bits": 0.5}),
        (3, {"mi_bits": 0.9}),
    ]


def _printed(verdict: ExperimentVerdict) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(terminal.claims(verdict, width=200))
    return captured.get()


@pytest.mark.usefixtures("_with_the_kind")
def test_a_new_kind_is_named_where_kinds_are_listed(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"claims\[0\].threshold: must be positive, got -1"):
        loaded(tmp_path, "-1")
    assert '"under"' in schema_text({"toy": TOY})
    assert "under" in draft([Reported("mi_bits", None, "0.5")], None)


def test_the_table_of_kinds_and_the_type_of_a_claim_are_the_same() -> None:
    assert list(get_args(Claim)) == KINDS
    assert set(RULES) == set(KINDS)


def test_a_kind_without_a_rule_does_not_get_as_far_as_a_verdict() -> None:
    with pytest.raises(AssertionError):
        rule_for(UnderClaim)  # type: ignore[arg-type]


def test_mypy_names_what_a_kind_lacks(tmp_path: Path) -> None:
    """It has looked at the harness just before, and remembers."""
    forgetful = tmp_path / "forgetful.py"
    forgetful.write_text(
        "from typing import Literal, assert_never\n"
        "from harness.manifest import claims\n"
        "from harness.manifest.claims import BaseClaim, CurveClaim, ExactClaim\n"
        "from harness.verdict.kinds import Rule\n"
        "class Lacking(BaseClaim):\n"
        "    kind: Literal['lacking']\n"
        "claims._kinds(CurveClaim, Lacking)\n"
        "class LackingRule(Rule[CurveClaim]):\n"
        "    pass\n"
        "LackingRule()\n"
        "def rule_for(kind: type[CurveClaim | ExactClaim]) -> None:\n"
        "    if issubclass(kind, ExactClaim):\n"
        "        return None\n"
        "    assert_never(kind)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(forgetful)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line.partition(": error: ")[2] for line in done.stdout.splitlines()]
    assert found[0].startswith("Only concrete class can be given")
    assert 'Cannot instantiate abstract class "LackingRule"' in found[1]
    assert 'Argument 1 to "assert_never"' in found[2]


def test_no_other_module_asks_for_the_kind_of_a_claim() -> None:
    """A question about the kind's name or class elsewhere would have to learn of a new kind."""
    homes = {Path(module.__file__ or "") for module in (claims, kinds)}
    names = {kind.__name__ for kind in KINDS}
    asking = {
        str(path)
        for path in (REPOSITORY / "harness").rglob("*.py")
        if path not in homes
        and any(f"{name})" in path.read_text() or f"{name}()" in path.read_text() for name in names)
    }
    assert asking == set()
