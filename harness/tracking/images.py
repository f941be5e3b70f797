"""What each MLflow run should hold, as plain data: one image per trial, one of the paper's values.

Pure functions of the manifest and of what the store holds. Nothing here imports MLflow.
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
    """What a run stands for; 'group by' this tag gives the seeds' mean and band."""

    SEED = "seed"
    PAPER = "paper"
    TRUE = "true"


REFERENCES = (Kind.PAPER, Kind.TRUE)
"""The kinds that no trial of ours stands behind."""


class Status(StrEnum):
    """A run's status, by MLflow's names."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Tag(StrEnum):
    """The tags by which runs are found again and told apart."""

    KEY = "harness.trial"
    """The trial's id; of a reference, its kind."""
    KIND = "harness.kind"
    EXPERIMENT = "harness.experiment"
    WORKSPACE = "harness.workspace"
    """Whose run it is: several workspaces may share a server, and an experiment there."""
    SEED = "harness.seed"
    ORIGIN = "harness.origin"
    """Which recording the points are of; a run of another recording is replaced."""
    EPOCHS = "harness.epochs"
    """The last epoch that the run holds."""
    FINALS = "harness.finals"
    """The epochs of the final estimates that the run holds."""
    REPORT = "harness.report"
    """Digest of the report and files that the run holds."""
    MANIFEST = "manifest"
    VERDICT = "verdict"
    AS_EXPECTED = "verdict.as_expected"
    COLOUR = "mlflow.runColor"
    NOTE = "mlflow.note.content"
    """MLflow shows it as the run's description."""
    WRITTEN = "harness.description"
    """Digest of the description that we wrote, by which an edit is noticed."""


