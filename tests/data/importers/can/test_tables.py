"""Tables of frames: the Car-Hacking layout, DAGA's, and others that name the same columns."""

from __future__ import annotations

import pytest

from nightshift.data.importers.can.tables import read_hcrl_text, read_headed, read_headless
from nightshift.errors import DataError

HEADLESS = b"""1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R
1478198376.389636,018f,2,fe,5b,R
1478198376.389864,0000,8,00,00,00,00,00,00,00,00,T
1478198376.390000,04b0,0,R
1478198376.390100,0440,2,ff,00,,,,,,,T
"""
DAGA = b"""timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY
0.0,10,64,000000002FB031F8,0000,False
9e-06,1D0,16,0061,0000,True
"""
CHALLENGE = b"""Timestamp,Arbitration_ID,DLC,Data,Class,SubClass
1.0,164,8,00 08 00 00 00 00 00 0A,Normal,Normal
1.5,5F0,2,00 00,Attack,Spoofing
1.6,000,1,00,Attack,Flooding
"""
NAMED = b"""Timestamp,ID,DLC,DATA0,DATA1,DATA2,DATA3,DATA4,DATA5,DATA6,DATA7,Flag
1.0,0316,8,05,21,68,09,21,21,00,6f,R
1.1,0316,1,05,,,,,,,,T
"""
ATTACK_FREE = b"""Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2
Timestamp: 1479121434.850423        ID: 02c0    000    DLC: 0
"""


def test_short_frames_of_the_car_hacking_layout_have_short_lines_or_empty_cells() -> None:
    trace = read_headless(HEADLESS, "DoS_dataset.csv", "hcrl/DoS_dataset.csv")
    assert trace.frames.can_id.tolist() == [0x316, 0x18F, 0, 0x4B0, 0x440]
    assert trace.frames.dlc.tolist() == [8, 2, 8, 0, 2]
    assert trace.frames.data[1].tolist() == [0xFE, 0x5B, 0, 0, 0, 0, 0, 0]
    assert trace.attack is not None
    assert trace.attack.tolist() == [False, False, True, False, True]
    assert trace.kind == "dos"
    free = read_hcrl_text(ATTACK_FREE, "normal_run_data.txt", "normal_run_data.txt")
    assert free.frames.dlc.tolist() == [8, 0]
    assert free.attack is not None
    assert not free.attacked


def test_a_header_names_the_columns() -> None:
    daga = read_headed(DAGA, "ID_1D0_V40.can.txt", "infected/SingleIDReplay/ID_1D0_V40.can.txt")
    assert daga.frames.dlc.tolist() == [8, 2]  # DAGA counts bits
    assert daga.frames.data[0].tolist() == [0, 0, 0, 0, 0x2F, 0xB0, 0x31, 0xF8]
    assert (daga.kind, list(daga.labels())) == ("replay", ["normal", "replay"])
    challenge = read_headed(CHALLENGE, "fuzzing_run.csv", "fuzzing_run.csv")
    assert (challenge.kind, list(challenge.labels())) == ("spoof", ["normal", "spoof", "dos"])
    assert challenge.kinds() == {"spoof", "dos"}
    named = read_headed(NAMED, "gear_dataset.csv", "gear_dataset.csv")
    assert named.frames.dlc.tolist() == [8, 1]
    assert (named.kind, named.attacked) == ("spoof", True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"1.0,0316,8,05,21,68,09,21,21,00,6f,X", "line 2 of t.csv ends in 'X', expected R .normal. or T"),
        (b"1.0,0316,9,05,21,68,09,21,21,00,6f,R", "line 2 of t.csv has the length '9', expected 0 to 8"),
        (b"1.0,0316,2,05,zz,R", "line 2 of t.csv has the payload '05zz', which is no bytes"),
        (b"x,0316,1,05,R", "line 2 of t.csv has no time that is a number"),
        (b"1.0,FFFFFFFF,1,05,R", "line 2 of t.csv has the id 'FFFFFFFF'"),
        (b"1.0,0316,8,1,2,3,4,5,6,7,8,R,9,9", "t.csv"),
    ],
)
def test_a_line_that_is_no_frame_is_named(line: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_headless(b"0.5,0316,1,05,R\n" + line, "t.csv", "t.csv")


def test_a_missing_column_and_an_unknown_mark_are_named() -> None:
    with pytest.raises(DataError, match="none of payload_hex, payload, data"):
        read_headed(b"timestamp,can_id,dlc\n1.0,10,8\n", "t.csv", "t.csv")
    with pytest.raises(DataError, match=r"line 2 of t.csv marks its frame as 'maybe'"):
        read_headed(b"timestamp,can_id,payload,label\n1.0,10,00,maybe\n", "t.csv", "t.csv")
