"""The environment variables with which a process that runs trials starts."""

from types import MappingProxyType

MIB = 1 << 20

ALLOCATOR = MappingProxyType(
    {
        "glibc.malloc.trim_threshold": 128 * MIB,
        "glibc.malloc.mmap_threshold": 32 * MIB,
        "glibc.malloc.hugetlb": 1,
    }
)
"""Settings of glibc's allocator, so that a process keeps the memory that each step needs again.

A training step frees tens of MiB of activations, and the next step asks for them again. By default
glibc returns them to the system in between. Then each step takes new pages, at the cost of up to
thousands of page faults. With these settings a process keeps up to 128 MiB of free memory, in
blocks up to 32 MiB (glibc's maximum), and asks for huge pages. Other C libraries ignore them.
"""


def settings(threads: int) -> dict[str, str]:
    """Return environment variables that a process and its numeric libraries read at their start.

    Args:
        threads: number of threads of a trial. Without the variables these libraries use all cores.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    tunables = ":".join(f"{name}={value}" for name, value in ALLOCATOR.items())
    return {
        **dict.fromkeys(names, str(threads)),
        "GLIBC_TUNABLES": tunables,
        "PYTHONHASHSEED": "0",  # a set of texts has the same order in every process
    }
