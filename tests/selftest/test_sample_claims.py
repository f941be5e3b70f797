"""The self-test plants its faults in an experiment whose paper reports several runs, too."""

from pathlib import Path

import pytest

from harness.selftest import cases
from harness.session.selftest import choose_subject, run_stored
from tests.conftest import REPOSITORY


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "cell", ["psa.yaml[shape=1*64,mode=none]", "psa.yaml[shape=18*18,mode=output]"]
)
def test_every_fault_is_caught_in_a_table_of_ten_runs(cell: str, tmp_path: Path) -> None:
    subject = choose_subject([REPOSITORY / "experiments" / cell])
    assert any(claim.kind == "sample" for claim in subject.experiment.manifest.claims)
    results = [
        run_stored(subject, case, tmp_path / str(number))
        for number, case in enumerate(cases(subject))
    ]
    assert [result for result in results if not result.passed] == []
    assert "mean shifted" in [result.name for result in results]
