"""Options that come from one field each: name, default, limits and help stand there."""

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.options import expand_options
from harness.errors import UsageError
from harness.nightly.config import Night
from harness.options import Flag, Options, RunOptions
from harness.plan import Selection

RUNNER = CliRunner()


def parsed(*arguments: str) -> tuple[Selection, RunOptions]:
    """What a command that takes both is handed."""
    found: list[tuple[Selection, RunOptions]] = []

    def command(selection: Selection, run_options: RunOptions) -> None:
        found.append((selection, run_options))

    app = typer.Typer()
    app.command()(expand_options(command))
    ran = RUNNER.invoke(app, arguments)
    if isinstance(ran.exception, UsageError):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return found[0]


def test_without_options_the_defaults_of_the_objects_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HARNESS_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    assert parsed() == (Selection(), RunOptions())


def test_every_option_has_the_name_of_its_field() -> None:
    selection, options = parsed(
        *("--seeds", "0-2", "--epochs", "4", "--cpus-per-trial", "2", "--gpus-per-trial", "0.5"),
        *("--retries", "7", "--deadline-s", "5", "--isolate", "--address", "auto"),
        *("--tracking-uri", "none", "--data", "cache", "--from-records"),
    )
    assert selection == Selection((0, 1, 2), 4, 2, 0.5)
    assert (options.retries, options.deadline_s, options.isolate) == (7, 5, True)
    assert (options.address, options.tracking_uri) == ("auto", "none")
    assert (str(options.data), options.from_records) == ("cache", True)


def test_the_old_name_of_the_deadline_still_works() -> None:
    assert parsed("--deadline", "5") == parsed("--deadline-s", "5")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--deadline-s", "0"], "--deadline-s: must be positive, got 0"),
        (["--retries", "-1"], "--retries: must not be negative, got -1"),
        (["--seeds", "2-0"], "--seeds: a range of seeds must rise"),
    ],
)
def test_a_value_out_of_range_is_named_by_its_option(arguments: list[str], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        parsed(*arguments)


def test_a_night_and_the_engine_take_the_same_fields() -> None:
    night = Night(experiments=("a",), retries=5, deadline_s=7.0, address="auto")
    options = night.run_options(data=RunOptions().data, tracking_uri="none")
    assert (options.retries, options.deadline_s, options.address) == (5, 7.0, "auto")
    assert isinstance(options, Options)


def test_every_option_of_a_run_has_help() -> None:
    for name, field in RunOptions.model_fields.items():
        if any(isinstance(item, Flag) for item in field.metadata):
            assert field.description, name
