"""What MLflow holds of a run, and what of an image it lacks: pure, but for MLflow's own types."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run

from harness.tracking.image import Image, Row, Tag

_TAG_LIMIT = 8000
_DIGEST_LIMIT = 36


@dataclass
class View:
    """One of MLflow's runs, as far as the projection asks; kept in step with what is sent."""

    run_id: str
    start_ms: int
    end_ms: int | None
    status: str
    tags: dict[str, str]
    params: set[str]
    has_data: bool

    @classmethod
    def of(cls, run: Run) -> "View":
        """The view of a run that was found or created."""
        return cls(
            run_id=run.info.run_id,
            start_ms=run.info.start_time,
            end_ms=run.info.end_time,
            status=run.info.status,
            tags=dict(run.data.tags),
            params=set(run.data.params),
            has_data=bool(run.inputs and run.inputs.dataset_inputs),
        )

    def is_of_another_recording(self, image: Image) -> bool:
        """Whether its points are not the image's; a run without points has no recording yet."""
        return self.tags.get(Tag.ORIGIN, image.origin) != image.origin

    def missing_rows(self, image: Image) -> list[Row]:
        """The rows whose points MLflow has not confirmed."""
        return [row for row in image.rows if not self._holds(row)]

    def missing_params(self, image: Image) -> dict[str, str]:
        """The parameters to send: those that are there cannot change."""
        return {name: text for name, text in image.params.items() if name not in self.params}

    def changed_tags(self, image: Image, sent: Iterable[Row]) -> dict[str, str]:
        """The tags to send with the last of the rows `sent`."""
        wanted = {**image.tags, **self._own_tags(image, list(sent))}
        short = {name: text[:_TAG_LIMIT] for name, text in wanted.items() if text}
        return {name: text for name, text in short.items() if self.tags.get(name) != text}

    def _holds(self, row: Row) -> bool:
        return row.epoch in self._finals() if row.final else row.epoch <= self._epochs()

    def _epochs(self) -> int:
        return int(self.tags.get(Tag.EPOCHS, "0"))

    def _finals(self) -> set[int]:
        return {int(epoch) for epoch in self.tags.get(Tag.FINALS, "").split()}

    def _own_tags(self, image: Image, sent: list[Row]) -> dict[str, str]:
        """What tells how far the run is, and its description."""
        finals = self._finals() | {row.epoch for row in sent if row.final}
        last = max((row.epoch for row in sent if not row.final), default=0)
        return {
            Tag.NOTE: self._description(image),
            Tag.ORIGIN: image.origin,
            Tag.EPOCHS: str(max(last, self._epochs())),
            Tag.FINALS: " ".join(map(str, sorted(finals))),
        }

    def _description(self, image: Image) -> str:
        """The story, then the note: MLflow folds away all but the first lines.

        Where no story is given, the one that is told already stays.
        """
        if image.story:
            return f"{image.story}\n\n{image.note}"
        told = self.tags.get(Tag.NOTE, "")
        return told if told.endswith(image.note) else image.note


def points(rows: Iterable[Row], unrecorded_ms: int) -> Iterator[Metric]:
    """MLflow's points for some rows; `unrecorded_ms` stands in where a row bears no time."""
    for row in rows:
        time_ms = unrecorded_ms if row.time_ms is None else row.time_ms
        for key, value in row.metrics.items():
            yield Metric(key, value, time_ms, row.epoch)


def data_inputs(image: Image) -> list[DatasetInput]:
    """The data sets by name; MLflow holds 36 characters of a digest, the run's tag holds all."""
    tags = [InputTag("mlflow.data.context", "training")]
    return [
        DatasetInput(Dataset(name, digest[:_DIGEST_LIMIT], "digest", digest), tags)
        for name, digest in image.data.items()
    ]
