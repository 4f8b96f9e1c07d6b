"""What a simulated car's control units say: a drive's signals, and the frames that carry them.

No maker's database is copied: ids, periods and layouts are made up, in the manner of a compact car's powertrain bus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Signals are known so often, Hz; between, they run straight.
RATE_HZ = 50.0


@dataclass(frozen=True)
class Drive:
    """One drive's signals.

    Attributes:
        time_s: `(n,)`, from 0.
        signals: name -> `(n,)` in the unit of its name.
    """

    time_s: NDArray[np.float64]
    signals: Mapping[str, NDArray[np.float64]]

    def at(self, name: str, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a signal at some moments; a flag or a gear keeps its value until the next one."""
        if name.startswith(("gear", "flag")):
            return self.signals[name][np.minimum((time_s * RATE_HZ).astype(np.intp), len(self.time_s) - 1)]
        return np.interp(time_s, self.time_s, self.signals[name])


@dataclass(frozen=True)
class Field:
    """A signal in a payload: `size` bytes from `byte` on, high byte first, of (value - offset) / scale."""

    signal: str
    byte: int
    size: int
    scale: float
    offset: float = 0.0


@dataclass(frozen=True)
class Message:
    """A periodic frame.

    Attributes:
        can_id: 11 bits; a lower one goes first on the bus.
        unit: the control unit that sends it; units have clocks of their own.
        period_s: between two of them.
        fields: what it carries.
        counter: byte whose low half counts the frames, None without.
        checksum: byte that holds the CRC-8 over all others, None without.
        fixed: what stands in the other bytes; its length is the frame's.
    """

    can_id: int
    unit: str
    period_s: float
    fields: tuple[Field, ...] = ()
    counter: int | None = None
    checksum: int | None = None
    fixed: bytes = field(default=bytes(8))

    @property
    def dlc(self) -> int:
        """Bytes of the payload."""
        return len(self.fixed)


_F = Field
MESSAGES: tuple[Message, ...] = (
    Message(0x0A6, "engine", 0.010, (_F("rpm", 0, 2, 0.25), _F("torque_nm", 2, 2, 0.1, -100)), 6, 7),
    Message(0x0B2, "engine", 0.010, (_F("pedal_pct", 0, 1, 0.4), _F("throttle_pct", 1, 2, 0.01, -5)), 6, 7),
    Message(0x0D1, "brakes", 0.010, (_F("brake_pct", 0, 2, 0.05), _F("flag_brake", 2, 1, 1)), 4, 5, bytes(6)),
    Message(0x0E4, "steering", 0.010, (_F("steer_deg", 0, 2, 0.1, -1500),), 4, 5, bytes(6)),
    Message(0x11A, "brakes", 0.010, (_F("yaw_dps", 0, 2, 0.01, -200), _F("lateral_mps2", 2, 2, 0.002, -40)), 6, 7),
    Message(
        0x130,
        "brakes",
        0.020,
        tuple(_F(f"wheel_{i}_rps", 2 * i, 2, 0.001) for i in range(4)),
    ),
    Message(0x153, "brakes", 0.020, (_F("speed_mps", 0, 2, 0.01), _F("forward_mps2", 2, 2, 0.002, -40)), 6, 7),
    Message(0x18F, "gearbox", 0.020, (_F("gear", 0, 1, 1), _F("rpm", 1, 2, 0.25), _F("flag_idle", 3, 1, 1)), 6, 7),
    Message(0x1F1, "engine", 0.020, (_F("manifold_kpa", 0, 2, 0.05), _F("torque_nm", 2, 2, 0.1, -100))),
    Message(0x220, "airbag", 0.020, (_F("lateral_mps2", 0, 2, 0.01, -40),), None, None, b"\0\0\x40\x01"),
    Message(0x260, "engine", 0.020, (_F("throttle_pct", 3, 1, 0.5),), None, None, b"\x05\x20\0\0\x30\xff\x8f\0"),
    Message(0x2A0, "steering", 0.050, (_F("steer_deg", 0, 2, 0.5, -1500),), 5, None, b"\0\0\x60\0\x9d\0\0\0"),
    Message(0x2B0, "gateway", 0.050, (_F("speed_mps", 0, 1, 0.25),), None, None, b"\0\0\0\x02\0"),
    Message(0x316, "gateway", 0.050, (_F("rpm", 2, 2, 0.25), _F("coolant_c", 4, 1, 0.75, -48)), None, None),
    Message(0x329, "engine", 0.050, (_F("coolant_c", 1, 1, 0.75, -48),), 0, None, b"\0\0\x7f\x14\x11\x20\0\x14"),
    Message(0x350, "gateway", 0.100, (), 7, 6, b"\x05\x28\x84\x66\x6d\0\0\0"),
    Message(0x370, "gearbox", 0.100, (_F("gear", 1, 1, 1),), None, None, b"\xff\0\0\0\xff\0\0\0"),
    Message(0x430, "body", 0.100, (_F("flag_brake", 0, 1, 16),), None, None, b"\0\0\0\0\0\x6a"),
    Message(0x4B1, "airbag", 0.100, (), None, None, bytes(8)),
    Message(0x4F0, "gateway", 0.200, (_F("odometer_m", 5, 3, 1, 40_000_000),), None, None),
    Message(0x517, "body", 0.200, (_F("battery_v", 0, 1, 0.05),), None, None, b"\0\x10\0\0"),
    Message(0x545, "engine", 0.200, (_F("fuel_l", 0, 2, 0.002), _F("intake_c", 2, 1, 0.75, -48)), None, None),
    Message(0x59B, "body", 0.500, (), None, None, b"\0\0\0\x1c\x03\0\0\0"),
    Message(0x5A0, "airbag", 1.000, (), None, None, b"\x80\0\0\0\0\0\0\0"),
    Message(0x690, "body", 1.000, (), 0, None, b"\0\x02\0"),
)


