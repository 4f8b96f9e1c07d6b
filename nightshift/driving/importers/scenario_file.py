"""`scenario.json` of the processed layout; units stand in the names, meanings as in `driving.scenario`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_MOST_CARS = 20_000
#: What a road user counts as in the score's collisions, as `score_parts.SORTS`.
Sort = Literal["vehicle", "person", "object"]


class _Strict(BaseModel):
    """Frozen, refuses unknown keys, and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EgoFile(_Strict):
    """The ego car at the start, as `EgoStart`; its pose is that of the rear axle, against the route."""

    s_m: float
    d_m: float
    heading: float
    speed_mps: float = Field(ge=0)
    length_m: float = Field(gt=0, le=60)
    width_m: float = Field(gt=0, le=20)
    wheelbase_m: float = Field(gt=0, le=40)
    rear_m: float = Field(ge=0, le=40)


class CarFile(_Strict):
    """Another car at the start, as `Traffic`; `lane` -1 is a car that only its track moves, or that comes later."""

    lane: int = Field(ge=-1)
    s_m: float
    d_m: float
    speed_mps: float = Field(ge=0)
    length_m: float = Field(gt=0, le=60)
    width_m: float = Field(gt=0, le=20)
    desired_mps: float = Field(gt=0)
    headway_s: float = Field(gt=0)
    gap_m: float = Field(ge=0)
    accel_mps2: float = Field(gt=0)
    decel_mps2: float = Field(gt=0)
    politeness: float
    turn: int = Field(ge=0)


class RecordedFile(_Strict):
    """Where a scenario was recorded, and how well its expert's actions drive it again.

    Attributes:
        recording: recordings of this name saw the same road at the same time: one part holds them all.
        source: file and origin, for people.
        tag: kind of the scene as the log names it, "" for none.
        ego: the car of the recording that is the ego.
        start_s: of the first step, on the recording's clock.
        map: `lanelets`, or `paths` where the recording has no map: lanes then lie along the paths that were driven.
        reconstruction_rmse_m, reconstruction_worst_m: distance of the open-loop drive of the expert's actions from the
            smoothed track.
        smoothing_rmse_m: distance, x and y together, of the smoothed track from the recorded one.
        sorts: of each other car, in order; empty where nobody told: then all count as vehicles.
    """

    recording: str
    source: str
    tag: str
    ego: str
    start_s: float
    map: str
    reconstruction_rmse_m: float
    reconstruction_worst_m: float
    smoothing_rmse_m: float
    sorts: tuple[Sort, ...] = Field(default=(), max_length=_MOST_CARS)


class ScenarioFile(_Strict):
    """All of a scenario that is no table.

    Attributes:
        format: of the layout.
        goal_m: metre of the route that is the goal.
        expert_m: metres of the route that the recorded driver covered.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,150}$")]
    duration_s: float = Field(gt=0, le=3600)
    expert_m: float = Field(ge=0)
    goal_m: float = Field(gt=0)
    ego: EgoFile
    cars: tuple[CarFile, ...] = Field(max_length=_MOST_CARS)
    recorded: RecordedFile
