"""Tests of float32 numbers pass on older processors too, whose kernels sum in other orders.

The libraries read these limits when they start, so each processor gets a process of its own. On
processors that are not x86 the limits have no effect.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PROCESSORS = {
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "SSE4.1": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
    },
}
TESTS = ("test_golden.py", "test_forms.py", "-k", "float32 or those_recorded")


@pytest.mark.parametrize("processor", PROCESSORS)
def test_float32_results_hold_on_an_older_processor(processor: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=Path(__file__).parent,
        env={**os.environ, **PROCESSORS[processor], "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
