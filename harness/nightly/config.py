"""Read the configuration of nights, `ci/nightly.yaml`, as strictly as a manifest."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat
from pydantic import PositiveInt as Count

from harness.errors import Fault, ManifestError, UsageError
from harness.manifest.experiment import IDENTIFIER
from harness.manifest.fields import Frozen, Line, Seeds, Text, of_format
from harness.manifest.loader import read_model
from harness.manifest.tree import content, parse_yaml
from harness.options import ClusterOptions, RunOptions

FORMAT = 1
"""Version of the file's format."""


class Quarantine(Frozen):
    """An experiment whose failures do not count for a while. It still runs and is judged."""

    experiment: Line
    owner: Line
    """Who is responsible for the experiment."""
    reason: Text
    expires: date
    """The last day of the quarantine, in UTC. From the next day on failures count again."""

    def active(self, today: date) -> bool:
        """Tell whether the quarantine applies on a day."""
        return today <= self.expires


class Night(ClusterOptions):
    """What one night runs; the manifests decide what is left out here."""

    experiments: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Manifests or folders of them, relative to this file."""
    seeds: Seeds = ()
    epochs: Count | None = None
    """Run only the first N epochs."""
    cpus_per_trial: PositiveFloat | None = None
    gpus_per_trial: NonNegativeFloat | None = None
    keep: Count = 7
    """How many nights to keep, besides the nights that later ones are compared with."""
    consistent_after: Count = 3
    """After this many failing nights in a row, an experiment is consistently failing."""

    def run_options(
        self, *, data: Path | None, tracking_uri: str | None, allow_commands: bool = False
    ) -> RunOptions:
        """Return the options with which this night runs its trials.

        Whether commands may run is not the file's to say: a stranger may have written it.
        """
        own = {name: getattr(self, name) for name in ClusterOptions.model_fields}
        return RunOptions(
            **own,
            data=data,
            tracking_uri=tracking_uri,
            allow_commands=allow_commands,
            address_named_by="the night's address",
        )


def _named(nights: Mapping[str, Night]) -> Mapping[str, Night]:
    """Check the names of nights, because each names a folder."""
    for name in nights:
        if not IDENTIFIER.fullmatch(name):
            raise ValueError(f"{name!r}: use only small letters, digits and single hyphens")
    return nights


class Nights(Frozen):
    """The content of the configuration file."""

    format: Annotated[int, of_format(FORMAT)]
    nights: Annotated[Mapping[str, Night], Field(min_length=1), AfterValidator(_named)]
    """The nights by name: small letters, digits and single hyphens."""
    quarantine: tuple[Quarantine, ...] = ()
    webhook_env: Line | None = None
    """The environment variable that holds the webhook's address, which is a secret."""

    def night(self, name: str) -> Night:
        """Return a night by name.

        Raises:
            UsageError: no night has this name; the message lists the names.
        """
        if name not in self.nights:
            raise UsageError(f"--night: no night {name!r}; there are {', '.join(self.nights)}")
        return self.nights[name]


def configures_nights(path: Path) -> bool:
    """Tell whether a file has the field `nights`, which no manifest has."""
    try:
        root, _ = parse_yaml(content(path)[1], str(path))
    except ManifestError:  # whoever loads it says why it cannot be read
        return False
    plain = None if root is None else root.plain()
    return isinstance(plain, Mapping) and "nights" in plain


def load_nights(path: Path) -> Nights:
    """Read the nights from a file.

    Raises:
        ManifestError: lists every fault of the file.
    """
    configured, root = read_model(path, Nights)
    faults = []
    seen: set[str] = set()
    for place, item in enumerate(configured.quarantine):
        if item.experiment in seen:
            line = root.at(("quarantine", place)).line
            message = f"{item.experiment} is in quarantine already"
            faults.append(Fault(str(path), line, f"quarantine[{place}].experiment", message))
        seen.add(item.experiment)
    if faults:
        raise ManifestError(faults)
    return configured
