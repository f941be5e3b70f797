"""Keep what a trial prints, and the files that it leaves.

    trials/<id>/stdout.txt, stderr.txt   what it printed, without the middle if that is long
    trials/<id>/artifacts.json           its artifacts: the digest of each by name
    artifacts/<digest>                   their content; equal files are stored once

None of this decides a verdict, so nothing is synced to disk, and a lost line costs nothing.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from harness.record import (
    Artifact,
    ArtifactPart,
    FileSlice,
    Output,
    Printed,
    Side,
    Started,
    stays_below,
)
from harness.store import files

HALF = 128 << 10
"""Size of the beginning and of the end that are kept of each stream, in bytes."""

_SLACK = HALF
"""How much a file may grow beyond both halves before its middle is cut out again, in bytes."""

_GAP = re.compile(rb"\n\[(\d+) bytes are left out\]\n")

_SHA256 = re.compile(r"[0-9a-f]{64}")

_ARTIFACTS = TypeAdapter(dict[str, str])


def _gap(skipped: int) -> bytes:
    return b"\n[%d bytes are left out]\n" % skipped


class TrialOutput:
    """What one trial prints and leaves.

    Args:
        trial: the trial's folder.
        pool: the folder of the content of all artifacts.
    """

    def __init__(self, trial: Path, pool: Path) -> None:
        self._trial = trial
        self._pool = pool
        self._heading = b""
        """Goes before the first line of an attempt that is not the first to print."""
        self._unheaded = set[Printed]()
        """Streams on which this attempt has printed nothing yet."""
        self._artifacts: dict[str, str] = {}
        self._incoming: _Incoming | None = None

    def write(self, messages: Sequence[Side | Started]) -> None:
        """Write messages in order. The trial's folder must exist.

        Raises:
            StoreError: a file cannot be written.
        """
        for message in messages:
            match message:
                case Started():
                    self._begin(message)
                case Output():
                    self._print(message)
                case Artifact():
                    self._incoming = _Incoming(message, self._pool, self._trial.name)
                case ArtifactPart():
                    self._add(message.data)

    def printed(self, stream: Printed) -> bytes:
        """Return what is kept of a stream."""
        return files.read_file(self._file(stream)) or b""

    def artifacts(self) -> Mapping[str, Path]:
        """Return the paths of the artifacts' content by name. A damaged list is empty."""
        text = files.read_file(self._trial / "artifacts.json")
        try:
            listed = _ARTIFACTS.validate_json(text or b"{}")
        except ValidationError:
            return {}
        return {
            name: self._pool / sha256
            for name, sha256 in listed.items()
            if _is_plain(name) and _SHA256.fullmatch(sha256)
        }

    def kept(self) -> Mapping[str, FileSlice]:
        """Return everything that is kept of what the trial printed and left.

        Returns:
            `stdout.txt` and `stderr.txt`, unless they are empty, and `artifacts/NAME`.
        """
        found = {}
        for stream in Printed:
            if self.printed(stream):
                found[self._file(stream).name] = FileSlice.of(self._file(stream))
        for name, path in self.artifacts().items():
            if path.is_file():  # the pool may have been cleared by hand
                found[f"artifacts/{name}"] = FileSlice(path, 0, path.stat().st_size, path.name)
        return found

    def _begin(self, started: Started) -> None:
        now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        origin = f", after epoch {started.resumed_from}" if started.resumed_from else ""
        self._heading = f"[another attempt on {started.provenance.host}{origin}, {now}]\n".encode()
        self._unheaded = set(Printed)
        self._artifacts, self._incoming = {}, None
        files.remove(self._trial / "artifacts.json")

    def _print(self, output: Output) -> None:
        file = self._file(output.stream)
        gap = _gap(output.skipped) if output.skipped else b""
        with files.faults_named(file), file.open("ab") as opened:
            if opened.tell() and output.stream in self._unheaded:
                opened.write(self._heading)
            self._unheaded.discard(output.stream)
            opened.write(output.head + gap + output.tail)
            size = opened.tell()
        if size > 2 * HALF + _SLACK:
            files.replace(file, *_shortened(files.read_file(file) or b""))

    def _add(self, part: bytes) -> None:
        incoming = self._incoming
        if incoming and incoming.add(part):
            self._incoming = None
            self._artifacts[incoming.artifact.name] = incoming.artifact.sha256
            listed = _ARTIFACTS.dump_json(self._artifacts, indent=1)
            files.replace(self._trial / "artifacts.json", listed, b"\n")

    def _file(self, stream: Printed) -> Path:
        return self._trial / f"{stream}.txt"


class _Incoming:
    """An artifact whose content arrives in parts."""

    def __init__(self, artifact: Artifact, pool: Path, trial: str) -> None:
        if not _is_plain(artifact.name) or not _SHA256.fullmatch(artifact.sha256):
            raise ValueError(f"artifact {artifact.name!r} with digest {artifact.sha256!r}")
        self.artifact = artifact
        with files.faults_named(pool):
            pool.mkdir(exist_ok=True)
        path = pool / artifact.sha256
        # Two trials may send the same content at once, so each writes a file of its own.
        self._file = None if path.exists() else files.Replacement(path, f"{trial}.new")
        self._left = artifact.length

    def add(self, part: bytes) -> bool:
        """Write the next part, unless the content is stored already. Return whether it was last."""
        self._left -= len(part)
        if self._file:
            self._file.write(part)
            if self._left <= 0:
                self._file.commit()
        return self._left <= 0


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file below the folder of artifacts."""
    return stays_below(name) and bool(PurePosixPath(name).parts)


def _shortened(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut the middle out, and count what earlier gaps in it left out too."""
    middle = text[HALF:-HALF]
    gaps = list(_GAP.finditer(middle))
    earlier = sum(int(gap[1]) - len(gap[0]) for gap in gaps)
    return text[:HALF], _gap(len(middle) + earlier), text[-HALF:]
