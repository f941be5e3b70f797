"""Define what machines read: JSON documents, as typed models, and JUnit XML.

Each model is a published contract with a JSON Schema in `docs/schemas`.
`python -m harness.report.documents` writes the schemas, and a test checks that they are current.
A field may be added. If a field is removed or changes its meaning, raise the document's `format`.

JUnit XML has a suite for each experiment, and a case for each row. A case fails if and only if its
row is not as expected. An incomplete row is an error. A row that was not run or is inconclusive is
skipped. Each suite also has a case `verdict` for the experiment as a whole. So a suite fails
exactly if the command exits 1. In a night, a failure of a quarantined experiment is skipped with
the reason, and an infrastructure failure outside the trials is an error.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, TypeVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.compare import Comparison, Standing
from harness.manifest import Basis
from harness.output import write_output
from harness.record import Failure, FailureKind, Json
from harness.report.text import chances, measured_text, not_severe, number, weak_claim
from harness.study import Factor, Hinge, Study, VariantVerdict, claim_outcome
from harness.study.region import Region
from harness.study.search import Tried
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

SCHEMAS = Path("docs/schemas")

Part = TypeVar("Part", bound="Document")


class Document(BaseModel):
    """Base of all documents and parts: frozen, filled from attributes of the same name."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)

    def as_json(self) -> dict[str, Json]:
        """Return the document as JSON values."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """Return the document as the text of a file.

        Raises:
            ValueError: a number is NaN or infinite, which JSON cannot represent.
        """
        return json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n"


class FailureDocument(Document):
    """How a trial ended without a final estimate."""

    seed: int
    kind: FailureKind
    """'scientific' if the method failed, 'infrastructure' if a machine failed."""
    error: str
    """The type of the exception, or the name of what was lost."""
    message: str
    epoch: int
    """The last epoch that was recorded before the failure; 0 for none."""


class LeftOutDocument(Document):
    """The leave-one-out check: compare each seed with the others, as if it were the paper's run."""

    seeds: int
    """The number of seeds that were left out, one at a time."""
    alarms: int
    """The number of seeds that the other seeds rejected."""


class ClaimDocument(Document):
    """One reported number, compared with the seeds' values."""

    name: str
    """The name of the row in reports."""
    claim: str
    """The claim's name in the manifest, or 'twin' for a control's twin."""
    kind: str
    metric: str
    unit: str
    """The unit of `reported`, `measured`, `difference`, `tolerance`, `spread` and `interval`."""
    epoch: int | None
    reported: float
    measured: float | None
    """The mean over the seeds; for a control, the value that differs most."""
    difference: float | None
    """`measured` minus `reported`."""
    tolerance: float
    verdict: Outcome
    as_expected: bool | None
    """null while the verdict is undecided: incomplete or inconclusive."""
    n: int
    """The number of seeds that have a value."""
    spread: float | None
    """The standard deviation (SD) over the seeds; null for fewer than two seeds."""
    note: str
    method: str
    """The test or rule that decided."""
    interval: tuple[float, float] | None
    """The confidence interval of the mean, with confidence 1 - 2 alpha."""
    p_equivalence: float | None
    """The p-value of two one-sided tests that the mean lies within the tolerance."""
    p_consistency: float | None
    """The p-value that the reported value is one more run, corrected for all tested rows."""
    more_seeds: int | None
    """How many more seeds would probably decide an inconclusive row."""
    by_seed: Mapping[int, float]


def _with_seeds(failures: Mapping[int, Failure] | Sequence[FailureDocument]) -> object:
    """Convert a mapping of failures by seed into a list, ordered by seed."""
    if not isinstance(failures, Mapping):
        return failures
    fields = [name for name in FailureDocument.model_fields if name != "seed"]
    return [
        {"seed": seed} | {name: getattr(failure, name) for name in fields}
        for seed, failure in sorted(failures.items())
    ]


