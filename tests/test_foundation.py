"""Errors, findings, progress, home: what everything else stands on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.errors import (
    BlockedError,
    ConfigError,
    NightshiftError,
    UnknownNameError,
    first_line,
    nearest,
    without_credentials,
)
from nightshift.findings import CODES, Severity, blockers, finding, unmuted
from nightshift.progress import FileSink, ProgressEvent, Throttle, read_events
from nightshift.settings import Home, secret, use_home

ROOT = Path(__file__).resolve().parent.parent


def test_an_unknown_name_names_the_nearest_or_lists_what_there_is() -> None:
    assert "Did you mean 'anomaly'?" in str(UnknownNameError("family", "Anomly", ["anomaly", "rul"]))
    assert nearest("zzz", ["anomaly", "rul"]) == "Valid: anomaly, rul."
    assert nearest("x", []) == "There is none yet."


def test_credentials_never_stand_in_a_shown_address() -> None:
    assert without_credentials("https://me:secret@example.org/mlflow") == "https://example.org/mlflow"
    assert without_credentials("sqlite:////home/me/mlflow.db") == "sqlite:////home/me/mlflow.db"
    assert "secret" not in without_credentials("postgresql:///db?host=h&user=u&password=secret")


def test_a_foreign_error_is_one_line_without_credentials() -> None:
    assert first_line(OSError("\nno way to https://me:secret@example.org.\nmore")) == "no way to https://example.org"
    assert first_line(ValueError()) == "ValueError"
    # Cut after the credentials are gone: half of a password has no sign behind it to be known by.
    assert first_line(OSError("https://me:secret@example.org"), 12) == "https://exam"


@pytest.mark.parametrize(
    "error", [ConfigError("what", hint="do"), UnknownNameError("family", "x", ["y"]), BlockedError("w", hint="h")]
)
def test_errors_keep_their_hint_across_a_process_border(error: NightshiftError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.hint == error.hint


def test_every_code_says_why_and_what_to_do() -> None:
    for code, known in CODES.items():
        assert code[0] in "DTEGR"
        assert known.title, code
        assert known.why, code
        assert known.remedy, code


def test_blockers_cannot_be_muted() -> None:
    found = [finding("D001", "x"), finding("D004", "y")]
    assert [f.code for f in unmuted(found, ["D001", "D004"])] == ["D001"]
    assert blockers(found) == [found[0]]
    assert found[0].severity is Severity.BLOCKER
    with pytest.raises(UnknownNameError):
        finding("D999", "x")


def test_progress_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "work" / "progress.jsonl"
    event = ProgressEvent(cell="c", stage="train", step=1, total=4, metrics={"loss": 0.5}, message="round", at=1.5e9)
    FileSink(path)(event)
    with path.open("a") as file:
        file.write('{"cell": "c", "sta')
    assert list(read_events(path)) == [event]
    assert '"at":"2017-07-14T02:40:00Z"' in path.read_text()


def test_throttle_passes_the_first_and_the_last() -> None:
    seen: list[float] = []
    sink = Throttle(lambda e: seen.append(e.step), interval_s=60)
    for step in range(1, 11):
        sink(ProgressEvent(cell="c", stage="train", step=step, total=10))
    assert seen == [1, 10]


def test_throttle_leaves_out_no_epoch() -> None:
    seen: list[float] = []
    sink = Throttle(lambda e: seen.append(e.step), interval_s=60)
    for step in range(1, 6):
        sink(ProgressEvent(cell="c", stage="train", step=step, total=10, epoch=step if step > 2 else 0))
    assert seen == [1, 3, 4, 5]


def test_the_environment_keeps_every_library_inside_the_home(home: Home) -> None:
    for variable in ("PREFECT_HOME", "DVC_SITE_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR"):
        assert Path(os.environ[variable]).is_relative_to(home.root)
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DVC_NO_ANALYTICS"] == "1"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_edge_runtime_writes_nothing_into_the_users_home(tmp_path: Path) -> None:
    """onnxruntime leaves a device id and a database of events there unless it is told not to."""
    from nightshift.graphs.build import Graph

    graph = Graph("identity")
    graph.output(graph.input("window", "float32", ("batch", 1, 1)), "value", "float32", ("batch", 1, 1))
    (tmp_path / "model.onnx").write_bytes(graph.build().SerializeToString())
    code = (
        "import sys, pathlib; from nightshift.edge.session import open_session\n"
        "open_session(pathlib.Path(sys.argv[1]).read_bytes())"
    )
    given = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(tmp_path / "user")}
    (tmp_path / "user").mkdir()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.onnx")], env=given, check=True, timeout=60)
    assert list((tmp_path / "user").rglob("*")) == []


def test_libraries_that_load_before_any_home_write_nothing_into_the_users_home(tmp_path: Path) -> None:
    """As pytest loads them while it collects tests."""
    code = "import tests.conftest, prefect, matplotlib.font_manager"
    named = ("PREFECT_", "MPL", "DVC_", "NIGHTSHIFT_", "XDG_", "PYTEST_")
    given = {k: v for k, v in os.environ.items() if not k.startswith(named)} | {"HOME": str(tmp_path / "user")}
    given |= {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    (tmp_path / "user").mkdir()
    subprocess.run([sys.executable, "-c", code], env=given, check=True, timeout=120)
    assert list((tmp_path / "user").rglob("*")) == []


def test_children_inherit_the_home(tmp_path: Path, home: Home) -> None:
    use_home(tmp_path / "other")
    code = "from nightshift.settings import home; print(home().root)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(tmp_path / "other")


def test_a_shared_store_takes_mlflows_artifacts_too(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.store_url == ""
    assert home.mlflow_artifacts == home.artifacts.as_uri()
    monkeypatch.setenv("NIGHTSHIFT_STORE_URL", "s3://bucket/fleet/")
    assert (home.store_url, home.mlflow_artifacts) == ("s3://bucket/fleet", "s3://bucket/fleet/mlflow")
    monkeypatch.setenv("NIGHTSHIFT_STORE_URL", str(tmp_path))
    assert home.store_url == tmp_path.as_uri()
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_ARTIFACTS", "s3://another")
    assert home.mlflow_artifacts == "s3://another"


def test_a_secret_is_read_from_the_environment_else_from_its_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secret("NIGHTSHIFT_MLFLOW_DB") is None
    assert home.mlflow_uri == f"sqlite:///{home.mlflow_db}"
    (tmp_path / "NIGHTSHIFT_MLFLOW_DB").write_text("postgresql://me:hidden@place/mlflow\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("of the file")
    (tmp_path / "SOMETHING_ELSE").write_text("not taken")
    monkeypatch.setenv("NIGHTSHIFT_SECRETS_DIR", str(tmp_path))
    assert "hidden" not in repr(secret("NIGHTSHIFT_MLFLOW_DB"))
    assert home.mlflow_uri == "postgresql+psycopg2://me:hidden@place/mlflow"
    assert home.studies == f"sqlite:///{home.root / 'experiments' / 'searches' / 'studies.db'}"
    monkeypatch.setenv("NIGHTSHIFT_STUDY_DB", "postgres://me:hidden@place/studies")
    assert home.studies == "postgresql+psycopg2://me:hidden@place/studies"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the environment")
    use_home(home.root)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "of the environment"
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    use_home(home.root)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "of the file"
    assert "SOMETHING_ELSE" not in os.environ


def test_a_secret_that_cannot_be_read_is_named(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "NIGHTSHIFT_MLFLOW_DB").mkdir()
    monkeypatch.setenv("NIGHTSHIFT_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="the secret NIGHTSHIFT_MLFLOW_DB in NIGHTSHIFT_SECRETS_DIR cannot be read"):
        _ = home.mlflow_uri
