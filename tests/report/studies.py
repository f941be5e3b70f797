"""Verdicts of every sort, for reports to be made of."""

from dataclasses import replace

from harness.record import FailureKind
from harness.verdict import ExperimentVerdict
from tests.verdict.builders import (
    band,
    curve,
    exact,
    experiment,
    failed,
    onset,
    trial,
    value,
    verdict_on,
    verdicts_on,
)

RISE = [0.0, 0.2, 1.0, 1.5]
TRUE = [2.0] * 4
GOOD = {seed: trial([at + 0.01 * seed for at in RISE], true=TRUE, test=1.6) for seed in range(3)}


def reproduced() -> ExperimentVerdict:
    """Every kind of claim, and all hold."""
    claims = (
        exact(dict.fromkeys(range(1, 5), 2.0)),
        curve({1: 0.0, 3: 1.0}),
        onset(2.4, 0.5),
        value(1.6, name="test"),
    )
    return verdict_on(experiment(*claims, id="reproduced"), GOOD)


def not_reproduced() -> ExperimentVerdict:
    return verdict_on(experiment(curve({2: 0.2, 4: 2.5}), id="not-reproduced"), GOOD)


def known() -> ExperimentVerdict:
    """A failure that the manifest expects."""
    asked = experiment(curve({2: 0.2, 4: 2.5}), id="known", not_reproduced=["early rows"])
    return verdict_on(asked, GOOD)


def surprising() -> ExperimentVerdict:
    """A pass that the manifest does not expect."""
    asked = experiment(curve({2: 0.2}), id="surprising", not_reproduced=["early rows"])
    return verdict_on(asked, GOOD)


def incomplete() -> ExperimentVerdict:
    lost = trial(RISE[:2], failure=failed(2, FailureKind.INFRASTRUCTURE))
    return verdict_on(experiment(curve({4: 1.5}), id="incomplete"), GOOD | {1: lost, 2: None})


def broken() -> ExperimentVerdict:
    """A seed ended in an error whose message is nasty."""
    failure = replace(failed(2), message="bad | <b>\x00\x1b[31m`x`\nsecond line")
    lost = trial(RISE[:2], failure=failure)
    return verdict_on(experiment(curve({1: 0.0, 4: 1.5}), id="broken"), GOOD | {1: lost})


def pending() -> ExperimentVerdict:
    """An expected failure that shows already, with a seed still missing."""
    asked = experiment(band({4: 0.0}), id="pending", not_reproduced=["stays at zero"])
    return verdict_on(asked, GOOD | {2: None})


def gated() -> ExperimentVerdict:
    control = experiment(band({1: 9.0}), id="control", control=True)
    asked = experiment(curve({4: 1.5}), id="gated")
    return verdicts_on([(control, GOOD), (asked, GOOD)])[1]


def short() -> ExperimentVerdict:
    asked = experiment(curve({1: 0.0, 4: 1.5}), value(1.6, name="test"), id="short")
    return verdict_on(asked, GOOD, epochs=2)


ALL = (reproduced, not_reproduced, known, surprising, incomplete, broken, pending, gated, short)
