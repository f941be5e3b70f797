"""Print what comes of every fault of `tests/faults/wild.py`: the outcome, and a run's exit code.

    python ci/fault_matrix.py [FAULT ...]

Exit 1 if one is not as the table beside the faults expects.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import engine
from tests.faults import matrix
from tests.faults.wild import FAULTS


def main(faults: list[str]) -> int:
    """Run the faults on a cluster of this machine, and print a line for each."""
    with tempfile.TemporaryDirectory() as folder, engine.cluster(cpus=2):
        rows = matrix.run(Path(folder), faults or FAULTS)
    print(f"{'fault':<36} {'outcome':<9} exit  error")
    for row in rows:
        print(row)
    wrong = sum(not row.as_expected for row in rows)
    print(f"{len(rows)} faults, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
