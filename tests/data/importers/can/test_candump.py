"""Every way in which candump writes a frame is read, and what is no frame is named."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.data.importers.can.candump import read_candump
from nightshift.edge.can import EXTENDED
from nightshift.errors import DataError

LOG = b"""(1436509052.249713) vcan0 044#2A366C2BBA
(1436509052.449847) vcan0 0F6#7ADFE07BD2
(1436509052.650004) vcan0 12345678#  
(1436509052.650005) vcan0 5AA#R4
(1436509052.650006) vcan0 123##11122334455667788990A
(1436509052.650007) vcan0 20000080#0000000000000000
(1436509052.650009) vcan0 123#11.22.33_9
"""
SHOWN = b""" (1436509052.249713)  vcan0  044   [5]  2A 36 6C 2B BA
 (1436509052.449847)  vcan0  TX - -  0F6   [5]  7A DF E0 7B D2   'z..{.'
 (1436509052.650004)  vcan0  RX - -  12345678   [0]
 (1436509052.650005)  vcan0  5AA   [4]  remote request
"""


def test_the_log_file_is_read() -> None:
    (trace,) = read_candump(LOG, "a.log", "drive/a.log")
    frames = trace.frames
    assert frames.time_s[0] == 1436509052.249713
    assert frames.can_id.tolist() == [0x44, 0xF6, 0x12345678 | EXTENDED, 0x5AA, 0x123, 0x123]
    assert frames.dlc.tolist() == [5, 5, 0, 4, 10, 3]
    assert frames.data[0].tolist() == [0x2A, 0x36, 0x6C, 0x2B, 0xBA, 0, 0, 0]
    assert frames.data[4].tolist() == [0x11 * i for i in range(1, 9)]
    assert trace.attack is None
    assert trace.notes == ("a.log: 1 error frames were left out",)


def test_what_is_shown_on_a_terminal_is_read_alike() -> None:
    (trace,), (log,) = read_candump(SHOWN, "a.txt", "a.txt"), read_candump(LOG, "a.log", "a.log")
    for name in ("time_s", "can_id", "dlc", "data"):
        np.testing.assert_array_equal(getattr(trace.frames, name), getattr(log.frames, name)[:4])
    (dated,) = read_candump(b" (2015-07-10 06:17:32.249713)  can0  044   [1]  2A\n", "a.txt", "a.txt")
    assert dated.frames.time_s[0] == 1436509052.249713


def test_each_interface_is_a_trace_of_its_own() -> None:
    content = b"(1.0) can0 001#00\n(1.1) can1 002#00\n(1.2) can0 001#01\n"
    traces = read_candump(content, "two.log", "two.log")
    assert [(t.name, len(t.frames)) for t in traces] == [("two.log:can0", 2), ("two.log:can1", 1)]


def test_a_step_back_in_time_is_sorted_and_noted_and_differences_are_refused() -> None:
    (trace,) = read_candump(b"(1.0) can0 001#00\n(1.2) can0 001#01\n(1.1) can0 001#02\n", "a.log", "a.log")
    assert trace.frames.data[:, 0].tolist() == [0, 2, 1]
    assert "time went back 1 times" in trace.notes[0]
    steps = b"".join(b"(0.%06d) can0 001#00\n" % (i * 7919 % 1000) for i in range(100))
    with pytest.raises(DataError, match=r"time goes back \d+ times in a.log.*candump -L"):
        read_candump(steps, "a.log", "a.log")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"(1.0) can0 044#2A3", "line 2 of a.log has half a byte"),
        (b"(1.0) can0 044#2AZZ", "has the payload '2AZZ', which is no bytes"),
        (b"(1.0) can0 XYZ#2A", "line 2 of a.log is no frame of candump"),
        (b"(1.0) can0 044  [3]  2A 36", "line 2 of a.log is no frame of candump"),
        (b"can0 044 [1] 2A", "line 2 of a.log is no frame of candump"),
        (b"(1.0) can0", "line 2 of a.log is no frame of candump"),
        (b"(nan) can0 044#00", "line 2 of a.log has no time"),
        (b"(1.0) can0 123##1" + b"00" * 65, "has 65 bytes; a frame has up to 64"),
    ],
)
def test_a_line_that_is_no_frame_is_named(line: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_candump(b"(0.9) can0 001#00\n" + line, "a.log", "a.log")
