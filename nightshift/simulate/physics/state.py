"""Everything that the quantities of a block of units are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nightshift.simulate.catalogue import Mode
from nightshift.simulate.physics.degradation import Units, Wear
from nightshift.simulate.physics.machine import Machine
from nightshift.simulate.physics.series import Array, drift, lag, stream
from nightshift.simulate.profile import Profile

#: Share of the motor's rated losses that does not depend on load; IEC 60034-2-1 parts losses so, the share is assumed.
_FIXED_LOSS = 0.4
#: Share of rated power that sound bearings and seals take, and the temperature rise that it makes in them, K: their
#: quotient is one over the thermal resistance to the air. Assumed: 1 to 3 % are usual for machines with seals.
_FRICTION_LOSS, _FRICTION_K = 0.02, 29.0
#: Share of the head lost to vapour bubbles that the drive makes up for; the rest is missing at the outlet. Assumed.
_MADE_UP = 0.15
#: A defect shows at idle by this share of what it shows at rated load.
_SHOWS_AT_IDLE = 0.75


@dataclass(frozen=True)
class State:
    """One block of units, all arrays `(units, steps)`.

    Attributes:
        profile, machine: whose.
        units: their parameters.
        load: share of rated power that is asked for.
        ambient_c: air.
        wear: hidden states.
        seed: of the block.
    """

    profile: Profile
    machine: Machine
    units: Units
    load: Array
    ambient_c: Array
    wear: Wear
    seed: tuple[int, ...]

    @property
    def step_h(self) -> float:
        """Between two rows."""
        return self.profile.sampling_s / 3600

    def symptom(self, mode: Mode) -> Array:
        """Return a mode's symptom; zero when the machine does not fail by it."""
        return self.wear.by_mode.get(mode, self._nothing)

    def rise(self, effect: str) -> Array:
        """Return the sum of an effect over the modes: parameter times symptom, more under load."""
        total = np.zeros_like(self.load)
        for spec in self.profile.failure_modes:
            size = float(getattr(spec, effect, 0.0))
            if size:
                total += size * self.wear.by_mode[spec.mode]
        return total * self.shows

    def factor(self, effect: str) -> Array:
        """Return the product of an effect over the modes: 1 without a symptom, the parameter at full symptom."""
        product = np.ones_like(self.load)
        for spec in self.profile.failure_modes:
            size = float(getattr(spec, effect, 1.0))
            if size != 1:
                product *= 1 + (size - 1) * self.wear.by_mode[spec.mode] * self.shows
        return product

    def kept(self, effect: str) -> Array:
        """Return the share that losses leave: the product of 1 - loss x symptom, never below a tenth."""
        product = np.ones_like(self.load)
        for spec in self.profile.failure_modes:
            size = float(getattr(spec, effect, 0.0))
            if size:
                product *= np.maximum(0.1, 1 - size * self.wear.by_mode[spec.mode])
        return product

    def wander(self, name: str, spread: float, memory_h: float) -> Array:
        """Return the named process's noise that remembers, with standard deviation `spread`."""
        return drift(stream(self.seed, name), self.load.shape, spread, self.step_h, memory_h)

    def per_unit(self, name: str, low: float, high: float) -> Array:
        """Return a number of each unit's own between two limits, `(units, 1)`."""
        return stream(self.seed, name).uniform(low, high, (len(self.load), 1))

    @cached_property
    def _nothing(self) -> Array:
        return np.zeros_like(self.load)

    @cached_property
    def shows(self) -> Array:
        """How much a defect shows under the present load: 1 at rated load."""
        return _SHOWS_AT_IDLE + (1 - _SHOWS_AT_IDLE) * self.load

    @cached_property
    def speed_share(self) -> Array:
        """Speed as a share of rated, before slip.

        Source: affinity laws, P ~ n^3, for pumps and fans behind an inverter; a screw compressor displaces, so its
        power is a straight line in speed, from a quarter of rated speed on.
        """
        return speed_share(self.machine, self.load)

    @cached_property
    def friction_k(self) -> Array:
        """Temperature rise that defects of bearings and oil make by friction, K, before wander and thermal lag."""
        return self.rise("friction_rise_k")

    @cached_property
    def power_share(self) -> Array:
        """Shaft power asked of the motor as a share of rated: the load, and what the loss of efficiency costs.

        Deposits cost a share of the load, friction what it makes in heat, and lost head is made up in part.
        Source: heat balance of a bearing, friction power = temperature rise / thermal resistance, by which Palmgren's
        friction moment is found from temperatures (SKF, Rolling bearings, "Operating temperature").
        """
        deposits = self.load * self.rise("power_rise")
        friction = _FRICTION_LOSS / _FRICTION_K * self.friction_k
        made_up = _MADE_UP * self.load * self.rise("head_loss")
        return self.load + deposits + friction + made_up

    @cached_property
    def torque_share(self) -> Array:
        """Torque asked of the motor as a share of rated, with what defects cost."""
        return self.power_share / self.speed_share

    @cached_property
    def slip(self) -> Array:
        """Share of synchronous speed: goes with torque below pull-out, and more with a winding that ages."""
        heat = 1 + self.rise("current_rise")
        return np.minimum(0.2, self.machine.rated_slip * self.torque_share * heat)

    @cached_property
    def current_share(self) -> Array:
        """Current as a share of rated: active and magnetising parts at right angles.

        Source: circle diagram of the induction motor (Boldea and Nasar, The Induction Machine Handbook, ch. 7).
        """
        return current_share(self.machine, self.torque_share) * (1 + self.rise("current_rise"))

    @cached_property
    def winding_rise(self) -> Array:
        """The winding's temperature above the air, K: losses through one thermal mass."""
        target = winding_target(self.machine, self.current_share)
        target = target + self._own_heat(Mode.INSULATION_AGEING) + 0.5 * self._own_heat(Mode.FOULING)
        target *= np.exp(self.wander("winding", 0.012, 12.0))
        return lag(target, self.step_h, self.machine.winding_tau_h)

    @cached_property
    def friction_rise(self) -> Array:
        """The bearing's temperature above the air, K: friction through one thermal mass.

        Source: Palmgren's friction moment M = M0 + M1: a part that goes with speed and one that goes with load. Seals
        warm it by 7 K, and a part of the winding's heat comes through the shaft; the sizes are assumed.
        """
        target = 7 + 8 * self.speed_share + 14 * self.load + 0.12 * self.winding_rise
        target = target * np.exp(self.wander("bearing", 0.02, 12.0))
        target += self.friction_k * np.exp(self.wander("friction", 0.08, 8.0))
        return lag(target, self.step_h, self.machine.bearing_tau_h)

    def _own_heat(self, mode: Mode) -> Array:
        for spec in self.profile.failure_modes:
            if spec.mode is mode:
                return float(getattr(spec, "temperature_rise_k", 0.0)) * self.wear.by_mode[mode] * self.shows
        return self._nothing

    def heat_of(self, mode: Mode) -> Array:
        """Return the temperature rise that one mode makes, K."""
        return self._own_heat(mode)


