"""Judge experiments: every claim by the rule of its kind, then the whole, then the exit code.

If a control fails, no other verdict on its paper counts. A control could pass because nothing was
learnt at all. Its twin, a dependent run with the same seeds, must therefore learn.

If the manifest was changed since its records were made, the rows are judged twice: as the manifest
has them today, and as it declared them with the records. The graver of the two outcomes counts, so
that no change of a manifest makes an old record look better.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np

from harness import stats
from harness.errors import Exit, one_line
from harness.manifest import (
    Basis,
    Claim,
    Experiment,
    Manifest,
    RowKey,
    ToleratedClaim,
    changes,
    of_seeds,
    renamed,
)
from harness.manifest.experiment import TWIN, Twin, twin_row_name
from harness.record import FailureKind, Overruled
from harness.stats import Sample
from harness.verdict.between import corrected, grid_size
from harness.verdict.calibration import stale
from harness.verdict.consistency import added_seeds, alpha_of, next_alpha, rows_consistency
from harness.verdict.decision import Decision, Terms
from harness.verdict.evidence import (
    CENSORED,
    LIMIT,
    NEVER,
    Alignment,
    Case,
    Evidence,
    MeasuredRow,
    Takeoffs,
    TrialOf,
    gather,
)
from harness.verdict.kinds import RULES, Rule
from harness.verdict.results import ClaimResult, ExperimentVerdict, LeftOut, Outcome, gravest


def judge(cases: Iterable[Case], trial_of: TrialOf) -> tuple[ExperimentVerdict, ...]:
    """Judge every case by its stored trials; a control that fails leaves its paper inconclusive.

    Reads every trial once, and one at a time. Pure: the same manifests and records give the same
    verdicts.
    """
    gathered = [(case, gather(case, trial_of)) for case in cases]
    beside = {case.experiment.id: evidence for case, evidence in gathered}
    for evidence in beside.values():
        evidence.beside = beside
    return gate(corrected([_judge_case(case, evidence) for case, evidence in gathered]))


def exit_code(verdicts: Sequence[ExperimentVerdict]) -> Exit:
    """The exit code for these verdicts: the gravest, in the order of `harness.errors.Exit`."""
    if any(verdict.as_expected is False for verdict in verdicts):
        return Exit.NOT_AS_EXPECTED
    if any(verdict.incomplete for verdict in verdicts):
        return Exit.INCOMPLETE
    if any(verdict.as_expected is None for verdict in verdicts):
        return Exit.INCONCLUSIVE
    return Exit.AS_EXPECTED


def _judge_case(case: Case, evidence: Evidence) -> ExperimentVerdict:
    manifest = case.experiment.manifest
    listed = frozenset(manifest.expected.not_reproduced if manifest.expected else ())
    alpha = alpha_of(manifest, evidence.seeds, case.first_seeds)
    notes = tuple(_notes(case, evidence, alpha))
    alarms: tuple[str, ...] = ()
    if (same := evidence.identical()) and _counts_runs(manifest):
        alarms = (ONE_RUN.format(of_seeds(same)),)
        evidence = evidence.without(same[1:])
    study, cells = _study(case), grid_size(case.experiment.cell)
    judged, left_out = judge_claims(manifest, evidence, alpha, study, cells=cells)
    declared = case.as_declared
    if declared:
        level = alpha_of(declared, evidence.seeds, case.first_seeds)
        rows, _ = judge_claims(declared, evidence, level, study, cells=cells)
        judged = stricter(judged, rows, unchanged=renamed(declared, manifest).keys())
    results: list[ClaimResult] = []
    for name, group in groupby(judged, key=lambda result: result.claim):
        results += _expect(tuple(group), name in listed, evidence)
    verdict = combine(results, evidence)
    expected = _expected(results, listed, evidence)
    return ExperimentVerdict(
        id=case.experiment.id,
        title=manifest.title,
        unit=manifest.main_unit,
        paper=manifest.paper.title,
        control=manifest.control or (declared is not None and declared.control),
        verdict=verdict,
        expected=expected,
        expected_reason=manifest.expected.reason if manifest.expected else None,
        as_expected=_as_expected(verdict, expected, results, evidence),
        results=tuple(results),
        seeds=evidence.seeds,
        epochs=evidence.epochs,
        failures=evidence.failures,
        missing=evidence.named(evidence.missing),
        notes=(*alarms, *notes, *_stale_bands(manifest, results, evidence)),
        alarms=alarms,
        bases=_bases(case.experiment),
        alpha=alpha,
        left_out=left_out,
        experiment=case.experiment,
        declared=case.declared.digest if case.declared else None,
        evidence=evidence,
    )


ONE_RUN = (
    "{} gave the same numbers to the last digit, so they count as one run: the workload seems to "
    "ignore its seed. If the method draws no random numbers, the manifest can say "
    "deterministic: true"
)


def _counts_runs(manifest: Manifest) -> bool:
    """Whether seeds that all give the same are one run, where their number matters.

    It does not for what must hold in every seed, or if the paper's own runs are all equal.
    """
    return manifest.deterministic is None and any(
        not claim.of_every_seed and claim.reported_sd != 0 for claim in manifest.claims
    )


def judge_claims(
    manifest: Manifest,
    evidence: Evidence,
    alpha: float,
    study: Evidence | None,
    *,
    cells: int = 1,
    advise: bool = True,
) -> tuple[list[ClaimResult], LeftOut | None]:
    """The results of all rows, in the manifest's order, and the leave-one-out check.

    A claim about time or memory is judged by itself: other seeds count for it, and no verdict on a
    result depends on it.

    Args:
        manifest: what the paper reports.
        evidence: of the judged seeds.
        alpha: level of each test.
        study: of other seeds, if a single one is judged.
        cells: how many cells the experiment's grid has; they share alpha in verdicts on one seed.
        advise: whether to make the leave-one-out check, and to count how many more seeds would
            settle open rows. Neither changes an outcome.
    """
    costs = [claim for claim in manifest.claims if claim.hardware]
    if not costs:
        return _judge_together(manifest, evidence, alpha, study, cells=cells, advise=advise)
    others = tuple(claim for claim in manifest.claims if not claim.hardware)
    own = manifest.model_copy(update={"claims": others})
    results, left_out = _judge_together(own, evidence, alpha, study, cells=cells, advise=advise)
    for claim in costs:
        results += _judge_cost(claim, manifest, evidence, alpha, advise=advise)
    order = [*(claim.name for claim in manifest.claims), TWIN]
    return sorted(results, key=lambda result: order.index(result.claim)), left_out


def _judge_cost(
    claim: Claim, manifest: Manifest, evidence: Evidence, alpha: float, *, advise: bool
) -> Sequence[ClaimResult]:
    """The results of a claim about time or memory, by the trials on its hardware."""
    assert claim.hardware, "only these are judged so"  # noqa: S101
    counted = evidence.on(claim.hardware, claim.metric)
    if counted.seeds and not evidence.partial:
        alone = manifest.model_copy(update={"claims": (claim,), "twin": None})
        return _judge_together(alone, counted, alpha, None, cells=1, advise=advise)[0]
    nobody = np.zeros(len(evidence.seeds), dtype=np.bool_)
    why = f"not judged: no trial that counts ran on {claim.hardware}"
    decision = Decision(outcome=Outcome.NOT_RUN, why=why)
    rows = (
        MeasuredRow(number=number, values=np.full(len(nobody), np.nan), absent=nobody)
        for number in claim.numbers()
    )
    return [_result(claim, row, decision, evidence, manifest) for row in rows]


def _judge_together(
    manifest: Manifest,
    evidence: Evidence,
    alpha: float,
    study: Evidence | None,
    *,
    cells: int,
    advise: bool,
) -> tuple[list[ClaimResult], LeftOut | None]:
    """The results of claims that are tested together, and the leave-one-out check."""
    judged = [
        (claim, rule, list(rule.rows(claim, evidence)))
        for claim in manifest.claims
        for rule in (RULES[type(claim)],)
    ]
    tested = [one for claim, rule, rows in judged for one in rule.tested(claim, rows)]
    own = [one for claim, rule, rows in judged for one in rule.own_tests(claim, rows)]
    found, left_out = rows_consistency(tested, own, evidence, alpha, leave_out=advise)
    terms = Terms(
        alpha=alpha,
        next_alpha=next_alpha(manifest),
        guards=sum(rule.guards(claim) for claim, rule, _ in judged),
        consistency=found,
        calibration=manifest.calibration,
        bands=manifest.bands(),
        study=_samples(manifest, study) if study else {},
        advise=advise,
        rows=cells
        * max(1, sum(isinstance(claim, ToleratedClaim) * len(rows) for claim, _, rows in judged)),
    )
    results = [
        _result(claim, row, _decide(claim, rule, row, evidence, terms), evidence, manifest)
        for claim, rule, rows in judged
        for row in rows
    ]
    if manifest.twin:
        results.append(judge_twin(manifest.twin, manifest.unit_of(manifest.twin.metric), evidence))
    return results, left_out


def _study(case: Case) -> Evidence | None:
    """The evidence of the committed seeds beside a single one; None if there is none."""
    trials = {trial.spec.seed: trial for trial in case.study}
    if not trials:
        return None
    return gather(replace(case, seeds=tuple(trials)), lambda _, seed: trials[seed])


FEWEST = 3
"""Fewer committed seeds show too little of the noise of single runs."""


def _samples(manifest: Manifest, study: Evidence) -> dict[RowKey, Sample]:
    """The committed seeds' values of each compared row."""
    samples = {
        row.number.key: stats.summarise(row.values)
        for claim in manifest.claims
        if claim.compared
        for row in RULES[type(claim)].rows(claim, study)
    }
    return {key: sample for key, sample in samples.items() if sample.n >= FEWEST}


