"""The command line with checkpoints as often as trials of seconds need: `python -m … run …`."""

import os
from functools import partial
from importlib import import_module

from harness import engine
from harness.cli import main

engine.Options = partial(engine.Options, checkpoint_interval_s=0.2)  # type: ignore[misc]
cluster = import_module("harness.engine.cluster")  # the package has a function of this name
cluster.GONE_S = float(os.environ.get("TESTS_HEAD_GONE_S", cluster.GONE_S))  # type: ignore[attr-defined]

if __name__ == "__main__":
    main()
