"""The name by which MLflow knows a workspace, and the rule by which a copy gets one of its own.

Runs on a shared server carry the name of their workspace. A workspace that is moved must keep its
name, or all its runs would be made a second time. A copy must get another name, or the two would
take each other's runs for their own and delete them.

`mlflow/identity.json` holds the name and where the workspace was: its path, its host, and the
device and inode of its `mlflow` folder. When they differ from what is found now:

1. The workspace at the recorded path still has this name, in another folder: this one is a copy.
2. Same path, same host: the same workspace (restored from a backup, say).
3. Same inode: the same workspace (moved by `mv`, or mounted elsewhere: a container, another host).
4. Another host: a copy.
5. Same device, another inode: a copy whose original has moved on, since `mv` keeps the inode.
6. Otherwise: the same workspace, moved to another disk.

What the rule cannot see: a snapshot of a whole disk or virtual machine keeps path and inode, so
both sides keep the name. Remove `mlflow/identity.json` from one of them, and it gets a new name.
"""

import json
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.store import files

_FOLDER = "mlflow"
_MOST_FORMER = 20


@dataclass(frozen=True)
class Place:
    """Where a workspace is."""

    path: str
    host: str
    device: int
    inode: int

    @classmethod
    def of(cls, workspace: Path) -> "Place":
        """Where the workspace is now."""
        found = (workspace / _FOLDER).stat()
        return cls(str(workspace.resolve()), socket.gethostname(), found.st_dev, found.st_ino)


@dataclass(frozen=True)
class Identity:
    """A workspace's name in MLflow, and where it was when it last used that name."""

    name: str
    place: Place
    former: tuple[str, ...] = ()
    """Names of the workspaces that it is a copy of; runs in its own database may still bear one."""


_IDENTITY = TypeAdapter(Identity)


def identify(workspace: Path) -> Identity:
    """The workspace's identity, made or brought up to date if need be.

    Raises:
        OSError: the workspace cannot be read or written.
        StoreError: likewise, for a file of its own.
    """
    (workspace / _FOLDER).mkdir(parents=True, exist_ok=True)
    here = Place.of(workspace)
    recorded = _recorded(workspace)
    if recorded is None:
        now = Identity(_old_name(workspace) or uuid.uuid4().hex, here)
    elif is_copy(recorded.place, here, original_stands=_original_stands(recorded, workspace)):
        former = (recorded.name, *recorded.former)[:_MOST_FORMER]
        now = Identity(uuid.uuid4().hex, here, former)
    else:
        now = Identity(recorded.name, here, recorded.former)
    if now != recorded:
        files.replace(_file(workspace), json.dumps(asdict(now), indent=1).encode() + b"\n")
        files.sync_folder(workspace / _FOLDER)
    return now


def is_copy(recorded: Place, here: Place, *, original_stands: bool) -> bool:
    """Whether a workspace that was at `recorded` and is found at `here` is a copy: the rule above.

    Args:
        recorded: where it last used its name.
        here: where it is.
        original_stands: whether another folder at the recorded path has the same name.
    """
    if original_stands:
        return True
    if (recorded.path, recorded.host) == (here.path, here.host):
        return False
    if recorded.inode == here.inode:
        return False
    return recorded.host != here.host or recorded.device == here.device


def _original_stands(recorded: Identity, workspace: Path) -> bool:
    original = Path(recorded.place.path)
    try:
        if original.samefile(workspace):
            return False
    except (OSError, ValueError):  # nothing is there, or nothing that we may look at
        return False
    other = _recorded(original)
    return other is not None and other.name == recorded.name


def _recorded(workspace: Path) -> Identity | None:
    """What was written down; None if nothing was, or if it cannot be read as what it should be."""
    text = files.read(_file(workspace))
    try:
        return None if text is None else _IDENTITY.validate_json(text)
    except ValidationError:
        return None


def _old_name(workspace: Path) -> str | None:
    """The name that earlier versions kept, without the place."""
    text = files.read(workspace / _FOLDER / "workspace-id")
    name = (text or b"").decode("ascii", "replace").strip()
    return name if name.isalnum() else None


def _file(workspace: Path) -> Path:
    return workspace / _FOLDER / "identity.json"
