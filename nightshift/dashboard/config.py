"""How the dashboard is served: `configs/dashboard.yaml`; host and port by `NIGHTSHIFT_DASHBOARD_HOST` and `_PORT`."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nightshift.files import read_yaml
from nightshift.settings import Home, packaged_configs
from nightshift.validation import validated

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HOST_VARIABLE, PORT_VARIABLE = "NIGHTSHIFT_DASHBOARD_HOST", "NIGHTSHIFT_DASHBOARD_PORT"
_FILE = "dashboard.yaml"


class DashboardConfig(BaseModel):
    """What `configs/dashboard.yaml` may say.

    Attributes:
        host: address that it listens on; anything but the loopback needs a way to log in.
        port: preferred; another is taken when it is in use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK


def load_config(home: Home) -> DashboardConfig:
    """Read the config, the user's file before the shipped one, with the environment over it.

    Raises:
        ConfigError: when it cannot be used.
    """
    places = (folder / _FILE for folder in (home.configs, packaged_configs()))
    path = next((p for p in places if p.is_file()), None)
    values: dict[str, Any] = read_yaml(path) if path else {}
    named = {"host": os.environ.get(HOST_VARIABLE), "port": os.environ.get(PORT_VARIABLE)}
    given = {key: value for key, value in named.items() if value}
    return validated(DashboardConfig, {**values, **given}, str(path or _FILE), dict.fromkeys(given, "the environment"))
