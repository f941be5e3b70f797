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
"""What a step frees, the next one asks for again: some tens of MiB of activations. By default glibc
gives them back to the system in between, and every step takes its pages anew, thousands of faults
for a step of the sequences. So a process keeps up to 128 MiB that are free, blocks up to 32 MiB
among them (the most that glibc allows; an epoch's pairs are larger, and given back), and asks for
huge pages. Other C libraries do not read it.
"""


def settings(threads: int) -> dict[str, str]:
    """Environment variables, read as the process and its numeric libraries start.

    Args:
        threads: of a trial; without the variables these libraries take all cores.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    tunables = ":".join(f"{name}={value}" for name, value in ALLOCATOR.items())
    return {
        **dict.fromkeys(names, str(threads)),
        "GLIBC_TUNABLES": tunables,
        "PYTHONHASHSEED": "0",  # a set of texts has the same order in every process
    }
