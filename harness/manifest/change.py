"""An experiment with some of its manifest's values changed, checked as its file would be."""

from collections.abc import Mapping, Sequence

from harness.manifest.faults import Finding
from harness.manifest.loader import typed, validate
from harness.manifest.model import Experiment
from harness.manifest.tree import Node, Path
from harness.record import Json, canonical_json, digest
from harness.workload import Workload


def change(
    experiment: Experiment,
    changes: Mapping[Path, Json],
    registry: Mapping[str, Workload],
    *,
    id: str,
    varied: Sequence[str],
) -> tuple[Experiment | None, list[Finding]]:
    """The experiment with other values in some places; in memory alone, its file stays as it is.

    Args:
        experiment: as loaded.
        changes: what is to stand instead, by its place in the manifest, which must be there.
        registry: the workloads that there are, by name.
        id: the changed experiment's own.
        varied: what was changed, as the command line says it.

    Returns:
        The experiment, or None, and every fault that the changed file would have.
    """
    plain = experiment.manifest.model_dump(mode="json")
    for path, value in changes.items():
        _put(plain, path, value)
    root = Node.of(plain)
    manifest, wrong = validate(root, registry)
    if manifest is None or wrong:
        return None, wrong
    said = [[list(path), value] for path, value in sorted(changes.items(), key=str)]
    changed = Experiment(
        id=id,
        path=experiment.path,
        digest=digest(canonical_json([experiment.digest, said])),
        manifest=manifest,
        parameters=typed(root, registry[manifest.workload.name]),
        varied=tuple(varied),
    )
    return changed, []


def _put(plain: Json, path: Path, value: Json) -> None:
    """Put a value where another stands."""
    *way, last = path
    for part in way:
        plain = plain[part]
    plain[last] = value
