"""Compute what each MLflow run should hold, as plain data called an image.

There is one image per trial and one for the paper's values. If a manifest has true values, they
have an image too. All functions are pure: they depend only on the manifest and the store's content.
Nothing here imports MLflow.
"""

import colorsys
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.manifest import Experiment, Manifest
from harness.manifest.experiment import Paper
from harness.record import (
    EpochRecord,
    FinalRecord,
    Json,
    StoredTrial,
    canonical_json,
    digest,
    in_words,
)


class Kind(StrEnum):
    """What a run shows. Group by this tag in MLflow to see the seeds' mean and band."""

    SEED = "seed"
    TRUE = "true"
    LOWER = "paper - tolerance"
    UPPER = "paper + tolerance"
    PAPER = "paper"


@dataclass(frozen=True)
class Reference:
    """How a run looks that shows values from the manifest instead of a trial."""

    name: str
    colour: str
    what: str


REFERENCES = {
    Kind.TRUE: Reference("true value", "#9e9e9e", "The true values"),
    Kind.LOWER: Reference(Kind.LOWER, "#d0d0d0", "The lowest values that are close enough"),
    Kind.UPPER: Reference(Kind.UPPER, "#d0d0d0", "The highest values that are close enough"),
    Kind.PAPER: Reference("paper", "#000000", "The values that the paper reports"),
}
"""By kind, in the order in which they are drawn over the seeds."""


class RunStatus(StrEnum):
    """A run's status, with MLflow's names."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Tag(StrEnum):
    """The tags that identify and describe runs."""

    KEY = "harness.trial"
    """The trial's id, or the kind of a reference."""
    KIND = "harness.kind"
    EXPERIMENT = "harness.experiment"
    WORKSPACE = "harness.workspace"
    """The workspace that owns the run. Several workspaces may share a server and an experiment."""
    SEED = "harness.seed"
    ORDER = "harness.order"
    """The run's place in the list of runs, as text to sort by."""
    ORIGIN = "harness.origin"
    """Identifies the recording that the points come from. A run with another one is replaced."""
    EPOCHS = "harness.epochs"
    """The last epoch that the run holds."""
    FINALS = "harness.finals"
    """The epochs of the final estimates that the run holds."""
    REPORT = "harness.report"
    """Digest of the report and the files that are attached to the run."""
    KEPT = "harness.kept"
    """Digest of what the trial printed and left, which is attached to its run."""
    FREE_AXES = "harness.free_axes"
    """Of an experiment: metrics of which a run left the limits of the chart, so it has none."""
    MANIFEST = "manifest"
    VERDICT = "verdict"
    AS_EXPECTED = "verdict.as_expected"
    COLOUR = "mlflow.runColor"
    NOTE = "mlflow.note.content"
    """The run's description in MLflow."""
    WRITTEN = "harness.description"
    """Digest of the description that we wrote. It reveals that a user edited the description."""


