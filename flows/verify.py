"""verify_on_device: a board checks one bundle, so that it may become champion. Base install and Prefect."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from nightshift.edge.manifest import DeviceCheck
from tasks.verify import bundle, check, tell

Name = Annotated[str, Field(title="Model", examples=["motor_siemens_1la7_001.rul.pi"])]
BundleId = Annotated[str, Field(title="Bundle", pattern="^[0-9a-f]{64}$")]
Folder = Annotated[str, Field(title="Folder")]
StoreKey = Annotated[str, Field(title="Store key")]
Architecture = Annotated[str, Field(title="Architecture", examples=["aarch64"])]


@flow(
    name="verify-on-device",
    flow_run_name="{name}.device",
    persist_result=True,
    result_serializer="json",
    # A check takes a minute; one that hangs shall not keep its board, nor a night that waits for it.
    timeout_seconds=900,
)
def verify_on_device(
    name: Name,
    bundle_id: BundleId,
    folder: Folder = "",
    store_key: StoreKey = "",
    architecture: Architecture = "",
) -> DeviceCheck:
    """Check one bundle on the machine that this runs on: answers, latency, memory, temperature.

    It measures and tells, and changes nothing: a board reaches neither registry nor gate. Whoever asks records what was
    found, asks the gate and promotes: `nightshift verify`, or the run of the fleet. Started by hand it only measures.

    Args:
        name: of the model, `<machine>.<family>.<target>`.
        bundle_id: SHA-256 of its `bundle.json`.
        folder: of the bundle, relative to the home, used where this machine has it; empty = it is fetched.
        store_key: of the bundle in the shared store; empty = where the fleet's machines bring it.
        architecture: of the target's devices; on another one the result says that this machine stands in.

    Returns:
        What was found.

    Raises:
        BundleError: when the bundle is damaged, or carries no answers to compare with.
        ServiceError: when the bundle is not here, and no store has it.
    """
    with bundle(name, bundle_id, folder, store_key) as place:
        found = check(place, architecture)
    tell(name, found)
    return found
