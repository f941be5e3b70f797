"""The images of what the paper reports: a run to draw over the seeds, and one of the true value."""

from collections.abc import Mapping

from harness.manifest import Experiment, Manifest
from harness.record import canonical_json, digest
from harness.tracking.image import Image, Kind, Row, Status, Tag
from harness.tracking.seeds import describing_tags

_PAPER_COLOUR = "#000000"
_TRUE_COLOUR = "#9e9e9e"

Points = Mapping[tuple[str, int], float]
"""Values by metric and epoch."""


def reference_images(experiment: Experiment) -> tuple[Image, ...]:
    """The paper's run and, where the manifest has true values, theirs."""
    paper = _image(experiment, Kind.PAPER, "paper", _reported(experiment.manifest))
    truth = _true_values(experiment)
    if not truth:
        return (paper,)
    return (paper, _image(experiment, Kind.TRUE, "true value", truth))


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


def _image(experiment: Experiment, kind: Kind, name: str, points: Points) -> Image:
    colour = _PAPER_COLOUR if kind is Kind.PAPER else _TRUE_COLOUR
    return Image(
        key=kind,
        kind=kind,
        name=name,
        # Reported values that were corrected make another run; MLflow's points cannot be changed.
        origin=digest(canonical_json([[*at, value] for at, value in sorted(points.items())]))[:12],
        note=_note(experiment, kind),
        rows=_rows(points),
        status=Status.FINISHED,
        params={},
        tags=describing_tags(experiment) | {Tag.COLOUR.value: colour},
    )


def _rows(points: Points) -> tuple[Row, ...]:
    epochs: dict[int, dict[str, float]] = {}
    for (metric, epoch), value in points.items():
        epochs.setdefault(epoch, {})[metric] = value
    return tuple(Row(epoch, epochs[epoch]) for epoch in sorted(epochs))


def _note(experiment: Experiment, kind: Kind) -> str:
    paper = experiment.manifest.paper
    what = "The values that the paper reports" if kind is Kind.PAPER else "The true values"
    return (
        f"**{experiment.manifest.title}**. {what}, as printed in "
        f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`.\n\n"
        "Its date lies a century ahead, so that MLflow lists it before the seeds."
    )
