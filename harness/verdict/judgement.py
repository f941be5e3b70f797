"""From claims to the verdict on an experiment, and from experiments to an exit code."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from harness.errors import Exit
from harness.manifest import Basis, Experiment
from harness.record import FailureKind
from harness.verdict.claims import judge_claim
from harness.verdict.evidence import Case, Evidence, TrialOf, gather
from harness.verdict.model import ClaimResult, ExperimentVerdict, Outcome
from harness.verdict.wording import of_seeds, one_line


def judge(cases: Iterable[Case], trial_of: TrialOf) -> tuple[ExperimentVerdict, ...]:
    """Judge every case by its stored trials, and let the controls gate the rest.

    Reads one trial at a time, each once; the same manifests and records give the same verdicts.
    """
    return _gate([_judge_case(case, trial_of) for case in cases])


def exit_code(verdicts: Sequence[ExperimentVerdict]) -> Exit:
    """The command line's answer: of several the gravest, as `harness.errors.Exit` has it."""
    if any(verdict.as_expected is False for verdict in verdicts):
        return Exit.NOT_AS_EXPECTED
    if any(verdict.incomplete for verdict in verdicts):
        return Exit.INCOMPLETE
    if any(verdict.as_expected is None for verdict in verdicts):
        return Exit.INCONCLUSIVE
    return Exit.AS_EXPECTED


def _judge_case(case: Case, trial_of: TrialOf) -> ExperimentVerdict:
    said = case.experiment.manifest
    evidence = gather(case, trial_of)
    listed = frozenset(said.expected.not_reproduced if said.expected else ())
    results: list[ClaimResult] = []
    for claim in said.claims:
        rows = judge_claim(claim, said.unit, evidence)
        results += _expect(rows, claim.name in listed, evidence)
    verdict = _combine(results, evidence)
    expected = _expected(results, listed, evidence)
    return ExperimentVerdict(
        id=case.experiment.id,
        title=said.title,
        unit=said.unit,
        paper=said.paper.title,
        control=said.control,
        verdict=verdict,
        expected=expected,
        expected_reason=said.expected.reason if said.expected else None,
        as_expected=_as_expected(verdict, expected, results, evidence),
        results=tuple(results),
        seeds=evidence.seeds,
        epochs=evidence.epochs,
        failures=evidence.failures,
        missing=evidence.named(evidence.missing),
        notes=tuple(_notes(case.experiment, evidence)),
        bases=_bases(case.experiment),
        experiment=case.experiment,
        evidence=evidence,
    )


def _combine(results: Collection[ClaimResult], evidence: Evidence) -> Outcome:
    """What already failed comes before what is missing: no later trial can mend it."""
    found = {result.verdict for result in results}
    if Outcome.NOT_REPRODUCED in found or evidence.failed.any():
        return Outcome.NOT_REPRODUCED
    if Outcome.INCOMPLETE in found or evidence.missing.any() or found == {Outcome.NOT_RUN}:
        return Outcome.INCOMPLETE
    for outcome in (Outcome.INCONCLUSIVE, Outcome.IMMATERIAL_DIFFERENCE):
        if outcome in found:
            return outcome
    return Outcome.REPRODUCED


def _fails(rows: Iterable[ClaimResult]) -> bool:
    return any(row.verdict is Outcome.NOT_REPRODUCED for row in rows)


def _passes(rows: Collection[ClaimResult], evidence: Evidence) -> bool:
    """Whether a claim holds as a whole; some first epochs of a run cannot show that."""
    judged = [row for row in rows if row.verdict is not Outcome.NOT_RUN]
    all_ran = bool(judged) and (not evidence.partial or len(judged) == len(rows))
    return all_ran and all(row.verdict.holds for row in judged)


def _expect(
    rows: Sequence[ClaimResult], known_to_fail: bool, evidence: Evidence
) -> Iterator[ClaimResult]:
    """Mark a claim's rows: one that is known to fail must do so in at least one of them."""
    unexpected_pass = known_to_fail and _passes(rows, evidence)
    for row in rows:
        if row.verdict is Outcome.NOT_REPRODUCED:
            yield replace(row, as_expected=known_to_fail)
        elif row.verdict.holds:
            yield replace(row, as_expected=not unexpected_pass)
        else:
            yield row


