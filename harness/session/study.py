"""Run an experiment with other values of parameters that its paper leaves open.

A study tries given values, and says which verdicts depend on them. A search looks for values that
give the reported numbers, and judges what it finds by rows that it did not see.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import cluster_address, workloads
from harness.errors import Exit, StoppedError, UsageError, number_of
from harness.manifest import Experiment
from harness.options import RunOptions
from harness.output import make_folder, write_output
from harness.plan import Selection
from harness.report.documents import search_document, study_document
from harness.session.permission import require_permission
from harness.session.runner import (
    Observer,
    RunResult,
    SilentObserver,
    Stop,
    Trials,
    run_session,
    stop_on_signals,
)
from harness.session.session import Session, load_experiments
from harness.stats import Array
from harness.store import Store
from harness.study import Factor, Study, Variant, VariantVerdict, factors, variants
from harness.study.region import Region, inferred
from harness.study.search import Found, Space, explore
from harness.study.sensitivity import Settings, variant_of, without_own_bands
from harness.variables import carried
from harness.verdict import Case
from harness.verdict.evidence import gather


@dataclass(frozen=True)
class StudyPlan:
    """An experiment, what is varied, and the variants that a study runs."""

    experiment: Experiment
    factors: tuple[Factor, ...]
    variants: tuple[Variant, ...]
    grid: bool
    """Whether every combination is tried, or one change at a time."""

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """One experiment for each variant, the manifest's own first."""
        return tuple(variant.experiment for variant in self.variants)


def plan_study(manifest: Path, vary: Sequence[str], *, grid: bool = False) -> StudyPlan:
    """Read a manifest and make its variants.

    Args:
        manifest: one manifest.
        vary: what is varied and the values to try, each as "NAME=VALUE,...".
        grid: every combination, rather than one change at a time.

    Raises:
        ManifestError: with every fault of the file.
        UsageError: with every fault of `vary`.
    """
    experiments = load_experiments([manifest])
    if len(experiments) != 1:
        raise UsageError(f"{manifest}: {len(experiments)} manifests; name one")
    (experiment,) = experiments
    varied, made = variants(experiment, factors(experiment, vary), workloads.registry(), grid=grid)
    return StudyPlan(experiment, varied, made, grid)


def run_study(
    plan: StudyPlan,
    selection: Selection,
    store: Store,
    options: RunOptions,
    observer: Observer | None = None,
    *,
    folder: Path | None = None,
) -> tuple[Study, Path]:
    """Run every trial of every variant that is not done, judge the variants, and write the pages.

    Args:
        plan: the variants.
        selection: seeds, epochs and resources.
        store: the workspace.
        options: how trials are run.
        observer: receives the progress; by default nothing is shown.
        folder: for the pages; by default `study/ID` in the workspace.

    Returns:
        The study, and its Markdown page.

    Raises:
        StoppedError: a signal stopped the run; the next run resumes from the store.
        HarnessError: as in `run_session`.
    """
    folder = folder or store.root / "study" / plan.experiment.id
    session = Session(plan.experiments, selection, store, apart=True)
    verdicts = run_session(session, options, observer, report=folder).verdicts
    results = tuple(map(VariantVerdict, plan.variants, verdicts))
    study = Study(plan.experiment, plan.factors, results, plan.grid)
    return study, _write_study(study, folder)


def _write_study(study: Study, folder: Path) -> Path:
    """Write the page, figure and JSON into the folder, and return the page."""
    from harness.report import figures, study_page  # noqa: PLC0415 - imports matplotlib

    drawn = study_page.study_figure(study)
    if drawn is not None:
        write_output(folder / "study.png", figures.image(drawn, "png"))
    page = folder / "study.md"
    write_output(page, study_page.study_markdown(study, "study.png" if drawn else None))
    write_output(folder / "study.json", study_document(study).text())
    return page


def plan_search(manifest: Path) -> Space:
    """Read a manifest and the search that it declares.

    Raises:
        ManifestError: with every fault of the file.
        UsageError: the manifest declares no search.
    """
    experiments = load_experiments([manifest])
    if len(experiments) != 1:
        raise UsageError(f"{manifest}: {len(experiments)} manifests; name one")
    return Space.declared(experiments[0])


