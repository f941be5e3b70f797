"""Show the store's trials in MLflow: live while they run, or replayed from the records later.

This is the only package that imports MLflow. That import takes about three seconds, so do not
import this package unless you track.

An *image* describes what an MLflow run should hold. It is computed from the store. Tracking sends
what the run lacks. So live tracking and replay use the same code, and a second replay sends
nothing.
"""

import harness.tracking.environment  # noqa: F401  # must come first: sets MLflow's environment
from harness.tracking.experiments import chart_urls
from harness.tracking.local_store import ServerCommand, default_uri, follow_folder, ui_command
from harness.tracking.projector import Conclusion, Telling, Tracked
from harness.tracking.tracker import TROUBLE, Summary, Tracker, cause, replay_store

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
    "replay_store",
    "ui_command",
]