def _decide(
    claim: Claim, rule: Rule[Any], row: MeasuredRow, evidence: Evidence, terms: Terms
) -> Decision:
    """Decide a row: first what a missing trial cannot change, then the rule of its kind."""
    if row.not_run:
        return Decision(outcome=Outcome.NOT_RUN, why=row.not_run)
    broken = evidence.named(row.absent & evidence.failed)
    off = evidence.named(row.off) if row.off is not None else ()
    faults = [
        f"{of_seeds(broken)} failed" if broken else "",
        row.fails,
        f"{of_seeds(off)} off" if off else "",
    ]
    if any(faults):
        why = "; ".join(filter(None, faults))
        return Decision(outcome=Outcome.NOT_REPRODUCED, why=why, method=rule.method)
    if row.incomplete:
        return Decision(outcome=Outcome.INCOMPLETE, why=row.incomplete)
    if lacking := evidence.named(row.absent & evidence.missing):
        return Decision(outcome=Outcome.INCOMPLETE, why=f"{of_seeds(lacking)} missing")
    if silent := evidence.named(row.absent):
        why = f"{of_seeds(silent)} ran, but recorded no {claim.metric} here"
        if evidence.lacks(claim.metric):
            why += "; no trial gave this metric: check its name, and what the workload prints"
        return Decision(outcome=Outcome.INCONCLUSIVE, why=why)
    return rule.decide(claim, row, terms)


