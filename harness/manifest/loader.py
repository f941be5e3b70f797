"""Load manifests from files, or change one in memory; every fault is reported at once."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import Fault, ManifestError
from harness.manifest import grid
from harness.manifest.checks import find_faults, find_workload, given, misplaced
from harness.manifest.experiment import IDENTIFIER, Experiment, Manifest
from harness.manifest.faults import Finding, findings
from harness.manifest.table import Tables
from harness.manifest.tree import Node, content, dotted, parse_yaml
from harness.manifest.tree import Path as Place
from harness.manifest.units import converted
from harness.record import Json, canonical_json, digest
from harness.workload import Parameters, Workload, warnings_of

ENDINGS = (".yaml", ".yml")


def load(paths: Sequence[Path], registry: Mapping[str, Workload]) -> tuple[Experiment, ...]:
    """Load the experiments that `paths` name.

    Args:
        paths: manifests, folders of them, or some cells of a grid: `psa.yaml[mode=none]`.
        registry: the installed workloads, by name.

    Returns:
        The experiments in the order of their files' names; the cells of a grid in the file's order.

    Raises:
        ManifestError: with every fault of every file.
    """
    files, faults = _find(paths)
    experiments: list[Experiment] = []
    read: dict[Path, list[Experiment]] = {}
    for file, wanted in files.items():
        found, wrong = _read(file, registry)
        read[file.resolve()] = found
        faults += wrong
        chosen, wrong = ([], []) if wrong else _chosen(found, file, wanted)
        faults += wrong
        experiments += chosen
    faults += _wrong_rivals(experiments, read, registry)
    if faults:
        raise ManifestError(faults)
    return tuple(experiments)


def discover(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Find the manifests that `paths` name, each once, in the order of their ids.

    Raises:
        ManifestError: a path does not exist, a folder holds no manifest, or two have one id.
    """
    files, faults = _find(paths)
    if faults:
        raise ManifestError(faults)
    return tuple(files)


def _find(paths: Sequence[Path]) -> tuple[dict[Path, tuple[str, ...]], list[Fault]]:
    """The files that paths name, each with the wanted cells; no text wants the whole file."""
    faults: list[Fault] = []
    files: dict[Path, tuple[Path, dict[str, None]]] = {}
    for path, cells in map(_file_and_cells, paths):
        try:
            found = sorted(_manifests(path)) if path.is_dir() else [path]
            if not found:
                faults.append(Fault(str(path), 0, "", "no manifest (*.yaml, *.yml) in this folder"))
            elif not path.exists():
                faults.append(Fault(str(path), 0, "", "no such file or folder"))
            else:
                for file in found:
                    _, wanted = files.setdefault(file.resolve(), (file, {}))
                    wanted[cells or ""] = None
        except OSError as error:  # no permission to list the folder, or too long a name
            faults.append(Fault(str(path), 0, "", f"cannot be read: {error.strerror}"))
    if not paths:
        faults.append(Fault("experiments", 0, "", "no manifest was named"))
    ordered = dict(sorted(files.values(), key=lambda named: (named[0].stem, str(named[0]))))
    for one, other in pairwise(ordered):
        if one.stem == other.stem:
            same = f"the id {one.stem} is also that of {one}; rename one of the files"
            faults.append(Fault(str(other), 0, "", same))
    return {file: () if "" in cells else tuple(cells) for file, cells in ordered.items()}, faults


def _file_and_cells(path: Path) -> tuple[Path, str | None]:
    """A path without the cells that follow it in brackets, and these cells."""
    named, cells = grid.selected(str(path))
    return (Path(named), cells) if cells is not None and not path.exists() else (path, None)


