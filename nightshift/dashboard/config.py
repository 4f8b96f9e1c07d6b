"""How the dashboard is served: `configs/dashboard.yaml`; host and port by `NIGHTSHIFT_DASHBOARD_HOST` and `_PORT`.

Tokens are secrets: they stand in the environment or in a file of `NIGHTSHIFT_SECRETS_DIR`, never in the config.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import limits
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator

from nightshift.errors import ConfigError
from nightshift.files import read_yaml
from nightshift.settings import OPERATOR_TOKEN_VARIABLE, VIEWER_TOKEN_VARIABLE, Home, find_config, secret
from nightshift.validation import validated

Role = Literal["viewer", "operator"]

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HOST_VARIABLE, PORT_VARIABLE = "NIGHTSHIFT_DASHBOARD_HOST", "NIGHTSHIFT_DASHBOARD_PORT"
_FILE = "dashboard"
_TOKENS: Mapping[Role, str] = {"operator": OPERATOR_TOKEN_VARIABLE, "viewer": VIEWER_TOKEN_VARIABLE}
#: Shorter ones can be guessed.
_TOKEN_LENGTH = 16


class Rates(BaseModel):
    """How often one person at one address may ask, as `limits` writes it: `10/minute`.

    Reading is not counted.

    Attributes:
        actions: whatever changes something.
        predictions: answers of a model.
        logins: wrong tokens, and attempts to log in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    actions: str = "120/minute"
    predictions: str = "1200/minute"
    logins: str = "20/minute"

    @field_validator("*")
    @classmethod
    def _is_a_rate(cls, value: str) -> str:
        limits.parse(value)
        return value


class DashboardConfig(BaseModel):
    """What `configs/dashboard.yaml` may say.

    Attributes:
        host: address that it listens on; anything but the loopback needs a way to log in.
        port: preferred; another is taken when it is in use.
        allowed_hosts: names that it goes by, beside `localhost`, this machine's name and any address in numbers.
        trusted_proxies: addresses or networks of proxies that log people in; nobody else's headers are believed.
        user_header: of such a proxy, which must overwrite what a client sends under this name.
        groups_header: as that, with names between commas; "" believes none.
        operators: people who may act; whoever else the proxy lets in may look.
        operator_groups: groups whose members may act.
        max_body_mb: of a request, megabytes.
        rates: how often one may ask.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    user_header: str = Field(default="X-Forwarded-User", min_length=1)
    groups_header: str = ""
    operators: tuple[str, ...] = ()
    operator_groups: tuple[str, ...] = ()
    max_body_mb: float = Field(default=4, gt=0, le=1024)
    rates: Rates = Rates()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK


def tokens() -> dict[Role, str]:
    """Return the tokens that are set, by the role that each gives.

    Raises:
        ConfigError: for one that can be guessed, or two that are the same.
    """
    found = {role: kept.get_secret_value() for role, name in _TOKENS.items() if (kept := secret(name))}
    hint = "One that serves: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    for role, token in found.items():
        if len(token) < _TOKEN_LENGTH:
            raise ConfigError(f"{_TOKENS[role]} has {len(token)} characters, and needs {_TOKEN_LENGTH}.", hint=hint)
    if len(set(found.values())) < len(found):
        raise ConfigError(f"{' and '.join(_TOKENS.values())} are the same, and tell nobody apart.", hint=hint)
    return found


def load_config(home: Home) -> DashboardConfig:
    """Read the config, the user's file before the shipped one, with the environment over it.

    Raises:
        ConfigError: when it cannot be used, or would let everybody in.
    """
    values, sources, place = _read(home)
    config = validated(DashboardConfig, values, place, sources)
    if config.operator_groups and not config.groups_header:
        raise ConfigError(
            f"{place}: 'operator_groups' needs 'groups_header', got none.",
            hint="Name the header that your proxy overwrites, such as groups_header: X-Forwarded-Groups.",
        )
    if not (config.is_local or config.trusted_proxies or tokens()):
        raise ConfigError(
            f"The dashboard would listen on {config.host}, where everybody could start and promote.",
            hint=f"Set {OPERATOR_TOKEN_VARIABLE} to a secret, or trusted_proxies in {place}, or host: 127.0.0.1.",
        )
    return config


def sources(home: Home) -> dict[str, str]:
    """Return where each value of the config comes from: a variable, a file, or `default`."""
    _, told, _ = _read(home)
    return {key: told.get(key, "default") for key in DashboardConfig.model_fields}


def token_variables() -> dict[str, bool]:
    """Return the variables of the tokens, and whether each is set."""
    return {name: secret(name) is not None for name in _TOKENS.values()}


def _read(home: Home) -> tuple[dict[str, Any], dict[str, str], str]:
    """Return the values, where each comes from, and the file's path."""
    path = find_config(home, "", _FILE)
    values: dict[str, Any] = read_yaml(path) if path else {}
    told = dict.fromkeys(values, str(path))
    for key, variable in (("host", HOST_VARIABLE), ("port", PORT_VARIABLE)):
        if os.environ.get(variable):
            values, told = {**values, key: os.environ[variable]}, {**told, key: variable}
    return values, told, str(path or f"{_FILE}.yaml")
