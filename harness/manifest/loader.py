"""Manifests from files: every fault of every file at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from harness.errors import Fault, ManifestError
from harness.manifest.checks import check, given
from harness.manifest.document import content, fault_of
from harness.manifest.faults import Finding, findings
from harness.manifest.model import IDENTIFIER, Experiment, Manifest
from harness.manifest.tree import Node, parse
from harness.record import digest
from harness.workload import Parameters, Workload

ENDINGS = (".yaml", ".yml")


def load(paths: Sequence[Path], registry: Mapping[str, Workload]) -> tuple[Experiment, ...]:
    """The experiments that `paths` name, in the order of their ids.

    Args:
        paths: manifests, or folders of them.
        registry: the workloads that there are, by name.

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
    """The manifests that `paths` name, each once, in the order of their ids.

    Raises:
        ManifestError: a path is not there, a folder holds no manifest, or two have one id.
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
        except OSError as error:  # a folder without the right to look into it, too long a name
            faults.append(Fault(str(path), 0, "", f"cannot be read: {error.strerror}"))
    if not paths:
        faults.append(Fault("experiments", 0, "", "no manifest was named"))
    ordered = sorted(files.values(), key=lambda file: (file.stem, str(file)))
    for one, other in pairwise(ordered):
        if one.stem == other.stem:
            said = f"the id {one.stem} is also that of {one}; rename one of the files"
            faults.append(Fault(str(other), 0, "", said))
    return ordered, faults


def _manifests(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def _read(path: Path, registry: Mapping[str, Workload]) -> tuple[Experiment | None, list[Fault]]:
    """One file as an experiment, or its faults."""
    file = str(path)
    faults: list[Fault] = []
    if not IDENTIFIER.fullmatch(path.stem):
        said = "the file's name is the experiment's id: small letters, digits and single hyphens"
        faults.append(Fault(file, 0, "", said))
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
    )
    return experiment, []


def typed(root: Node, workload: Workload) -> Parameters:
    """The workload's parameters of a tree in which `validate` found no fault."""
    return workload.parameters.model_validate_json(json.dumps(given(root)), strict=True)


def validate(root: Node, registry: Mapping[str, Workload]) -> tuple[Manifest | None, list[Finding]]:
    """The manifest that a tree describes, None where it has not its form, and every fault."""
    wrong = list(check(root, registry))
    try:
        # By way of JSON: strict about types, yet a list may stand for a tuple.
        return Manifest.model_validate_json(json.dumps(root.plain()), strict=True), wrong
    except ValidationError as error:
        return None, [*wrong, *findings(error, Manifest, root)]
