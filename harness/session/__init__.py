"""Work on a workspace: select trials, run them, judge them, report. The layer below the commands.

Nothing here prints or ends the process: progress goes to an `Observer`, trouble is an exception.
"""

from harness.options import RunOptions
from harness.session.progress import Observer, SilentObserver
from harness.session.runner import RunResult, run_session
from harness.session.session import CommittedUse, Session, load

__all__ = [
    "CommittedUse",
    "Observer",
    "RunOptions",
    "RunResult",
    "Session",
    "SilentObserver",
    "load",
    "run_session",
]
