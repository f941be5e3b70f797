"""Run a study: an experiment with other values of parameters that its paper leaves open."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import workloads
from harness.errors import UsageError
from harness.manifest import Experiment
from harness.options import RunOptions
from harness.output import write
from harness.plan import Selection
from harness.report.documents import study_document
from harness.session.progress import Observer
from harness.session.runner import run_session
from harness.session.session import Session, load
from harness.store import Store
from harness.study import Factor, Result, Study, Variant, factors, variants


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
    experiments = load([manifest])
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
    results = tuple(map(Result, plan.variants, verdicts))
    study = Study(plan.experiment, plan.factors, results, plan.grid)
    return study, _write(study, folder)


def _write(study: Study, folder: Path) -> Path:
    """Write the page, figure and JSON into the folder, and return the page."""
    from harness.report import figures, study_page  # noqa: PLC0415 - imports matplotlib

    drawn = study_page.figure(study)
    if drawn is not None:
        write(folder / "study.png", figures.image(drawn, "png"))
    page = folder / "study.md"
    write(page, study_page.markdown(study, "study.png" if drawn else None))
    write(folder / "study.json", study_document(study).text())
    return page