def with_mark(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, with the digest of the description if there is one among them."""
    note = tags.get(Tag.NOTE)
    return dict(tags) if note is None else {**tags, Tag.WRITTEN: digest(note)[:12]}


def described_by_user(tags: Mapping[str, str]) -> bool:
    """Whether somebody changed the description since we wrote it: then it is left alone."""
    note, written = tags.get(Tag.NOTE), tags.get(Tag.WRITTEN)
    return note is not None and written is not None and digest(note)[:12] != written


FAILURE = "failure."
"""Prefix of the tags that a failure leaves; they go when a later attempt gets further."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one epoch, or one final estimate, adds to a run."""

    epoch: int
    metrics: Mapping[str, float]
    time_ms: int | None = None
    """When it was recorded; None in a reference, which was not."""
    final: bool = False


@dataclass(frozen=True)
class Image:
    """One run as it should be."""

    key: str
    kind: Kind
    name: str
    origin: str
    note: str
    """Markdown: what does not change."""
    rows: tuple[Row, ...]
    status: Status
    params: Mapping[str, str]
    """Only what never changes: MLflow refuses a parameter's second value."""
    tags: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each data set by name."""
    start_ms: int | None = None
    """None where no record bears a time: then it is when the run is created."""
    end_ms: int | None = None
    story: str = ""
    """Markdown that goes before the note; without one, what a run tells already stays."""


_PAPER_COLOUR = "#000000"
_TRUE_COLOUR = "#9e9e9e"

Points = Mapping[tuple[str, int], float]
"""Values by metric and epoch."""


def seed_image(experiment: Experiment, trial: StoredTrial, *, live: bool) -> Image | None:
    """The run of one trial; None as long as there is nothing durable to show.

    Args:
        experiment: names the metrics that stand on their own; the rest go under 'detail/'.
        trial: its durable part only.
        live: whether a trial that is not finished is being worked on, rather than cut off.
    """
    if not (trial.epochs or trial.failure or trial.done):
        return None
    named = claimed_metrics(experiment)
    first = trial.epochs[0] if trial.epochs else None
    return Image(
        key=trial.spec.id,
        kind=Kind.SEED,
        name=f"seed {trial.spec.seed}",
        origin=_origin(first, named) if first else "",
        note=_trial_note(experiment, trial.spec.seed),
        rows=_trial_rows(trial, named),
        status=_status(trial, live=live),
        params=_params(trial),
        tags=describing_tags(experiment) | _trial_tags(trial),
        data=trial.spec.data,
        start_ms=first.ended_ms - round(first.seconds * 1000) if first else None,
        end_ms=ended_ms(trial),
    )


def ended_ms(trial: StoredTrial) -> int | None:
    """When the last record was taken."""
    ends = [record.ended_ms for record in trial.epochs]
    ends += [record.ended_ms for record in trial.finals.values()]
    return max(ends, default=None)


def claimed_metrics(experiment: Experiment) -> frozenset[str]:
    """The metrics that the paper's claims are about: few, and the first thing to look at."""
    return experiment.manifest.metrics


def describing_tags(experiment: Experiment) -> dict[str, str]:
    """What every run of an experiment tells of it."""
    paper = experiment.manifest.paper
    return {
        Tag.EXPERIMENT: experiment.id,
        Tag.MANIFEST: experiment.digest,
        "paper.listing": paper.listing,
        "paper.command": paper.command,
    }


def _origin(first: EpochRecord, named: frozenset[str]) -> str:
    """Tells recordings apart: a trial recorded afresh has other times, if the same values."""
    return digest(canonical_json([first.ended_ms, sorted(named)]))[:12]


def _trial_rows(trial: StoredTrial, named: frozenset[str]) -> tuple[Row, ...]:
    epochs = [_row(record, named, "time/seconds") for record in trial.epochs]
    finals = [_row(record, named, "time/final_seconds") for record in trial.finals.values()]
    return (*epochs, *finals)


def _row(record: EpochRecord | FinalRecord, named: frozenset[str], time_key: str) -> Row:
    metrics = {
        name if name in named else f"detail/{name}": value for name, value in record.metrics.items()
    }
    return Row(
        epoch=record.epoch,
        metrics=metrics | {time_key: record.seconds},
        time_ms=record.ended_ms,
        final=isinstance(record, FinalRecord),
    )


def _status(trial: StoredTrial, *, live: bool) -> Status:
    if trial.failure:
        return Status.FAILED
    if trial.done and trial.done >= max((record.epoch for record in trial.epochs), default=0):
        return Status.FINISHED
    return Status.RUNNING if live else Status.KILLED


def _params(trial: StoredTrial) -> dict[str, str]:
    spec = trial.spec
    values: dict[str, Json] = {
        "workload": spec.workload,
        "revision": spec.revision,
        "seed": spec.seed,
        **({} if spec.length is None else {"epochs": spec.length}),
        **spec.parameters,  # last: a parameter that is called so is what the reader looks for
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
    """A colour of its own: MLflow's choice gives two runs in ten the same one.

    Each hue is a golden section on from the last, so that any few seeds in a row lie far apart; two
    shades part the hues that come near again.
    """
    hue = seed * (5**0.5 - 1) / 2 % 1
    parts = colorsys.hls_to_rgb(hue, 0.38 if seed % 2 else 0.55, 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _provenance_tags(trial: StoredTrial) -> dict[str, str]:
    """Of the latest attempt; earlier ones stay in the store."""
    if not trial.provenance:
        return {}
    last = trial.provenance[-1]
    environment = last.environment
    return {
        "commit": last.source.commit_name,
        "dirty": last.source.dirty_name,
        "source": last.source.digest,
        # MLflow's own column for it
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
    """Where a run comes from, in Markdown: the paper's listing and command, or our own run."""
    if paper.own_run:
        return f"{paper.author}, *{paper.title}*. {paper.own_run}"
    return f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`."


def reference_images(experiment: Experiment) -> tuple[Image, ...]:
    """The paper's run and, where the manifest has true values, theirs."""
    paper = _reference_image(experiment, Kind.PAPER, "paper", _reported(experiment.manifest))
    truth = _true_values(experiment)
    if not truth:
        return (paper,)
    return (paper, _reference_image(experiment, Kind.TRUE, "true value", truth))


def _reported(manifest: Manifest) -> Points:
    """Every reported value under the key that the seeds use; an onset is no value of its metric."""
    points: dict[tuple[str, int], float] = {}
    for claim in manifest.claims:
        reference = claim.reference(manifest.epochs.value)
        points |= {(claim.metric, epoch): value for epoch, value in reference.items()}
    return points


def _true_values(experiment: Experiment) -> Points:
    """The values that are known rather than estimated, under the key of their estimate.

    So they are a line in the estimate's chart.
    """
    manifest = experiment.manifest
    points: dict[tuple[str, int], float] = {}
    for claim in manifest.claims:
        estimate = experiment.truths.get(claim.metric)
        if estimate is not None and estimate in manifest.metrics:
            reference = claim.reference(manifest.epochs.value)
            points |= {(estimate, epoch): value for epoch, value in reference.items()}
    return points


def _reference_image(experiment: Experiment, kind: Kind, name: str, points: Points) -> Image:
    colour = _PAPER_COLOUR if kind is Kind.PAPER else _TRUE_COLOUR
    return Image(
        key=kind,
        kind=kind,
        name=name,
        # Reported values that were corrected make another run; MLflow's points cannot be changed.
        origin=digest(canonical_json([[*at, value] for at, value in sorted(points.items())]))[:12],
        note=_reference_note(experiment, kind),
        rows=_reference_rows(points),
        status=Status.FINISHED,
        params={},
        tags=describing_tags(experiment) | {Tag.COLOUR.value: colour},
    )


def _reference_rows(points: Points) -> tuple[Row, ...]:
    epochs: dict[int, dict[str, float]] = {}
    for (metric, epoch), value in points.items():
        epochs.setdefault(epoch, {})[metric] = value
    return tuple(Row(epoch, epochs[epoch]) for epoch in sorted(epochs))


def _reference_note(experiment: Experiment, kind: Kind) -> str:
    paper = experiment.manifest.paper
    what = "The values that the paper reports" if kind is Kind.PAPER else "The true values"
    return (
        f"**{experiment.manifest.title}**. {what}, as printed in "
        f"{origin(paper)}\n\n"
        "Its date lies a century ahead, so that MLflow lists it before the seeds."
    )
