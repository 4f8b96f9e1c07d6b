"""`up`, `down`, `ps` and `deploy`: the processes of this machine."""

from __future__ import annotations

import argparse
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK, without_credentials


def add_serve(commands: Any) -> None:
    """Add the commands."""
    up = add_command(
        commands,
        "up",
        "start the dashboard, the Prefect and MLflow servers and the workers of all pools on this machine",
        about="Start the Prefect server and the MLflow server, deploy the flows, and start the dashboard and a worker "
        "for each pool on this machine; each is well before it is named. Doing it again starts what is missing, and "
        "nothing twice.",
    )
    up.add_argument("--no-worker", action="store_true", help="the servers only")
    up.add_argument("--no-mlflow", action="store_true", help="runs use MLflow's database without its server and pages")
    up.add_argument("--no-dashboard", action="store_true", help="without the page and its API")
    up.set_defaults(run=_up)
    add_command(commands, "down", "stop what `up` and `demo` started, and nothing else").set_defaults(run=_down)
    add_command(commands, "ps", "which processes run, where, and their logs").set_defaults(run=_ps)
    deploy = add_command(
        commands,
        "deploy",
        "make the server as prefect.yaml and configs/pools.yaml say",
        about="Create and update work pools, queues, limits, deployments, schedules and automations, remove what "
        "Nightshift made and the files no longer name, and say what changed. Doing it again changes nothing.",
    )
    deploy.set_defaults(run=_deploy)


def _up(arguments: argparse.Namespace) -> int:
    need("worker", "up")
    from deployments.server import up
    from nightshift.settings import use_home

    home = use_home()
    print("Starting what is not running yet (half a minute when it is cold) ...", flush=True)
    machine = up(
        home,
        worker=not arguments.no_worker,
        mlflow=not arguments.no_mlflow,
        dashboard=not arguments.no_dashboard,
        tell=_tell,
    )
    if machine.dashboard:
        print(f"Dashboard:    {machine.dashboard}")
    print(f"Prefect UI:   {machine.server.ui_url}\nPrefect API:  {machine.server.api_url}")
    if machine.tracking_uri:
        print(f"MLflow:       {without_credentials(machine.tracking_uri)}")
    print("see them with: nightshift ps\nstop them with: nightshift down")
    return EXIT_OK


def _tell(change: object) -> None:
    print(change, flush=True)


def _down(_arguments: argparse.Namespace) -> int:
    need("worker", "down")
    from deployments.server import down
    from nightshift.settings import use_home

    ended = down(use_home())
    for process in ended:
        print(f"stopped {process.name} (pid {process.pid})")
    if not ended:
        print("nothing was running")
    return EXIT_OK


def _ps(_arguments: argparse.Namespace) -> int:
    need("worker", "ps")
    from deployments.server import ps
    from nightshift.cli.show import table
    from nightshift.settings import use_home

    home = use_home()
    rows = [(p.name, str(p.pid), p.state, p.started_at, p.url, p.log) for p in ps(home)]
    print(table(("name", "pid", "state", "since", "address", "log"), rows) if rows else "nothing is running")
    return EXIT_OK


def _deploy(_arguments: argparse.Namespace) -> int:
    need("worker", "deploy")
    from deployments.server import check_files, deploy, ensure_server
    from nightshift.settings import use_home

    home = use_home()
    check_files(home)
    info = ensure_server(home)
    if not deploy(home, tell=_tell):
        print("nothing to change")
    print(f"to be seen at {info.ui_url}/deployments")
    return EXIT_OK
