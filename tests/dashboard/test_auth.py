"""Who is let in, by what they show, and as what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from support.dashboards import OPERATOR, VIEWER, asking, with_tokens

from nightshift.dashboard.app import PARTS
from nightshift.dashboard.audit import Audit
from nightshift.dashboard.auth import COOKIE, SESSION_S, Gate, own_path
from nightshift.dashboard.config import DashboardConfig, load_config, tokens
from nightshift.errors import ConfigError
from nightshift.settings import Home

Opened = Callable[..., TestClient]


#: What viewers may send, too.
FOR_ALL = ("/login", "/logout", "/predict", "/api/predict/")


def acting_routes() -> list[tuple[str, str]]:
    """(method, path) of every route that may change something."""
    routes = (route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute))
    return sorted((m, route.path) for route in routes for m in route.methods - {"GET", "HEAD", "OPTIONS"})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def role_of(client: TestClient, **options: Any) -> str:
    """Who the server takes the asker for; "" where it lets nobody in."""
    found = client.get("/asked/who", follow_redirects=False, **options)
    return found.text if found.status_code == 200 else ""


@pytest.fixture
def opened(home: Home) -> Iterator[Opened]:
    with asking(home) as found:
        yield found


def test_on_the_loopback_with_nothing_set_everybody_is_local_and_may_act(opened: Opened) -> None:
    assert role_of(opened()) == "local operator"


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via"]
)
def test_what_came_through_an_unknown_proxy_is_not_taken_for_this_machine(opened: Opened, header: str) -> None:
    told = opened().get("/api/health", headers={header: "203.0.113.9"})
    assert told.status_code == 403
    assert "trusted_proxies" in told.json()["hint"]


def test_a_token_is_asked_for_on_the_loopback_too(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened()
    told = client.get("/api/machines")
    assert (told.status_code, told.headers["content-type"]) == (401, "application/problem+json")
    assert told.headers["www-authenticate"].startswith("Bearer")
    assert role_of(client, headers=bearer(OPERATOR)) == "operator operator"
    assert role_of(client, headers=bearer(VIEWER)) == "viewer viewer"
    for wrong in ("", "x" * 40, OPERATOR[:-1], OPERATOR + "x", "ü"):
        assert role_of(client, headers={"Authorization": f"Bearer {wrong}".encode()}) == ""
    assert role_of(client, headers={"Authorization": f"Basic {OPERATOR}"}) == ""


@pytest.mark.parametrize("address", ["/", "/settings", "/nothing", "/api/docs", "/api/openapi.json", "/api/nothing"])
def test_without_a_token_nothing_is_told(opened: Opened, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with_tokens(monkeypatch)
    told = opened().get(address, follow_redirects=False)
    assert told.status_code == (401 if address.startswith("/api") else 303)


@pytest.mark.parametrize("address", ["/api/health", "/static/app.css", "/login"])
def test_what_the_login_page_and_monitors_need_is_free(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with_tokens(monkeypatch)
    assert opened().get(address).status_code == 200


def test_a_viewer_who_acts_is_told_why_not(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    told = opened().post("/asked/act", headers=bearer(VIEWER))
    assert told.status_code == 403
    assert "viewer may look, not act" in told.text
    assert opened().post("/asked/act", headers=bearer(OPERATOR)).text == "done"


def test_logging_in_leads_back_and_lasts_over_a_restart(
    home: Home, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    client = opened()
    asked = client.get("/asked/who?x=1&y=2", follow_redirects=False)
    assert asked.headers["location"] == "/login?next=/asked/who%3Fx%3D1%26y%3D2"
    form = client.get(asked.headers["location"])
    assert 'value="/asked/who?x=1&amp;y=2"' in form.text
    given = client.post("/login", data={"token": OPERATOR, "next": "/asked/who?x=1&y=2"}, follow_redirects=False)
    assert (given.status_code, given.headers["location"]) == (303, "/asked/who?x=1&y=2")
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert OPERATOR not in cookie
    assert role_of(client) == "operator operator"
    again = opened()
    again.cookies.set(COOKIE, client.cookies[COOKIE])
    assert role_of(again) == "operator operator"
    assert [note.did for note in again.app.state.service.audit.newest()] == ["logged in"]  # type: ignore[attr-defined]


def test_a_login_is_noted_with_the_address_that_a_trusted_proxy_names(
    home: Home, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    for peer in ("10.0.0.5", "10.0.0.6"):
        client = opened({"trusted_proxies": ["10.0.0.5"]}, peer=peer)
        for token in (VIEWER, "a wrong one"):
            client.post("/login", data={"token": token}, headers={"X-Forwarded-For": "192.0.2.7"})
    noted = [(note.did, note.what) for note in Audit(home).newest()][::-1]
    assert noted[:2] == [("logged in", "192.0.2.7"), ("failed to log in", "192.0.2.7")]
    assert noted[2:] == [("logged in", "10.0.0.6"), ("failed to log in", "10.0.0.6")]


def test_logging_out_takes_the_cookie_back(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened()
    client.post("/login", data={"token": VIEWER})
    assert role_of(client) == "viewer viewer"
    client.post("/logout", follow_redirects=False)
    assert role_of(client) == ""


def test_a_wrong_token_is_asked_for_again_and_gives_no_cookie(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened()
    told = client.post("/login", data={"token": "x" * 30, "next": "/train"})
    assert told.status_code == 401
    assert "not one of this dashboard" in told.text
    assert "x" * 30 not in told.text
    assert COOKIE not in client.cookies


def test_a_login_ends_when_the_token_changes_or_its_time_is_over() -> None:
    config = DashboardConfig()
    gate = Gate(config, {"operator": OPERATOR, "viewer": VIEWER})
    good = gate.session("viewer")

    def who(found: Gate, cookie: str) -> str:
        try:
            headers = [(b"cookie", f"{COOKIE}={cookie}".encode())]
            return found.user(Request({"type": "http", "headers": headers, "scheme": "http"})).role
        except Exception as error:
            return type(error).__name__

    assert who(gate, good) == "viewer"
    assert who(Gate(config, {"operator": OPERATOR, "viewer": VIEWER + "x"}), good) == "UnknownUserError"
    assert who(Gate(config, {"operator": OPERATOR}), good) == "UnknownUserError"
    assert who(gate, gate.session("viewer", now_s=time.time() - SESSION_S - 1)) == "UnknownUserError"
    role, until, signature = good.split(".")
    for forged in (
        f"operator.{until}.{signature}",
        f"viewer.{int(until) + 9}.{signature}",
        f"viewer.{until}.",
        f"viewer.{until}",
        f"viewer.²²²²²²²²²².{signature}",
        f"viewer.{'9' * 5000}.{signature}",
        "",
        ".",
        "..",
        f"{role}.{until}.é",
    ):
        assert who(gate, forged) == "UnknownUserError", forged


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/\t/evil.example", "javascript:x",
     "\\\\evil.example", "///evil.example", "/\n/evil", "http:evil.example", "//[", "/\r\nSet-Cookie: x=y"],
)  # fmt: skip
def test_a_login_leads_nowhere_else(opened: Opened, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert own_path(address) == "/"
    with_tokens(monkeypatch)
    given = opened().post("/login", data={"token": VIEWER, "next": address}, follow_redirects=False)
    assert given.headers["location"] == "/"
    assert own_path("/models/press-1/anomaly?target=pi#top") == "/models/press-1/anomaly?target=pi#top"


PROXY = {"host": "10.0.0.4", "trusted_proxies": ["10.0.0.5/32", "fd00::/8"], "operators": ["ada@example.org"],
         "groups_header": "X-Forwarded-Groups", "operator_groups": ["maintainers"]}  # fmt: skip


def test_a_trusted_proxy_names_the_user_and_nobody_else_does(opened: Opened) -> None:
    ada, eve = {"X-Forwarded-User": "ada@example.org"}, {"X-Forwarded-User": "eve@example.org"}
    proxy = opened(PROXY, peer="10.0.0.5")
    assert role_of(proxy, headers=ada) == "ada@example.org operator"
    assert role_of(proxy, headers=eve) == "eve@example.org viewer"
    assert role_of(proxy, headers=eve | {"X-Forwarded-Groups": "staff, maintainers"}) == "eve@example.org operator"
    assert role_of(proxy, headers=eve | {"X-Forwarded-Groups": "maintainers-not"}) == "eve@example.org viewer"
    assert role_of(proxy) == ""
    assert role_of(opened(PROXY, peer="::ffff:10.0.0.5"), headers=ada) == "ada@example.org operator"
    for peer in ("10.0.0.6", "127.0.0.1", "testclient", "10.0.0.50"):
        assert role_of(opened(PROXY, peer=peer), headers=ada | {"X-Forwarded-For": "10.0.0.5"}) == ""


def test_headers_that_the_proxy_may_not_have_set_are_not_believed(opened: Opened) -> None:
    proxy = opened(PROXY, peer="10.0.0.5")
    twice = [("X-Forwarded-User", "ada@example.org"), ("X-Forwarded-User", "eve@example.org")]
    assert role_of(proxy, headers=twice) == ""
    groups = [("X-Forwarded-User", "eve"), ("X-Forwarded-Groups", "maintainers"), ("X-Forwarded-Groups", "staff")]
    assert role_of(proxy, headers=groups) == "eve viewer"
    without = {**PROXY, "groups_header": "", "operator_groups": []}
    groups_of_eve = {"X-Forwarded-User": "eve", "X-Forwarded-Groups": "maintainers"}
    assert role_of(opened(without, peer="10.0.0.5"), headers=groups_of_eve) == "eve viewer"


def test_a_long_list_of_groups_counts_whole_and_a_long_name_is_nobodys(opened: Opened) -> None:
    proxy = opened(PROXY, peer="10.0.0.5")
    eve, staff = {"X-Forwarded-User": "eve"}, ",".join(f"staff-{k:03}" for k in range(40))
    assert role_of(proxy, headers=eve | {"X-Forwarded-Groups": f"{staff},maintainers"}) == "eve operator"
    cut = f"{'x' * 188},maintainers-not"
    assert cut[:200].endswith(",maintainers")
    assert role_of(proxy, headers=eve | {"X-Forwarded-Groups": cut}) == "eve viewer"
    assert role_of(proxy, headers={"X-Forwarded-User": "e" * 200}) == f"{'e' * 200} viewer"
    assert role_of(proxy, headers={"X-Forwarded-User": "e" * 201}) == ""


def test_behind_tls_the_cookie_is_secure_and_only_a_proxy_says_so(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    said = {"X-Forwarded-Proto": "https"}
    by_proxy = opened(PROXY, peer="10.0.0.5").post(
        "/login", data={"token": VIEWER}, headers=said, follow_redirects=False
    )
    assert "Secure" in by_proxy.headers["set-cookie"]
    assert "strict-transport-security" in by_proxy.headers
    by_anybody = opened(PROXY, peer="10.0.0.6").post(
        "/login", data={"token": VIEWER}, headers=said, follow_redirects=False
    )
    assert "Secure" not in by_anybody.headers["set-cookie"]
    assert "strict-transport-security" not in by_anybody.headers


def test_a_part_of_a_page_sends_whoever_is_logged_out_to_log_in(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    told = opened().get("/jobs", headers={"HX-Request": "true"}, follow_redirects=False)
    assert (told.status_code, told.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])
def test_elsewhere_than_on_the_loopback_it_does_not_start_without_a_way_to_log_in(
    home: Home, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_HOST", host)
    with pytest.raises(ConfigError) as caught:
        load_config(home)
    assert host in str(caught.value)
    assert "Set NIGHTSHIFT_DASHBOARD_OPERATOR_TOKEN" in caught.value.hint
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN", VIEWER)
    assert load_config(home).host == host


def test_tokens_come_from_secrets_and_cannot_be_guessed(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "NIGHTSHIFT_DASHBOARD_OPERATOR_TOKEN").write_text(f"{OPERATOR}\n")
    monkeypatch.setenv("NIGHTSHIFT_SECRETS_DIR", str(folder))
    assert tokens() == {"operator": OPERATOR}
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN", OPERATOR)
    with pytest.raises(ConfigError, match="are the same"):
        tokens()
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN", "short")
    with pytest.raises(ConfigError, match="has 5 characters, and needs 16") as caught:
        tokens()
    assert "short" not in str(caught.value)
    home.configs.mkdir()
    (home.configs / "dashboard.yaml").write_text(f"operator_token: {OPERATOR}")
    with pytest.raises(ConfigError, match="unknown key 'operator_token'"):
        load_config(home)


@pytest.mark.parametrize(
    ("said", "told"),
    [("trusted_proxies: [everybody]", "trusted_proxies"), ("rates: {actions: often}", "rates.actions"),
     ("port: 0", "'port'"), ("operator_groups: [a]", "needs 'groups_header'"), ("max_body_mb: 0", "max_body_mb")],
)  # fmt: skip
def test_a_config_that_cannot_be_used_is_one_line(home: Home, said: str, told: str) -> None:
    home.configs.mkdir()
    (home.configs / "dashboard.yaml").write_text(said)
    with pytest.raises(ConfigError) as caught:
        load_config(home)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "path"), acting_routes())
def test_every_route_that_acts_asks_for_an_operator(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Whoever adds a route and forgets `Operator` is told here; answers of models and the login are for all."""
    with_tokens(monkeypatch)
    filled = path.replace("{", "").replace("}", "")
    told = opened().request(method, filled, headers=bearer(VIEWER), json={})
    assert (told.status_code == 403) != path.startswith(FOR_ALL)
