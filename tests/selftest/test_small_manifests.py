"""The self-test works on manifests that a newcomer writes: no parameters, or one epoch."""

from pathlib import Path

import pytest

from harness.selftest import cases
from harness.session.selftest import choose_subject, run_stored
from tests.commands import AT_THE_END, EVERY_EPOCH, write

EXACT = {name: value for name, value in AT_THE_END.items() if name != "tolerance"} | {
    "kind": "exact",
    "decimals": 0,
}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("claims", "epochs"),
    [([EVERY_EPOCH, AT_THE_END], 3), ([EVERY_EPOCH], 1), ([AT_THE_END], 1), ([EXACT], 2)],
)
def test_every_fault_is_caught_in_a_script_without_parameters(
    tmp_path: Path, claims: list[object], epochs: int
) -> None:
    path = write(tmp_path, claims=claims, epochs={"value": epochs, "stated": "page 1"})
    subject = choose_subject([path])
    assert not subject.specs()[0].parameters
    planted = list(cases(subject))
    results = [
        run_stored(subject, case, tmp_path / str(number)) for number, case in enumerate(planted)
    ]
    assert [result for result in results if not result.passed] == []
    assert "stale record: other settings" in [result.name for result in results]