def with_mark(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags. If a description is among them, add the tag with its digest."""
    note = tags.get(Tag.NOTE)
    return dict(tags) if note is None else {**tags, Tag.WRITTEN: digest(note)[:12]}


def described_by_user(tags: Mapping[str, str]) -> bool:
    """Whether a user edited the description after we wrote it. If so, we do not change it."""
    note, written = tags.get(Tag.NOTE), tags.get(Tag.WRITTEN)
    return note is not None and written is not None and digest(note)[:12] != written


FAILURE = "failure."
"""Prefix of a failure's tags. They are removed when a later attempt gets further."""


@dataclass(frozen=True, slots=True)
class LoggedMetrics:
    """The metrics that one epoch or one final estimate adds to a run."""

    epoch: int
    metrics: Mapping[str, float]
    time_ms: int | None = None
    """When it was recorded; None in a reference, which no trial recorded."""
    final: bool = False


@dataclass(frozen=True)
class Image:
    """What one MLflow run should hold."""

    key: str
    kind: Kind
    name: str
    origin: str
    note: str
    """Markdown: the part of the description that never changes."""
    rows: tuple[LoggedMetrics, ...]
    status: RunStatus
    params: Mapping[str, str]
    """Only values that never change: MLflow refuses to change a parameter."""
    tags: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each data set, by the data set's name."""
    start_ms: int | None = None
    """None if no record has a time. Then the run starts when it is created."""
    end_ms: int | None = None
    story: str = ""
    """Markdown before the note. If empty, the run keeps the story that it has."""


Points = Mapping[tuple[str, int], float]
"""Values by metric and epoch."""


def seed_image(experiment: Experiment, trial: StoredTrial, *, live: bool) -> Image | None:
    """Compute the image of one trial's run. Return None while there is nothing durable to show.

    Args:
        experiment: its claimed metrics keep their names; the others get the prefix 'detail/'.
        trial: the durable part of the trial.
        live: whether an unfinished trial still runs. If not, it was interrupted.
    """
    if not (trial.epochs or trial.failure or trial.done):
        return None
    named = claimed_metrics(experiment)
    first = trial.epochs[0] if trial.epochs else None
    return Image(
        key=trial.spec.id,
        kind=Kind.SEED,
        name=_placed(experiment, f"seed {trial.spec.seed}"),
        origin=_origin(first, named) if first else "",
        note=_trial_note(experiment, trial.spec.seed),
        rows=_trial_rows(trial, named),
        status=_status(trial, live=live),
        params=_params(trial),
        tags=describing_tags(experiment)
        | _trial_tags(trial)
        | {Tag.ORDER: _order(experiment, Kind.SEED, trial.spec.seed)},
        data=trial.spec.data,
        start_ms=first.ended_ms - round(first.seconds * 1000) if first else None,
        end_ms=ended_ms(trial),
    )


def ended_ms(trial: StoredTrial) -> int | None:
    """When the last record was made, in Unix milliseconds; None if there is no record."""
    ends = [record.ended_ms for record in trial.epochs]
    ends += [record.ended_ms for record in trial.finals.values()]
    return max(ends, default=None)


def claimed_metrics(experiment: Experiment) -> frozenset[str]:
    """The metrics of the paper's claims: few, and the first that a reader looks at."""
    return experiment.manifest.metrics


def describing_tags(experiment: Experiment) -> dict[str, str]:
    """Return the tags that describe the experiment. All its runs have them."""
    paper = experiment.manifest.paper
    return {
        Tag.EXPERIMENT: experiment.id,
        Tag.MANIFEST: experiment.digest,
        "paper.listing": paper.listing,
        "paper.command": paper.command,
    }


def _origin(first: EpochRecord, named: frozenset[str]) -> str:
    """Return an id of the recording. A second recording has other times, even with equal values."""
    return digest(canonical_json([first.ended_ms, sorted(named)]))[:12]


def _trial_rows(trial: StoredTrial, named: frozenset[str]) -> tuple[LoggedMetrics, ...]:
    epochs = [_row(record, named, "time/seconds") for record in trial.epochs]
    finals = [
        _row(record, named, "time/final_seconds", _system_metrics(record))
        for record in trial.finals.values()
    ]
    return (*epochs, *finals)


def _system_metrics(record: FinalRecord) -> dict[str, float]:
    """What the trial used, under the prefix that MLflow shows as system metrics.

    If the CPU time is unknown, some of the work was done elsewhere, or the process did other work
    too. The record alone decides this, so that a longer run does not change what an earlier one
    has sent.
    """
    if record.cpu_seconds is None:
        return {}
    used = {
        "system/cpu_seconds": record.cpu_seconds,
        "system/peak_memory_mib": record.peak_memory_bytes and record.peak_memory_bytes / 2**20,
        "system/peak_gpu_memory_mib": record.peak_gpu_memory_bytes
        and record.peak_gpu_memory_bytes / 2**20,
    }
    return {name: value for name, value in used.items() if value is not None}


def _row(
    record: EpochRecord | FinalRecord,
    named: frozenset[str],
    time_key: str,
    more: Mapping[str, float] | None = None,
) -> LoggedMetrics:
    metrics = {
        name if name in named else f"detail/{name}": value for name, value in record.metrics.items()
    }
    return LoggedMetrics(
        epoch=record.epoch,
        metrics=metrics | {time_key: record.seconds, **(more or {})},
        time_ms=record.ended_ms,
        final=isinstance(record, FinalRecord),
    )


def _status(trial: StoredTrial, *, live: bool) -> RunStatus:
    if trial.failure:
        return RunStatus.FAILED
    if trial.done and trial.done >= max((record.epoch for record in trial.epochs), default=0):
        return RunStatus.FINISHED
    return RunStatus.RUNNING if live else RunStatus.KILLED


def _params(trial: StoredTrial) -> dict[str, str]:
    spec = trial.spec
    values: dict[str, Json] = {
        "workload": spec.workload,
        "revision": spec.revision,
        "seed": spec.seed,
        **({} if spec.length is None else {"epochs": spec.length}),
        **{f"workload.{name}": value for name, value in (spec.settings or {}).items()},
        **spec.parameters,  # last, so that a parameter named like one of these wins
    }
    return {name: in_words(value) for name, value in values.items()}


def _trial_tags(trial: StoredTrial) -> dict[str, str]:
    tags = {Tag.SEED.value: str(trial.spec.seed), Tag.COLOUR.value: _colour(trial.spec.seed)}
    tags |= {f"data.{name}": value for name, value in trial.spec.data.items()}
    if trial.failure:
        tags[FAILURE + "kind"] = trial.failure.kind
        tags[FAILURE + "error"] = trial.failure.error
        tags[FAILURE + "message"] = trial.failure.message
    return tags | _provenance_tags(trial)


def _colour(seed: int) -> str:
    """Choose a distinct colour for a seed: MLflow gives two runs in ten the same colour.

    Each hue lies one golden section after the hue of the seed before, so the hues of a few seeds in
    a row lie far apart. Odd and even seeds have different lightness, which separates similar hues.
    """
    hue = seed * (5**0.5 - 1) / 2 % 1
    parts = colorsys.hls_to_rgb(hue, 0.38 if seed % 2 else 0.55, 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _provenance_tags(trial: StoredTrial) -> dict[str, str]:
    """Return the tags of the latest attempt's provenance. The store keeps the earlier ones."""
    if not trial.provenance:
        return {}
    last = trial.provenance[-1]
    environment = last.environment
    return {
        "commit": last.source.commit_name,
        "dirty": last.source.dirty_name,
        "source": last.source.digest,
        # MLflow has its own column for the commit
        **({"mlflow.source.git.commit": last.source.commit} if last.source.commit else {}),
        "host": last.host,
        "device": environment.device,
        "attempts": str(len(trial.provenance)),
        **({"workload_code": str(last.workload_code)} if last.workload_code else {}),
        **{f"version.{name}": version for name, version in environment.versions.items()},
        **{f"hardware.{name}": value for name, value in environment.hardware.items()},
    }


def _trial_note(experiment: Experiment, seed: int) -> str:
    manifest = experiment.manifest
    paper = manifest.paper
    command = [
        *experiment.command("trial"),
        "--seeds" if experiment.varied else "--seed",
        str(seed),
    ]
    return (
        f"**{manifest.title}**, seed {seed}.\n\n"
        f"{origin(paper)}\n\n"
        f"To repeat it: `{shlex.join(command)}`"
    )


def origin(paper: Paper) -> str:
    """Describe in Markdown where the values come from: a paper's listing or our own run."""
    if paper.own_run:
        return f"{paper.author}, *{paper.title}*. {paper.own_run}"
    return f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`."


def reference_images(experiment: Experiment) -> tuple[Image, ...]:
    """Compute the image of the paper's values and those of its tolerances and the true values.

    Kinds of which the manifest has no values are left out, except the paper.
    """
    points = _reported(experiment.manifest) | {Kind.TRUE: _true_values(experiment)}
    return tuple(
        _reference_image(experiment, kind, points[kind])
        for kind in REFERENCES
        if points[kind] or kind is Kind.PAPER
    )


def _reported(manifest: Manifest) -> dict[Kind, Points]:
    """Return the reported values, and the lowest and highest that are close enough.

    Each stands under the metric name of the seeds. Onset epochs are left out.
    """
    found: dict[Kind, dict[tuple[str, int], float]] = {
        Kind.PAPER: {},
        Kind.LOWER: {},
        Kind.UPPER: {},
    }
    for claim in manifest.claims:
        if claim.hardware is not None:  # the seeds' times stand under names of their own
            continue
        for epoch, value in claim.reference(manifest.epochs.value).items():
            found[Kind.PAPER][claim.metric, epoch] = value
            for side in claim.sides:
                kind = Kind.LOWER if side < 0 else Kind.UPPER
                found[kind][claim.metric, epoch] = value + side * claim.margin_at(value)
    return {**found}


def _true_values(experiment: Experiment) -> Points:
    """Return the known true values, each under the metric name of its estimate.

    So MLflow draws the true values as a line in the estimate's chart.
    """
    manifest = experiment.manifest
    points: dict[tuple[str, int], float] = {}
    for claim in manifest.claims:
        estimate = experiment.truths.get(claim.metric)
        if estimate is not None and estimate in manifest.metrics:
            reference = claim.reference(manifest.epochs.value)
            points |= {(estimate, epoch): value for epoch, value in reference.items()}
    return points


def reference_key(experiment: Experiment, kind: Kind) -> str:
    """The key of a reference's run. Each cell of a grid has its own in the grid's experiment."""
    return _placed(experiment, kind)


def _placed(experiment: Experiment, name: str) -> str:
    """Put the cell of a grid before a name: '1*64, none: seed 3'."""
    return f"{experiment.place}: {name}" if experiment.place else name


def _order(experiment: Experiment, kind: Kind, seed: int = 0) -> str:
    """Put a cell's seeds in order, then its references: in this order they are drawn.

    MLflow compares texts, so numbers have leading zeros.
    """
    rank = 1 + list(REFERENCES).index(kind) if kind in REFERENCES else 0
    return f"{experiment.place} {rank} {seed:010}".strip()


def _reference_image(experiment: Experiment, kind: Kind, points: Points) -> Image:
    look = REFERENCES[kind]
    # A corrected reported value needs a new run, because MLflow cannot change points.
    values: list[Json] = [[*at, value] for at, value in sorted(points.items())]
    return Image(
        key=reference_key(experiment, kind),
        kind=kind,
        name=_placed(experiment, look.name),
        # The kind: version 0.1 dated these runs a century ahead, and they are made anew.
        origin=digest(canonical_json([kind, values]))[:12],
        note=_reference_note(experiment, look),
        rows=_reference_rows(points),
        status=RunStatus.FINISHED,
        params={},
        tags=describing_tags(experiment)
        | {Tag.COLOUR: look.colour, Tag.ORDER: _order(experiment, kind)},
    )


def _reference_rows(points: Points) -> tuple[LoggedMetrics, ...]:
    epochs: dict[int, dict[str, float]] = {}
    for (metric, epoch), value in points.items():
        epochs.setdefault(epoch, {})[metric] = value
    return tuple(LoggedMetrics(epoch, epochs[epoch]) for epoch in sorted(epochs))


def _reference_note(experiment: Experiment, look: Reference) -> str:
    manifest = experiment.manifest
    return f"**{manifest.title}**. {look.what}, as printed in {origin(manifest.paper)}"
