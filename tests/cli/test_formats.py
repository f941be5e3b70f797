"""Output formats: one entry in the registry makes an option, a file, and standard output."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from harness.cli import app, build
from harness.cli.options import Outputs
from harness.errors import UsageError
from harness.report import FORMATS, Format, documents
from harness.verdict import ExperimentVerdict

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "experiments" / "image-pair-4.yaml"


@pytest.fixture
def with_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a new format takes: a function that renders verdicts, and this entry."""

    def render(verdicts: Iterable[ExperimentVerdict]) -> str:
        return "".join(f"{verdict.id},{verdict.verdict}\n" for verdict in verdicts)

    monkeypatch.setitem(FORMATS, "csv-lines", Format("csv-lines", "lines of CSV", render))


@pytest.mark.usefixtures("with_csv")
def test_a_new_format_is_an_option_with_help_a_file_and_standard_output(tmp_path: Path) -> None:
    app, runner = build(), CliRunner()
    assert "File to write the verdicts to, as lines of CSV" in " ".join(
        runner.invoke(app, ["check", "--help"], env={"COLUMNS": "300"}).stdout.split()
    )
    arguments = ["check", str(IMAGES), "--committed", "--csv-lines"]
    runner.invoke(app, [*arguments, str(tmp_path / "out.csv")])
    written = (tmp_path / "out.csv").read_text()
    assert written.startswith("image-pair-4,")
    assert runner.invoke(app, [*arguments, "-"]).stdout == written


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_a_file_and_the_same_to_standard_output(
    tmp_path: Path, name: str
) -> None:
    arguments = ["check", str(IMAGES), "--committed", f"--{name}"]
    file = tmp_path / "file"
    runner = CliRunner()
    to_file = runner.invoke(app, [*arguments, str(file)])
    to_stdout = runner.invoke(app, [*arguments, "-"])
    assert to_file.exit_code == to_stdout.exit_code
    assert file.read_bytes() == to_stdout.stdout_bytes


def test_two_documents_cannot_share_standard_output() -> None:
    with pytest.raises(UsageError, match="only one format"):
        Outputs({"json": "-", "junit": "-"})


def test_the_published_schemas_are_current() -> None:
    again = "python -m harness.report.documents"
    for name, text in documents.schemas().items():
        assert (ROOT / documents.SCHEMAS / name).read_text() == text, again


def test_the_document_of_the_committed_records_fits_its_published_schema() -> None:
    schema = json.loads((ROOT / documents.SCHEMAS / "verdicts.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    shown = CliRunner().invoke(app, ["check", str(IMAGES.parent), "--committed", "--json", "-"])
    Draft202012Validator(schema).validate(json.loads(shown.stdout))