def _manifests(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def _chosen(
    experiments: Sequence[Experiment], file: Path, wanted: Collection[str]
) -> tuple[list[Experiment], list[Fault]]:
    """The experiments of a file that are in one of the wanted sets of cells."""
    if not wanted:
        return list(experiments), []
    try:
        cells = [(item, item.cell) for item in experiments if item.cell]
        if not cells:
            raise ValueError("this is one experiment and no grid: leave out the brackets")
        found = [item for item, cell in cells if any(grid.fits(cell, text) for text in wanted)]
        if not found:
            raise ValueError(f"no cell is {' or '.join(wanted)}")
    except ValueError as fault:
        return [], [Fault(str(file), 0, "", str(fault))]
    return found, []


def _read(path: Path, registry: Mapping[str, Workload]) -> tuple[list[Experiment], list[Fault]]:
    """Read one file as an experiment, or as those of a grid; if that fails, return its faults."""
    file = str(path)
    faults: list[Fault] = []
    if not IDENTIFIER.fullmatch(path.stem):
        rule = "the file's name is the experiment's id: small letters, digits and single hyphens"
        faults.append(Fault(file, 0, "", rule))
    try:
        whole, text = content(path)
    except ManifestError as error:
        return [], [*faults, *error.faults]
    root, found = parse_yaml(text, file)
    faults += found
    if root is None:
        return [], faults
    tables = Tables(path.parent)
    if grid.is_grid(root):
        experiments, found = _cells(root, path, tables, registry)
    else:
        full, unread = tables.fill(root)
        source = digest(whole) if full == root else digest(canonical_json(full.plain()))
        experiment, wrong = _experiment(full, path, source, registry)
        found = [fault_of(finding, full, file) for finding in _without_echoes(wrong, unread)]
        experiments = [experiment] if experiment else []
    faults += [*found, *tables.faults]
    if faults:
        return [], faults
    return [item.model_copy(update={"tables": tables.names}) for item in experiments], []


def _cells(
    root: Node, path: Path, tables: Tables, registry: Mapping[str, Workload]
) -> tuple[list[Experiment], list[Fault]]:
    """Read every cell of a grid. A fault that many cells share is reported once."""
    expanded, wrong = grid.expand_grid(root, path.stem)
    faults = [fault_of(finding, root, str(path)) for finding in wrong]
    experiments: list[Experiment] = []
    shared: dict[tuple[str, int, str, str], tuple[Fault, list[str]]] = {}
    for each in expanded:
        full, unread = tables.fill(each.root)
        source = digest(canonical_json(full.plain()))
        experiment, wrong = _experiment(full, path, source, registry, each.cell)
        experiments += [experiment] if experiment else []
        unread += [(finding.path, finding) for finding in each.findings]
        for finding in _without_echoes(wrong, unread):
            fault = fault_of(finding, full, str(path))
            # Cells with other values have the same fault.
            alike = (fault.file, fault.line, fault.field, fault.message.partition(", got ")[0])
            shared.setdefault(alike, (fault, []))[1].append(each.cell.name)
    for fault, cells in shared.values():
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        where = "" if len(cells) == len(expanded) else f" (cell {cells[0]}{more})"
        faults.append(replace(fault, message=fault.message + where))
    if not faults and len(experiments) == len(expanded):
        between, further = _between(root, expanded, path, tables, registry)
        experiments += [between] if between else []
        faults += further
    return experiments, faults


def _between(
    root: Node,
    expanded: Sequence[grid.Expanded],
    path: Path,
    tables: Tables,
    registry: Mapping[str, Workload],
) -> tuple[Experiment | None, list[Fault]]:
    """Make an experiment of the claims between a grid's cells; None if there are none."""
    compared = grid.compared(root, expanded)
    if compared is None:
        return None, []
    file = str(path)
    if compared.findings:
        return None, [fault_of(finding, root, file) for finding in compared.findings]
    full, unread = tables.fill(compared.root)
    source = digest(canonical_json(full.plain()))
    experiment, wrong = _experiment(full, path, source, registry, between=True)
    faults = [
        replace(fault_of(finding, full, file), field=dotted(compared.in_file(finding).path))
        for finding in _without_echoes(wrong, unread)
    ]
    if experiment is None or faults:
        return None, faults
    name = f"{path.stem}[comparisons]"
    return experiment.model_copy(update={"id": name, "compares": path.stem}), []


def _without_echoes(
    wrong: Sequence[Finding], unread: Sequence[tuple[Place, Finding]]
) -> Iterator[Finding]:
    """Every fault, but none that only follows from a name or a table that could not be read.

    Args:
        wrong: what is wrong with the values.
        unread: places without a value, each with the reason.
    """
    yield from (finding for _, finding in unread)
    for finding in wrong:
        path = finding.path
        if not any(path[: len(place)] == place[: len(path)] for place, _ in unread):
            yield finding


def _experiment(
    root: Node,
    path: Path,
    digest_: str,
    registry: Mapping[str, Workload],
    cell: grid.Cell | None = None,
    *,
    between: bool = False,
) -> tuple[Experiment | None, list[Finding]]:
    """Make an experiment of a tree without names and tables, or return what is wrong with it."""
    manifest, workload, wrong = validate_tree(root, registry, path.parent, between=between)
    if manifest is None or workload is None or wrong:
        return None, wrong
    manifest, written, wrong = converted(manifest, workload)
    if wrong:
        return None, wrong
    unusual = [(("workload", *place), text) for place, text in warnings_of(workload).items()]
    unusual += _absent_rivals(manifest, path.parent)
    experiment = Experiment(
        id=cell.id if cell else path.stem,
        path=path,
        digest=digest_,
        manifest=manifest,
        converted=written,
        parameters=typed(root, workload),
        truths=truths(workload),
        cell=cell,
        completed=_own(workload, registry),
        warnings=tuple(
            str(fault_of(Finding(place, text), root, str(path))) for place, text in unusual
        ),
    )
    return experiment, []


def _absent_rivals(manifest: Manifest, folder: Path) -> Iterator[tuple[Place, str]]:
    """Rivals that are other manifests and are not there. A copied manifest can still be judged."""
    for at, rival in enumerate(manifest.rivals):
        name = rival.experiment
        if name is not None and not files_of(name, folder):
            text = f"no manifest {name} in this folder, so no verdict says whether it excludes this"
            yield ("rivals", at, "experiment"), text


def _wrong_rivals(
    experiments: Sequence[Experiment],
    read: dict[Path, list[Experiment]],
    registry: Mapping[str, Workload],
) -> Iterator[Fault]:
    """Find faults in the manifests of rivals, and rivals that are grids.

    Args:
        experiments: the experiments whose rivals are checked; the rivals of rivals are checked too.
        read: the experiments of each file that was read. Those of rivals are added.
        registry: the installed workloads, by name.
    """
    waiting = [*experiments]
    seen: set[tuple[Path, int]] = set()  # cells of a grid have the same rivals
    for item in waiting:
        for at, rival in enumerate(item.manifest.rivals):
            if not rival.experiment or (item.path, at) in seen:
                continue
            seen.add((item.path, at))
            files = files_of(rival.experiment, item.path.parent)
            if len(files) > 1:
                names = " and ".join(file.name for file in files)
                yield _fault_of_rival(item, at, f"{names} are both there; a rival is one")
            for file in files:
                if file.resolve() not in read:
                    read[file.resolve()], wrong = _read(file, registry)
                    yield from wrong
                    waiting += read[file.resolve()]
                if (count := len(read[file.resolve()])) > 1:
                    text = f"{file.name} is a grid of {count} experiments; a rival is one"
                    yield _fault_of_rival(item, at, text)


def _fault_of_rival(experiment: Experiment, at: int, text: str) -> Fault:
    """Return a fault at the field `experiment` of one of the manifest's rivals."""
    root, _ = parse_yaml(content(experiment.path)[1], str(experiment.path))
    assert root is not None  # noqa: S101 (it has been read)
    return fault_of(Finding(("rivals", at, "experiment"), text), root, str(experiment.path))


def files_of(id_: str, folder: Path) -> list[Path]:
    """The manifests of an id in a folder: none, or one for each ending."""
    named = [folder / f"{id_}{ending}" for ending in ENDINGS]
    return [file for file in named if file.exists()]


def _own(workload: Workload, registry: Mapping[str, Workload]) -> Workload | None:
    """The workload, if the manifest itself describes it; None if it is an installed one."""
    return None if registry.get(workload.name) is workload else workload


def truths(workload: Workload) -> dict[str, str]:
    """The workload's metrics that are known rather than estimated, each with its estimate."""
    return {
        name: metric.truth_of
        for name, metric in workload.metrics.items()
        if metric.truth_of is not None
    }


def typed(root: Node, workload: Workload) -> Parameters:
    """The workload's typed parameters; the tree must have passed `validate_tree`."""
    return workload.parameters.model_validate_json(json.dumps(given(root)), strict=True)


def validate_tree(
    root: Node, registry: Mapping[str, Workload], folder: Path, *, between: bool = False
) -> tuple[Manifest | None, Workload | None, list[Finding]]:
    """Check a tree.

    Args:
        root: the tree.
        registry: the installed workloads, by name.
        folder: the folder of the manifest's file.
        between: whether its claims are those of a grid's `comparisons`.

    Returns:
        The manifest, or None if its form is wrong; the workload, or None if it cannot be used; and
        every fault.
    """
    workload, wrong = find_workload(root, registry, folder)
    wrong += find_faults(root, workload)
    elsewhere = list(misplaced(root, between=between))
    # The fields of such a claim are those of another section: their faults follow from this one.
    claims = {finding.path[:2] for finding in elsewhere}
    try:
        # Through JSON: strict about types, yet a list is read as a tuple.
        manifest = Manifest.model_validate_json(json.dumps(root.plain()), strict=True)
    except ValidationError as error:
        wrong += findings(error, Manifest, root)
        manifest = None
    wrong = [finding for finding in wrong if finding.path[:2] not in claims] + elsewhere
    if manifest is None or elsewhere:
        return None, workload, wrong
    if manifest.search:
        found = manifest.search.faults(
            {claim.name: claim for claim in manifest.claims},
            {name: item.basis for name, item in manifest.workload.parameters.items()},
            typed(root, workload).model_dump(mode="json") if workload and not wrong else {},
            manifest.seeds,
            manifest.epochs.value,
        )
        wrong += [Finding(("search", *path), message) for path, message in found]
    return manifest, workload, wrong


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
    manifest, workload, wrong = validate_tree(
        root, registry, experiment.path.parent, between=bool(experiment.compares)
    )
    if manifest is None or workload is None or wrong:
        return None, wrong
    manifest, written, wrong = converted(manifest, workload)
    if wrong:
        return None, wrong
    differences = [[list(path), value] for path, value in sorted(changes.items(), key=str)]
    changed = Experiment(
        id=id,
        path=experiment.path,
        digest=digest(canonical_json([experiment.digest, differences])),
        manifest=manifest,
        converted={**experiment.converted, **written},
        parameters=typed(root, workload),
        truths=truths(workload),
        completed=_own(workload, registry),
        varied=tuple(varied),
    )
    return changed, []


def _put(plain: Json, path: Place, value: Json) -> None:
    """Replace one value."""
    *way, last = path
    for part in way:
        plain = plain[part]
    plain[last] = value


M = TypeVar("M", bound=BaseModel)


def read_model(path: Path, model: type[M]) -> tuple[M, Node]:
    """Read a file as a model; return it with the tree that knows its lines.

    Raises:
        ManifestError: with every fault of the file.
    """
    file = str(path)
    root, faults = parse_yaml(content(path)[1], file)
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


def fault_of(finding: Finding, root: Node, file: str) -> Fault:
    """Add file and line to a finding."""
    node = root.at(finding.path)
    return finding.elsewhere or Fault(
        node.file or file, node.line, dotted(finding.path), finding.message
    )
