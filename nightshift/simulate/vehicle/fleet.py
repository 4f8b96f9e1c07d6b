"""The cars: masses, drag, engines and gears, drawn from the ranges of compact passenger cars."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.vehicle.columns import Floats

#: Carbon dioxide of a litre, kg: 8,887 and 10,180 g per US gallon of 3.785 L. Source: US EPA, "Greenhouse Gas
#: Emissions from a Typical Passenger Vehicle".
PETROL_CO2_KG_PER_L, DIESEL_CO2_KG_PER_L = 2.348, 2.689
#: Heat of a litre, J. Source: Directive 2009/28/EC, annex III (32 and 36 MJ/L).
PETROL_J_PER_L, DIESEL_J_PER_L = 32.0e6, 36.0e6
DIESEL_SHARE = 0.25
N_GEARS = 6
#: Ratios of a six-speed box, first to last; the final drive scales them.
_RATIOS = (3.60, 2.05, 1.38, 1.03, 0.82, 0.67)


@dataclass(frozen=True)
class Cars:
    """Cars as columns, each `(n,)` unless it says otherwise.

    Attributes:
        mass_kg: with people and luggage.
        drag_m2: drag coefficient times frontal area.
        rolling: coefficient of rolling resistance.
        power_w: highest power of the engine.
        displacement_m3: of the engine.
        willans: slope of the Willans line, work out per heat in.
        friction: factor on the engine's friction.
        idle_rpm: of the warm engine.
        rpm_per_mps: engine speed per road speed in each gear, `(n, 6)`.
        auxiliary_w: lights, fan, pump; the air conditioning comes on top.
        heat_j_per_l, co2_kg_per_l: of its fuel.
        diesel: 1 for a diesel, else 0.
        filling: volumetric efficiency of the engine.
        wheelbase_m: for the steering.
    """

    mass_kg: Floats
    drag_m2: Floats
    rolling: Floats
    power_w: Floats
    displacement_m3: Floats
    willans: Floats
    friction: Floats
    idle_rpm: Floats
    rpm_per_mps: Floats
    auxiliary_w: Floats
    heat_j_per_l: Floats
    co2_kg_per_l: Floats
    diesel: Floats
    filling: Floats
    wheelbase_m: Floats

    def __len__(self) -> int:
        return len(self.mass_kg)

    def take(self, which: NDArray[np.intp]) -> Cars:
        """Return the cars at some places, repeats allowed."""
        return Cars(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def draw_cars(n: int, rng: np.random.Generator) -> Cars:
    """Draw cars; larger ones have larger engines and more drag.

    Source: L. Guzzella, A. Sciarretta, "Vehicle Propulsion Systems", 3rd ed., ch. 2 (drag, rolling) and 3 (Willans
    line: slope near 0.4, higher for diesels); ranges are the author's reading of European data sheets.
    """
    size = rng.uniform(0, 1, n)
    diesel = (rng.uniform(0, 1, n) < DIESEL_SHARE).astype(np.float64)

    def near(value: NDArray[np.float64] | float, spread: float) -> NDArray[np.float64]:
        return value * np.exp(spread * rng.standard_normal(n).clip(-2.5, 2.5))

    displacement = near(1.25e-3 + 0.45e-3 * size + 0.25e-3 * diesel, 0.04)
    final = near(4.1 - 0.5 * diesel - 0.3 * size, 0.03)
    radius_m = 0.30 + 0.03 * size
    per_mps = np.asarray(_RATIOS)[None, :] * (final / radius_m)[:, None] * 60 / (2 * np.pi)
    columns = {
        "mass_kg": near(1250 + 350 * size, 0.05),
        "drag_m2": near(0.62 + 0.10 * size, 0.05),
        "rolling": near(0.0105, 0.08),
        "power_w": near(52e3 * (displacement / 1e-3) ** 1.1, 0.08),
        "displacement_m3": displacement,
        "willans": near(0.385 + 0.035 * diesel, 0.02),
        "friction": near(1.2, 0.06),
        "idle_rpm": near(780, 0.04),
        "rpm_per_mps": per_mps,
        "auxiliary_w": near(450, 0.25),
        "heat_j_per_l": np.where(diesel > 0, DIESEL_J_PER_L, PETROL_J_PER_L),
        "co2_kg_per_l": np.where(diesel > 0, DIESEL_CO2_KG_PER_L, PETROL_CO2_KG_PER_L),
        "diesel": diesel,
        "filling": near(0.86, 0.03),
        "wheelbase_m": 2.45 + 0.3 * size,
    }
    return Cars(**{name: np.asarray(values, np.float32) for name, values in columns.items()})
