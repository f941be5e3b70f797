"""Configure nights, keep their history, and summarise them."""

from harness.nightly.config import Night, Quarantine, load
from harness.nightly.history import (
    History,
    NightEntry,
    NightRecord,
    OpenNight,
    State,
    Status,
    advance,
    baseline_side,
    baselines,
    environment,
    first_good,
    last_good,
    most_severe,
    night_code,
    read_record,
)
from harness.nightly.summary import NightComparison, NightSummary, markdown, post

__all__ = [
    "History",
    "Night",
    "NightComparison",
    "NightEntry",
    "NightRecord",
    "NightSummary",
    "OpenNight",
    "Quarantine",
    "State",
    "Status",
    "advance",
    "baseline_side",
    "baselines",
    "environment",
    "first_good",
    "last_good",
    "load",
    "markdown",
    "most_severe",
    "night_code",
    "post",
    "read_record",
]
