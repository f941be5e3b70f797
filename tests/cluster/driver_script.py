"""A driver of walks in its own process: `python -m … FOLDER ADDRESS DEADLINE`; it tells events."""

import json
import sys
import time
from pathlib import Path

from harness import engine
from harness.plan import Job
from harness.record import EpochRecord, Message, Started
from tests.engine.sinks import run
from tests.toy import job

EVENTS = "events"


def walk() -> Job:
    """Half a minute."""
    return job(epochs=60, sleep_s=0.5)


def told(message: Message) -> dict[str, object] | None:
    """An event, for messages of interest."""
    match message:
        case Started():
            pid = int(message.provenance.environment.hardware["pid"])
            return {"started": message.resumed_from, "pid": pid}
        case EpochRecord():
            return {"epoch": message.epoch}
    return None


if __name__ == "__main__":
    folder, address, deadline_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with engine.cluster(address, packages=["tests"]), (folder / EVENTS).open("a") as events:

        def watch(_: Job, message: Message) -> None:
            if event := told(message):
                print(json.dumps(event | {"at": time.time()}), file=events, flush=True)

        sink = run(folder, [walk()], watch=watch, deadline_s=deadline_s)
        sys.stdout.write(json.dumps(sink.retries))