class RivalDocument(Document):
    """How a declared rival would be judged with as many seeds and epochs as the verdict has."""

    name: str
    basis: str
    """What the chances rest on, or why they are not known."""
    rejected: float | None
    """The chance that the verdict would be NOT REPRODUCED; null if it is not known."""
    accepted: float | None
    """The chance of a verdict that holds."""
    rejected_by: Mapping[str, float]
    """The chance that a claim alone rejects the rival, for each claim that is judged."""
    accepted_by: Mapping[str, float]
    """The chance that all rows of a claim hold for the rival."""
    constant: bool


def _by_claim(weak: Mapping[str, Sequence[str]]) -> object:
    return {name: list(rivals) for name, rivals in weak.items()}


class SeverityDocument(Document):
    """What the verdict could have excluded with its seeds and epochs."""

    seeds: int
    epochs: int
    records: int
    """The number of runs of the method that `accepted` and `rejected` are simulated from."""
    accepted: float | None
    """The chance of a verdict that holds if the paper's run is one more run of the method."""
    rejected: float | None
    """The chance of NOT REPRODUCED in the same case."""
    rivals: tuple[RivalDocument, ...]
    severe: bool
    """Whether the verdict rejects each rival whose chance is known, with a chance of one half."""
    weak_claims: Annotated[Mapping[str, tuple[str, ...]], BeforeValidator(_by_claim)]
    """The claims that are not severe, each with the constants that it accepts, or else with the
    rivals of which it rejects none."""


class ExperimentDocument(Document):
    """The verdict on one experiment."""

    id: str
    title: str
    paper: str
    control: bool
    """Whether it is a control. If it fails, no experiment of its paper counts as reproduced."""
    unit: str
    verdict: Outcome
    badge: str
    """The verdict for people, with what makes it weaker: '(1 seed)'."""
    expected: Outcome
    expected_reason: str | None
    as_expected: bool | None
    """null while the verdict is undecided: incomplete or inconclusive."""
    epochs: int
    """The number of epochs that were judged."""
    seeds: tuple[int, ...]
    claims: tuple[ClaimDocument, ...] = Field(validation_alias="results")
    failures: Annotated[tuple[FailureDocument, ...], BeforeValidator(_with_seeds)]
    stderr: Mapping[int, str] = {}
    """By failed seed, the end of what its trial printed on standard error, as it was printed."""
    missing: tuple[int, ...]
    """Seeds whose trials are absent, unfinished or lost to infrastructure."""
    notes: tuple[str, ...]
    parameters: Mapping[Basis, int] = Field(validation_alias="bases")
    """The numbers of parameters that are stated, inferred and assumed."""
    alpha: float
    """The error rate of each of the two tests, over all rows together."""
    left_out: LeftOutDocument | None
    declared: str | None = None
    """The SHA-256 of the judged part of the manifest as it was declared with the records."""
    severity: SeverityDocument | None = Field(None, exclude_if=lambda found: found is None)
    """What the verdict could have excluded; absent if the manifest declares no rivals."""


class VerdictsDocument(Document):
    """What `harness check --json FILE` and `harness run --json FILE` write."""

    format: int = 1
    experiments: tuple[ExperimentDocument, ...]


class ChangeDocument(Document):
    """The change of one claim's values."""

    claim: str
    row: str
    """The row with the smallest p-value."""
    unit: str
    n: int
    """The number of seeds that have a value on both sides."""
    difference: float
    """The mean over the seeds of new minus base, in that row."""
    spread: float | None = Field(validation_alias="sd")
    """The standard deviation (SD) of the seeds' differences; null for one seed."""
    share_of_tolerance: float = Field(validation_alias="share")
    effect: float | None
    """`difference` divided by `spread`."""
    p: float | None
    """The p-value of the row's paired t-test."""
    p_holm: float | None
    """`p` after the correction for all rows of the comparison."""
    tests: int
    """The number of these rows."""
    method: str
    """The test that corrects: sign flips from six seeds on, Bonferroni below."""
    detectable: float | None
    """The difference that the test detects with a power of 80 %."""
    moved: bool
    """Whether the difference is larger than chance explains."""


