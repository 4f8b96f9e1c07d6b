"""What a register record keeps of the gate's word and of a device's check."""

from __future__ import annotations

from nightshift.edge.manifest import DeviceCheck
from nightshift.plan.state import AWAITS, DEVICE
from nightshift.tracking import versions
from nightshift.tracking.gate import GateDecision

Facts = dict[str, str | int | float | bool | None]

#: The other two words on a device: see `plan.state`.
PASSED, FAILED = "passed", "failed"


def facts_of(decision: GateDecision, verdict: str) -> Facts:
    """Return what is kept of the gate's word, and of what was done about it."""
    facts: Facts = {
        "champion": verdict == versions.PROMOTED,
        "gate": f"{verdict}: {'; '.join(decision.reasons)}",
    }
    if decision.awaiting:
        facts[DEVICE] = AWAITS
    return facts


def device_facts(check: DeviceCheck, faults: tuple[str, ...]) -> Facts:
    """Return what is kept of a device's check."""
    return {
        DEVICE: FAILED if faults else PASSED,
        "device_on": f"{check.device} ({check.board})" if check.board else check.device,
        "device_stand_in": check.stand_in,
        "device_p99_ms": round(check.latency.p99_ms, 4),
        "device_memory_mb": round(check.footprint.memory_mb, 1),
    }
