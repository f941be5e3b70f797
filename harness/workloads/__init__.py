"""The papers' methods, found by their entry points: one sub-package for each paper."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import cast

from harness.errors import UsageError
from harness.workload import Workload

GROUP = "harness.workloads"
"""The entry-point group in which a package announces its workloads."""


def registry() -> Mapping[str, Workload]:
    """Every installed workload by name, in the order of the names.

    Raises:
        UsageError: two entry points have one name, or one cannot be loaded.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP)):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UsageError(
                f"entry point {entry.name!r} of group {GROUP} is announced twice: "
                f"as {other.value} and as {entry.value}"
            )
    return MappingProxyType({name: _load(entry) for name, entry in found.items()})


def packages() -> frozenset[str]:
    """The top-level packages that the workloads are in, this one among them."""
    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group=GROUP))


def _load(entry: EntryPoint) -> Workload:
    try:
        workload = cast(Workload, entry.load())
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"entry point {entry.name!r} of group {GROUP} ({entry.value}) cannot be loaded: {error}"
        ) from error
    if workload.name != entry.name:
        raise UsageError(
            f"entry point {entry.name!r} of group {GROUP} ({entry.value}) gives a workload "
            f"that calls itself {workload.name!r}; the two names must be one"
        )
    return workload
