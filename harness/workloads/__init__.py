"""Finds the installed workloads by their entry points; each paper's method is one sub-package."""

import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from harness.workload import COSTS, Metric, Parameters, Registry, Workload

log = logging.getLogger(__name__)

GROUP = "harness.workloads"
"""The entry-point group in which a package announces its workloads."""

_reported: set[str] = set()
"""Faults that were logged already: one line for each, however often the registry is asked for."""


def registry() -> Registry:
    """Every installed workload by name, in the order of the names.

    An entry point that cannot be used (it raises, its object is no workload, or another package
    announces the same name) is logged once and left out; `Registry.broken` says why.
    """
    found: dict[str, Workload] = {}
    broken: dict[str, str] = {}
    for name, entries in _by_name(entry_points(group=GROUP)).items():
        workload = _load(entries[0]) if len(entries) == 1 else _announced_twice(entries)
        if isinstance(workload, str):
            broken[name] = workload
        else:
            found[name] = workload
    for name, why in broken.items():
        if why not in _reported:
            _reported.add(why)
            log.warning("workload %s cannot be used: %s", name, why)
    return Registry(found, broken)


def packages() -> frozenset[str]:
    """The top-level packages that the workloads are in, this one among them."""
    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group=GROUP))


def _by_name(entries: Iterable[EntryPoint]) -> Mapping[str, list[EntryPoint]]:
    """The different entry points of each name; a package that is installed twice counts once."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in sorted(entries):
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: list(same.values()) for name, same in found.items()}


def _announced_twice(entries: Iterable[EntryPoint]) -> str:
    return f"it is announced twice, by {' and by '.join(map(_source, entries))}; uninstall one"


@cache
def _load(entry: EntryPoint) -> Workload | str:
    """The workload, or why it cannot be used. A package that is broken stays so, so asked once."""
    try:
        workload: Workload = entry.load()
        fault = next(_faults(workload, entry.name), None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, others go on
        raised = traceback.format_exception_only(error)[-1]  # works even where `str(error)` raises
        fault = " ".join(raised.split())[:200]
    return workload if fault is None else f"{_source(entry)}: {fault}"


def _source(entry: EntryPoint) -> str:
    package = f" of package {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"entry point {entry.name} = {entry.value}{package}"


def _faults(workload: Workload, name: str) -> Iterator[str]:
    """What keeps an object from being a workload, as `harness.workload.Workload` describes it."""
    for attribute, kind in {
        "name": str,
        "revision": int,
        "metrics": Mapping,
        "prefix": bool,
    }.items():
        value = getattr(workload, attribute, None)
        if not isinstance(value, kind):
            yield f"its attribute {attribute} must be a {kind.__name__}, got {value!r:.60}"
    for method in ("data_sets", "load_data", "start"):
        if not callable(getattr(workload, method, None)):
            yield f"it has no method {method}"
    parameters = getattr(workload, "parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, Parameters)):
        yield f"its attribute parameters must be a subclass of Parameters, got {parameters!r:.60}"
    for key, metric in workload.metrics.items():
        if not (isinstance(key, str) and isinstance(metric, Metric)):
            yield f"its metric {key!r:.60} must be a Metric, got {metric!r:.60}"
        if key in COSTS:
            yield f"its metric {key} has the name of what the harness measures; take another name"
    if workload.name != name:
        yield f"its name is {workload.name!r}; the entry point must have the same name"
