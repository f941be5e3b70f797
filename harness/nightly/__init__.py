"""What runs at night, and what is kept of it: configuration, states, history, the summary."""

from harness.nightly.book import (
    Book,
    Entry,
    NightRecord,
    Opened,
    baselines,
    first_good,
    last_good,
    read_record,
    side,
)
from harness.nightly.config import Night, Nights, Quarantine, load
from harness.nightly.environment import environment
from harness.nightly.states import Course, State, advance, most_severe, night_code
from harness.nightly.summary import Since, Summary, headline, markdown
from harness.nightly.webhook import post

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
