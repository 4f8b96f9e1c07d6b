"""Whose MLflow is used; the server itself runs in `tests/flows/test_deployed.py`."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deployments import mlflow_server, processes
from nightshift.errors import EXIT_UNREACHABLE, ServiceError
from nightshift.files import write_atomic
from nightshift.settings import Home


class Elsewhere(BaseHTTPRequestHandler):
    """A web server that is not MLflow."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        return


def test_a_named_server_that_does_not_answer_is_one_error_without_its_password(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9, and no MLflow answers there: ") as caught:
        mlflow_server.ensure_mlflow(home)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert "secret" not in str(caught.value)
    assert "unset MLFLOW_TRACKING_URI" in caught.value.hint
    assert processes.recorded(home) == []


def test_a_named_database_is_used_as_it_is_and_nothing_is_started(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/mlflow.db")
    assert mlflow_server.ensure_mlflow(home) == "sqlite:////elsewhere/mlflow.db"
    assert processes.recorded(home) == []


def test_the_address_of_the_homes_last_server_in_a_shell_is_not_the_users_choice(home, monkeypatch):
    write_atomic(home.run / "mlflow-address", b"http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert mlflow_server.users_choice(home) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert mlflow_server.users_choice(home) == "http://127.0.0.1:5001"


def test_another_web_server_at_the_address_is_not_taken_for_mlflow():
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert mlflow_server.health(f"http://127.0.0.1:{server.server_port}") == "it is no MLflow server"
        server.shutdown()


def test_passwords_of_the_database_are_not_on_the_command_line_nor_in_the_record(home: Home, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_DB", "postgresql://me:secret@127.0.0.1/x")
    given = mlflow_server._variables(home)
    assert "secret" in given["_MLFLOW_SERVER_FILE_STORE"]
    record = processes.start(home, "mlflow", processes.python("-c", "import time; time.sleep(60)"), variables=given)
    try:
        assert "secret" not in processes.record_path(home, "mlflow").read_text()
        assert processes.verified(record)
    finally:
        processes.stop([record], grace_s=0.1)
