"""Work on a workspace: select trials, run them, judge them and report. Commands call this layer.

Nothing here prints or ends the process. Progress goes to an `Observer`; errors are exceptions.
"""

from harness.options import RunOptions
from harness.session.runner import run_session
from harness.session.session import CommittedUse, Session, load_experiments, warnings

__all__ = [
    "CommittedUse",
    "RunOptions",
    "Session",
    "load_experiments",
    "run_session",
    "warnings",
]
