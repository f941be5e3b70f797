"""Which nights there are: `ci/nightly.yaml`, as strict as a manifest."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat
from pydantic import PositiveInt as Count

from harness.errors import Fault, ManifestError, UsageError
from harness.manifest.experiment import IDENTIFIER
from harness.manifest.fields import Frozen, Line, Seeds, Text
from harness.manifest.loader import read
from harness.options import ClusterOptions, RunOptions

FORMAT = 1
"""Version of the file's own form."""


class Quarantine(Frozen):
    """An experiment whose verdict wakes nobody for a while. It still runs, and is still judged."""

    experiment: Line
    owner: Line
    """Who looks after it."""
    reason: Text
    expires: date
    """The last day on which it holds, in UTC; from the next on a failure is a failure again."""

    def active(self, today: date) -> bool:
        """Whether it holds."""
        return today <= self.expires


class Night(ClusterOptions):
    """What one night runs; what is left out is as the manifests say."""

    experiments: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Manifests or folders of them, relative to this file."""
    seeds: Seeds = ()
    epochs: Count | None = None
    """The first N."""
    cpus_per_trial: PositiveFloat | None = None
    gpus_per_trial: NonNegativeFloat | None = None
    keep: Count = 7
    """How many nights to keep, beside those that later ones are compared with."""
    consistent_after: Count = 3
    """From so many nights in a row on, failing is called consistent."""

    def run_options(self, *, data: Path | None, tracking_uri: str | None) -> RunOptions:
        """How this night runs its trials."""
        own = {name: getattr(self, name) for name in ClusterOptions.model_fields}
        return RunOptions(
            **own, data=data, tracking_uri=tracking_uri, address_named_by="the night's address"
        )


def _supported(version: int) -> int:
    if version != FORMAT:
        raise ValueError(f"format {version} is unknown; this harness reads format {FORMAT}")
    return version


def _named(nights: Mapping[str, Night]) -> Mapping[str, Night]:
    """A night's name is a folder's."""
    for name in nights:
        if not IDENTIFIER.fullmatch(name):
            raise ValueError(f"{name!r}: small letters, digits and single hyphens are wanted")
    return nights


class Nights(Frozen):
    """The whole file."""

    format: Annotated[int, AfterValidator(_supported)]
    nights: Annotated[Mapping[str, Night], Field(min_length=1), AfterValidator(_named)]
    """By name: small letters, digits and single hyphens."""
    quarantine: tuple[Quarantine, ...] = ()
    webhook_env: Line | None = None
    """The environment variable that holds the webhook's address, which is a secret."""

    def night(self, name: str) -> Night:
        """One night by name.

        Raises:
            UsageError: there is none; it says which there are.
        """
        if name not in self.nights:
            raise UsageError(f"--night: no night {name!r}; there are {', '.join(self.nights)}")
        return self.nights[name]


def load(path: Path) -> Nights:
    """The nights that a file describes.

    Raises:
        ManifestError: with every fault of the file, as of a manifest.
    """
    found, root = read(path, Nights)
    faults = []
    seen: set[str] = set()
    for place, item in enumerate(found.quarantine):
        if item.experiment in seen:
            line = root.at(("quarantine", place)).line
            said = f"{item.experiment} is in quarantine already"
            faults.append(Fault(str(path), line, f"quarantine[{place}].experiment", said))
        seen.add(item.experiment)
    if faults:
        raise ManifestError(faults)
    return found
