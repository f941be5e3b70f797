"""Give a workspace its name in MLflow, and give a copy of a workspace a new name.

Each run on a shared server carries the name of its workspace. A workspace that is moved must keep
its name; otherwise all its runs would be created a second time. A copy must get another name;
otherwise the copy and the original would treat each other's runs as their own and delete them.

`mlflow/identity.json` records the name and the place of the workspace: its path, its host, and the
device and inode of its `mlflow` folder. If the recorded place differs from the present one, the
first rule that applies decides:

1. Another folder at the recorded path has the same name: this workspace is a copy.
2. Same path and same host: it is the same workspace (for example, restored from a backup).
3. Same inode: it is the same workspace (moved by `mv`, or mounted in a container or on another
   host).
4. Another host: it is a copy.
5. Same device but another inode: it is a copy, and its original has moved. (`mv` keeps the inode.)
6. Otherwise: it is the same workspace, moved to another disk.

The rules miss one case: a snapshot of a whole disk or virtual machine keeps path and inode, so both
sides keep the name. Remove `mlflow/identity.json` from one of them, and it gets a new name.
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
    """The place of a workspace: its path, its host, and where its `mlflow` folder is on disk."""

    path: str
    host: str
    device: int
    inode: int

    @classmethod
    def of(cls, workspace: Path) -> "Place":
        """Return the present place of a workspace."""
        found = (workspace / _FOLDER).stat()
        return cls(str(workspace.resolve()), socket.gethostname(), found.st_dev, found.st_ino)


@dataclass(frozen=True)
class Identity:
    """A workspace's name in MLflow, and where it was when it last used that name."""

    name: str
    place: Place
    former: tuple[str, ...] = ()
    """Names of the workspaces it was copied from. Runs in its own database may still have one."""


_IDENTITY = TypeAdapter(Identity)


def identify(workspace: Path) -> Identity:
    """Return the workspace's identity. Create or update its file if necessary.

    Raises:
        OSError: the workspace cannot be read or written.
        StoreError: a file in the workspace cannot be read or written.
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
    """Whether a workspace is a copy, by the rules in this module's docstring.

    Args:
        recorded: the place where it last used its name.
        here: its present place.
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
    except (OSError, ValueError):  # the path does not exist, or we may not read it
        return False
    other = _recorded(original)
    return other is not None and other.name == recorded.name


def _recorded(workspace: Path) -> Identity | None:
    """Read the recorded identity. Return None if the file is missing or invalid."""
    text = files.read(_file(workspace))
    try:
        return None if text is None else _IDENTITY.validate_json(text)
    except ValidationError:
        return None


def _old_name(workspace: Path) -> str | None:
    """Read the name that earlier versions recorded, which did not record the place."""
    text = files.read(workspace / _FOLDER / "workspace-id")
    name = (text or b"").decode("ascii", "replace").strip()
    return name if name.isalnum() else None


def _file(workspace: Path) -> Path:
    return workspace / _FOLDER / "identity.json"
