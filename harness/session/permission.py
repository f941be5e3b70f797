"""Run what a manifest spells out only after the user has allowed it.

A manifest may hold a command, and a cloned repository may hold manifests of strangers. So the first
run of a command in a workspace needs `--allow-commands`. The workspace remembers the permission by
a digest of the command's words, its parameters and its code. Another word or another line of code
asks again, because it executes something else; another tolerance or title does not.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import StoreError, UsageError
from harness.manifest import Experiment
from harness.store import files
from harness.workload import Execution, Workload, execution_of

FILE = "allowed.json"
"""Name of the file in the workspace that remembers what was allowed."""

_SHOWN = 10
"""Most commands that a message shows."""


def require_permission(
    experiments: Iterable[Experiment],
    registry: Mapping[str, Workload],
    folder: Path | None,
    *,
    given: bool,
) -> None:
    """Check that the user has allowed everything that these experiments execute.

    Args:
        experiments: what is about to run.
        registry: the installed workloads, by name.
        folder: the workspace that remembers; None if only `given` counts.
        given: whether the user allows it now.

    Raises:
        UsageError: something is not allowed. The message shows the commands.
        StoreError: the file of permissions is damaged.
    """
    wanted = _executions(experiments, registry)
    if given or not wanted:
        return
    known = _allowed(folder) if folder else {}
    refused = [f"  {name}: {each.text}" for name, each in wanted if each.digest not in known]
    if not refused:
        return
    more = [f"  and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
    memory = f"{folder} remembers it until a command or its code changes" if folder else ""
    raise UsageError(
        "\n".join(
            [
                "manifests run commands on your machines that you have not allowed yet:",
                *refused[:_SHOWN],
                *more,
                "read the commands and their code; if you trust them, add --allow-commands"
                + (f" ({memory})" if memory else ""),
            ]
        )
    )


def remember_permission(
    experiments: Iterable[Experiment], registry: Mapping[str, Workload], folder: Path
) -> None:
    """Write down that the user has allowed what these experiments execute."""
    allowed = {each.digest: each.text for _, each in _executions(experiments, registry)}
    known = _allowed(folder)
    if not allowed.keys() <= known.keys():
        text = json.dumps({"format": 1, "allowed": known | allowed}, indent=1, ensure_ascii=False)
        files.replace(folder / FILE, text.encode() + b"\n")
        files.sync_folder(folder)


def _executions(
    experiments: Iterable[Experiment], registry: Mapping[str, Workload]
) -> list[tuple[str, Execution]]:
    """Return what each experiment executes, with its id."""
    pairs = [(item.id, execution_of(item.workload(registry))) for item in experiments]
    return [(name, execution) for name, execution in pairs if execution]


def _allowed(folder: Path) -> dict[str, str]:
    """Return what the workspace remembers: the texts by their digests."""
    file = folder / FILE
    content = files.read(file)
    try:
        found = {} if content is None else json.loads(content)["allowed"]
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{file}: damaged; remove it and allow the commands again") from None
    return found
