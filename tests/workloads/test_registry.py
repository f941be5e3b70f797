import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from harness import workloads
from harness.errors import UsageError
from harness.workloads import GROUP, registry

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
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_one_name_for_two_workloads_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(
        monkeypatch, mine_image_pair=f"{MODULE}:image_pair", mine_image_pair_=f"{MODULE}:other"
    )
    with pytest.raises(UsageError, match=r"'mine_image_pair' .* twice: as .*:image_pair and as"):
        registry()


@pytest.mark.parametrize("value", ["no_such_module:workload", f"{MODULE}:no_such_workload"])
def test_an_entry_point_that_cannot_be_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    announce(monkeypatch, broken=value)
    with pytest.raises(UsageError, match=r"'broken' .*cannot be loaded: .*no_such"):
        registry()


def test_a_workload_under_another_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, another=f"{MODULE}:image_pair")
    with pytest.raises(UsageError, match=r"'another' .*calls itself 'mine_image_pair'"):
        registry()


def test_the_packages_of_all_workloads_are_known_without_loading_them() -> None:
    assert "harness" in workloads.packages()