def payloads(message: Message, drive: Drive, time_s: NDArray[np.float64], first: int = 0) -> NDArray[np.uint8]:
    """Return what a message holds at some moments, `(k, 8)`, zeros behind its end.

    Args:
        message: which.
        drive: whose signals.
        time_s: `(k,)` when it is sent, in order.
        first: the count of the first of them.
    """
    values = [(f, drive.at(f.signal, time_s)) for f in message.fields]
    return packed(message, values, first + np.arange(len(time_s)))


def packed(
    message: Message, values: list[tuple[Field, NDArray[np.float64]]], counts: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Return payloads with these values, counters and a right checksum, `(k, 8)`."""
    data = np.zeros((len(counts), 8), np.uint8)
    data[:, : message.dlc] = np.frombuffer(message.fixed, np.uint8)
    for place, value in values:
        whole = np.clip(np.round((value - place.offset) / place.scale), 0, 256**place.size - 1).astype(np.int64)
        for i in range(place.size):
            data[:, place.byte + i] |= (whole >> 8 * (place.size - 1 - i) & 0xFF).astype(np.uint8)
    if message.counter is not None:
        data[:, message.counter] |= (counts % 16).astype(np.uint8)
    if message.checksum is not None:
        data[:, message.checksum] = crc8(np.delete(data[:, : message.dlc], message.checksum, axis=1))
    return data


def crc8(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the checksum of each row.

    Source: SAE J1850 CRC-8, polynomial 0x1D, start and end 0xFF, as AUTOSAR E2E profile 1 uses it.
    """
    check = np.full(len(data), 0xFF, np.uint8)
    for column in data.T:
        check = _CRC[check ^ column]
    return check ^ np.uint8(0xFF)


def _crc_table() -> NDArray[np.uint8]:
    values = np.arange(256)
    for _ in range(8):
        values = np.where(values & 0x80, values << 1 ^ 0x1D, values << 1) & 0xFF
    return values.astype(np.uint8)


_CRC = _crc_table()
