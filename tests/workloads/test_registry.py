import logging
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness import workloads
from harness.errors import ManifestError
from harness.manifest import load
from harness.workloads import GROUP, registry
from tests.cli.conftest import TINY, command
from tests.waiting import HANG_S

MODULE = "harness.workloads.mutual_information"


def announce(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = [EntryPoint(name.rstrip("_"), value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(workloads, "entry_points", lambda group: entries)


def test_the_paper_s_three_experiments_are_installed() -> None:
    assert set(registry()) >= {"mine_image_pair", "mine_image_values_pair", "mine_sequence_pair"}


def test_neither_the_registry_nor_a_plan_loads_torch() -> None:
    program = (
        "import sys; from harness.workloads import registry; registry(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG_S)


def test_one_name_for_two_workloads_is_neither_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(
        monkeypatch,
        mine_image_pair=f"{MODULE}:image_pair",
        mine_image_pair_=f"{MODULE}:other",
        mine_sequence_pair=f"{MODULE}:sequence_pair",
    )
    found = registry()
    assert list(found) == ["mine_sequence_pair"]
    assert f"{MODULE}:image_pair and by" in found.broken["mine_image_pair"]


FAULTS = {
    "raises": ("raise RuntimeError('no licence\\nfor this')", "RuntimeError: no licence for this"),
    "misses": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "speechless": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "E: <exception str() failed>",
    ),
    "absent": ("", "has no attribute 'workload'"),
    "none": ("workload = None", "its attribute name must be a str, got None"),
    "renamed": (
        f"from {MODULE} import image_pair as workload",
        "its name is 'mine_image_pair'; the entry point must have the same name",
    ),
    "incomplete": (
        "class W:\n    name, revision, metrics, prefix = 'incomplete', 1, {}, True\nworkload = W()",
        "it has no method data_sets",
    ),
    "costly": (
        "from harness.workload import Metric, Parameters\n"
        "class W:\n"
        "    name, revision, prefix, parameters = 'costly', 1, True, Parameters\n"
        "    metrics = {'seconds': Metric('s', '')}\n"
        "    data_sets = load_data = start = print\n"
        "workload = W()",
        "its metric seconds has the name of what the harness measures",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_workload_that_cannot_be_used_is_named_once_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    module, (text, fault) = f"broken_{name}", FAULTS[name]
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    announce(
        monkeypatch,
        **{name: f"{module}:workload", "mine_sequence_pair": f"{MODULE}:sequence_pair"},
    )
    with caplog.at_level(logging.WARNING):
        found = registry()
        assert list(registry()) == list(found) == ["mine_sequence_pair"]
    (line,) = caplog.messages
    assert line.startswith(
        f"workload {name} cannot be used: entry point {name} = {module}:workload"
    )
    assert fault in line
    assert "\n" not in line

    manifest = tmp_path / "needs-it.yaml"
    manifest.write_text(TINY.read_text().replace("name: mine_sequence_pair", f"name: {name}", 1))
    with pytest.raises(ManifestError) as refused:
        load([manifest], found)
    assert f"workload.name: {line}" in str(refused.value)


def test_harness_list_goes_on_without_a_package_that_cannot_be_imported(
    tmp_path: Path,
) -> None:
    metadata = tmp_path / "broken_methods-2.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken-methods\nVersion: 2.1\n"
    )
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = broken_methods:workload\n")
    (tmp_path / "broken_methods.py").write_text("1 / 0\n")
    listed = subprocess.run(
        command("list", TINY),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0
    assert "tiny" in listed.stdout
    assert listed.stderr == (
        "workload broken cannot be used: entry point broken = broken_methods:workload of package "
        "broken-methods 2.1: ZeroDivisionError: division by zero\n"
    )


def test_the_packages_of_all_workloads_are_known_without_loading_them() -> None:
    assert "harness" in workloads.packages()
