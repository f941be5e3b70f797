"""Run the cases of the self-test: plant each fault, judge, and check that it is detected."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import cluster_address, workloads
from harness.errors import Exit, StoppedError, StoreError
from harness.manifest import Experiment
from harness.options import RunOptions
from harness.plan import Selection
from harness.record import FailureKind, StoredTrial
from harness.selftest import CaseResult, PlantedCase, Subject, Training, evaluate, prepared
from harness.session.committed import FOLDER
from harness.session.runner import Observer, run_on_ray, stop_on_signals
from harness.session.session import Session, load_experiments
from harness.session.tracking import Untracked
from harness.store import Archive, Store
from harness.verdict import ExperimentVerdict
from harness.workload import planted_faults


def choose_subject(paths: Sequence[Path]) -> Subject:
    """Choose the first experiment whose workload has the most planted faults.

    Raises:
        ManifestError: a manifest has faults. The error has every fault of every file.
    """
    registry = workloads.registry()
    experiments = [experiment for experiment in load_experiments(paths) if not experiment.compares]

    def faults(experiment: Experiment) -> int:
        return len(planted_faults(experiment.workload(registry)))

    def rank(experiment: Experiment) -> tuple[int, bool]:
        return faults(experiment), experiment.manifest.twin is None  # a control has a twin

    chosen = max(experiments, key=rank)
    names = _claim_names(chosen)
    others = (other for other in experiments if other != chosen and _claim_names(other) == names)
    subject = Subject(chosen, registry, next(others, None))
    return prepared(Subject(chosen, registry, subject.other, _recorded(subject)))


def _claim_names(experiment: Experiment) -> list[str]:
    return [claim.name for claim in experiment.manifest.claims]


def _recorded(subject: Subject) -> Mapping[str, Sequence[StoredTrial]]:
    """Return committed trials of studies that ran with the parameters of a planted fault."""
    experiment = subject.experiment
    folder = experiment.path.parent / FOLDER
    own = experiment.parameters.model_dump(mode="json")
    studies = [path.stem for path in sorted(folder.glob("*.jsonl"))]
    variants = [Archive(folder).kept(name).trials for name in studies if _varies(experiment, name)]
    by_fault: dict[str, Sequence[StoredTrial]] = {}
    for name, fault in planted_faults(subject.workload).items():
        wanted = {**own, **fault.parameters}
        for trials in variants:
            if fault.parameters and all(trial.spec.parameters == wanted for trial in trials):
                by_fault[name] = trials
    return by_fault


def _varies(experiment: Experiment, name: str) -> bool:
    """Return whether this is the id of a variant of the experiment in a study."""
    return name.startswith(f"{experiment.id}[")


def run_stored(subject: Subject, case: PlantedCase, root: Path) -> CaseResult:
    """Plant a case in a workspace of its own, and judge it."""
    store = Store(root)
    experiments = case.prepare(subject, store)
    selection = Selection(seeds=case.seeds)
    if case.registry is not None:
        together = Session(tuple(experiments), selection, store, registry=case.registry)
        return evaluate(case, together.verdicts()[-1:])
    verdicts = [
        verdict
        for experiment in experiments
        for verdict in Session((experiment,), selection, store).verdicts()
    ]
    return evaluate(case, verdicts)


def run_training(
    training: Training, root: Path, observer: Observer, *, data: Path | None
) -> list[CaseResult]:
    """Train with each fault on Ray, and judge the records.

    Raises:
        StoreError: trials were lost to infrastructure, so that no result is possible.
        StoppedError: the user stopped the training.
    """
    session = Session(
        training.experiments,
        training.selection,
        Store(root),
        registry=training.registry,
        apart=True,
    )
    with session.store.lock(), stop_on_signals() as stop:
        session.declare()
        run_on_ray(
            session.left(),
            session,
            RunOptions(data=data),
            observer,
            address=cluster_address.choose(None),
            tracking=Untracked(),
            stop=stop,
        )
        if stop.exit_code is not Exit.AS_EXPECTED:
            raise StoppedError(stop.exit_code)
        verdicts = session.verdicts()
    _refuse_lost(verdicts)
    pairs = zip(training.cases, verdicts, strict=True)
    return [evaluate(case, [verdict]) for case, verdict in pairs]


def _refuse_lost(verdicts: Sequence[ExperimentVerdict]) -> None:
    for verdict in verdicts:
        for seed, failure in verdict.failures.items():
            if failure.kind is FailureKind.INFRASTRUCTURE:
                raise StoreError(f"{verdict.id} seed {seed} was lost: {failure.message}")
