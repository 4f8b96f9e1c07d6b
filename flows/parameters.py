"""The parameters that flows share, with what the run form shows for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nightshift import families
from nightshift.plan import only as which
from nightshift.plan.fleet_config import GROUPS

#: The families by their own names, and the names that users know them by.
FAMILY_NAMES = [*families.names(), *sorted(a for a, own in families.ALIASES.items() if own in families.names())]

Subject = Annotated[str, Field(title="Machine", examples=["motor_siemens_1la7_001"])]
Family = Annotated[str, Field(title="Family", json_schema_extra={"enum": list(FAMILY_NAMES)})]
Families = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": list(FAMILY_NAMES)})]],
    Field(title="Families", json_schema_extra={"uniqueItems": True}),
]
Target = Annotated[str, Field(title="Target", examples=["pi", "server"])]
Force = Annotated[bool, Field(title="Force")]
Resume = Annotated[str, Field(title="Resume", examples=["3fa1b2c4d5e6"])]

_FLEET = sorted(
    {*(name for name in FAMILY_NAMES if families.get(families.canonical(name)).group in GROUPS)},
    key=FAMILY_NAMES.index,
)
Machines = Annotated[tuple[str, ...], Field(title="Machines", json_schema_extra={"uniqueItems": True})]
FleetFamilies = Annotated[
    tuple[Annotated[str, Field(json_schema_extra={"enum": list(_FLEET)})], ...],
    Field(title="Families", json_schema_extra={"uniqueItems": True}),
]
Targets = Annotated[tuple[str, ...], Field(title="Targets", json_schema_extra={"uniqueItems": True})]
Tags = Annotated[tuple[str, ...], Field(title="Tags", json_schema_extra={"uniqueItems": True})]
Only = Annotated[which.Only, Field(title="Only")]
#: A flow run's id, or nothing: the server refuses another one when the run is asked for.
_RUN_ID = "^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$"
Continues = Annotated[str, Field(title="Continues", pattern=_RUN_ID)]
