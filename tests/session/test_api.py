"""The public interface: what `import harness` offers, and the page that shows it."""

import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import function, record
from harness.session import api
from tests.cli.conftest import ONE_CORE
from tests.waiting import HANG_S

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
FUNCTIONS = [name for name in harness.__all__ if inspect.isfunction(getattr(harness, name))]


def test_importing_it_and_reading_manifests_loads_neither_ray_mlflow_nor_torch() -> None:
    code = (
        "import sys, harness; print(sorted(m for m in sys.modules if m.startswith('harness')))\n"
        "harness.load_manifests('experiments')\n"
        "print(sorted({'ray', 'mlflow', 'torch', 'typer'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PAGE.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "['harness']\n[]\n"


def test_every_public_name_is_there_and_documented() -> None:
    assert set(dir(harness)) >= set(harness.__all__)
    for name in harness.__all__:
        assert inspect.getdoc(getattr(harness, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        harness.nothing  # noqa: B018 - the look-up is the test


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_returns_and_raises_and_shows_a_call(name: str) -> None:
    function = getattr(harness, name)
    text = inspect.getdoc(function) or ""
    assert f"harness.{name}(" in text or name == "open_session"
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name in text or "as of" in text, parameter.name
        assert parameter.annotation is not parameter.empty


def test_the_examples_of_the_docstrings_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    for module in (api, function, harness, record):
        assert doctest.testmod(module).failed == 0


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(yaml|python)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    (manifest,) = (text for kind, text in blocks if kind == "yaml")
    (tmp_path / "tiny.yaml").write_text(manifest)
    code = "\n".join(text for kind, text in blocks if kind == "python")
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | ONE_CORE,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert ran.returncode == 0, ran.stderr
    assert "tiny REPRODUCED" in ran.stdout
    assert "unchanged" in ran.stdout
    assert "2 missing.yaml: no such file" in ran.stdout


def test_faults_of_arguments_are_exceptions_with_the_argument_s_name() -> None:
    with pytest.raises(harness.UsageError, match="seeds: "):
        harness.plan_trials([], seeds="0-")
    with pytest.raises(harness.UsageError, match="epochs: must be at least 1, got 0"):
        harness.plan_trials([], epochs=0)


@pytest.mark.parametrize("function", [harness.plan_trials, harness.check_claims])
def test_epochs_that_no_manifest_has_are_a_warning(function: Any, tmp_path: Path) -> None:
    said = "^epochs 99 has no effect on gaussian-2d-rho-50: its manifest has 10 epochs$"
    with pytest.warns(UserWarning, match=said):
        function("experiments/gaussian-2d-rho-50.yaml", epochs=99, workspace=tmp_path)


def test_every_public_function_names_its_arguments() -> None:
    """A notebook completes them, and a wrong one is refused by the function that was called."""
    public = (getattr(harness, name) for name in harness.__all__)
    functions = [each for each in public if inspect.isfunction(each)]
    assert len(functions) >= 8
    for each in functions:
        kinds = {kind.kind for kind in inspect.signature(each).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds, each.__name__
    with pytest.raises(TypeError, match="check_claims"):
        harness.check_claims("experiments", cpus_per_trial=1)  # type: ignore[call-arg]
