"""The words that profiles use hang together."""

from __future__ import annotations

import typing

from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType, Mode
from nightshift.simulate.profile_parts import FailureMode


def test_every_type_can_be_measured_and_can_fail() -> None:
    assert set(KINDS) == set(MachineType)
    for kind in KINDS.values():
        assert set(kind.quantities) <= set(QUANTITIES)
        assert len(set(kind.quantities)) == len(kind.quantities)
        assert len(kind.modes) >= 3


def test_every_mode_has_its_physics_and_some_machine() -> None:
    members = typing.get_args(typing.get_args(FailureMode)[0])
    described = {str(m) for model in members for m in typing.get_args(model.model_fields["mode"].annotation)}
    assert described == set(Mode)
    assert {mode for kind in KINDS.values() for mode in kind.modes} == set(Mode)


def test_every_quantity_is_measured_somewhere_within_possible_limits() -> None:
    assert {q for kind in KINDS.values() for q in kind.quantities} == set(QUANTITIES)
    assert all(q.low < q.high and q.unit and q.meaning for q in QUANTITIES.values())
