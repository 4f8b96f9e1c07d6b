"""The code fingerprint covers what makes a model, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.plan import code


def test_the_closure_holds_direct_and_indirect_helpers() -> None:
    modules = code.closure("nightshift.families.anomaly")
    assert "nightshift.families.anomaly" in modules
    assert "nightshift.family" in modules
    assert "nightshift.errors" in modules


def test_plan_dashboard_and_cli_are_left_out() -> None:
    for module in code.closure("nightshift.families.anomaly"):
        assert not module.startswith(("nightshift.plan", "nightshift.cli", "nightshift.dashboard"))


def test_a_changed_helper_changes_the_fingerprint_and_a_changed_readme_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    package = tmp_path / "nightshift"
    shutil.copytree(code._PACKAGE, package)
    monkeypatch.setattr(code, "_PACKAGE", package)

    def fingerprint() -> str:
        for cached in (code.code_fingerprint, code._imports, code._hash):
            cached.cache_clear()
        return code.code_fingerprint("anomaly")

    try:
        before = fingerprint()
        (package / "README.md").write_text("changed")
        (package / "plan" / "state.py").write_text("# changed\n")
        assert fingerprint() == before
        helper = package / "errors.py"
        helper.write_text(helper.read_text() + "\n# changed\n")
        assert fingerprint() != before
    finally:
        monkeypatch.undo()
        fingerprint()
