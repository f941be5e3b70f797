"""Seeds that all give the same numbers are one run, unless the method draws no random numbers."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from harness.manifest import Experiment
from harness.report import pages, terminal
from harness.report.documents import junit, verdicts_document
from harness.report.text import description
from harness.verdict import ExperimentVerdict, Outcome
from tests.verdict.builders import exact, experiment, trial, value, verdict_on

CURVE = [0.1234567890123, 0.51, 0.8, 1.0123456789012]
SAID = "seeds 0-9 gave the same numbers to the last digit, so they count as one run"


def ten(asked: Experiment, curve: Sequence[float] = CURVE, **fields: Any) -> ExperimentVerdict:
    manifest = asked.manifest.model_copy(update={"seeds": tuple(range(10)), **fields})
    runs = {seed: trial(curve, true=[2.0] * 4, test=curve[-1]) for seed in range(10)}
    return verdict_on(asked.model_copy(update={"manifest": manifest}), runs)


CLOSE, FAR = experiment(value({4: 1.0})), experiment(value({4: 2.0}))


def test_ten_runs_of_a_workload_that_ignores_its_seed_are_one_run() -> None:
    found = ten(CLOSE)
    assert found.badge == "REPRODUCED (1 seed)"
    (row,) = found.results
    assert (row.n, row.p_equivalence, row.interval) == (1, None, None)
    (alarm,) = found.alarms
    assert alarm.startswith(SAID)
    assert found.notes[0] == alarm
    assert ten(FAR).verdict is Outcome.INCONCLUSIVE  # one seed carries no verdict


def test_a_method_that_draws_no_random_numbers_says_so() -> None:
    found = ten(CLOSE, deterministic=True)
    assert (found.alarms, found.results[0].n, len(found.seeds)) == ((), 10, 10)
    assert ten(FAR, deterministic=True).verdict is Outcome.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("asked", "curve"),
    [
        (experiment(exact(dict.fromkeys(range(1, 5), 2.0))), CURVE),
        (CLOSE, [0.1, 0.5, 0.8, 1.0]),  # coarse numbers agree by chance
    ],
)
def test_exact_claims_and_coarse_numbers_count_every_seed(
    asked: Experiment, curve: list[float]
) -> None:
    found = ten(asked, curve)
    assert (found.alarms, {row.n for row in found.results}) == ((), {10})


def test_a_missing_seed_stays_missing_and_one_other_run_is_enough() -> None:
    runs = {seed: trial(CURVE) for seed in range(3)}
    lacking = verdict_on(CLOSE, {**runs, 3: None})
    assert (lacking.verdict, lacking.missing) == (Outcome.INCOMPLETE, (3,))
    assert lacking.alarms
    other = verdict_on(CLOSE, {**runs, 3: trial([*CURVE[:3], 1.1])})
    assert (other.alarms, other.seeds) == ((), (0, 1, 2, 3))


def test_every_output_says_that_it_is_one_seed_and_shows_the_alarm() -> None:
    found = ten(CLOSE)
    console = Console(width=300, record=True, file=None, force_terminal=True)
    with console.capture() as shown:
        console.print(terminal.claims(found, width=300))
    (line,) = (line for line in shown.get().splitlines() if SAID in line)
    assert "\x1b[1;31m" in line  # bold red
    document = json.loads(verdicts_document([found]).text())["experiments"][0]
    assert (document["badge"], document["seeds"]) == (found.badge, [0])
    texts = {
        "terminal": shown.get(),
        "page": pages.html([found], {}),
        "JUnit": junit([found]).decode(),
        "JSON": json.dumps(document),
    }
    for name, text in texts.items():
        assert "(1 seed)" in text, name
        assert SAID in text, name
    assert f'<li class="weak">{SAID}' in texts["page"]
    assert f"**{found.badge}**" in description(found)  # of MLflow's runs
