"""Makes the server that `PREFECT_API_URL` names as `prefect.yaml` and `configs/pools.yaml` say, and tells what changed.

What is there is read first, by plain requests, so that a second time takes no time and changes nothing. Prefect's own
deploy, which imports every flow, is called for the deployments that differ.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

import nightshift
from deployments import automations, pools, processes, schedules
from deployments.api import API_VARIABLE, RefusedError, ask
from deployments.changes import TAG, Change, differing, quiet
from deployments.declared import Deployment, RunLimit, prefect_yaml, read
from deployments.reactions import Scene
from nightshift.errors import ServiceError
from nightshift.plan import lock
from nightshift.plan.code import installed_version
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import Home

_LIMIT_S = 300.0
_ROOT = Path(nightshift.__file__).resolve().parent.parent
# A run's form is made of the code's types, and Prefect's and pydantic's ways to show them.
_PACKAGES, _LIBRARIES = ("flows", "tasks", "nightshift"), ("prefect", "pydantic")
_NOT_IN_FLOWS = ("cli", "dashboard")
_SHOWN_AS = {"version": "code", "work_pool_name": "work pool", "work_queue_name": "work queue"}


def deploy_all(home: Home, file: Path | None = None, tell: Callable[[Change], None] = quiet) -> tuple[Change, ...]:
    """Create, update and remove pools, queues, limits, deployments, schedules and automations; again, change nothing.

    Removed are deployments and automations with our tag, and schedules with our slug, that the files do not name.
    A deployment or a schedule that a person has paused stays so, unless the file says otherwise.

    Args:
        file: another `prefect.yaml` than the checkout's or the wheel's.
        tell: is told of each change when it is made, so that a failure later hides none.

    Raises:
        ConfigError: for files that cannot be used; nothing was changed.
        UnmetError: when the server lacks what an automation needs; all else is done.
        ServiceError: when the server does not answer, or Prefect refuses something; with what mends it.
    """
    wanted, places = checked(home, file)
    changes = []
    with lock.held(home, "deploy", wait=True), _mended():
        for change in _changes(home, wanted, places):
            changes.append(change)
            tell(change)
    return tuple(changes)


def _changes(home: Home, wanted: tuple[Deployment, ...], places: pools.Pools) -> Iterator[Change]:
    version, ours = code_version(), _ours()
    there = {d.full_name: ours.get(d.full_name) or _found(d) for d in wanted}
    yield from pools.declare(places)
    yield from _deploy(home, wanted, there, version)
    for deployment in wanted:
        found = there[deployment.full_name]
        if found is None or differences(found, deployment, version):
            found = ask(_path(deployment))[1]
        yield from schedules.declare(found, deployment)
    for name in sorted(ours.keys() - there.keys()):
        # Its schedules and planned runs go with it.
        ask(f"deployments/{ours[name]['id']}", method="DELETE", accept=(404,))
        yield Change("removed", f"deployment {name}")
    # Last: one that lacks something ends the deploy, when all else is done.
    yield from automations.declare(Scene(load_fleet(home), frozenset(there)))


def _ours() -> dict[str, dict[str, Any]]:
    """Return the server's deployments with our tag, by full name."""
    _, found = ask("deployments/filter", {"deployments": {"tags": {"all_": [TAG]}}})
    _, flows = ask("flows/filter", {"flows": {"id": {"any_": [one["flow_id"] for one in found]}}})
    names = {flow["id"]: flow["name"] for flow in flows}
    return {f"{names.get(one['flow_id'], '?')}/{one['name']}": one for one in found}


def checked(home: Home, file: Path | None = None) -> tuple[tuple[Deployment, ...], pools.Pools]:
    """Read the deployments and the pools, and hold them against each other; asks no server.

    Raises:
        ConfigError: for files that cannot be used.
    """
    wanted, places = read(file or prefect_yaml(), load_fleet(home)).deployments, pools.read(home)
    pools.check(places, wanted)
    return wanted, places


@contextmanager
def _mended() -> Iterator[None]:
    """Add to the server's errors what mends them."""
    try:
        yield
    except RefusedError as error:
        hint = error.hint or f"Mend prefect.yaml or {pools.FILE}, then: nightshift deploy"
        raise ServiceError(error.what, hint=hint) from error
    except ServiceError as error:
        hint = error.hint or "Start it with: nightshift up - then: nightshift deploy"
        raise ServiceError(error.what, hint=hint) from error


def _deploy(
    home: Home, wanted: Iterable[Deployment], there: Mapping[str, dict[str, Any] | None], version: str
) -> Iterator[Change]:
    """Have Prefect create and update the deployments that differ."""
    entries: list[dict[str, Any]] = []
    differ: list[tuple[Deployment, Change]] = []
    for deployment in wanted:
        found, what = there[deployment.full_name], f"deployment {deployment.full_name}"
        different = differences(found, deployment, version) if found is not None else ()
        if found is None:
            differ.append((deployment, Change("created", what)))
        elif different:
            differ.append((deployment, Change("updated", what, ", ".join(different))))
        else:
            continue
        entries.append(_entry(deployment, version, found or {}))
    if not entries:
        return
    said = _prefect_deploy(home, entries)
    hint = f"The whole is in {home.logs / 'deploy.log'}; mend it, then: nightshift deploy"
    for deployment, change in differ:
        _check_done(deployment, version, said, hint)
        yield change
    if said:
        raise ServiceError(f"`prefect deploy` failed: {said}.", hint=hint)


