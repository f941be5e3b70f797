"""Run trials on Ray. This is the only part of the harness that imports Ray.

Workers hold no durable state. Each worker streams its trial's messages to the driver, and the
driver hands them to a sink. If a worker is lost, the driver starts the trial again from the sink's
last checkpoint.
"""

import os

# Ray reads this when it is first imported. It hides Ray's messages about dead workers on standard
# output. The engine reports these itself, and they would corrupt a document that is printed there.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
# Request workers from the nearest raylet, which knows which nodes to avoid. By default Ray requests
# them from a node that already holds the data. If that node is cut off, no answer comes for 90 s.
os.environ.setdefault("RAY_locality_aware_leasing_enabled", "0")

from harness.engine.cluster import cluster
from harness.engine.driver import run
from harness.engine.interface import Sink
from harness.options import Options

__all__ = ["Options", "Sink", "cluster", "run"]
