"""Load manifests from files, or change one in memory; every fault is reported at once."""

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import Fault, ManifestError
from harness.manifest.checks import check, given
from harness.manifest.experiment import IDENTIFIER, Experiment, Manifest
from harness.manifest.faults import Finding, findings
from harness.manifest.tree import Node, dotted, parse
from harness.manifest.tree import Path as Place
from harness.record import Json, canonical_json, digest
from harness.workload import Parameters, Workload

ENDINGS = (".yaml", ".yml")


def load(paths: Sequence[Path], registry: Mapping[str, Workload]) -> tuple[Experiment, ...]:
    """Load the experiments that `paths` name, in the order of their ids.

    Args:
        paths: manifests, or folders of them.
        registry: the installed workloads, by name.

    Raises:
        ManifestError: with every fault of every file.
    """
    files, faults = _find(paths)
    experiments: list[Experiment] = []
    for file in files:
        experiment, found = _read(file, registry)
        faults += found
        experiments += [experiment] if experiment else []
    if faults:
        raise ManifestError(faults)
    return tuple(sorted(experiments, key=lambda experiment: experiment.id))


def discover(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Find the manifests that `paths` name, each once, in the order of their ids.

    Raises:
        ManifestError: a path does not exist, a folder holds no manifest, or two have one id.
    """
    files, faults = _find(paths)
    if faults:
        raise ManifestError(faults)
    return tuple(files)


def _find(paths: Sequence[Path]) -> tuple[list[Path], list[Fault]]:
    faults: list[Fault] = []
    files: dict[Path, Path] = {}
    for path in paths:
        try:
            found = sorted(_manifests(path)) if path.is_dir() else [path]
            if not found:
                faults.append(Fault(str(path), 0, "", "no manifest (*.yaml, *.yml) in this folder"))
            elif not path.exists():
                faults.append(Fault(str(path), 0, "", "no such file or folder"))
            else:
                files |= {file.resolve(): file for file in found if file.resolve() not in files}
        except OSError as error:  # no permission to list the folder, or too long a name
            faults.append(Fault(str(path), 0, "", f"cannot be read: {error.strerror}"))
    if not paths:
        faults.append(Fault("experiments", 0, "", "no manifest was named"))
    ordered = sorted(files.values(), key=lambda file: (file.stem, str(file)))
    for one, other in pairwise(ordered):
        if one.stem == other.stem:
            same = f"the id {one.stem} is also that of {one}; rename one of the files"
            faults.append(Fault(str(other), 0, "", same))
    return ordered, faults


def _manifests(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def _read(path: Path, registry: Mapping[str, Workload]) -> tuple[Experiment | None, list[Fault]]:
    """Read one file as an experiment; if that fails, return its faults."""
    file = str(path)
    faults: list[Fault] = []
    if not IDENTIFIER.fullmatch(path.stem):
        rule = "the file's name is the experiment's id: small letters, digits and single hyphens"
        faults.append(Fault(file, 0, "", rule))
    try:
        whole, text = content(path)
    except ManifestError as error:
        return None, [*faults, *error.faults]
    root, found = parse(text, file)
    if root is None:
        return None, [*faults, *found]
    manifest, wrong = validate(root, registry)
    faults += [*found, *(fault_of(finding, root, file) for finding in wrong)]
    if manifest is None or faults:
        return None, faults
    experiment = Experiment(
        id=path.stem,
        path=path,
        digest=digest(whole),
        manifest=manifest,
        parameters=typed(root, registry[manifest.workload.name]),
        truths=truths(registry[manifest.workload.name]),
    )
    return experiment, []


def truths(workload: Workload) -> dict[str, str]:
    """The workload's metrics that are known rather than estimated, each with its estimate."""
    return {
        name: metric.truth_of
        for name, metric in workload.metrics.items()
        if metric.truth_of is not None
    }


def typed(root: Node, workload: Workload) -> Parameters:
    """The workload's typed parameters; the tree must have passed `validate`."""
    return workload.parameters.model_validate_json(json.dumps(given(root)), strict=True)


def validate(root: Node, registry: Mapping[str, Workload]) -> tuple[Manifest | None, list[Finding]]:
    """Check a tree; return its manifest, or None if its form is wrong, and every fault."""
    wrong = list(check(root, registry))
    try:
        # Through JSON: strict about types, yet a list is read as a tuple.
        return Manifest.model_validate_json(json.dumps(root.plain()), strict=True), wrong
    except ValidationError as error:
        return None, [*wrong, *findings(error, Manifest, root)]


def change(
    experiment: Experiment,
    changes: Mapping[Place, Json],
    registry: Mapping[str, Workload],
    *,
    id: str,
    varied: Sequence[str],
) -> tuple[Experiment | None, list[Finding]]:
    """Make an experiment with other values in some places, in memory; the file does not change.

    Args:
        experiment: as loaded.
        changes: new values by their place in the manifest, which must exist.
        registry: the installed workloads, by name.
        id: of the changed experiment.
        varied: the changes, as arguments of --vary.

    Returns:
        The experiment, or None if there are faults, and the faults that such a file would have.
    """
    plain = experiment.manifest.model_dump(mode="json")
    for path, value in changes.items():
        _put(plain, path, value)
    root = Node.of(plain)
    manifest, wrong = validate(root, registry)
    if manifest is None or wrong:
        return None, wrong
    differences = [[list(path), value] for path, value in sorted(changes.items(), key=str)]
    changed = Experiment(
        id=id,
        path=experiment.path,
        digest=digest(canonical_json([experiment.digest, differences])),
        manifest=manifest,
        parameters=typed(root, registry[manifest.workload.name]),
        truths=truths(registry[manifest.workload.name]),
        varied=tuple(varied),
    )
    return changed, []


def _put(plain: Json, path: Place, value: Json) -> None:
    """Replace one value."""
    *way, last = path
    for part in way:
        plain = plain[part]
    plain[last] = value


MAX_BYTES = 2**20
"""No manifest is larger. A larger file is not read to its end."""

M = TypeVar("M", bound=BaseModel)


def read(path: Path, model: type[M]) -> tuple[M, Node]:
    """Read a file as a model; return it with the tree that knows its lines.

    Raises:
        ManifestError: with every fault of the file.
    """
    file = str(path)
    root, faults = parse(content(path)[1], file)
    if root is None:
        raise ManifestError(faults)
    try:
        # Through JSON: strict about types, yet a list is read as a tuple.
        found = model.model_validate_json(json.dumps(root.plain()), strict=True)
    except ValidationError as error:
        wrong = (fault_of(finding, root, file) for finding in findings(error, model, root))
        raise ManifestError([*faults, *wrong]) from None
    if faults:
        raise ManifestError(faults)
    return found, root


def content(path: Path) -> tuple[bytes, str]:
    """Read a file; return its bytes and its text.

    Raises:
        ManifestError: it cannot be read, is too large, or is not UTF-8.
    """
    line, fault = 0, f"larger than {MAX_BYTES} bytes"
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content, content.decode("utf-8-sig")
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        why = "it is UTF-16; save it as UTF-8" if utf_16 else error.reason
        line, fault = content.count(b"\n", 0, error.start) + 1, f"not UTF-8: {why}"
    raise ManifestError([Fault(str(path), line, "", fault)])


def fault_of(finding: Finding, root: Node, file: str) -> Fault:
    """Add file and line to a finding."""
    return Fault(file, root.at(finding.path).line, dotted(finding.path), finding.message)
