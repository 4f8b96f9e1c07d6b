"""What a board does with a bundle: fetches it, checks it, and tells. Base install and Prefect; nothing that trains."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from nightshift.data.remote import open_remote
from nightshift.edge import words
from nightshift.edge.check import check_bundle
from nightshift.edge.manifest import CHECK_ARTIFACT, MANIFEST_FILE, DeviceCheck
from nightshift.errors import BundleError, ServiceError
from nightshift.settings import STORE_VARIABLE, WORKER_VARIABLE, home
from tasks import logs

logger = logging.getLogger("nightshift")


@contextmanager
def bundle(name: str, bundle_id: str, folder: str, store_key: str) -> Iterator[Path]:
    """Give the folder of a bundle: the one that this home has, else the store's, which is gone afterwards.

    Args:
        name: of its model.
        bundle_id: SHA-256 of its `bundle.json`.
        folder: where it lies in the home that asks, relative to it.
        store_key: of it in the shared store.

    Raises:
        ServiceError: when it is not here, and no store has it.
        BundleError: when the store has another one under that key.
        DataError: when what came is not what was brought there.
        TransientError: when the store cannot be reached.
    """
    logs.set_up()
    place = home()
    own = (place.root / folder).resolve()
    if folder and own.is_relative_to(place.root) and _id_of(own) == bundle_id:
        yield own
        return
    remote = open_remote(place)
    if remote is None:
        raise ServiceError(
            f"the bundle {bundle_id[:12]} of {name} is not in this home, and no store is named.",
            hint=f"Set {STORE_VARIABLE} for this worker to the store that the training machine has.",
        )
    place.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.tmp, prefix="device-check-") as scratch:
        fetched = Path(scratch) / "bundle"
        if not remote.get_folder(store_key or f"models/{bundle_id}", fetched):
            raise ServiceError(
                f"the bundle {bundle_id[:12]} of {name} is not in {remote.url}.",
                hint=f"See that {STORE_VARIABLE} is the same where it was trained; `nightshift plan` brings it there.",
            )
        if _id_of(fetched) != bundle_id:
            raise BundleError(f"what {remote.url} has as {store_key} is not the bundle {bundle_id[:12]} of {name}.")
        logger.info("%s: fetched from %s", name, remote.url)
        yield fetched


@task(name="check", task_run_name="check", persist_result=False, cache_policy=NO_CACHE)
def check(folder: Path, architecture: str) -> DeviceCheck:
    """Hold the bundle against the answers that it was shipped with, and measure it on this machine.

    Raises:
        BundleError: when it is damaged or carries no such answers.
    """
    return check_bundle(folder, architecture=architecture, device=os.environ.get(WORKER_VARIABLE, ""))


def tell(name: str, found: DeviceCheck) -> None:
    """Leave what was found with the server, where the run that asked for it reads it; and as a table for people."""
    lines = figures(found)
    create_markdown_artifact("\n".join(lines), key="device-figures", description=name)
    note = f"{name} on {found.device}, for whoever asked for it"
    create_table_artifact([{"check": found.model_dump_json()}], key=CHECK_ARTIFACT, description=note)


def figures(found: DeviceCheck) -> list[str]:
    """Return the lines of a markdown table."""
    rows = [(label, text.replace("|", "/")) for label, text in words.lines(found)]
    return ["| | |", "|---|---|", *(f"| {label} | {text} |" for label, text in rows)]


def _id_of(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()
    except OSError:
        return ""