def _result(
    claim: Claim, row: MeasuredRow, decision: Decision, evidence: Evidence, manifest: Manifest
) -> ClaimResult:
    number, sample = row.number, stats.summarise(row.values)
    recorded = ~np.isnan(row.values)
    measured = sample.mean if row.farthest is None else row.farthest
    # A mean over the seeds that took off would come out too early.
    if decision.outcome is Outcome.NOT_RUN or row.any_censored:
        measured = None
    return ClaimResult(
        name=number.name,
        claim=number.key.claim,
        kind=claim.kind,
        metric=claim.metric,
        unit=claim.counted_in or manifest.unit_of(claim.metric),
        epoch=number.epoch,
        reported=number.value,
        measured=measured,
        tolerance=number.tolerance,
        n=sample.n,
        spread=sample.sd if row.farthest is None and not row.any_censored else None,
        by_seed=dict(zip(evidence.named(recorded), row.values[recorded].tolist(), strict=True)),
        verdict=decision.outcome,
        note="; ".join(filter(None, (decision.why, row.note))),
        method=decision.method,
        interval=decision.interval,
        p_equivalence=decision.p_equivalence,
        p_consistency=decision.p_consistency,
        more_seeds=decision.more_seeds,
        about=claim,
    )


def combine(results: Collection[ClaimResult], evidence: Evidence) -> Outcome:
    """The outcome of the experiment: its gravest row, or a failed or missing seed."""
    found = [result.verdict for result in results]
    if evidence.failed.any():
        found.append(Outcome.NOT_REPRODUCED)
    if evidence.missing.any() or set(found) == {Outcome.NOT_RUN}:
        found.append(Outcome.INCOMPLETE)
    return gravest(found)


