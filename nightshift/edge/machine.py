"""What a device tells of itself: board, temperature, throttling, and whether it stands in for another."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

_BOARD = Path("/proc/device-tree/model")
_SELF = Path("/proc/self")
_ZONES = Path("/sys/class/thermal")
_CPU_ZONE = re.compile(r"cpu|soc|x86_pkg|core|bcm", re.IGNORECASE)
#: Names of one architecture.
_ALIASES = {"arm64": "aarch64", "amd64": "x86_64", "x64": "x86_64"}
#: `vcgencmd get_throttled`: under-voltage, frequency capped, throttled, soft temperature limit; now, and since boot.
_NOW, _SINCE_BOOT = 0xF, 0xF0000
_ASK_S = 5.0
#: The emulator's own file, as the kernel names it at the end of a line; a folder above another file may be named so.
_QEMU_USER = re.compile(rb"(?:^|[/\s])qemu-[^/\s]+(?: \(deleted\))?\s*$", re.MULTILINE)


def architecture() -> str:
    """Return the machine's architecture, `aarch64`."""
    return _canonical(platform.machine())


def board() -> str:
    """Return the board's model where the machine tells it, "" elsewhere."""
    try:
        return _BOARD.read_bytes().decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""


def stand_in(wanted: str) -> str:
    """Return why this is not a device of the wanted architecture, "" where it is; "" wants none in particular."""
    here, target = architecture(), _canonical(wanted)
    reasons = []
    if target and here != target:
        reasons.append(f"{here} in place of {target}")
    emulator = _emulator()
    if emulator:
        reasons.append(f"{here} emulated by {emulator}")
    return ", ".join(reasons)


def temperature_c() -> float | None:
    """Return the hottest temperature of the processor in °C, None where the machine does not tell."""
    found = []
    for zone in sorted(_ZONES.glob("thermal_zone*")):
        try:
            if _CPU_ZONE.search((zone / "type").read_text(encoding="ascii", errors="replace")):
                found.append(int((zone / "temp").read_text(encoding="ascii")) / 1e3)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def throttle_bits() -> int | None:
    """Return the bits of `vcgencmd get_throttled`, None where there is no such command or it does not answer."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        said = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=_ASK_S, check=True)
        return int(said.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def slowed_down(before: int | None, after: int | None) -> bool | None:
    """Say whether the board slowed down between two readings of `throttle_bits`, None without them."""
    if before is None or after is None:
        return None
    return bool(after & _NOW or after & ~before & _SINCE_BOOT)


def _canonical(name: str) -> str:
    return _ALIASES.get(name.lower(), name.lower())


def _emulator() -> str:
    """Return `qemu-user` where it runs this process: the host's kernel knows the process by its own name or files."""
    for name in ("comm", "smaps"):
        try:
            if _QEMU_USER.search((_SELF / name).read_bytes()):
                return "qemu-user"
        except OSError:
            continue
    return "a virtual machine of qemu" if board() == "linux,dummy-virt" else ""
