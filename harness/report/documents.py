"""The JSON documents that commands write: typed models, read from the results by attribute.

Each model is a published contract: its JSON Schema stands in `docs/schemas`, and a test keeps it
current (`python -m harness.report.documents` writes it). A field may be added. When a field changes
its meaning or goes away, the document's `format` rises.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.compare import Comparison, Standing
from harness.manifest import Basis
from harness.output import write
from harness.record import Failure, FailureKind, Json
from harness.study import Factor, Hinge, Result, Study, claim_outcome
from harness.verdict import ExperimentVerdict, Outcome

SCHEMAS = Path("docs/schemas")

Part = TypeVar("Part", bound="Document")


class Document(BaseModel):
    """Base of all documents and their parts: frozen, and filled from attributes of equal name."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)

    def as_json(self) -> dict[str, Json]:
        """The document as JSON can hold it."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """The document as a file holds it.

        Raises:
            ValueError: a number is NaN or infinite, which JSON cannot hold.
        """
        return json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n"


class FailureDocument(Document):
    """How a trial ended without a final estimate."""

    seed: int
    kind: FailureKind
    """'scientific' if the method failed, 'infrastructure' if a machine did."""
    error: str
    """The exception's type, or the name of what was lost."""
    message: str
    epoch: int
    """The last epoch that was recorded before it; 0 for none."""


class LeftOutDocument(Document):
    """The leave-one-out check: each seed in turn takes the place of the paper's run."""

    seeds: int
    """How many seeds were left out in turn."""
    alarms: int
    """How many of them the other seeds rejected."""


class ClaimDocument(Document):
    """One reported number beside what the seeds gave."""

    name: str
    """The row as reports print it."""
    claim: str
    """The claim's name in the manifest, or 'twin' for a control's twin."""
    kind: str
    metric: str
    unit: str
    """Of `reported`, `measured`, `difference`, `tolerance`, `spread` and `interval`."""
    epoch: int | None
    reported: float
    measured: float | None
    """The mean over the seeds; of a control, the value farthest off."""
    difference: float | None
    """`measured` less `reported`."""
    tolerance: float
    verdict: Outcome
    as_expected: bool | None
    """null as long as the verdict is open."""
    n: int
    """How many seeds have a value."""
    spread: float | None
    """The standard deviation over the seeds; null for fewer than two."""
    note: str
    method: str
    """Which test or rule decided."""
    interval: tuple[float, float] | None
    """Confidence interval of the mean, with confidence 1 - 2 alpha."""
    p_equivalence: float | None
    """Of two one-sided tests that the mean lies within the tolerance."""
    p_consistency: float | None
    """That the reported value is one more run, corrected for all rows that were tested."""
    more_seeds: int | None
    """How many more seeds would probably decide an inconclusive row."""
    by_seed: Mapping[int, float]


def _with_seeds(failures: Mapping[int, Failure] | Sequence[FailureDocument]) -> object:
    """A mapping of failures as a list in the order of the seeds."""
    if not isinstance(failures, Mapping):
        return failures
    fields = [name for name in FailureDocument.model_fields if name != "seed"]
    return [
        {"seed": seed} | {name: getattr(failure, name) for name in fields}
        for seed, failure in sorted(failures.items())
    ]


class ExperimentDocument(Document):
    """The verdict on one experiment."""

    id: str
    title: str
    paper: str
    control: bool
    """Whether it is a control: if a control fails, nothing of its paper is reproduced."""
    unit: str
    verdict: Outcome
    expected: Outcome
    expected_reason: str | None
    as_expected: bool | None
    """null as long as the verdict is open: incomplete or inconclusive."""
    epochs: int
    """How many epochs were judged."""
    seeds: tuple[int, ...]
    claims: tuple[ClaimDocument, ...] = Field(validation_alias="results")
    failures: Annotated[tuple[FailureDocument, ...], BeforeValidator(_with_seeds)]
    missing: tuple[int, ...]
    """Seeds whose trials are absent, unfinished or lost to infrastructure."""
    notes: tuple[str, ...]
    parameters: Mapping[Basis, int] = Field(validation_alias="bases")
    """How many parameters are stated, inferred and assumed."""
    alpha: float
    """Error rate of each of the two tests, over all rows together."""
    left_out: LeftOutDocument | None


class VerdictsDocument(Document):
    """What `harness check --json FILE` and `harness run --json FILE` write."""

    format: int = 1
    experiments: tuple[ExperimentDocument, ...]