def _fails(rows: Iterable[ClaimResult]) -> bool:
    return any(row.verdict is Outcome.NOT_REPRODUCED for row in rows)


def _passes(rows: Collection[ClaimResult], evidence: Evidence) -> bool:
    """Whether a claim holds in every row; if only some epochs ran, that is not known."""
    judged = [row for row in rows if row.verdict is not Outcome.NOT_RUN]
    all_ran = bool(judged) and (not evidence.partial or len(judged) == len(rows))
    return all_ran and all(row.verdict.holds for row in judged)


def _expect(
    rows: Sequence[ClaimResult], known_to_fail: bool, evidence: Evidence
) -> Iterator[ClaimResult]:
    """Mark the rows of a claim; a claim that is known to fail must fail in at least one row."""
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
    """The outcome that the manifest expects, given which claims ran."""
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


def _notes(case: Case, evidence: Evidence, alpha: float) -> Iterator[str]:
    manifest = case.experiment.manifest
    if evidence.partial:
        yield f"first {evidence.epochs} epochs"
    yield from _choice_of_seeds(manifest, evidence.seeds, alpha)
    if len(evidence.seeds) == 1:
        yield "one seed: no statistical claim is made"
    yield from _alignments(manifest, evidence)
    yield from _conversions(case.experiment)
    yield from since_declared(case)
    if (more := added_seeds(evidence.seeds, case.first_seeds)) and manifest.second_stage is None:
        yield f"{of_seeds(more)} came after the declared seeds: a second look, at alpha {alpha:g}"
    yield from _losses(evidence)
    yield from _past_failures(evidence)
    for thing, values in sorted(evidence.environments.items()):
        if len(values) > 1:
            listed = " / ".join(sorted(values))
            yield f"the records come from {len(values)} versions of {thing}: {listed}"


def _alignments(manifest: Manifest, evidence: Evidence) -> Iterator[str]:
    """Say by how much curves were shifted before they were compared."""
    for claim in manifest.claims:
        if claim.line_up_at is not None:
            sentence = Alignment.of(claim, claim.line_up_at, evidence).sentence(evidence)
            if sentence:
                yield f"{claim.name}: {sentence}"


def _conversions(experiment: Experiment) -> Iterator[str]:
    """Names the claims whose numbers the manifest gives in another unit than is recorded."""
    claims = {claim.name: claim for claim in experiment.manifest.claims}
    groups: dict[tuple[str, str], list[str]] = {}
    for name, written in experiment.converted.items():
        recorded = experiment.manifest.unit_of(claims[name].metric)
        groups.setdefault((written, recorded), []).append(name)
    for (written, recorded), names in groups.items():
        yield f"converted from {written} to {recorded}, as recorded: {', '.join(names)}"


def _stale_bands(
    manifest: Manifest, results: Iterable[ClaimResult], evidence: Evidence
) -> Iterator[str]:
    if stale(manifest, results, evidence.seeds):
        yield "the manifest's calibrated bands were made from other records: calibrate again"


