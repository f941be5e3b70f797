"""Stored records as one table, for whoever wants to look at them with tools of their own."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from harness.errors import UsageError
from harness.record import EpochRecord, FinalRecord, StoredTrial

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
"""A row for each metric of each epoch, and of each final estimate."""

_WRITERS: dict[str, Callable[[Path, pa.Schema], pa.ipc.RecordBatchFileWriter]] = {
    ".csv": csv.CSVWriter,
    ".parquet": parquet.ParquetWriter,
}


def write(path: Path, trials: Iterable[tuple[str, StoredTrial]]) -> int:
    """Write the records of trials, each with its experiment's id; returns the number of rows.

    One trial is held at a time. The file appears whole or not at all.

    Raises:
        UsageError: the file's name ends neither in .csv nor in .parquet.
        OSError: it cannot be written.
    """
    writer_of = _WRITERS.get(path.suffix)
    if writer_of is None:
        raise UsageError(f"{path}: the name must end in {' or '.join(_WRITERS)}")
    partial = path.with_name(f".{path.name}.partial")
    rows = 0
    try:
        with writer_of(partial, SCHEMA) as writer:
            for experiment, trial in trials:
                table = pa.Table.from_pylist(_rows(experiment, trial), schema=SCHEMA)
                writer.write_table(table)
                rows += table.num_rows
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _rows(experiment: str, trial: StoredTrial) -> list[dict[str, object]]:
    records: list[tuple[EpochRecord | FinalRecord, bool]] = []
    records += [(record, False) for record in trial.epochs]
    records += [(record, True) for _, record in sorted(trial.finals.items())]
    return [
        {
            "experiment": experiment,
            "trial": trial.spec.id,
            "seed": trial.spec.seed,
            "epoch": record.epoch,
            "final": final,
            "metric": metric,
            "value": value,
            "ended_ms": record.ended_ms,
        }
        for record, final in records
        for metric, value in record.metrics.items()
    ]
