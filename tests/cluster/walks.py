"""The toy's walk as a package of its own, which is announced as an entry point."""

import shutil
from pathlib import Path

from tests import toy

WALK = """\
format: 1
title: A walk of ten steps
paper: {title: On walks, author: nobody, listing: none, command: none}
unit: steps
workload:
  name: toy
  parameters:
    scale: {value: 1.0, assumed: small}
    sleep_s: {value: 0.0, assumed: small}
    fault: {value: "", assumed: none}
    at: {value: 0, assumed: none}
    marker: {value: "", assumed: none}
epochs: {value: 10, assumed: small}
seeds: 0-2
claims:
  - name: end
    kind: value
    metric: end
    source: made up
    reported: 0.0
    tolerance: {value: 100.0, reason: ten steps of one}
"""


def install_walks(folder: Path) -> None:
    """Put the package where a driver finds it by PYTHONPATH, and no node does."""
    folder.mkdir(parents=True)
    shutil.copy(toy.__file__, folder / "walks.py")
    with (folder / "walks.py").open("a") as file:
        file.write("\n\nthe_toy = Toy()\n")
    info = folder / "walks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: walks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.workloads]\ntoy = walks:the_toy\n")
