"""`deploy` as a person meets it: what it changed, line by line, and one line when it cannot."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import yaml
from support.servers import KeptDatabase

from deployments.api import ask
from nightshift.cli.app import main
from nightshift.errors import EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from nightshift.settings import Home, packaged_configs


def in_containers(home: Home) -> None:
    """Two pools more, as `docker/` describes them."""
    docker = Path(__file__).resolve().parents[2] / "docker"
    home.configs.mkdir()
    for path in docker.glob("*.json"):
        (home.configs / path.name).write_bytes(path.read_bytes())
    pools = yaml.safe_load((packaged_configs() / "pools.yaml").read_text())
    pools["pools"]["hut"] = {"type": "docker", "base_job_template": "pool-docker.json"}
    pools["pools"]["barn"] = {"type": "kubernetes", "base_job_template": "pool-kubernetes.json"}
    (home.configs / "pools.yaml").write_text(yaml.safe_dump(pools, sort_keys=False))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deploy_says_what_it_changed_and_the_second_time_that_nothing_was(
    home: Home, capsys: pytest.CaptureFixture[str], empty_prefect: KeptDatabase
) -> None:
    from deployments.server import down

    empty_prefect.into(home)
    try:
        assert main(["deploy"]) == EXIT_OK
        lines = capsys.readouterr().out.splitlines()
        assert "created work queue pi-pool/device" in lines
        assert "created deployment train-machine/local" in lines
        assert all(line.startswith("created ") for line in lines[:-1])
        assert lines[-1].endswith("/deployments")
        assert main(["deploy"]) == EXIT_OK
        assert capsys.readouterr().out.splitlines()[0] == "nothing to change"
        in_containers(home)
        assert main(["deploy"]) == EXIT_OK
        assert capsys.readouterr().out.splitlines()[:-1] == [
            "created work pool hut: type docker",
            "created work pool barn: type kubernetes",
        ]
        image = ask("work_pools/hut")[1]["base_job_template"]["variables"]["properties"]["image"]
        assert re.fullmatch(r"nightshift-worker:\d+\.\d+\.\d+", image["default"])
        assert main(["up", "--no-worker", "--no-mlflow"]) == EXIT_OK
        said = capsys.readouterr().out
        address = r"http://127\.0\.0\.1:\d+\n"
        assert re.search(f"\nDashboard: +{address}Prefect UI: +{address}", said)
        assert main(["ps"]) == EXIT_OK
        assert re.search(r"\nserver +\d+ +running +.*\ndashboard +\d+ +running +", capsys.readouterr().out)
        assert main(["up", "--no-worker", "--no-mlflow", "--no-dashboard"]) == EXIT_OK
        assert "Dashboard:" not in capsys.readouterr().out
        assert main(["down"]) == EXIT_OK
        assert re.match(r"stopped dashboard .*\nstopped server ", capsys.readouterr().out)
    finally:
        down(home)


def test_deploy_to_a_server_that_does_not_answer_is_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}/api")
        assert main(["deploy"]) == EXIT_UNREACHABLE
    said = capsys.readouterr().err.strip()
    assert "Start that server" in said
    assert "\n" not in said


def test_a_file_that_cannot_be_used_is_one_line_and_starts_no_server(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    from deployments.server import ps

    home.configs.mkdir()
    (home.configs / "pools.yaml").write_text("pools: {local-pool: {typ: docker}}")
    assert main(["deploy"]) == EXIT_USAGE
    assert "local-pool: unknown key 'typ'. Did you mean 'type'?" in capsys.readouterr().err
    assert ps(home) == []