def _path(deployment: Deployment) -> str:
    return f"deployments/name/{quote(deployment.flow_name)}/{quote(deployment.name)}"


def _found(deployment: Deployment) -> dict[str, Any] | None:
    status, found = ask(_path(deployment), accept=(404,))
    return None if status == 404 else dict(found)


def differences(found: Mapping[str, Any], wanted: Deployment, version: str) -> tuple[str, ...]:
    """Return what of a server's deployment is not as wanted, in words a reader knows; () when nothing."""
    limit = wanted.concurrency_limit
    values: dict[str, object] = {
        "entrypoint": wanted.entrypoint,
        "description": wanted.description,
        "tags": sorted(wanted.tags),
        "parameters": wanted.parameters,
        "work_pool_name": wanted.work_pool.name,
        "work_queue_name": wanted.work_pool.work_queue_name,
        "job_variables": wanted.work_pool.job_variables,
        "concurrency_limit": limit.limit if isinstance(limit, RunLimit) else limit,
        "collision_strategy": limit.collision_strategy if isinstance(limit, RunLimit) else None,
        "pull_steps": [],
        "version": version,
    }
    grace = limit.grace_period_seconds if isinstance(limit, RunLimit) else None
    # What a person may choose in the UI, unless the file says it.
    chosen = {
        "paused": wanted.paused,
        "enforce_parameter_schema": wanted.enforce_parameter_schema,
        "grace_period_seconds": grace,
    }
    values |= {key: value for key, value in chosen.items() if value is not None}
    there = {
        **found,
        **(found["concurrency_options"] or {"collision_strategy": None}),
        "tags": sorted(found["tags"]),
        "concurrency_limit": (found["global_concurrency_limit"] or {}).get("limit"),
        "pull_steps": found["pull_steps"] or [],
    }
    return tuple(_SHOWN_AS.get(key, key.replace("_", " ")) for key in differing(there, values))


def code_version(root: Path = _ROOT) -> str:
    """Return the version that our deployments bear: Nightshift's, and a hash of the code that makes the run forms.

    Hashing all of it takes milliseconds; to know what a form really depends on would take importing it.
    """
    digest = hashlib.sha256()
    for library in _LIBRARIES:
        digest.update(f"{library} {installed_version(library)}\n".encode())
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root)
            if name.parts[1] not in _NOT_IN_FLOWS:
                digest.update(f"{name.as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{installed_version('nightshift')}+{digest.hexdigest()[:12]}"


def _entry(deployment: Deployment, version: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment as Prefect's deploy is to read it."""
    entry = deployment.model_dump(mode="json", exclude={"schedules"}, exclude_unset=True)
    # Without the key Prefect would start a deployment that a person has paused.
    return {"paused": bool(found.get("paused", False)), **entry, "version": version}


def _prefect_deploy(home: Home, entries: list[dict[str, Any]]) -> str:
    """Run Prefect's own command, which makes the run form of each flow; returns why it failed, "" when it did not."""
    file, log = home.tmp / "deploy.yaml", home.logs / "deploy.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"name": TAG, "pull": [], "deployments": entries}), encoding="utf-8")
    command = processes.python("-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    try:
        done = subprocess.run(
            command,
            # Wide lines: Prefect folds what it says.
            env={**processes.environment(home, os.environ[API_VARIABLE]), "COLUMNS": "500"},
            cwd=home.machinery,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"`prefect deploy` took more than {_LIMIT_S:.0f} s.", hint="Again: nightshift deploy"
        ) from error
    finally:
        file.unlink(missing_ok=True)
    log.write_text(done.stdout, encoding="utf-8")
    return _reason(done.stdout) if done.returncode else ""


def _reason(said: str) -> str:
    """Return the line of Prefect's words that says why it failed: the last but for its closing one."""
    lines = [line.strip("│╭╰─╮╯ ") for line in said.splitlines()]
    telling = [line for line in lines if line and line != "An exception occurred."]
    return re.sub(r"^(\w+\.)+(?=\w+: )", "", telling[-1]).rstrip(".") if telling else "it said nothing"


def _check_done(wanted: Deployment, version: str, said: str, hint: str) -> None:
    """Raise where Prefect refused a deployment, or has not taken over all of it: else every deploy would try again."""
    found = _found(wanted)
    left = ("all of it",) if found is None else differences(found, wanted, version)
    if left:
        what = f"Prefect refuses the deployment {wanted.full_name}"
        raise ServiceError(f"{what}: {said or 'it left ' + ', '.join(left)}.", hint=hint)