class SidesDocument(Document):
    """A property that has different values on the two sides."""

    base: str
    new: str


def _sides(conditions: Mapping[str, tuple[str, str]] | None) -> object:
    if conditions is None:
        return None
    return {name: {"base": base, "new": new} for name, (base, new) in conditions.items()}


class ComparedDocument(Document):
    """The comparison of one experiment's records."""

    id: str
    standing: Standing
    verdict: Outcome | None
    """The verdict on the new records, over the compared seeds and epochs."""
    epochs: int
    """The number of epochs that both sides have."""
    seeds: tuple[int, ...]
    """The seeds that are recorded on both sides."""
    identical: tuple[int, ...]
    """The seeds among them whose records are equal bit for bit."""
    only_base: tuple[int, ...]
    only_new: tuple[int, ...]
    cut_short: tuple[int, ...]
    """The seeds that ended before `epochs` on one side or both."""
    changes: tuple[ChangeDocument, ...]
    surroundings: Annotated[Mapping[str, SidesDocument] | None, BeforeValidator(_sides)] = Field(
        validation_alias="conditions"
    )
    """Versions, hardware, code and parameters that differ; null if one side has no provenance."""


class ComparisonsDocument(Document):
    """What `harness compare --json FILE` writes."""

    format: int = 1
    experiments: tuple[ComparedDocument, ...]


class FactorDocument(Document):
    """One parameter or metric that a study varies."""

    name: str
    basis: Basis
    """Whether the manifest's value is stated, inferred or assumed."""
    why: str
    own: Any
    """The manifest's value."""
    values: tuple[Any, ...]
    """The other values that the study tried."""
    hinges: Hinge
    """Whether the experiment's verdict depends on the factor."""
    claims: Mapping[str, Hinge]
    """Whether each claim's verdict depends on the factor."""


class VariantDocument(Document):
    """The experiment with one combination of values."""

    id: str
    settings: Mapping[str, Any]
    own: bool
    """Whether these are the manifest's values."""
    verdict: Outcome
    claims: Mapping[str, Outcome]
    farthest_row: str | None
    farthest_tolerances: float | None
    """The difference of that row in tolerances; null if it has no value."""


class StudyDocument(Document):
    """What `harness study --json FILE` writes."""

    format: int = 1
    experiment: str
    exploratory: bool = True
    grid: bool
    """Whether the study tried every combination, or one change at a time."""
    factors: tuple[FactorDocument, ...]
    variants: tuple[VariantDocument, ...]
    experiments: tuple[ExperimentDocument, ...]
    """The full verdict on each variant."""


class InferredParameterDocument(Document):
    """One parameter that a search varied."""

    name: str
    own: Any
    """The manifest's value."""
    values: Any
    """The range or the choices that were searched."""
    compatible: tuple[Any, Any] | None
    """The smallest and the largest compatible value, over all values of the other parameters; for
    choices, the first and the last. null if none is compatible."""
    importance: float | None
    """Its share of the discrepancy's variance (fANOVA); null if too few settings were tried."""


class TriedDocument(Document):
    """One setting that a search tried."""

    settings: Mapping[str, Any]
    epochs: int
    stopped: bool
    """Whether it was stopped early: then only the first seed ran."""
    failed: bool
    """Whether the method failed in some seed."""
    discrepancy: float
    """Root mean square of the searched rows' differences, in tolerances."""
    accepted: bool
    """Whether no searched row rejects it, by its own seeds."""
    rows: Mapping[str, tuple[float | None, ...]]
    """The value of each seed, by searched row; null if it has none."""


