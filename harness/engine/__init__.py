"""Trials on Ray: the only part of the harness that imports it.

Workers hold no durable state: each streams its trial's messages to the driver, which hands them to
a sink and, where a worker is lost, starts the trial again from the sink's last checkpoint.
"""

import os

# Read when Ray is first imported. Its remarks on dead workers, to standard output, say nothing
# that the engine does not report itself, and would spoil a document printed there.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
# A trial's workers are asked of the nearest raylet, which knows which nodes to shun. Unsaid, they
# are asked of a node that holds the data already: cut off, it does not answer for 90 seconds.
os.environ.setdefault("RAY_locality_aware_leasing_enabled", "0")

from harness.engine.cluster import cluster
from harness.engine.driver import run
from harness.engine.interface import Sink
from harness.options import Options

__all__ = ["Options", "Sink", "cluster", "run"]
