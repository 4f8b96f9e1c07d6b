"""The written thresholds of the quality gate: one table, which a profile's options may override."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class QualityLimits(BaseModel):
    """What generated units must reach before they may land; means over the generator seeds.

    Attributes:
        column_shapes: least similarity of each parameter's distribution to held-out units, mean over parameters.
        pair_trends: least similarity of the dependences, mean over the pairs that depend on each other at all.
        row_shapes: least similarity of each sensor's distribution in the roll-out, mean over sensors.
        dcr_protection: least share, doubled and up to 1, of units that are no nearer to a training unit than to one of
            as many fresh ones; where half are copies it is 0.5.
        violations: most rows or units that break a law of physics, all seeds together.
        autocorrelation: least match of the sensors' autocorrelation.
        daily_pattern: least match of the sensors' mean by local hour.
        tstr_to_trtr: least ratio of what is learned from generated units to what is learned from real ones, for F1
            and for R² of the remaining life.
        worse_than_baseline: most by which F1 or R² may lie below a baseline's, mean of paired differences.
        failure_share: least and most share of failing rows.
        sensor_auc: most that a single sensor may tell of the label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column_shapes: float = Field(default=0.9, ge=0, le=1)
    pair_trends: float = Field(default=0.9, ge=0, le=1)
    row_shapes: float = Field(default=0.9, ge=0, le=1)
    dcr_protection: float = Field(default=0.8, ge=0, le=1)
    violations: int = Field(default=0, ge=0)
    autocorrelation: float = Field(default=0.9, ge=0, le=1)
    daily_pattern: float = Field(default=0.9, ge=0, le=1)
    tstr_to_trtr: float = Field(default=0.9, ge=0)
    worse_than_baseline: float = Field(default=0.02, ge=0)
    failure_share: tuple[float, float] = (0.10, 0.20)
    sensor_auc: float = Field(default=0.98, ge=0.5, le=1)