def _choice_of_seeds(manifest: Manifest, seeds: Collection[int], alpha: float) -> Iterator[str]:
    """Names how the judged seeds differ from those that the manifest fixed beforehand."""
    second = set(manifest.second_stage.seeds) if manifest.second_stage else set()
    registered = set(manifest.seeds)
    if second & set(seeds):
        registered |= second
    if others := set(seeds) - registered:
        yield f"exploratory: {of_seeds(others)} not in the manifest"
    elif unused := len(registered) - len(set(seeds)):
        yield f"{unused} of the manifest's {len(registered)} seeds were not asked for"
    if second:
        stage = "first and second stage" if second & set(seeds) else "first of two stages"
        yield f"{stage}: judged at alpha {alpha:g}"


def _losses(evidence: Evidence) -> Iterator[str]:
    """Names every seed whose records are incomplete, and why."""
    for seed, failure in evidence.failures.items():
        kind = "failed" if failure.kind is FailureKind.SCIENTIFIC else "was lost"
        why = one_line(f"{failure.error}: {failure.message}")
        yield f"seed {seed} {kind} after epoch {failure.epoch}: {why}"
    recorded = dict(zip(evidence.seeds, evidence.recorded.tolist(), strict=True))
    for seed, why in evidence.distrusted.items():
        yield f"seed {seed} {why}; its records are not used"
    if evidence.clipped:
        yield f"{of_seeds(evidence.clipped)} recorded values beyond {LIMIT:g}, which count as that"
    absent = set(evidence.named(evidence.missing)) - set(evidence.failures)
    absent -= set(evidence.distrusted)
    if never := {seed for seed in absent if not recorded[seed]}:
        yield f"{of_seeds(never)}: no records to judge by"
    if unfinished := absent - never:
        yield f"{of_seeds(unfinished)}: not finished"
    if later := evidence.later_failures:
        yield f"{of_seeds(later)} failed later, after the epochs that are judged here"


def _past_failures(evidence: Evidence) -> Iterator[str]:
    """Every failure that was overruled, and why."""
    for seed, history in sorted(evidence.past_failures.items()):
        for past in history:
            failure = past.failure
            why = f"{failure.error}: {one_line(failure.message)}"
            attempt = f"attempt {past.attempt}" if past.attempt else "an attempt"
            failed = f"seed {seed}: {attempt} failed after epoch {failure.epoch} with {why}"
            match past.overruled:
                case Overruled.PASSED:
                    yield f"{failed}; the epoch passed in a fresh process: the machine's failure"
                case Overruled.UNREPEATED:
                    yield f"{failed}; no other attempt failed like it: not counted"
                case Overruled.REQUEST:
                    day = datetime.fromtimestamp(past.at_ms / 1000, UTC).date()
                    yield (
                        f"seed {seed} failed before, after epoch {failure.epoch} ({why}); "
                        f"run again on request on {day}"
                    )


def _bases(experiment: Experiment) -> dict[Basis, int]:
    manifest = experiment.manifest
    counted = Counter(
        item.basis for item in (manifest.epochs, *manifest.workload.parameters.values())
    )
    return {basis: counted[basis] for basis in Basis}


def judge_twin(twin: Twin, unit: str, control: Evidence) -> ClaimResult:
    """Judge whether the twin's curve takes off with each of the control's seeds.

    The result is INCONCLUSIVE if the twin is not judged in the same call.

    Args:
        twin: as the control's manifest states it.
        unit: that of the twin's metric.
        control: the control's evidence; the twin's is in `control.beside`.
    """
    other = control.beside.get(twin.experiment)
    curves = other.curves.get(twin.metric) if other else None
    if other is None or curves is None:
        outcome, why = Outcome.INCONCLUSIVE, f"{twin.experiment} is not judged beside the control"
        highest: dict[int, float] = {}
    else:
        outcome, why = _twin_learnt(twin, control, other)
        highest = {
            seed: float(np.nanmax(curve))
            for seed, curve in zip(other.seeds, curves, strict=True)
            if seed in control.seeds and not np.isnan(curve).all()
        }
    return ClaimResult(
        name=twin_row_name(twin.experiment),
        claim=TWIN,
        kind=TWIN,
        metric=twin.metric,
        unit=unit,
        epoch=None,
        reported=twin.takeoff.threshold,
        measured=min(highest.values(), default=None),
        tolerance=0.0,
        n=len(highest),
        spread=None,
        by_seed=highest,
        verdict=outcome,
        note=why,
        method="every seed reaches the threshold",
    )


