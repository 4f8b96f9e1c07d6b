from __future__ import annotations

import warnings
from typing import Any

import pytest

from nightshift.errors import TableError, UnknownNameError
from nightshift.findings import finding
from nightshift.trainer.checks.telling import FindingWarning, tell_findings
from nightshift.trainer.options import Checks, Settings

FEW, TIP, SHARE = finding("T021", "9 rows."), finding("T027", "'c' is constant."), finding("T003", "9 to 1.")


def settings(**checks: Any) -> Settings:
    return Settings(checks=Checks(**checks))


def test_each_finding_warns_once_with_all_that_is_to_be_known() -> None:
    with pytest.warns(FindingWarning) as caught:
        kept = tell_findings([FEW, TIP, FEW], settings())

    assert kept == (FEW, TIP)
    assert str(caught[0].message) == (
        "T021: 9 rows. Why: figures of so few rows say little. Use strategy='leave_one_out', or get more rows. "
        "Mute: checks=Checks(mute=('T021',))."
    )
    assert len(caught) == 2
    assert caught[0].filename == __file__, "shown with the caller's own line"


def test_a_muted_finding_is_neither_told_nor_kept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tell_findings([FEW], settings(mute=("T021",))) == ()
        assert tell_findings([FEW], settings(mute=("T021",), action="error")) == ()


def test_the_first_finding_that_is_no_tip_is_the_error() -> None:
    with pytest.raises(TableError, match=r"T021: 9 rows.*T021',\)\)\. \(1 more like it.\)$"):
        tell_findings([TIP, FEW, SHARE], settings(action="error"))
    with pytest.warns(FindingWarning, match="T027"):
        assert tell_findings([TIP], settings(action="error")) == (TIP,)


def test_off_tells_nothing_and_keeps_what_others_found() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tell_findings([FEW], settings(action="off")) == (FEW,)


def test_a_code_that_is_none_cannot_be_muted() -> None:
    with pytest.raises(UnknownNameError, match="unknown finding code 'T21'"):
        tell_findings([], settings(mute=("T21",)))
