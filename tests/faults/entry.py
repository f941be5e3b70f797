"""The command line with checkpoints as often as trials of seconds need: `python -m … run …`."""

import os
from functools import partial

from harness import engine
from harness.cli import main
from harness.engine import head_watch

engine.Options = partial(engine.Options, checkpoint_interval_s=0.2)  # type: ignore[misc]
head_watch.GONE_S = float(os.environ.get("TESTS_HEAD_GONE_S", head_watch.GONE_S))

if __name__ == "__main__":
    main()
