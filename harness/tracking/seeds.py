"""The image of one trial: pure, from the experiment and what the store holds of the trial."""

import colorsys
import shlex

from harness.manifest import Experiment
from harness.record import (
    EpochRecord,
    FinalRecord,
    Json,
    StoredTrial,
    canonical_json,
    digest,
    in_words,
)
from harness.tracking.image import FAILURE, Image, Kind, Row, Status, Tag


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
        note=_note(experiment, trial.spec.seed),
        rows=_rows(trial, named),
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


def _rows(trial: StoredTrial, named: frozenset[str]) -> tuple[Row, ...]:
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


def _note(experiment: Experiment, seed: int) -> str:
    manifest = experiment.manifest
    paper = manifest.paper
    command = [
        *experiment.command("trial"),
        "--seeds" if experiment.varied else "--seed",
        str(seed),
    ]
    return (
        f"**{manifest.title}**, seed {seed}.\n\n"
        f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`.\n\n"
        f"To repeat it: `{shlex.join(command)}`"
    )
