"""Deletes a version from MLflow for good: its artifacts, its run, and at last the version itself.

Each step may be done twice, so that what was cut off is finished by doing all of them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from nightshift.tracking import versions
from nightshift.tracking.mlflow_store import Store, told_apart

if TYPE_CHECKING:
    from mlflow.entities import Run

Value = TypeVar("Value")


def delete(store: Store, version: versions.Version) -> None:
    """Delete a version with its run, unless another version was made by that run too.

    Raises:
        TransientError, ServiceError: when MLflow cannot be used; the version is still there.
    """
    with told_apart(store.uri):
        made = store.client.search_model_versions(f"run_id = '{version.run_id}'")
        if all((v.name, int(v.version)) == (version.name, version.version) for v in made):
            _delete_run(store, version.run_id)
        _if_there(lambda: versions.delete(store, version))


def _delete_run(store: Store, run_id: str) -> None:
    run = _if_there(lambda: store.client.get_run(run_id))
    if run is None:
        return
    _delete_artifacts(store, run)
    if run.info.lifecycle_stage == "active":
        store.client.delete_run(run_id)
    tracking = store.client._tracking_client.store
    # As `mlflow gc` does; a tracking server offers no such thing, and keeps the run as deleted.
    if hasattr(tracking, "_hard_delete_run"):
        tracking._hard_delete_run(run_id)


def _delete_artifacts(store: Store, run: Run) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    place = get_artifact_repository(str(run.info.artifact_uri), tracking_uri=store.home.mlflow_uri)
    place.delete_artifacts()
    if isinstance(place, LocalArtifactRepository):
        _drop_empty(place.artifact_dir)


def _drop_empty(artifacts: str) -> None:
    """Remove the run's own folder around its artifacts."""
    import os
    from contextlib import suppress

    with suppress(OSError):
        os.rmdir(os.path.dirname(artifacts))


def _if_there(work: Callable[[], Value]) -> Value | None:
    """Do something to what may have gone already, as by a prune that was killed."""
    from mlflow.exceptions import MlflowException

    try:
        return work()
    except MlflowException as error:
        if str(error.error_code) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
