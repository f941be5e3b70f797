"""A distributed reproducibility harness: run a paper's experiments and judge its reported numbers.

The functions below are the public interface; the command `harness` is built on the same code.
Names are loaded when they are first used: `import harness` imports neither Ray, MLflow nor torch.

>>> import harness
>>> (verdict,) = harness.check_claims("experiments/image-pair-4.yaml", committed=True)
>>> frame = harness.verdicts_table([verdict]).to_pandas()
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compare import Comparison
    from harness.errors import (
        DataError,
        Exit,
        HarnessError,
        InfrastructureError,
        ManifestError,
        ResourceError,
        StoppedError,
        StoreError,
        UsageError,
    )
    from harness.function import workload
    from harness.manifest import Experiment
    from harness.options import RunOptions
    from harness.output import OutputError
    from harness.record import StoredTrial
    from harness.session.api import (
        PlannedTrial,
        check_claims,
        compare_records,
        load_manifests,
        open_session,
        plan_trials,
        read_records,
        records_table,
        run_trials,
        study_assumptions,
        verdicts_table,
    )
    from harness.session.runner import Observer, RunResult
    from harness.session.session import Session
    from harness.source import __version__ as __version__
    from harness.study import Study
    from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

_MODULES = {
    "harness.compare": ("Comparison",),
    "harness.errors": (
        "DataError",
        "Exit",
        "HarnessError",
        "InfrastructureError",
        "ManifestError",
        "ResourceError",
        "StoppedError",
        "StoreError",
        "UsageError",
    ),
    "harness.function": ("workload",),
    "harness.manifest": ("Experiment",),
    "harness.options": ("RunOptions",),
    "harness.output": ("OutputError",),
    "harness.record": ("StoredTrial",),
    "harness.session.api": (
        "PlannedTrial",
        "check_claims",
        "compare_records",
        "load_manifests",
        "open_session",
        "plan_trials",
        "read_records",
        "records_table",
        "run_trials",
        "study_assumptions",
        "verdicts_table",
    ),
    "harness.session.runner": ("Observer", "RunResult"),
    "harness.session.session": ("Session",),
    "harness.source": ("__version__",),
    "harness.study": ("Study",),
    "harness.verdict": ("ClaimResult", "ExperimentVerdict", "Outcome"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ClaimResult",
    "Comparison",
    "DataError",
    "Exit",
    "Experiment",
    "ExperimentVerdict",
    "HarnessError",
    "InfrastructureError",
    "ManifestError",
    "Observer",
    "Outcome",
    "OutputError",
    "PlannedTrial",
    "ResourceError",
    "RunOptions",
    "RunResult",
    "Session",
    "StoppedError",
    "StoreError",
    "StoredTrial",
    "Study",
    "UsageError",
    "check_claims",
    "compare_records",
    "load_manifests",
    "open_session",
    "plan_trials",
    "read_records",
    "records_table",
    "run_trials",
    "study_assumptions",
    "verdicts_table",
    "workload",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*globals(), *__all__})