@dataclass
class _Runner:
    """Runs settings as trials of the workspace; what the store has does not run again."""

    space: Space
    store: Store
    selection: Selection
    trials: Trials
    stop: Stop
    made: dict[Settings, Experiment | None] = field(default_factory=dict)
    """Each setting's experiment; None if the workload's rules refuse the setting."""

    def experiment(self, settings: Settings) -> Experiment | None:
        """Return the experiment with these values; None if the workload refuses them."""
        if settings not in self.made:
            own, registry = without_own_bands(self.space.experiment), workloads.registry()
            found = list(variant_of(own, self.space.factors, settings, registry, []))
            self.made[settings] = found[0].experiment if found else None
        return self.made[settings]

    def measure(
        self, asked: Sequence[Settings], epochs: int, seeds: Sequence[int]
    ) -> Iterator[Array | None]:
        """Run settings, and yield their values of the searched rows; None if trials were lost.

        Raises:
            StoppedError: a signal came, or the time is up.
        """
        experiments = {one: made for one in asked if (made := self.experiment(one))}
        selection = replace(self.selection, seeds=tuple(seeds), epochs=epochs)
        session = Session(tuple(experiments.values()), selection, self.store, apart=True)
        if left := session.left():
            self.trials.run(left, session)
        if self.stop.is_set():
            raise StoppedError(self.stop.exit_code)
        for one in asked:
            evidence = gather(Case(experiments[one], tuple(seeds), epochs), session.trial)
            yield None if evidence.missing.any() else self.space.values(evidence)


def run_search(
    space: Space,
    store: Store,
    options: RunOptions,
    observer: Observer | None = None,
    *,
    settings: int,
    selection: Selection | None = None,
    folder: Path | None = None,
) -> tuple[Region, Path]:
    """Try settings until so many were tried or the time is up, and write the pages.

    The same call goes on where the last one ended: it asks for the same settings, and the store has
    their trials.

    Args:
        space: what is searched.
        store: the workspace.
        options: how trials are run. When the time limit is up, the result is of what was tried.
        observer: receives the progress; by default nothing is shown.
        settings: how many to try in all.
        selection: the resources of each trial.
        folder: for the pages; by default `infer/ID` in the workspace.

    Returns:
        The compatible region, with the settings that were tried, and the Markdown page.

    Raises:
        StoppedError: a signal stopped the search.
        UsageError: nothing could be tried.
        HarnessError: as in `run_session`.
    """
    observer = observer or SilentObserver()
    address = cluster_address.choose(options.address, named_by=options.address_named_by)
    own = Session((space.experiment,), selection or Selection(), store)
    carried(own.readers())
    # Every setting executes other words, so no permission that is remembered covers them.
    require_permission(own.executions, None, given=options.allow_commands)
    found: Found | None = None
    with store.lock(), stop_on_signals() as stop, ExitStack() as stack:
        trials = stack.enter_context(Trials(options, observer, address=address, stop=stop))
        runner = _Runner(space, store, own.selection, trials, stop)

        def note(so_far: Found) -> None:
            nonlocal found
            found = so_far
            near = f"; nearest: {space.words(so_far.nearest)}" if so_far.tried else ""
            observer.note(f"{_words(so_far)}{near}")

        try:
            found = explore(
                space,
                lambda *asked: list(runner.measure(*asked)),
                settings=settings,
                refused=lambda one: runner.experiment(one) is None,
                note=note,
            )
        except StoppedError as stopped:
            if stopped.exit_code is not Exit.AS_EXPECTED:
                raise
    if found is None or not found.tried:
        raise UsageError(f"{space.experiment.path}: no setting ran to its end")
    region = Region(found)
    return region, _write_search(region, folder or store.root / "infer" / space.experiment.id)


def _words(found: Found) -> str:
    parts = [f"{number_of(len(found.tried), 'setting')} tried", f"{found.stopped} stopped early"]
    parts += [f"{found.refused} refused by the workload"] if found.refused else []
    parts += [f"{found.lost} lost"] if found.lost else []
    return ", ".join(parts)


def confirm(
    region: Region,
    store: Store,
    options: RunOptions,
    observer: Observer | None = None,
    *,
    selection: Selection | None = None,
    folder: Path | None = None,
) -> RunResult:
    """Run the setting that was found with the manifest's seeds, and judge the held-out rows.

    Raises:
        StoppedError: a signal stopped the run; the next run resumes from the store.
        HarnessError: as in `run_session`.
    """
    experiment = inferred(region, workloads.registry())
    session = Session((experiment,), selection or Selection(), store, apart=True)
    report = (folder or store.root / "infer" / region.space.experiment.id) / "confirmed"
    return run_session(session, options, observer, report=report)


def _write_search(region: Region, folder: Path) -> Path:
    """Write the page, figure and JSON into the folder, and return the page."""
    from harness.report import figures, study_page  # noqa: PLC0415 - imports matplotlib

    make_folder(folder)
    write_output(folder / "infer.png", figures.image(study_page.search_figure(region), "png"))
    page = folder / "infer.md"
    write_output(page, study_page.search_markdown(region, "infer.png"))
    write_output(folder / "infer.json", search_document(region).text())
    return page