def _twin_learnt(twin: Twin, control: Evidence, other: Evidence) -> tuple[Outcome, str]:
    takeoffs = Takeoffs.of(twin.metric, twin.takeoff.threshold, other)
    asked = np.isin(other.seeds, control.seeds)
    broken = other.named(asked & takeoffs.absent & other.failed)
    never = other.named(asked & takeoffs.never)
    lacking = set(control.seeds) - set(other.named(asked & ~takeoffs.absent))
    lacking -= set(broken)
    if broken:
        return Outcome.NOT_REPRODUCED, f"{of_seeds(broken)} failed before taking off"
    if never and not other.partial and len(control.seeds) > 1:
        return Outcome.NOT_REPRODUCED, NEVER.format(of_seeds(never))
    if lacking:
        return Outcome.INCOMPLETE, f"{of_seeds(lacking)} missing"
    if never:  # or one seed ran in full, and others may take off
        return Outcome.INCONCLUSIVE, CENSORED.format(of_seeds(never), other.epochs)
    return Outcome.REPRODUCED, ""


def gate(verdicts: Sequence[ExperimentVerdict]) -> tuple[ExperimentVerdict, ...]:
    """Turn verdicts that hold into INCONCLUSIVE if a control of their paper fails.

    They may hold for a wrong reason.
    """
    return tuple(_gated(verdict, verdicts) for verdict in verdicts)


def _gated(verdict: ExperimentVerdict, all_: Sequence[ExperimentVerdict]) -> ExperimentVerdict:
    controls = [
        other
        for other in sorted(all_, key=lambda other: other.id)
        if other.control and other.paper == verdict.paper and other.id != verdict.id
    ]
    failed = [other.id for other in controls if other.verdict is Outcome.NOT_REPRODUCED]
    open_ = [f"control {other.id} is {other.verdict}" for other in controls if _open(other)]
    lost = [f"control {', '.join(failed)} failed"] if failed else []
    noted = replace(verdict, notes=(*verdict.notes, *lost, *open_))
    if not failed or not verdict.verdict.holds:
        return noted
    still = False if verdict.as_expected is False else None
    return replace(noted, verdict=Outcome.INCONCLUSIVE, as_expected=still)


def _open(control: ExperimentVerdict) -> bool:
    return not control.verdict.holds and control.verdict is not Outcome.NOT_REPRODUCED


AS_DECLARED = "judged as declared with the records"


def stricter(
    today: Sequence[ClaimResult], declared: Sequence[ClaimResult], unchanged: Collection[str]
) -> list[ClaimResult]:
    """Of each row the graver result, and the rows that were declared and are gone.

    Args:
        today: the rows of today's manifest.
        declared: the rows of the manifest as declared, judged by the same records.
        unchanged: names of declared claims that only have another name today.
    """
    then = {row.key: row for row in declared if row.claim not in unchanged}
    rows = [_graver(row, then.pop(row.key, row)) for row in today]
    rows += [_marked(row) for row in then.values()]
    order = list(dict.fromkeys(row.claim for row in rows))
    return sorted(rows, key=lambda row: order.index(row.claim))


def _graver(today: ClaimResult, declared: ClaimResult) -> ClaimResult:
    return _marked(declared) if declared.verdict.severity > today.verdict.severity else today


def _marked(row: ClaimResult) -> ClaimResult:
    return replace(row, note="; ".join(filter(None, (AS_DECLARED, row.note))))


def since_declared(case: Case) -> Iterator[str]:
    """Name what changed since the records were made, and the seeds that are left out."""
    if case.as_declared:
        yield from changes(case.as_declared, case.experiment.manifest)
    elif case.declared is not None and not case.declared.tolerances:
        yield "nothing was declared with these records: changes of the manifest since do not show"
    if left := case.stored - set(case.seeds):
        yield f"{of_seeds(left)} stored and not judged"
