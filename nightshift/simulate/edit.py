"""A profile that begins as another machine's: its nameplate changed, its sensors and ways to fail fitted to that."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from nightshift.data.schema import check_subject
from nightshift.errors import UnknownNameError
from nightshift.settings import Home, find_config
from nightshift.simulate.answers import usual
from nightshift.simulate.catalogue import KINDS, MachineType, Mode
from nightshift.simulate.profile import profile_names, read_profile_yaml
from nightshift.simulate.profile_parts import Nameplate
from nightshift.simulate.templates import TEMPLATES, Plate, failure_block, sensor_block
from nightshift.simulate.wizard import failures

Content = dict[str, Any]

#: What a sensor takes from the nameplate.
_SCALED = ("range", "noise", "bias", "alarm_above")
_USUAL_SHARE, _USUAL_ONSET = 0.2, 0.5


def content_of(home: Home, machine: str) -> Content:
    """Return what a machine's file says of the machine, the user's file before the shipped one.

    Raises:
        UnknownNameError: for a machine without a profile; names the nearest.
        ConfigError: when the file cannot be read.
    """
    path = find_config(home, "machines", check_subject(machine))
    content = read_profile_yaml(path) if path else {}
    if "machine_type" not in content:
        hint = "`nightshift profile new` writes one, and so does the page /machines/new."
        raise UnknownNameError("machine profile", machine, profile_names(home), hint=hint)
    return {key: value for key, value in content.items() if key != "families"}


def plate_of(content: Mapping[str, Any]) -> Plate | None:
    """Return the figures that limits are scaled from; None while they are not good."""
    try:
        kind = MachineType(content["machine_type"])
        plate = Nameplate.model_validate(content["nameplate"])
        mean_life_h = float(content["life"]["mean_h"])
    except (KeyError, TypeError, ValueError, ValidationError):
        return None
    if mean_life_h <= 0:
        return None
    known = {"machine_type": kind, "rated_power_kw": plate.rated_power_kw}
    return Plate(
        machine_type=kind,
        power_kw=plate.rated_power_kw,
        speed_rpm=plate.rated_speed_rpm,
        voltage_v=plate.rated_voltage_v,
        vibration_class=plate.vibration_class,
        insulation_class=plate.insulation_class,
        flow_m3_h=plate.rated_flow_m3_h or usual("rated_flow_m3_h", known) or 0.0,
        pressure_bar=plate.rated_pressure_bar or usual("rated_pressure_bar", known) or 0.0,
        mean_life_h=mean_life_h,
    )


def fitted(content: Content) -> Content:
    """Return a profile whose sensors' ranges, noise and alarms, and failures' shaking, follow from its nameplate.

    A sensor without an alarm gets none, and what the nameplate says nothing of stays. A profile whose nameplate is not
    good stays as it is.
    """
    plate = plate_of(content)
    found = deepcopy(content)
    if plate is None:
        return found
    allowed = KINDS[plate.machine_type]
    for sensor in _mappings(found.get("sensors")):
        if sensor.get("measures") in allowed.quantities:
            block = sensor_block(sensor["measures"], plate)
            sensor |= {key: block[key] for key in _SCALED if key in block and (key != "alarm_above" or key in sensor)}
    for mode in _mappings(found.get("failure_modes")):
        if mode.get("mode") in allowed.modes and "vibration_rise_mm_s" in mode:
            mode |= failure_block(Mode(mode["mode"]), mode.get("share", 0.0), mode.get("onset", _USUAL_ONSET), plate)
    return found


def with_sensor(content: Content, quantity: str) -> Content:
    """Return a profile with one more sensor, scaled from its nameplate; its name is one that no other has."""
    plate = plate_of(content)
    found = deepcopy(content)
    sensors = found.get("sensors")
    if plate is None or not isinstance(sensors, list) or quantity not in KINDS[plate.machine_type].quantities:
        return found
    block = sensor_block(quantity, plate)
    taken = [s.get("name") for s in _mappings(sensors)]
    names = (block["name"] if n == 1 else f"{block['name']}_{n}" for n in range(1, len(taken) + 2))
    sensors.append({**block, "name": next(name for name in names if name not in taken)})
    return found


def with_mode(content: Content, mode: str) -> Content:
    """Return a profile with one more way to fail; the shares of the others make room for it."""
    plate = plate_of(content)
    found = deepcopy(content)
    modes = found.get("failure_modes")
    if plate is None or not isinstance(modes, list) or mode not in KINDS[plate.machine_type].modes:
        return found
    usual_share = next((s for m, s, _ in TEMPLATES[plate.machine_type].modes if m == mode), _USUAL_SHARE)
    (block,) = failures(plate.machine_type, (Mode(mode),), plate)
    modes.append({**block, "share": usual_share})
    return shared_out(found)


def shared_out(content: Content) -> Content:
    """Return a profile whose ways to fail have shares that add up to 1, in the proportions that they had."""
    found = deepcopy(content)
    modes = _mappings(found.get("failure_modes"))
    shares: list[Any] = [m.get("share") for m in modes]
    if not modes or not all(isinstance(s, int | float) and s > 0 for s in shares):
        return found
    total = sum(shares)
    for mode in modes[1:]:
        mode["share"] = round(mode["share"] / total, 3)
    modes[0]["share"] = round(1 - sum(m["share"] for m in modes[1:]), 3)
    return found


def _mappings(items: Any) -> list[Content]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
