"""Who asks, and what they may do: viewers read all, operators act on all.

`guard.Guard` asks a `Gate` at each request, before any route: `request.state.user` is who was let in.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from nightshift.dashboard.config import DashboardConfig, Role
from nightshift.errors import NightshiftError

COOKIE = "nightshift"
SESSION_S = 7 * 24 * 3600
_LONGEST_NAME = 200
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")


class ForbiddenError(NightshiftError):
    """Somebody who may not do what was asked."""


class UnknownUserError(NightshiftError):
    """Somebody who has not shown who they are.

    Attributes:
        wrong: whether they showed something that is not right.
    """

    wrong = False


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes:
        name: for the audit log.
        how: they were known: everybody on this machine, a token, a cookie from the login page, a proxy's header.
    """

    name: str
    role: Role
    how: Literal["local", "token", "cookie", "proxy"] = "local"

    @property
    def may_act(self) -> bool:
        """Whether they may start, cancel and promote."""
        return self.role == "operator"


class Gate:
    """Knows people by what they show.

    Args:
        config: which proxies are believed, and who acts.
        tokens: by the role that each gives; without them and proxies, whoever reaches this machine's loopback may act.
    """

    def __init__(self, config: DashboardConfig, tokens: Mapping[Role, str]) -> None:
        self._config = config
        self._tokens = tokens

    @property
    def has_tokens(self) -> bool:
        """Whether there is a token to log in with."""
        return bool(self._tokens)

    @property
    def is_open(self) -> bool:
        """Whether everybody on this machine is let in."""
        return self._config.is_local and not self._tokens and not self._config.trusted_proxies

    def user(self, request: Request) -> User:
        """Return who asks.

        Raises:
            UnknownUserError: for whoever shows nothing, or nothing right.
            ForbiddenError: for whoever came to an open dashboard through a proxy that it does not know.
        """
        if self.is_open:
            # A proxy in front of the loopback would make everybody that reaches it an operator.
            if any(name in request.headers for name in _FORWARDED):
                raise ForbiddenError(
                    "This came through a proxy, and this dashboard lets in everybody who is on its own machine.",
                    hint="Set NIGHTSHIFT_DASHBOARD_OPERATOR_TOKEN, or trusted_proxies in configs/dashboard.yaml.",
                )
            return User("local", "operator")
        return self._by_token(request.headers) or self._by_cookie(request.cookies) or self._by_proxy(request)

    def role_of(self, token: str) -> Role | None:
        """Return the role that a token gives."""
        given, found = hashlib.sha256(token.encode()).digest(), None
        for role, kept in self._tokens.items():
            if hmac.compare_digest(given, hashlib.sha256(kept.encode()).digest()):
                found = role
        return found

    def session(self, role: Role, *, now_s: float | None = None) -> str:
        """Return what the cookie of a login holds: it lasts until its time is over or the role's token changes."""
        until = int((time.time() if now_s is None else now_s) + SESSION_S)
        return f"{role}.{until}.{self._signed(role, until)}"

    def is_https(self, request: Request) -> bool:
        """Whether the browser speaks TLS, to us or to a proxy that we believe."""
        if request.scope["scheme"] == "https":
            return True
        return self._trusts(peer(request.scope)) and request.headers.get("x-forwarded-proto") == "https"

    def address(self, request: Request) -> str:
        """Return where a request comes from: behind proxies that are believed, what they say; "" for what is unknown.

        Each proxy adds whom it heard at the end, so that the last one that is no proxy of ours is not made up.
        """
        found = peer(request.scope)
        for said in reversed(",".join(request.headers.getlist("x-forwarded-for")).split(",")):
            if not self._trusts(found) or not is_address(said.strip()):
                break
            found = said.strip()
        return found

    def _by_token(self, headers: Headers) -> User | None:
        token = bearer(headers)
        if token is None or not self._tokens:
            return None
        role = self.role_of(token)
        if role is None:
            error = UnknownUserError("The token is not one of this dashboard's.", hint="Ask who runs it for one.")
            error.wrong = True
            raise error
        return User(role, role, "token")

    def _by_cookie(self, cookies: Mapping[str, str]) -> User | None:
        named, _, rest = cookies.get(COOKIE, "").partition(".")
        until, _, signature = rest.partition(".")
        role = next((role for role in self._tokens if role == named), None)
        if role is None or not re.fullmatch("[0-9]{1,12}", until):
            return None
        if not hmac.compare_digest(signature.encode(), self._signed(role, int(until)).encode()):
            return None
        return User(role, role, "cookie") if int(until) > time.time() else None

    def _signed(self, role: Role, until: int) -> str:
        key = self._tokens[role].encode()
        return hmac.digest(key, f"nightshift dashboard session {role} {until}".encode(), "sha256").hex()

    def _by_proxy(self, request: Request) -> User:
        headers = request.headers
        name = _only(headers, self._config.user_header) if self._trusts(peer(request.scope)) else ""
        if not name or len(name) > _LONGEST_NAME:
            hint = "Log in at /login, or send the header Authorization: Bearer <token>."
            without = "Come by the proxy that logs people in."
            raise UnknownUserError("Nobody is logged in.", hint=hint if self._tokens else without)
        groups = _only(headers, self._config.groups_header).split(",") if self._config.groups_header else ()
        acts = name in self._config.operators or any(g.strip() in self._config.operator_groups for g in groups)
        return User(name, "operator" if acts else "viewer", "proxy")

    def _trusts(self, address: str) -> bool:
        """Whether a proxy that is believed is at an address."""
        return bool(self._config.trusted_proxies) and _is_in(address, self._config.trusted_proxies)


def peer(scope: Scope) -> str:
    """Return the address that a request came from, "" where there is none."""
    return scope["client"][0] if scope.get("client") else ""


def bearer(headers: Headers) -> str | None:
    """Return the token that a program sends, None where it sends none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_address(name: str) -> bool:
    """Whether a name is an address in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own_path(address: str) -> str:
    """Return an address of this dashboard as it is, "/" for any other: a login leads nowhere else."""
    return address if address.isprintable() and re.match(r"/(?![/\\])", address) else "/"


def _is_in(address: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)


def _only(headers: Headers, name: str) -> str:
    """Return a header that a proxy has set; "" where it stands twice, since one of them may be the client's.

    Nothing is cut off: the beginning of a name may be somebody else's.
    """
    found = headers.getlist(name)
    return found[0].strip() if len(found) == 1 else ""


async def _viewer(request: Request) -> User:
    found: User = request.state.user
    return found


async def _operator(user: Annotated[User, Depends(_viewer)]) -> User:
    if not user.may_act:
        raise ForbiddenError(f"{user.name} may look, not act.", hint="Ask somebody with the role operator.")
    return user


#: Parameters of routes: whoever may read, and whoever may act.
Viewer = Annotated[User, Depends(_viewer)]
Operator = Annotated[User, Depends(_operator)]
