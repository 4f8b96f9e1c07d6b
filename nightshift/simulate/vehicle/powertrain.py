"""From motion to the engine: forces, gears, the Willans line with overrun cut-off, carbon dioxide, intake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.vehicle.columns import Floats
from nightshift.simulate.vehicle.drive import AIR_KG_M3, G, Motion, Road
from nightshift.simulate.vehicle.drivers import Drivers
from nightshift.simulate.vehicle.fleet import N_GEARS, Cars

#: Share of the engine's work that reaches the wheels; turning parts count as so much more mass.
_DRIVELINE, _TURNING = 0.92, 1.05
#: Above this engine speed no fuel is injected when the car pushes the engine.
_CUT_OFF_RPM = 1250.0
#: Gas constant of air, J/(kg K); air to fuel, and density of petrol and diesel, kg/L.
_AIR_R, _AIR_FUEL = 287.0, 14.7
_PETROL_KG_L, _DIESEL_KG_L = 0.745, 0.835
_COLD_FRICTION = 0.7


@dataclass(frozen=True)
class Weather:
    """Of each trip, every field `(trips, 1)`.

    Attributes:
        ambient_c: air temperature.
        wind_mps, wind_from: wind and where it comes from, rad.
        start_c: coolant at the start: cold, or warm from an earlier trip.
        cooling_w: load of the air conditioning.
    """

    ambient_c: Floats
    wind_mps: Floats
    wind_from: Floats
    start_c: Floats
    cooling_w: Floats


def draw_weather(trips: int, rng: np.random.Generator) -> Weather:
    """Draw the weather, and how warm the engine is; the year is spread over the trips, so that parts are alike."""
    from scipy.special import ndtri

    place = (rng.permutation(trips) + rng.uniform(size=trips)) / trips
    ambient = (14 + 9 * ndtri(place)).clip(-12, 36)[:, None]
    warm = rng.uniform(size=(trips, 1)) < 0.4
    start = np.where(warm, rng.uniform(50, 88, (trips, 1)), ambient)
    cooling = np.where(ambient > 21, 120 * (ambient - 20), 0) * rng.uniform(0.5, 1, (trips, 1))
    columns = (ambient, rng.rayleigh(2.5, (trips, 1)), rng.uniform(0, 2 * np.pi, (trips, 1)), start, cooling)
    return Weather(*(np.asarray(c, np.float32) for c in columns))


@dataclass(frozen=True)
class Engine:
    """What the engine does, each array `(trips, seconds)`.

    Attributes:
        gear: 1 to 6.
        rpm: engine speed.
        share: torque as a share of what there is at this speed, 0 to 1: the throttle.
        brake: 0 to 1.
        fuel_l_h: rate of fuel.
        co2_g_s: rate of carbon dioxide.
        manifold_kpa: pressure in the intake.
        coolant_c, intake_c: temperatures.
    """

    gear: Floats
    rpm: Floats
    share: Floats
    brake: Floats
    fuel_l_h: Floats
    co2_g_s: Floats
    manifold_kpa: Floats
    coolant_c: Floats
    intake_c: Floats


def run_engine(motion: Motion, cars: Cars, drivers: Drivers, weather: Weather, road: Road) -> Engine:
    """Return what the engine does along the trips.

    Source: Willans line, L. Guzzella, A. Sciarretta, "Vehicle Propulsion Systems", 3rd ed., ch. 3; friction of the
    engine over its speed, J. B. Heywood, "Internal Combustion Engine Fundamentals", eq. 13.6, in bar:
    0.97 + 0.15 (N/1000) + 0.05 (N/1000)^2.
    """
    v, place = motion.speed, motion.place
    wheel_w = _wheel_power(motion, cars, weather, road)
    full_w = cars.power_w[:, None]
    gear, rpm = _gears(v, wheel_w / full_w, cars, drivers)
    coolant = _coolant(v.shape[1], weather)
    cold = _COLD_FRICTION * (90 - coolant) * np.float32(1 / 90)
    kilo = rpm * np.float32(1e-3)
    friction_pa = (97e3 + kilo * (15e3 + kilo * 5e3)) * (cars.friction[:, None] * (1 + cold))
    # Work per cycle times cycles per second: a four-stroke fires every second turn.
    friction_w: Floats = friction_pa * rpm * (cars.displacement_m3[:, None] / 120)
    driven_w = np.maximum(wheel_w, 0) / _DRIVELINE
    extra_w = cars.auxiliary_w[:, None] + weather.cooling_w
    slowing_w: Floats = np.minimum(wheel_w, 0) * _DRIVELINE
    # Below that the clutch is open: the engine idles, and the brakes do all of it.
    driven_round = rpm > _CUT_OFF_RPM
    pushed_w: Floats = slowing_w * driven_round
    work_w: Floats = np.maximum(driven_w + friction_w + extra_w + pushed_w, 0)
    work_w[pushed_w < -0.35 * friction_w] = 0
    heat_w = work_w / cars.willans[:, None]
    fuel = heat_w * (3600 / cars.heat_j_per_l[:, None])
    # Engines give less torque at low speed; the shape is a usual one, level from a third of the highest speed.
    most_w = full_w * np.minimum(rpm * np.float32(1 / 5200), 1) ** np.float32(0.85)
    share = np.clip((driven_w + 0.2 * pushed_w) / most_w, 0, 1)
    intake = _intake(v, weather, road, place)
    return Engine(
        gear=gear,
        rpm=rpm,
        share=share,
        brake=_brake(v, slowing_w + friction_w * driven_round, cars),
        fuel_l_h=fuel,
        co2_g_s=fuel * (cars.co2_kg_per_l[:, None] * np.float32(1000 / 3600)),
        manifold_kpa=_manifold(fuel, rpm, intake, cars),
        coolant_c=coolant,
        intake_c=intake,
    )


def _wheel_power(motion: Motion, cars: Cars, weather: Weather, road: Road) -> Floats:
    """Return power at the wheels, W: inertia, slope, rolling, air with wind along the road's direction."""
    v = motion.speed
    mass = cars.mass_kg[:, None]
    head = weather.wind_mps * np.cos(road.heading[motion.place] - weather.wind_from)
    air = v + head
    force = mass * (_TURNING * motion.acceleration + G * road.grade[motion.place])
    force += (mass * G) * cars.rolling[:, None]
    force += (0.5 * AIR_KG_M3 * cars.drag_m2[:, None]) * air * np.abs(air)
    # Over the second that ends here the car went at the mean of two speeds.
    power: Floats = force * (v - 0.5 * motion.acceleration)
    return power


