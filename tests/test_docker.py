"""What `docker/` names is there: the images are not built here, for want of Docker."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from deployments import pools
from deployments.declared import prefect_yaml, read
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import Home, packaged_configs

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))
TEMPLATES = sorted(DOCKER.glob("*.json"))


def instructions(image: Path) -> list[tuple[str, str]]:
    text = image.read_text().replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]  # type: ignore[misc]


def told(image: Path, what: str) -> list[str]:
    return [rest for name, rest in instructions(image) if name == what]


def test_there_is_an_image_for_servers_workers_and_the_pi_which_is_arm64() -> None:
    assert [image.stem for image in IMAGES] == ["pi", "server", "worker"]
    assert told(DOCKER / "pi.Dockerfile", "FROM") == ["--platform=linux/arm64 python:3.11-slim"]


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
    assert command[0] == "prefect"
    if image.stem == "server":
        return
    pool = pools.read(home).pools[command[command.index("--pool") + 1]]
    if "--work-queue" in command:
        assert command[command.index("--work-queue") + 1] in pool.queues


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
    assert variables["image"]["default"] == "nightshift-worker"
    assert "NIGHTSHIFT_HOME" in variables["env"]["default"]
