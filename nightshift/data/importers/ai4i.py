"""AI4I 2020, a synthetic milling machine with documented failure modes.

Source: Matzka, "Explainable Artificial Intelligence for Predictive Maintenance Applications", AI4I 2020; UCI 601.
"""

from __future__ import annotations

from pathlib import Path

from nightshift.data.dataset import Dataset
from nightshift.data.importers.csv_file import import_csv
from nightshift.data.importers.landing import Check, refuse_blockers
from nightshift.data.importers.mapping import LabelColumn, Mapping, SensorColumn, TimeColumn
from nightshift.data.schema import Derived, TimeKind
from nightshift.settings import Home

#: Why a column of the file is no input.
DROPPED = {
    "UDI": "row number",
    "Product ID": "serial number",
    "TWF": "failure mode, part of the label",
    "HDF": "failure mode, part of the label",
    "PWF": "failure mode, part of the label",
    "OSF": "failure mode, part of the label",
    "RNF": "failure mode, part of the label",
}
#: Heat dissipation, power and overstrain: what the paper says the failure modes depend on.
DERIVED = (
    Derived(name="temperature_rise_k", kind="difference", left="process_temperature_k", right="air_temperature_k"),
    Derived(name="power_nm_rpm", kind="product", left="torque_nm", right="rotational_speed_rpm"),
    Derived(name="strain_min_nm", kind="product", left="tool_wear_min", right="torque_nm"),
)
MAPPING = Mapping(
    machine="ai4i_2020",
    title="AI4I 2020 milling machine",
    time=TimeColumn(kind=TimeKind.NONE),
    sensors={
        "Type": SensorColumn(name="type", role="category"),
        "Air temperature [K]": SensorColumn(
            name="air_temperature_k", unit="K", critical=True, minimum=230, maximum=340
        ),
        "Process temperature [K]": SensorColumn(
            name="process_temperature_k", unit="K", critical=True, minimum=230, maximum=400
        ),
        "Rotational speed [rpm]": SensorColumn(
            name="rotational_speed_rpm", unit="rpm", critical=True, minimum=0, maximum=10000
        ),
        "Torque [Nm]": SensorColumn(name="torque_nm", unit="Nm", critical=True, minimum=0, maximum=500),
        "Tool wear [min]": SensorColumn(name="tool_wear_min", unit="min", critical=True, minimum=0, maximum=1000),
    },
    derived=DERIVED,
    label=LabelColumn(column="Machine failure"),
    source="AI4I 2020 predictive maintenance, UCI, CC BY 4.0",
)


def import_ai4i(
    home: Home,
    path: Path,
    subject: str | None = None,
    *,
    seed: int = 0,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land AI4I 2020: independent rows, stratified 70/15/15; the failure modes are not among the inputs.

    Args:
        home: where to land.
        path: `ai4i2020.csv`, or its folder.
        subject: id to land under; `ai4i_2020` by default.
        seed: of the split.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when the file is missing or does not have the published columns.
    """
    file = path / "ai4i2020.csv" if path.is_dir() else path
    mapping = MAPPING.model_copy(update={"seed": seed})
    return import_csv(home, file, mapping, subject, dropped=DROPPED, event=event, check=check)