class ChangeDocument(Document):
    """How the values of one claim changed."""

    claim: str
    row: str
    """The row that differs most."""
    unit: str
    n: int
    """Seeds that have a value on both sides."""
    difference: float
    """New less base, the mean over the seeds."""
    spread: float | None = Field(validation_alias="sd")
    """The standard deviation of the seeds' differences; null for one seed."""
    share_of_tolerance: float = Field(validation_alias="share")
    effect: float | None
    """`difference` in units of `spread`."""
    p: float | None
    """Of the paired t-test."""
    p_holm: float | None
    """`p`, corrected by Holm for all tests of the comparison."""
    tests: int
    """How many tests that were."""
    detectable: float | None
    """The difference that four comparisons in five would have found."""
    moved: bool
    """Whether chance does not explain the difference."""


class SidesDocument(Document):
    """One thing that both sides have, with different values."""

    base: str
    new: str


def _sides(conditions: Mapping[str, tuple[str, str]] | None) -> object:
    if conditions is None:
        return None
    return {name: {"base": base, "new": new} for name, (base, new) in conditions.items()}


class ComparedDocument(Document):
    """How the records of one experiment changed."""

    id: str
    standing: Standing
    verdict: Outcome | None
    """On the new records, over the seeds and epochs that are compared."""
    epochs: int
    """How many epochs both sides have."""
    seeds: tuple[int, ...]
    """Recorded on both sides."""
    identical: tuple[int, ...]
    """Of these, the seeds whose records are equal bit for bit."""
    only_base: tuple[int, ...]
    only_new: tuple[int, ...]
    cut_short: tuple[int, ...]
    """Seeds that ended before `epochs` on one side or both."""
    changes: tuple[ChangeDocument, ...]
    surroundings: Annotated[Mapping[str, SidesDocument] | None, BeforeValidator(_sides)] = Field(
        validation_alias="conditions"
    )
    """Versions, hardware, code and parameters that differ; null where one side does not say."""


class ComparisonsDocument(Document):
    """What `harness compare --json FILE` writes."""

    format: int = 1
    experiments: tuple[ComparedDocument, ...]


class FactorDocument(Document):
    """One parameter or metric that a study varies."""

    name: str
    basis: Basis
    """How the manifest knows its own value."""
    why: str
    own: Any
    """The manifest's own value."""
    values: tuple[Any, ...]
    """The other values that were tried."""
    hinges: Hinge
    """Whether the experiment's verdict depends on it."""
    claims: Mapping[str, Hinge]
    """Whether the verdict on each claim does."""


class VariantDocument(Document):
    """The experiment with one choice of values."""

    id: str
    settings: Mapping[str, Any]
    own: bool
    """Whether these are the manifest's own values."""
    verdict: Outcome
    claims: Mapping[str, Outcome]
    farthest_row: str | None
    farthest_tolerances: float | None
    """How many tolerances that row lies off; null where it has no value."""


class StudyDocument(Document):
    """What `harness study --json FILE` writes."""

    format: int = 1
    experiment: str
    exploratory: bool = True
    grid: bool
    """Whether every combination was tried, or one change at a time."""
    factors: tuple[FactorDocument, ...]
    variants: tuple[VariantDocument, ...]
    experiments: tuple[ExperimentDocument, ...]
    """The verdict on each variant in full."""


def verdicts_document(verdicts: Iterable[ExperimentVerdict]) -> VerdictsDocument:
    """All verdicts."""
    return VerdictsDocument(experiments=_filled(ExperimentDocument, verdicts))


def comparisons_document(comparisons: Iterable[Comparison]) -> ComparisonsDocument:
    """All comparisons."""
    return ComparisonsDocument(experiments=_filled(ComparedDocument, comparisons))


def study_document(study: Study) -> StudyDocument:
    """A study with the verdict on each of its variants."""
    return StudyDocument(
        experiment=study.experiment.id,
        grid=study.grid,
        factors=tuple(_factor(study, factor) for factor in study.factors),
        variants=tuple(_variant(study, result) for result in study.results),
        experiments=_filled(ExperimentDocument, [result.verdict for result in study.results]),
    )


def _filled(part: type[Part], found: Iterable[object]) -> tuple[Part, ...]:
    return tuple(part.model_validate(item) for item in found)


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


def _variant(study: Study, result: Result) -> VariantDocument:
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
    """The JSON Schema of each document, as its file holds it, by the file's name."""
    published: dict[str, type[Document]] = {
        "verdicts": VerdictsDocument,
        "comparisons": ComparisonsDocument,
        "study": StudyDocument,
    }
    return {f"{name}.schema.json": _schema(document) for name, document in published.items()}


def _schema(document: type[Document]) -> str:
    schema = document.model_json_schema(mode="serialization")
    for part in schema["$defs"].values():
        if "enum" in part:  # its docstring is about the code, not about the document
            part.pop("description", None)
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=2) + "\n"


if __name__ == "__main__":
    for name, text in schemas().items():
        write(SCHEMAS / name, text)
