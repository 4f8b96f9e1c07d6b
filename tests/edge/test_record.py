"""What a record takes, refuses, and says of itself."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.edge.record import AtLeast, Record, RecordError


class Part(Record):
    name: str
    sizes: tuple[int | str, ...] = ()


class Whole(Record):
    format: Literal[1] = 1
    parts: tuple[Part, ...]
    worst: dict[str, Annotated[float, AtLeast(0, endless=True)]] = {}
    figures: dict[str, dict[str, float | None]] = {}
    count: Annotated[int, AtLeast(1)] = 1
    limit: Annotated[float, AtLeast(0)] | None = None
    ok: bool = True


WHOLE = Whole(
    parts=(Part(name="a", sizes=("batch", 2)),), worst={"x": math.inf}, figures={"t": {"f1": 0.5, "auc": None}}
)


def test_a_record_is_read_back_as_it_was_told() -> None:
    assert Whole.model_validate_json(WHOLE.model_dump_json()) == WHOLE
    assert Whole.model_validate_json(WHOLE.model_dump_json(indent=1).encode()) == WHOLE
    assert pickle.loads(pickle.dumps(WHOLE)) == copy.deepcopy(WHOLE) == WHOLE
    assert Whole.model_validate(WHOLE) is WHOLE
    assert json.loads(WHOLE.model_dump_json())["parts"] == [{"name": "a", "sizes": ["batch", 2]}]


def test_a_number_without_end_is_told_only_where_it_is_taken() -> None:
    told = WHOLE.model_copy(update={"figures": {"t": {"f1": math.nan, "auc": math.inf}}}).model_dump(mode="json")
    assert told["worst"] == {"x": "Infinity"}
    assert told["figures"] == {"t": {"f1": None, "auc": None}}


def test_numbers_of_numpy_are_numbers() -> None:
    part = Whole(parts=(), figures={"t": {"f1": np.float32(0.5)}}, limit=np.float64(2.0))  # type: ignore[dict-item]
    assert (type(part.figures["t"]["f1"]), type(part.limit)) == (float, float)


def test_a_record_does_not_change_nor_share_what_it_was_given() -> None:
    given_worst = {"x": 1.0}
    whole = Whole(parts=(), worst=given_worst)
    given_worst["x"] = 2.0
    assert whole.worst == {"x": 1.0}
    assert Whole(parts=()).worst is not Whole(parts=()).worst
    with pytest.raises(AttributeError, match="model_copy"):
        whole.count = 3  # type: ignore[misc]
    assert len({Part(name="a"), Part(name="a"), Part(name="b")}) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format: expected 1, got 2"),
        ({"format": True}, "format: expected 1, got True"),
        ({"parts": None}, "parts: expected a list, got None"),
        ({"parts": [{"name": "a"}, {}]}, "parts.1.name: the field is missing"),
        ({"parts": [{"name": "a", "sizes": [1.5]}]}, "parts.0.sizes.0: expected text, got 1.5"),
        ({"parts": ["a"]}, "parts.0: expected fields by name, got 'a'"),
        ({"parts": [{"name": "\ud800"}]}, r"parts.0.name: expected text, got '\ud800'"),
        ({"worst": {"x": "1"}}, "worst.x: expected a number, got '1'"),
        ({"worst": {"x": math.nan}}, "worst.x: expected 0 or more, got nan"),
        ({"worst": []}, "worst: expected values by name, got []"),
        ({"figures": {"a\nb": {"f1": "x"}}}, r"figures.a\nb.f1: expected a number, got 'x'"),
        ({"figures": {"t": {"f1": 10**400}}}, f"figures.t.f1: expected a number, got 1{'0' * 59}"),
        ({"count": 0}, "count: expected 1 or more, got 0"),
        ({"count": 1.0}, "count: expected an integer, got 1.0"),
        ({"count": True}, "count: expected an integer, got True"),
        ({"limit": "Infinity"}, "limit: expected a number, got 'Infinity'"),
        ({"limit": math.inf}, "limit: expected a finite number, got inf"),
        ({"ok": 1}, "ok: expected true or false, got 1"),
        ({"self": 1}, "self: there is no such field"),
        ({"model_dump": 1}, "model_dump: there is no such field"),
    ],
)
def test_what_a_record_does_not_take_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError) as caught:
        Whole.model_validate({"parts": [], **change})
    assert str(caught.value) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(changes=st.dictionaries(st.sampled_from(["parts", "worst", "figures", "count", "limit", "ok", "new"]), JSON))
def test_any_json_is_a_record_or_refused_in_one_line(changes: dict[str, Any]) -> None:
    said = ""
    try:
        found = Whole.model_validate_json(json.dumps({**WHOLE.model_dump(), **changes}))
    except RecordError as error:
        said = str(error)
    else:
        assert Whole.model_validate_json(found.model_dump_json()).model_dump() == found.model_dump()
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"null", b"\xef\xbb\xbf{}"])
def test_what_is_no_json_of_a_record_is_refused(raw: bytes) -> None:
    with pytest.raises(RecordError):
        Whole.model_validate_json(raw)
