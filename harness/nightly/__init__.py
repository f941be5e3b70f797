"""Configure nights, keep their history, and summarise them."""

from harness.nightly.config import Night, Quarantine, configures_nights, load_nights
from harness.nightly.history import (
    History,
    NightEntry,
    NightRecord,
    NightState,
    OpenNight,
    Streak,
    advance,
    baseline_side,
    baselines,
    current_environment,
    first_good,
    last_good,
    most_severe,
    night_code,
    read_record,
)
from harness.nightly.summary import NightComparison, NightSummary, night_markdown, post

__all__ = [
    "History",
    "Night",
    "NightComparison",
    "NightEntry",
    "NightRecord",
    "NightState",
    "NightSummary",
    "OpenNight",
    "Quarantine",
    "Streak",
    "advance",
    "baseline_side",
    "baselines",
    "configures_nights",
    "current_environment",
    "first_good",
    "last_good",
    "load_nights",
    "most_severe",
    "night_code",
    "night_markdown",
    "post",
    "read_record",
]
