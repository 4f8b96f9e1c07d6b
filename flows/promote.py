"""promote_model: a person decides whether a version that passed the gate becomes champion."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from nightshift.tracking.promotion import PersonsWord
from tasks.promote import asked, done_as_said, settled_already

Name = Annotated[str, Field(title="Model", examples=["motor_siemens_1la7_001.rul.pi"])]
Number = Annotated[int, Field(title="Version", ge=1)]
Hours = Annotated[float, Field(title="Hours", gt=0)]


@flow(
    name="promote-model",
    flow_run_name="{name} v{version}: promote?",
    persist_result=True,
    result_serializer="json",
)
def promote_model(name: Name, version: Number, wait_h: Hours = 168.0) -> PersonsWord:
    """Ask a person whether a version becomes champion, and do as they say.

    The run is suspended with a form that shows challenger beside champion. It needs no worker until it is answered.

    Args:
        name: of the model, `<machine>.<family>.<target>`.
        version: its number.
        wait_h: how long the form waits; the run has failed afterwards, and the version goes on waiting.

    Returns:
        What became of it.

    Raises:
        UnknownNameError: when the version is gone.
        UsageError: when it is refused, and was made champion meanwhile.
    """
    word = settled_already(name, version)
    return word or done_as_said(name, version, asked(name, version, wait_h))
