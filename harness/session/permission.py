"""Run what a manifest spells out only after the user has allowed it.

A manifest may hold a command, and a cloned repository may hold manifests of strangers. So the first
run of a command in a workspace needs `--allow-commands`. The workspace remembers the permission by
a digest of the command's words, its parameters and the files in `code`. Another word or another
line of these files asks again, because it executes something else; another title does not.

A repository may hold a workspace too. So the workspace's memory counts only for the user who wrote
it: each entry is sealed with a key that lies among the user's own files.
"""

import hmac
import json
import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import platformdirs

from harness.errors import StoreError, UsageError
from harness.manifest import Experiment
from harness.store import files
from harness.variables import has_home
from harness.workload import Execution, Workload, execution_of

FILE = "allowed.json"
"""Name of the file in the workspace that remembers what was allowed."""

_log = logging.getLogger(__name__)


def executions(
    experiments: Iterable[Experiment], registry: Mapping[str, Workload]
) -> tuple[tuple[str, Execution], ...]:
    """Return what the experiments execute, each with the name of its manifest."""
    own = (item for item in experiments if not item.compares)
    found = ((item.path.stem, execution_of(item.workload(registry))) for item in own)
    return tuple((name, execution) for name, execution in found if execution)


def require_permission(
    wanted: Sequence[tuple[str, Execution]], folder: Path | None, *, given: bool
) -> None:
    """Check that the user has allowed everything that is about to be executed.

    Args:
        wanted: as `executions` returns it.
        folder: the workspace that remembers; None if only `given` counts.
        given: whether the user allows it now.

    Raises:
        UsageError: something is not allowed. The message shows the commands and functions.
        StoreError: the file of permissions is damaged.
    """
    if given or not wanted:
        return
    known = _allowed(folder) if folder else {}
    key = _key() if known else b""
    refused: dict[tuple[str, str], list[Execution]] = {}
    for name, each in wanted:
        if not key or _sealed(each, key) not in known:
            refused.setdefault((name, each.template), []).append(each)
    if not refused:
        return
    memory = f"{folder} remembers it until they or their code change" if folder else ""
    raise UsageError(
        "\n".join(
            [
                "these manifests run commands or functions that you have not allowed yet:",
                *(
                    _printable(line)
                    for (name, _), group in refused.items()
                    for line in _shown(name, group)
                ),
                "read them and their code; if you trust it, add --allow-commands"
                + (f" ({memory})" if memory else ""),
            ]
        )
    )


def remember_permission(wanted: Sequence[tuple[str, Execution]], folder: Path) -> None:
    """Write down that the user has allowed all of this.

    A user without a folder for the key is asked again each time; a warning says so.
    """
    key = _key(create=True) if wanted else b""
    if not key:
        return
    allowed = {_sealed(each, key): each.text for _, each in wanted}
    known = _allowed(folder)
    if not allowed.keys() <= known.keys():
        text = json.dumps({"format": 1, "allowed": known | allowed}, indent=1, ensure_ascii=False)
        files.replace(folder / FILE, text.encode() + b"\n")
        files.sync_folder(folder)


def _key(*, create: bool = False) -> bytes:
    """Return the user's key; b"" if there is none and it is not, or cannot be, created."""
    file = Path(platformdirs.user_state_dir("harness")) / "permission.key"
    try:
        if create and not file.exists() and (os.environ.get("XDG_STATE_HOME") or has_home()):
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as new:
                new.write(secrets.token_bytes(32))
        return file.read_bytes()
    except FileExistsError:  # another process has just created it
        return file.read_bytes()
    except OSError as error:
        if create:
            _log.warning("the permission cannot be remembered: %s", error)
        return b""


def _sealed(execution: Execution, key: bytes) -> str:
    return hmac.digest(key, execution.digest.encode(), "sha256").hex()


def _printable(text: str) -> str:
    """Return the text with escapes for characters that could hide a part of it in a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _shown(name: str, group: Sequence[Execution]) -> Iterator[str]:
    """Yield lines that show every command of a manifest that fits one template.

    Commands that differ in their parameters are shown as the template and the values of each.
    """
    if len({each.text for each in group}) == 1:
        yield f"  {name}: {group[0].text}"
        return
    yield f"  {name} ({len(group)} experiments): {group[0].template}"
    for place in group[0].values:
        values = dict.fromkeys(each.values[place] for each in group)
        yield f"    {place}: {', '.join(values)}"


def _allowed(folder: Path) -> dict[str, str]:
    """Return what the workspace remembers: the texts by their sealed digests."""
    file = folder / FILE
    content = files.read_file(file)
    try:
        found = {} if content is None else json.loads(content)["allowed"]
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{file}: damaged; remove it and allow the commands again") from None
    return found