class InferDocument(Document):
    """What `harness infer --json FILE` writes."""

    format: int = 1
    experiment: str
    searched: tuple[str, ...]
    held_out: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    stopped: int
    """How many settings were stopped early."""
    refused: int
    """How many proposals the workload's rules refused; they are not among the settings."""
    cutoff: float
    """A setting is compatible if no searched row is off by more than so many standard errors."""
    share: float | None
    """The compatible share of the searched space; null if the noise is not known."""
    accepted: int
    """How many of the tried settings are compatible by their own seeds."""
    within_tolerance: int
    """How many of them have every searched row within its tolerance."""
    nearest: Mapping[str, Any]
    noise: Mapping[str, float | None]
    """The run-to-run SD of each searched row; null if it is not known."""
    parameters: tuple[InferredParameterDocument, ...]
    settings: tuple[TriedDocument, ...]


def verdicts_document(verdicts: Iterable[ExperimentVerdict]) -> VerdictsDocument:
    """Build the document of verdicts."""
    return VerdictsDocument(experiments=_filled(ExperimentDocument, verdicts))


def comparisons_document(comparisons: Iterable[Comparison]) -> ComparisonsDocument:
    """Build the document of comparisons."""
    return ComparisonsDocument(experiments=_filled(ComparedDocument, comparisons))


def study_document(study: Study) -> StudyDocument:
    """Build the document of a study, with the verdict on each variant."""
    return StudyDocument(
        experiment=study.experiment.id,
        grid=study.grid,
        factors=tuple(_factor(study, factor) for factor in study.factors),
        variants=tuple(_variant(study, result) for result in study.results),
        experiments=_filled(ExperimentDocument, [result.verdict for result in study.results]),
    )


def search_document(region: Region) -> InferDocument:
    """Build the document of a search, with every setting that was tried."""
    space, found = region.space, region.found
    profiles = region.profiles()
    return InferDocument(
        experiment=space.experiment.id,
        searched=tuple(row.name for row in space.rows),
        held_out=space.held_out,
        seeds=space.search.seeds,
        epochs=space.search.epochs,
        stopped=found.stopped,
        refused=found.refused,
        cutoff=region.cutoff,
        share=region.share if region.known else None,
        accepted=len(region.accepted),
        within_tolerance=len(region.within_tolerance),
        nearest=space.named(found.nearest.settings),
        noise={
            row.name: float(noise) if freedom else None
            for row, noise, freedom in zip(space.rows, region.noise, region.freedom, strict=True)
        },
        parameters=tuple(
            InferredParameterDocument(
                name=factor.name,
                own=factor.own,
                values=space.search.parameters[factor.name].model_dump(mode="json"),
                compatible=profile.compatible,
                importance=found.importances.get(factor.name),
            )
            for factor, profile in zip(space.factors, profiles, strict=True)
        ),
        settings=tuple(_tried(region, one) for one in found.tried),
    )


def _tried(region: Region, one: Tried) -> TriedDocument:
    values = [
        tuple(float(value) if isfinite(value) else None for value in row) for row in one.values
    ]
    return TriedDocument(
        settings=region.space.named(one.settings),
        epochs=one.epochs,
        stopped=one.stopped,
        failed=one.failed,
        discrepancy=one.discrepancy,
        accepted=one in region.accepted,
        rows=dict(zip((row.name for row in region.space.rows), values, strict=True)),
    )


def _filled(part: type[Part], items: Iterable[object]) -> tuple[Part, ...]:
    return tuple(part.model_validate(item) for item in items)


def _factor(study: Study, factor: Factor) -> FactorDocument:
    return FactorDocument(
        name=factor.name,
        basis=factor.basis,
        why=factor.why,
        own=factor.own,
        values=factor.values,
        hinges=study.hinge(factor),
        claims={name: study.hinge(factor, name) for name in study.claims},
    )


def _variant(study: Study, result: VariantVerdict) -> VariantDocument:
    names = (factor.name for factor in study.factors)
    far, row = result.farthest
    return VariantDocument(
        id=result.variant.experiment.id,
        settings=dict(zip(names, result.variant.settings, strict=True)),
        own=not result.variant.changed,
        verdict=result.verdict.verdict,
        claims={name: claim_outcome(result.verdict, name) for name in study.claims},
        farthest_row=row or None,
        farthest_tolerances=far if isfinite(far) else None,
    )