def _expected(
    results: Iterable[ClaimResult], listed: frozenset[str], evidence: Evidence
) -> Outcome:
    """What the manifest expects of the claims that ran."""
    by_claim: dict[str, list[ClaimResult]] = {name: [] for name in listed}
    for result in results:
        if result.claim in listed:
            by_claim[result.claim].append(result)
    ran = any(_fails(rows) or _passes(rows, evidence) for rows in by_claim.values())
    return Outcome.NOT_REPRODUCED if ran else Outcome.REPRODUCED


def _as_expected(
    verdict: Outcome, expected: Outcome, results: Collection[ClaimResult], evidence: Evidence
) -> bool | None:
    if any(result.as_expected is False for result in results):
        return False
    if verdict is Outcome.NOT_REPRODUCED and expected is not Outcome.NOT_REPRODUCED:
        return False
    open_rows = any(result.verdict.undecided for result in results)
    if verdict.undecided or open_rows or evidence.missing.any():
        return None
    return True


def _notes(experiment: Experiment, evidence: Evidence) -> Iterator[str]:
    if evidence.partial:
        yield f"first {evidence.epochs} epochs"
    registered = set(experiment.manifest.seeds)
    if others := set(evidence.seeds) - registered:
        yield f"exploratory: {of_seeds(others)} not among the manifest's"
    elif unused := len(registered) - len(evidence.seeds):
        yield f"{unused} of the manifest's {len(registered)} seeds not asked for"
    if len(evidence.seeds) == 1:
        yield "one seed: no statistical claim is made"
    yield from _losses(evidence)
    for thing, values in sorted(evidence.environments.items()):
        if len(values) > 1:
            yield f"records from {len(values)} versions of {thing}: {' / '.join(sorted(values))}"


def _losses(evidence: Evidence) -> Iterator[str]:
    """Every seed that is not there in full, and why."""
    for seed, failure in evidence.failures.items():
        kind = "failed" if failure.kind is FailureKind.SCIENTIFIC else "was lost"
        said = one_line(f"{failure.error}: {failure.message}")
        yield f"seed {seed} {kind} after epoch {failure.epoch}: {said}"
    recorded = dict(zip(evidence.seeds, evidence.recorded.tolist(), strict=True))
    absent = set(evidence.named(evidence.missing)) - set(evidence.failures)
    if never := {seed for seed in absent if not recorded[seed]}:
        yield f"{of_seeds(never)}: nothing recorded"
    if unfinished := absent - never:
        yield f"{of_seeds(unfinished)}: not finished"
    if later := evidence.later_failures:
        yield f"{of_seeds(later)} failed later, beyond what is judged here"


def _bases(experiment: Experiment) -> dict[Basis, int]:
    said = experiment.manifest
    counted = Counter(item.basis for item in (said.epochs, *said.workload.parameters.values()))
    return {basis: counted[basis] for basis in Basis}


def _gate(verdicts: Sequence[ExperimentVerdict]) -> tuple[ExperimentVerdict, ...]:
    """Where a control fails, whatever holds in its paper may hold for a wrong reason."""
    return tuple(_gated(verdict, verdicts) for verdict in verdicts)


def _gated(verdict: ExperimentVerdict, all_: Sequence[ExperimentVerdict]) -> ExperimentVerdict:
    failed = sorted(
        other.id
        for other in all_
        if other.control
        and other.paper == verdict.paper
        and other.id != verdict.id
        and other.verdict is Outcome.NOT_REPRODUCED
    )
    if not failed:
        return verdict
    noted = replace(verdict, notes=(*verdict.notes, f"control {', '.join(failed)} failed"))
    if not verdict.verdict.holds:
        return noted
    still = False if verdict.as_expected is False else None
    return replace(noted, verdict=Outcome.INCONCLUSIVE, as_expected=still)
