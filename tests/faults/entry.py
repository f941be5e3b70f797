"""The command line with checkpoints as often as trials of seconds need: `python -m … run …`."""

from functools import partial

from harness import engine
from harness.cli import main

engine.Options = partial(engine.Options, checkpoint_interval_s=0.2)  # type: ignore[misc]

if __name__ == "__main__":
    main()