def schemas() -> dict[str, str]:
    """Return the text of each document's JSON Schema file, by file name."""
    published: dict[str, type[Document]] = {
        "verdicts": VerdictsDocument,
        "comparisons": ComparisonsDocument,
        "study": StudyDocument,
        "infer": InferDocument,
    }
    return {f"{name}.schema.json": _schema(document) for name, document in published.items()}


def _schema(document: type[Document]) -> str:
    schema = document.model_json_schema(mode="serialization")
    for part in schema["$defs"].values():
        if "enum" in part:  # its docstring describes the code, not the document
            part.pop("description", None)
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=2) + "\n"


if __name__ == "__main__":
    for name, text in schemas().items():
        write_output(SCHEMAS / name, text)


_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 forbids even when escaped; error messages may contain them."""

_SKIPPED = (Outcome.NOT_RUN, Outcome.INCONCLUSIVE)


def junit(
    verdicts: Iterable[ExperimentVerdict],
    *,
    excuses: Mapping[str, str] | None = None,
    trouble: str = "",
) -> bytes:
    """Render the document in UTF-8, with its XML declaration.

    Args:
        verdicts: one for each suite.
        excuses: why a failure does not count, by id of the quarantined experiment.
        trouble: the infrastructure failure that kept trials from running; empty if none did.
    """
    root = Element("testsuites", name="harness")
    for verdict in verdicts:
        _suite(root, verdict, (excuses or {}).get(verdict.id, ""))
    if trouble:
        suite = SubElement(root, "testsuite", name="night")
        case = _case(suite, "night", "infrastructure")
        _outcome(case, Outcome.INCOMPLETE, None, trouble)
        _count(suite)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(root: Element, verdict: ExperimentVerdict, excuse: str) -> None:
    suite = SubElement(root, "testsuite", name=verdict.id)
    for result in verdict.results:
        case = _case(suite, verdict.id, result.name)
        weak = weak_claim(verdict.severity, result.claim)
        message = "; ".join(filter(None, (_message(result), weak)))
        _outcome(case, result.verdict, result.as_expected, message, excuse)
    case = _case(suite, verdict.id, "verdict")
    # An expected failure is no pass as long as a seed is missing.
    whole = Outcome.INCOMPLETE if verdict.incomplete else verdict.verdict
    expected = "" if verdict.as_expected is not False else f"expected {verdict.expected}; "
    could = (*not_severe(verdict.severity), *chances(verdict.severity))
    message = "; ".join([f"{expected}{verdict.badge}", *could, *verdict.notes])
    _outcome(case, whole, verdict.as_expected, message, excuse)
    _count(suite)


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))


def _case(suite: Element, experiment: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=experiment, name=_clean(name))


def _outcome(
    case: Element, verdict: Outcome, as_expected: bool | None, message: str, excuse: str = ""
) -> None:
    message = _clean(message)
    # A quarantine excuses a failure of the method. A machine's failure stays an error.
    if as_expected is False and excuse and verdict is not Outcome.INCOMPLETE:
        SubElement(case, "skipped", message=_clean(f"{excuse}; {message}"))
    elif as_expected is False and not excuse:
        SubElement(case, "failure", type=str(verdict), message=message)
    elif verdict is Outcome.INCOMPLETE:
        SubElement(case, "error", type=str(verdict), message=message)
    elif verdict in _SKIPPED:
        SubElement(case, "skipped", message=message)
    else:
        SubElement(case, "system-out").text = message


def _message(result: ClaimResult) -> str:
    unexpected = result.as_expected is False and result.verdict.holds
    parts = [
        "expected NOT REPRODUCED in some row of this claim" if unexpected else "",
        f"{result.verdict}: reported {number(result.reported)}, measured {measured_text(result)}, "
        f"tolerance {result.tolerance:g} {result.unit}",
        result.note,
    ]
    return "; ".join(filter(None, parts))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
