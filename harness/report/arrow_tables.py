"""Hold records and verdicts as Arrow tables, and write and read them as CSV or Parquet."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from harness.errors import UsageError
from harness.output import replacing
from harness.record import EpochRecord, FinalRecord, StoredTrial, TrialSpec
from harness.verdict import ExperimentVerdict

SCHEMA = pa.schema(
    [
        ("experiment", pa.string()),
        ("trial", pa.string()),
        ("seed", pa.int64()),
        ("epoch", pa.int64()),
        ("final", pa.bool_()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("ended_ms", pa.int64()),
    ]
)
"""A row for each metric of each epoch and of each final estimate."""

_ROWS_TOGETHER = 1 << 17
"""Rows that are written at once. Parquet keeps something about each such part in memory."""

_WRITERS: dict[str, Callable[[Path, pa.Schema], pa.ipc.RecordBatchFileWriter]] = {
    ".csv": csv.CSVWriter,
    ".parquet": parquet.ParquetWriter,
}

_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": lambda path: csv.read_csv(
        path, convert_options=csv.ConvertOptions(column_types=SCHEMA)
    ),
    ".parquet": parquet.read_table,
}


def write_trials(path: Path, trials: Iterable[tuple[str, StoredTrial]]) -> int:
    """Write the records of trials, each with its experiment's id, and return the number of rows.

    Only some trials are in memory at a time. The file appears whole or not at all.

    Raises:
        UsageError: the file's name ends neither in .csv nor in .parquet.
        OutputError: the file cannot be written.
    """
    writer_of = _WRITERS.get(path.suffix)
    if writer_of is None:
        raise UsageError(f"{path}: the name must end in {' or '.join(_WRITERS)}")
    count = 0
    with replacing(path) as new, writer_of(new, SCHEMA) as writer:
        rows = (row for experiment, trial in trials for row in _rows(experiment, trial))
        while some := list(islice(rows, _ROWS_TOGETHER)):
            writer.write_table(_table(some))
            count += len(some)
    return count


def records_to_table(trials: Iterable[tuple[str, StoredTrial]]) -> pa.Table:
    """Return the records of trials, each with its experiment's id, as one table of `SCHEMA`."""
    return _table([row for experiment, trial in trials for row in _rows(experiment, trial)])


def _table(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


VERDICTS = pa.schema(
    [
        ("experiment", pa.string()),
        ("name", pa.string()),
        ("claim", pa.string()),
        ("kind", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("epoch", pa.int64()),
        ("reported", pa.float64()),
        ("measured", pa.float64()),
        ("difference", pa.float64()),
        ("tolerance", pa.float64()),
        ("verdict", pa.string()),
        ("as_expected", pa.bool_()),
        ("n", pa.int64()),
        ("spread", pa.float64()),
        ("p_equivalence", pa.float64()),
        ("p_consistency", pa.float64()),
        ("note", pa.string()),
    ]
)
"""A row for each reported number; the columns are named as in the JSON document."""


def verdicts(judged: Iterable[ExperimentVerdict]) -> pa.Table:
    """Return the results of verdicts as one table of `VERDICTS`."""
    rows = [
        {"experiment": verdict.id}
        | {name: getattr(result, name) for name in VERDICTS.names if name != "experiment"}
        for verdict in judged
        for result in verdict.results
    ]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def read_trials(path: Path) -> dict[tuple[str, int], StoredTrial]:
    """Read a table that `write_trials` wrote, by experiment and seed; provenance is not in it.

    Raises:
        UsageError: the file is not such a table, or cannot be read.
    """
    reader_of = _READERS.get(path.suffix)
    if reader_of is None:
        raise UsageError(f"{path}: the name must end in {' or '.join(_READERS)}")
    try:
        rows = reader_of(path).select(SCHEMA.names).cast(SCHEMA).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UsageError(f"{path}: not an exported table: {error}") from None
    trials: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        trials.setdefault((row["experiment"], row["seed"]), []).append(row)
    return {key: _trial(rows) for key, rows in trials.items()}


def _trial(rows: Sequence[Mapping[str, Any]]) -> StoredTrial:
    """Rebuild a trial from its rows; of its spec only the seed is known."""
    ended: dict[tuple[bool, int], int] = {}
    metrics: dict[tuple[bool, int], dict[str, float]] = {}
    for row in rows:
        place = (row["final"], row["epoch"])
        ended[place] = row["ended_ms"]
        metrics.setdefault(place, {})[row["metric"]] = row["value"]
    epochs = sorted(epoch for final, epoch in metrics if not final)
    return StoredTrial(
        spec=TrialSpec("", 0, {}, rows[0]["seed"], {}),
        epochs=tuple(
            EpochRecord(epoch, metrics[False, epoch], ended[False, epoch], seconds=0.0)
            for epoch in epochs
        ),
        finals={
            epoch: FinalRecord(epoch, values, ended[True, epoch], seconds=0.0)
            for (final, epoch), values in metrics.items()
            if final
        },
        done=max(epochs, default=0),
    )


def _rows(experiment: str, trial: StoredTrial) -> Iterator[tuple[object, ...]]:
    """Yield the values of each row, in the order of the columns."""
    trial_id, seed = trial.spec.id, trial.spec.seed
    records: list[tuple[EpochRecord | FinalRecord, bool]] = []
    records += [(record, False) for record in trial.epochs]
    records += [(record, True) for _, record in sorted(trial.finals.items())]
    for record, final in records:
        for metric, value in record.metrics.items():
            yield experiment, trial_id, seed, record.epoch, final, metric, value, record.ended_ms
