"""Memory that was freed stays with the process: counted in page faults, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys
import numpy as np
from fer_core.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        arrays = [np.full(mib << 20, 1, np.uint8) for mib in (8, 8, 8, 8, 64)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(77)
faults()
print(faults())
"""


def faults(how: str) -> int:
    """Page faults while 96 MiB are asked for and freed ten times."""
    result = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=False)
    if result.returncode == 77:
        pytest.skip("the system's C library is not glibc")
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_what_is_asked_for_again_costs_no_page_faults() -> None:
    kept, given_back = faults("kept"), faults("given back")
    assert kept < 100
    assert given_back > 10 * max(kept, 100)