def _gears(v: Floats, load: Floats, cars: Cars, drivers: Drivers) -> tuple[Floats, Floats]:
    """Return gear and engine speed: shifted up at the driver's engine speed, later under load."""
    eased = load.copy()
    eased[:, 1:] = 0.5 * load[:, 1:] + 0.5 * load[:, :-1]
    shift = drivers.shift_rpm[:, None] * (1 + 0.9 * np.clip(eased, 0, 0.8))
    gear = np.ones_like(v)
    per = np.broadcast_to(cars.rpm_per_mps[:, :1], v.shape)
    for i in range(1, N_GEARS):
        up = v * cars.rpm_per_mps[:, i - 1 : i] > shift
        gear += up
        per = np.where(up, cars.rpm_per_mps[:, i : i + 1], per)
    # Below walking pace the clutch slips, and the engine idles.
    rpm = np.maximum(v * per, cars.idle_rpm[:, None])
    return gear, np.minimum(rpm, 6800)


def _coolant(seconds: int, weather: Weather) -> Floats:
    """Return the coolant's temperature: to 90 degC within some ten minutes, then the thermostat's slow to and fro."""
    t = np.arange(seconds, dtype=np.float32)
    warm = 90 - (90 - weather.start_c) * np.exp(-t / 330)
    ripple: Floats = warm + 1.2 * np.sin(t / 47 + weather.wind_from) * (1 - np.exp(-t / 600))
    return ripple.astype(np.float32)


def _intake(v: Floats, weather: Weather, road: Road, place: NDArray[np.int32]) -> Floats:
    """Return the intake air's temperature: the slower the car, the more of the engine's warmth."""
    slow = weather.ambient_c + 4 + 14 / (1 + 0.15 * v)
    warmed: Floats = slow + 2 * road.grade[place]
    return warmed


def _brake(v: Floats, beyond_w: Floats, cars: Cars) -> Floats:
    """Return the brake pedal: slowing down beyond the engine's drag, as a share of 9 m/s2; held at a stop."""
    force = np.minimum(beyond_w, 0) / np.maximum(v, 1.5)
    pedal = np.clip(force * (-1 / 9.0 / cars.mass_kg[:, None]), 0, 1)
    pedal[v < 0.1] = 0.18
    return pedal


def _manifold(fuel_l_h: Floats, rpm: Floats, intake_c: Floats, cars: Cars) -> Floats:
    """Return the intake's pressure, kPa: a petrol engine takes the air that its fuel burns with, a diesel more.

    Source: speed-density relation, air per second = p V N eta / (120 R T).
    """
    # A litre per hour of petrol needs so many kg of air a second.
    air = fuel_l_h * np.float32(_PETROL_KG_L * _AIR_FUEL / 3600)
    filled = cars.displacement_m3[:, None] * cars.filling[:, None] * (1 - 0.03 * np.abs(rpm * 1e-3 - 3.2))
    petrol = air * (120 * _AIR_R * 1e-3) * (intake_c + 273) / (rpm * filled)
    petrol = np.clip(petrol, 22, 175)
    # Unthrottled: the turbocharger adds what the heat drives it to.
    boosted = np.clip(98 + 0.45 * petrol * (_DIESEL_KG_L / _PETROL_KG_L), 98, 240)
    pressure: Floats = np.where(cars.diesel[:, None] > 0, boosted, petrol).astype(np.float32)
    return pressure
