"""What runs at night, and what is kept of it: configuration, states, history, the summary."""

from harness.nightly.config import Night, Nights, Quarantine, load
from harness.nightly.history import (
    Book,
    Course,
    Entry,
    NightRecord,
    Opened,
    State,
    advance,
    baselines,
    environment,
    first_good,
    last_good,
    most_severe,
    night_code,
    read_record,
    side,
)
from harness.nightly.summary import Since, Summary, headline, markdown, post

__all__ = [
    "Book",
    "Course",
    "Entry",
    "Night",
    "NightRecord",
    "Nights",
    "Opened",
    "Quarantine",
    "Since",
    "State",
    "Summary",
    "advance",
    "baselines",
    "environment",
    "first_good",
    "headline",
    "last_good",
    "load",
    "markdown",
    "most_severe",
    "night_code",
    "post",
    "read_record",
    "side",
]
