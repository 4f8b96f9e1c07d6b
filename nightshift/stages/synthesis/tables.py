"""The tables that stages of a synthesis leave for later ones: units as parquet in the work folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.files import write_atomic
from nightshift.plan.synthesis import Synthesis
from nightshift.simulate.units import SeedUnits, split_units
from nightshift.stages.recorded import StageContext

if TYPE_CHECKING:
    import pandas as pd

SEED_UNITS = "seed_units.parquet"


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table whole or not at all, and return its path."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_atomic(path, buffer.getvalue())
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_table` wrote."""
    import pandas as pd

    return pd.read_parquet(path, engine="pyarrow")


def seed_units(job: Synthesis, ctx: StageContext) -> SeedUnits:
    """Return the seed units that the stage `profile` drew, split."""
    return split_units(read_table(ctx.work(job) / SEED_UNITS))


def generated(job: Synthesis, ctx: StageContext, generator: str, seed: int) -> Path:
    """Return where the units of a generator lie that was fitted with a seed."""
    return ctx.work(job) / "units" / f"{generator}-{seed}.parquet"
