"""Records exported as a table."""

from pathlib import Path

import pytest
from pyarrow import csv, parquet

from harness.errors import UsageError
from harness.output import OutputError
from harness.record import EpochRecord, FinalRecord, StoredTrial, TrialSpec
from harness.report.arrow_tables import write_trials


def trial(seed: int) -> StoredTrial:
    spec = TrialSpec("w", 1, {}, seed, {})
    epochs = tuple(EpochRecord(e, {"x": e + 0.1, "y": -e}, 1000 + e, 0.5) for e in (1, 2, 3))
    return StoredTrial(spec, epochs, {3: FinalRecord(3, {"z": 1 / 3}, 2000, 0.1)}, done=3)


@pytest.mark.parametrize(
    ("name", "read"), [("out.csv", csv.read_csv), ("out.parquet", parquet.read_table)]
)
def test_every_value_comes_back_as_it_was_recorded(tmp_path: Path, name: str, read) -> None:
    trials = [("one", trial(0)), ("two", trial(7))]
    assert write_trials(tmp_path / name, trials) == 14
    rows = read(tmp_path / name).to_pylist()
    assert len(rows) == 14
    for experiment, stored in trials:
        for record in (*stored.epochs, *stored.finals.values()):
            for metric, value in record.metrics.items():
                assert {
                    "experiment": experiment,
                    "trial": stored.spec.id,
                    "seed": stored.spec.seed,
                    "epoch": record.epoch,
                    "final": isinstance(record, FinalRecord),
                    "metric": metric,
                    "value": value,
                    "ended_ms": record.ended_ms,
                } in rows


def test_an_export_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def breaking():
        yield "one", trial(0)
        raise OSError("gone")

    with pytest.raises(OutputError, match="gone"):
        write_trials(path, breaking())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_another_kind_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write_trials(tmp_path / "out.xlsx", [])
