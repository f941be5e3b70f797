"""Choose how many trials of an experiment run as one pack."""

from collections.abc import Mapping, Sequence

from harness.options import Options
from harness.plan import Job
from harness.workload import Packing, Workload


def pack_sizes(
    jobs: Sequence[Job], workloads: Mapping[str, Workload], options: Options
) -> dict[str, int]:
    """Return the size of the packs of each experiment whose trials run in packs.

    Args:
        jobs: the trials that are left.
        workloads: workloads by name.
        options: the options of the run.
    """
    if options.pack == "1":
        return {}
    size = int(options.pack)
    return {
        job.experiment: size for job in jobs if isinstance(workloads[job.spec.program], Packing)
    }