def speed_share(machine: Machine, load: Array) -> Array:
    """Return speed as a share of rated, before slip; see `State.speed_share`."""
    if not machine.variable_speed:
        return np.ones_like(load)
    asked = np.minimum(load, 1.0)
    return np.cbrt(asked) if machine.flow_follows_cube else 0.25 + 0.75 * asked


def current_share(machine: Machine, torque: Array) -> Array:
    """Return current as a share of rated, from torque as a share of rated."""
    active = machine.plate.power_factor
    return np.hypot(active * torque, np.sqrt(1 - active**2))


def winding_target(machine: Machine, current: Array) -> Array:
    """Return the winding's steady rise above the air, K: fixed losses, and those that go with the current's square."""
    return machine.rated_rise_k * (_FIXED_LOSS + (1 - _FIXED_LOSS) * current**2)


def sound_winding_c(machine: Machine, load: Array, ambient_c: Array, step_h: float) -> Array:
    """Return the temperature of a winding without defects, degC, `(units, steps)`."""
    current = current_share(machine, load / speed_share(machine, load))
    return ambient_c + lag(winding_target(machine, current), step_h, machine.winding_tau_h)


def input_power_kw(state: State) -> Array:
    """Return the electrical power drawn, kW: shaft power with what defects cost, fixed losses and load losses.

    Source: IEC 60034-2-1, efficiency from separated losses.
    """
    plate = state.machine.plate
    rated_loss = plate.rated_power_kw * (1 / plate.efficiency - 1)
    shaft = plate.rated_power_kw * state.power_share
    return shaft + rated_loss * (_FIXED_LOSS + (1 - _FIXED_LOSS) * state.current_share**2)
