"""What `docker/` names is there and is as `nightshift up` does it; no image is built here, for want of Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments import pools
from deployments.declared import prefect_yaml, read
from deployments.posts import POSTS
from nightshift.dashboard.config import DashboardConfig
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import SECRETS, Home, packaged_configs

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))
TEMPLATES = sorted(DOCKER.glob("*.json"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IN_HOME = DOCKER / "in_home.py"
PREFECT_SERVER = ["python", "-m", "deployments.prefect_server"]


def version() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def instructions(image: Path) -> list[tuple[str, str]]:
    text = image.read_text().replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]  # type: ignore[misc]


def told(image: Path, what: str) -> list[str]:
    return [rest for name, rest in instructions(image) if name == what]


def test_there_is_an_image_for_servers_workers_and_the_pi_which_is_arm64() -> None:
    assert [image.stem for image in IMAGES] == ["pi", "server", "worker"]
    assert "--platform linux/arm64" in (DOCKER / "pi.Dockerfile").read_text()


def test_the_images_stand_on_one_pinned_release() -> None:
    (base,) = {said for image in IMAGES for said in told(image, "FROM")}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)


@pytest.mark.parametrize("image", IMAGES, ids=lambda p: p.stem)
def test_an_image_runs_as_a_user_without_rights_who_owns_the_home(image: Path) -> None:
    names = [name for name, _ in instructions(image)]
    (user,) = told(image, "USER")
    assert int(user) > 0
    assert "RUN" not in names[names.index("USER") :]
    (made,) = [rest for rest in told(image, "RUN") if rest.startswith("useradd")]
    assert f"--uid {user} " in made
    (home,) = told(image, "VOLUME")
    assert f"NIGHTSHIFT_HOME={home}" in told(image, "ENV")[0].split()
    assert made.endswith(f"install -d -o nightshift -g nightshift {home}")
    assert json.loads(told(image, "ENTRYPOINT")[0])[1] == f"/opt/nightshift/{IN_HOME.name}"


@pytest.mark.parametrize("image", IMAGES, ids=lambda p: p.stem)
def test_what_an_image_copies_is_there_and_is_sent_to_the_build(image: Path) -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [source for rest in told(image, "COPY") for source in rest.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in sent), source


@pytest.mark.parametrize("image", IMAGES, ids=lambda p: p.stem)
def test_what_an_image_installs_is_known_and_held_to_the_constraints(image: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    (pip,) = [rest for rest in told(image, "RUN") if rest.startswith("pip install")]
    words = shlex.split(pip)
    assert words[words.index("-c") + 1].endswith("constraints.txt")
    names = [word for word in words[2:] if not word.startswith("-") and not word.endswith("constraints.txt")]
    assert names
    for name in names:
        ours = re.fullmatch(r"\.\[(.+)\]", name)
        assert set(ours[1].split(",")) <= set(extras) if ours else name in pinned, name


@pytest.mark.parametrize("image", IMAGES, ids=lambda p: p.stem)
def test_a_worker_asks_a_pool_and_a_queue_that_there_are(image: Path, home: Home) -> None:
    (command,) = [json.loads(rest) for rest in told(image, "CMD")]
    assert command[0] == "prefect" or command[:3] == PREFECT_SERVER
    if image.stem == "server":
        return
    pool = pools.read(home).pools[command[command.index("--pool") + 1]]
    if "--work-queue" in command:
        assert command[command.index("--work-queue") + 1] in pool.queues
    # Two checks at once would measure each other, and two batches would take each other's cores.
    assert asked(command, "--limit") == "1"


def test_a_board_s_image_reaches_a_store_in_s3_and_holds_nothing_that_trains() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (pip,) = [rest for rest in told(DOCKER / "pi.Dockerfile", "RUN") if rest.startswith("pip install")]
    (extra,) = re.findall(r'"\.\[(\w+)\]"', pip)
    first, *more = extras[extra]
    assert first == "nightshift[worker]"
    assert {re.split(r"[<>=]", name)[0] for name in more} == {"s3fs"}
    assert set(more) <= set(extras["scale"])
    (shown,) = re.findall(r"pip install 'nightshift\[(\w+)\]'", (ROOT / "docs" / "device.md").read_text())
    assert shown == extra


def test_the_pools_in_containers_serve_every_deployment_and_have_their_templates(home: Home) -> None:
    home.configs.mkdir()
    for path in (DOCKER / "pools.yaml", *TEMPLATES):
        (home.configs / path.name).write_bytes(path.read_bytes())
    found = pools.read(home)
    pools.check(found, read(prefect_yaml(), load_fleet(home)).deployments)
    assert {pool.type for pool in found.pools.values()} == {"process", "docker", "kubernetes"}
    used = {pool.base_job_template for pool in found.pools.values() if pool.base_job_template}
    assert used == {path.name for path in TEMPLATES}
    shipped = pools.read(Home(home.root / "other"))
    assert shipped.folder == packaged_configs()
    assert {n: set(p.queues) for n, p in found.pools.items()} == {n: set(p.queues) for n, p in shipped.pools.items()}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_every_placeholder_of_a_template_is_a_variable_and_the_other_way_round(template: Path) -> None:
    content: dict[str, Any] = json.loads(template.read_text())
    placeholders = set(re.findall(r"{{ (\w+) }}", json.dumps(content["job_configuration"])))
    variables = content["variables"]["properties"]
    assert placeholders == set(variables)
    assert variables["image"]["default"] == SERVICES["gpu-pool"]["image"]
    assert "NIGHTSHIFT_HOME" in variables["env"]["default"]


def asked(command: list[str], option: str) -> str | None:
    return command[command.index(option) + 1] if option in command else None


def test_compose_has_the_servers_and_the_workers_that_up_starts() -> None:
    workers = {name: service["command"] for name, service in SERVICES.items() if "worker" in service["command"]}
    found = {(asked(c, "--pool"), asked(c, "--work-queue") or "", asked(c, "--limit")) for c in workers.values()}
    assert found == {(post.pool, post.queue, post.at_once and str(post.at_once)) for post in POSTS}
    assert set(workers) == {post.pool for post in POSTS}
    others = {name: service["command"] for name, service in SERVICES.items() if name not in workers}
    assert others["prefect"][:3] == PREFECT_SERVER
    assert {name: words[:2] for name, words in others.items() if name not in ("prefect", "dashboard")} == {
        "mlflow": ["mlflow", "server"],
        "deploy": ["nightshift", "deploy"],
    }
    assert others["dashboard"][:3] == ["python", "-m", "nightshift.dashboard"]


def test_the_dashboard_listens_where_nobody_else_reaches_it_and_asks_the_servers_that_are_published_there() -> None:
    service = SERVICES["dashboard"]
    assert service["network_mode"] == "host"
    assert "NIGHTSHIFT_DASHBOARD_HOST" not in service["environment"]
    assert load_dashboard().host == "127.0.0.1"
    assert asked(service["command"], "--port") == str(load_dashboard().port)
    asks = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
    for server, variable in asks.items():
        (published,) = SERVICES[server]["ports"]
        assert service["environment"][variable].removesuffix("/api") == f"http://{published.rpartition(':')[0]}"
    (pip,) = [rest for rest in told(DOCKER / "worker.Dockerfile", "RUN") if rest.startswith("pip install")]
    assert "dashboard" in re.findall(r"\w+", pip)


def load_dashboard() -> DashboardConfig:
    return DashboardConfig.model_validate(yaml.safe_load((packaged_configs() / "dashboard.yaml").read_text()))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_built_here_pinned_and_without_rights(name: str) -> None:
    service = SERVICES[name]
    image, tag = service["image"].split(":")
    assert tag == version()
    built = DOCKER / service["build"]["context"] / service["build"]["dockerfile"]
    assert built.resolve() == DOCKER / f"{image.removeprefix('nightshift-')}.Dockerfile"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    (mount,) = service["volumes"]
    assert mount.split(":") == ["home", told(built, "VOLUME")[0]]


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "deploy"])
def test_a_service_that_stays_tells_how_it_is_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    image = DOCKER / Path(service["build"]["dockerfile"]).name
    if "worker" not in service["command"]:
        port = asked(service["command"], "--port")
        assert f"127.0.0.1:{port}/" in service["healthcheck"]["test"][-1]
        if name != "dashboard":
            assert service["ports"] == [f"127.0.0.1:{port}:{port}"], "nothing but this machine reaches a server"
        return
    (check,) = told(image, "HEALTHCHECK")
    assert "127.0.0.1:8080/health" in check
    assert "--with-healthcheck" in service["command"]
    assert service["depends_on"]["deploy"] == {"condition": "service_completed_successfully"}
    assert service["depends_on"]["mlflow"] == {"condition": "service_healthy"}
    for variable, server in (("PREFECT_API_URL", "prefect"), ("MLFLOW_TRACKING_URI", "mlflow")):
        address = service["environment"][variable].removesuffix("/api")
        assert address == f"http://{server}:{asked(SERVICES[server]['command'], '--port')}"


def test_mlflow_answers_by_the_name_that_workers_call_it_and_keeps_what_a_lone_command_finds() -> None:
    service = SERVICES["mlflow"]
    allowed = (asked(service["command"], "--allowed-hosts") or "").split(",")
    assert {"mlflow:5000", "127.0.0.1:5000"} <= set(allowed)
    home = Home(Path("/srv/nightshift"))
    assert service["environment"]["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{home.mlflow_db}"
    assert service["environment"]["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == home.artifacts.as_uri()


def test_no_secret_stands_in_a_file() -> None:
    for path in (*IMAGES, *DOCKER.glob("*.yaml"), *TEMPLATES):
        text = path.read_text()
        assert not [name for name in SECRETS if name in text], path.name
        assert not re.search(r"password|token|secret_|api_key", text, re.IGNORECASE), path.name


def test_the_gpu_is_asked_for_in_a_file_of_its_own() -> None:
    more = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())
    assert list(more["services"]) == ["gpu-pool"]
    assert "gpu-pool" in SERVICES


def in_home(home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NIGHTSHIFT_HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, IN_HOME, *command], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_command_in_a_container_has_the_homes_settings_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "AWS_ACCESS_KEY_ID").write_text("abc\n")
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    done = in_home(tmp_path / "home", sys.executable, "-c", show, NIGHTSHIFT_SECRETS_DIR=str(tmp_path / "secrets"))
    found = json.loads(done.stdout)
    wanted = Home(tmp_path / "home").environment()
    assert {name: found[name] for name in wanted} == wanted
    assert found["AWS_ACCESS_KEY_ID"] == "abc"
    assert in_home(tmp_path / "home", "no-such-command").stderr.splitlines() == [
        "error: no-such-command: No such file or directory"
    ]
    (tmp_path / "file").write_text("")
    refused = in_home(tmp_path / "file", "true")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
