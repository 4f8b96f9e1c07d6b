from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from nightshift.driving.memory import keep_freed
told = {call}
def work():
    return [np.ones(50_000) + n for n in range(20)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> tuple[bool, int]:
    ran = subprocess.run([sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True)
    told, number = ran.stdout.split()
    return told == "True", int(number)


def test_freed_memory_is_used_again_without_new_pages() -> None:
    kept, after = faults("keep_freed()")
    _, before = faults("False")
    # Another C library is left as it is.
    assert after < max(0.1 * before, 400) or not kept
    assert kept == (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("missing", [AttributeError, OSError])
def test_a_library_that_cannot_be_told_is_left_alone(missing: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift.driving import memory

    def refuse(name: object) -> object:
        raise missing

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert memory.keep_freed.__wrapped__() is False
