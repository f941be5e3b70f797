"""The peers: the same trials with no harness around them, each command a process to be timed.

`plain` is how the paper's script would be run: one process, the plain loop, torch's own number of
threads. `pool` packs the trials of several seeds onto processes of one thread each, started as the
harness starts its own. Both print when things happened, as JSON, in Unix seconds.
"""

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.engine.worker_process import settings

DATA = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / ".data"))


@dataclass(frozen=True)
class Stamps:
    """When a trial's epochs were run."""

    began_s: float
    """The start of its first epoch."""
    ended_s: float
    """After the test estimate."""
    epochs_s: list[float]
    """How long each epoch took."""


def loop(manifest: Path, seed: int, epochs: int, form: str, threads: int | None) -> Stamps:
    """One trial; None leaves torch its own number of threads."""
    import torch  # noqa: PLC0415 - in the pool's processes, and not in what starts them

    from harness.workloads import mnist  # noqa: PLC0415
    from tests.bench import trials  # noqa: PLC0415

    found = trials.experiment(manifest.stem)
    threads = threads or torch.get_num_threads()
    run = trials.start(found, mnist.load_arrays(DATA), form=form, threads=threads, seed=seed)
    began_s = time.time()
    spent: list[float] = []
    for _ in range(epochs):
        epoch_began_s = time.perf_counter()
        run.epoch()
        spent.append(time.perf_counter() - epoch_began_s)
    run.final()
    return Stamps(began_s, time.time(), spent)


def pool(manifest: Path, seeds: int, epochs: int, form: str, processes: int) -> list[Stamps]:
    """The trials of the first seeds, as many at a time as there are processes."""
    os.environ.update(settings(1))
    calls = [(manifest, seed, epochs, form, 1) for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        return workers.starmap(loop, calls, chunksize=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("plain", "pool"))
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    if asked.which == "plain":
        stamps = [loop(asked.manifest, 0, asked.epochs, "plain", None)]
    else:
        stamps = pool(asked.manifest, asked.seeds, asked.epochs, "fast", asked.processes)
    print(json.dumps([asdict(each) for each in stamps]))


if __name__ == "__main__":
    main()
