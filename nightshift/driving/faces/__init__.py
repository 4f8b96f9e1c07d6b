"""The faces of the world to learners: gymnasium's two and stable-baselines3's.

Importing it registers `ADPlanning-v0`, as gymnasium expects of a package that has environments:
`gymnasium.make("nightshift.driving.faces:ADPlanning-v0")` and `gymnasium.make_vec(..., num_envs=8)` do so themselves.
"""

from __future__ import annotations

import gymnasium

NAME = "ADPlanning-v0"


def register() -> None:
    """Make `ADPlanning-v0` known to gymnasium."""
    if NAME not in gymnasium.registry:
        gymnasium.register(
            NAME,
            entry_point="nightshift.driving.faces.gym_env:ADPlanning",
            vector_entry_point="nightshift.driving.faces.vector_env:ADPlanningVector",
        )


register()
