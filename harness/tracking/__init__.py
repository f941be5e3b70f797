"""The store's projection into MLflow: live while trials run, or replayed from records later.

The only package that imports MLflow. That import takes about three seconds, so whoever does not
track should not import this either.

A run is an *image* of what the store holds, and tracking sends what the run does not have yet.
Live and replay are therefore one code path, and doing it twice does nothing the second time.
"""

import harness.tracking.environment  # noqa: F401  # settles MLflow's environment before its import
from harness.tracking.experiments import chart_urls
from harness.tracking.local_store import ServerCommand, default_uri, follow_folder, ui_command
from harness.tracking.projector import Conclusion, Telling, Tracked
from harness.tracking.tracker import TROUBLE, Summary, Tracker, cause, sync

__all__ = [
    "TROUBLE",
    "Conclusion",
    "ServerCommand",
    "Summary",
    "Telling",
    "Tracked",
    "Tracker",
    "cause",
    "chart_urls",
    "default_uri",
    "follow_folder",
    "sync",
    "ui_command",
]
