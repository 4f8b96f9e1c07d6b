"""The feature graph against the same definitions in float64 numpy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pydantic import ValidationError

from nightshift.edge.session import open_session
from nightshift.edge.window import build_windows
from nightshift.graphs import features as module
from nightshift.graphs.features import (
    DerivedColumn,
    FeatureSpec,
    Regimes,
    compute_features,
    compute_table_features,
    feature_model,
)
from nightshift.graphs.fit import fit_features

ALL = ("last", "mean", "spread", "slope", "minimum", "maximum")
DERIVED = (
    DerivedColumn(name="b/c", kind="ratio", left="b", right="c"),
    DerivedColumn(name="b-a", kind="difference", left="b", right="a"),
    DerivedColumn(name="a*c", kind="product", left="a", right="c"),
    DerivedColumn(name="a-c", kind="difference", left="a", right="c"),
)


def slope_of(values: np.ndarray) -> float:
    there = np.isfinite(values)
    if there.sum() == 0:
        return np.nan
    if there.sum() == 1:
        return 0.0
    row = np.flatnonzero(there).astype(np.float64)
    row -= row.mean()
    return float((row * (values[there] - values[there].mean())).sum() / (row**2).sum())


def statistic_of(values: np.ndarray, statistic: str) -> float:
    there = values[np.isfinite(values)]
    if statistic == "last":
        return float(values[-1])
    if statistic == "slope":
        return slope_of(values)
    if not len(there):
        return np.nan
    how = {"mean": np.mean, "spread": np.std, "minimum": np.min, "maximum": np.max}
    return float(how[statistic](there))


def reference(spec: FeatureSpec, windows: np.ndarray) -> np.ndarray:
    """Every feature in float64, one window at a time."""
    rows = np.where(np.isfinite(windows), windows, np.nan).astype(np.float64)
    columns = {name: rows[:, :, i] for i, name in enumerate(spec.columns)}
    with np.errstate(all="ignore"):
        for item in spec.derived:
            left, right = columns[item.left], columns[item.right]
            made = {"difference": left - right, "product": left * right, "ratio": left / right}[item.kind]
            columns[item.name] = np.where(np.isfinite(made), made, np.nan)
    if spec.regimes is not None:
        r = spec.regimes
        scaled = (np.stack([columns[n] for n in r.settings], axis=-1) - np.array(r.offset)) / np.array(r.scale)
        distance = ((scaled[:, :, None, :] - np.array(r.centres)) ** 2).sum(axis=-1)
        unknown = np.isnan(distance).any(axis=-1)
        regime = np.where(unknown, 0, np.argmin(distance, axis=-1))
        for i, name in enumerate(r.sensors):
            mean, spread = np.array(r.means)[:, i], np.array(r.spreads)[:, i]
            columns[name] = np.where(unknown, np.nan, (columns[name] - mean[regime]) / spread[regime])
    statistics = ("last",) if spec.window_rows == 1 else spec.statistics
    made = [[statistic_of(w, s) for w in columns[c]] for s in statistics for c in spec.numeric_columns]
    alone = [columns[c][:, -1] for c in spec.instant + spec.categorical]
    return np.array([*made, *alone], dtype=np.float64).T


def awkward_windows(rng: np.random.Generator, n: int, window_rows: int, n_columns: int) -> np.ndarray:
    windows = rng.normal([10.0, -3.0, 0.5, 2.0][:n_columns], 2.0, size=(n, window_rows, n_columns))
    windows[rng.random(windows.shape) < 0.15] = np.nan
    for i in range(min(n, window_rows)):
        windows[i, : window_rows - 1 - i] = np.nan  # short history
    windows[n // 2, :, 0] = np.nan  # nothing at all
    windows[n // 2 + 1, :, 0] = 7.25  # a constant
    windows[n // 2 + 2, -1, 1] = np.inf
    windows[n // 2 + 3, 0, 2] = -np.inf
    windows[n // 2 + 4, -1, 2] = 0.0  # a divisor
    return windows.astype(np.float32)


@pytest.mark.parametrize("statistics", [ALL, ("mean",), ("slope", "last"), ("maximum", "spread"), ("last",)])
def test_every_statistic_matches_float64_with_gaps_short_history_and_constants(statistics: tuple[str, ...]) -> None:
    spec = FeatureSpec(window_rows=8, columns=("a", "b", "c", "kind"), statistics=statistics, categorical=("kind",))
    windows = awkward_windows(np.random.default_rng(0), 60, 8, 4)
    got = compute_features(spec, windows)
    assert got.dtype == np.float32
    assert got.shape == (60, len(spec.feature_names))
    np.testing.assert_allclose(got, reference(spec, windows), rtol=2e-6, atol=2e-6)


def test_derived_columns_keep_their_order_and_miss_where_the_divisor_is_zero() -> None:
    spec = FeatureSpec(window_rows=4, columns=("a", "b", "c"), statistics=("last", "mean"), derived=DERIVED)
    windows = awkward_windows(np.random.default_rng(1), 40, 4, 3)
    got = compute_features(spec, windows)
    want = reference(spec, windows)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert np.isnan(got[24, spec.feature_names.index("b/c__last")])


def test_a_single_row_gives_its_own_values_under_their_own_names() -> None:
    spec = FeatureSpec(
        window_rows=1, columns=("kind", "a", "b", "c"), derived=DERIVED[:2], categorical=("kind",), ignored=("c",)
    )
    windows = np.array([[[2, 10, 4, 8]], [[-1, 1, np.nan, 0]]], dtype=np.float32)
    assert spec.feature_names == ("a", "b", "b/c", "b-a", "kind")
    np.testing.assert_array_equal(
        compute_features(spec, windows), [[10, 4, 0.5, -6, 2], [1, np.nan, np.nan, np.nan, -1]]
    )


def test_an_instant_column_gives_only_its_newest_value() -> None:
    spec = FeatureSpec(window_rows=3, columns=("a", "age"), statistics=("mean", "slope"), instant=("age",))
    windows = np.array([[[np.nan, np.nan], [1, 7], [3, 8]]], dtype=np.float32)
    assert spec.feature_names == ("a__mean", "a__slope", "age")
    np.testing.assert_array_equal(compute_features(spec, windows), [[2, 2, 8]])


def test_a_small_spread_on_a_large_level_survives_float32() -> None:
    spec = FeatureSpec(window_rows=30, columns=("a",), statistics=("mean", "spread", "slope"))
    rng = np.random.default_rng(2)
    windows = (1e6 + rng.normal(0, 1.0, size=(200, 30, 1)) + np.arange(30)[None, :, None]).astype(np.float32)
    np.testing.assert_allclose(compute_features(spec, windows), reference(spec, windows), rtol=1e-5)


def test_nothing_infinite_leaves_even_when_a_square_overflows() -> None:
    spec = FeatureSpec(window_rows=3, columns=("a", "b", "c"), statistics=ALL, derived=DERIVED)
    windows = np.array([1e38, -3e38, 2e38], dtype=np.float32)[None, :, None].repeat(3, axis=2)
    assert not np.isinf(compute_features(spec, windows)).any()


def regime_spec() -> FeatureSpec:
    regimes = Regimes(
        settings=("s",),
        offset=(50.0,),
        scale=(10.0,),
        centres=((-5.0,), (5.0,)),
        sensors=("a", "b-s"),
        means=((1.0, 2.0), (100.0, 20.0)),
        spreads=((0.5, 1.0), (10.0, 4.0)),
    )
    derived = (DerivedColumn(name="b-s", kind="difference", left="b", right="s"),)
    return FeatureSpec(
        window_rows=5, columns=("a", "s", "b"), statistics=("last", "mean", "spread"), derived=derived, regimes=regimes
    )


def test_sensors_are_normalised_by_the_regime_of_their_own_row() -> None:
    spec = regime_spec()
    rng = np.random.default_rng(3)
    windows = rng.normal([50, 0, 10], [30, 1, 2], size=(50, 5, 3)).astype(np.float32)
    windows[:, :, 1] += rng.choice([0.0, 100.0], size=(50, 5))
    windows[rng.random(windows.shape) < 0.1] = np.nan
    windows[3, :3] = np.nan
    np.testing.assert_allclose(compute_features(spec, windows), reference(spec, windows), rtol=1e-4, atol=2e-5)


def test_a_missing_setting_leaves_the_sensor_missing_and_the_rest_as_it_is() -> None:
    spec = regime_spec()
    windows = np.full((1, 5, 3), 4.0, dtype=np.float32)
    windows[0, -1, 1] = np.nan
    got = dict(zip(spec.feature_names, compute_features(spec, windows)[0], strict=True))
    assert np.isnan(got["a__last"])
    assert got["b__last"] == 4.0
    assert got["a__mean"] == 6.0


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_any_batch_size_gives_one_row_a_window(rows: int) -> None:
    spec = regime_spec()
    windows = np.ones((rows, 5, 3), dtype=np.float32)
    assert compute_features(spec, windows).shape == (rows, len(spec.feature_names))


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = FeatureSpec(window_rows=6, columns=("a", "b"), statistics=ALL)
    rng = np.random.default_rng(4)
    values, run = rng.normal(size=(100, 2)).astype(np.float32), np.repeat([1, 2, 3], [40, 35, 25])
    rows = np.array([0, 99, 41, 5, 60])
    whole = compute_features(spec, build_windows(values, run, 6))
    monkeypatch.setattr(module, "CHUNK_VALUES", 6 * 2 * 7)
    np.testing.assert_array_equal(compute_table_features(spec, values, run), whole)
    np.testing.assert_array_equal(compute_table_features(spec, values, run, rows), whole[rows])
    np.testing.assert_array_equal(compute_features(spec, build_windows(values, run, 6)), whole)


def test_a_spec_survives_json_bit_for_bit() -> None:
    spec = regime_spec()
    assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_graph_says_its_shapes() -> None:
    model = feature_model(regime_spec())
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 5, 3]
    assert [o.name for o in model.graph.output] == ["features"]


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="windows must be"):
        compute_features(regime_spec(), np.zeros((2, 4, 3), np.float32))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"statistics": ("mean",)}, "one row"),
        ({"window_rows": 3, "statistics": ("mean", "mean")}, "named twice"),
        ({"categorical": ("z",)}, "not among the columns"),
        ({"categorical": ("a",), "instant": ("a",)}, "one part to play"),
        ({"ignored": ("a", "b")}, "no column is left"),
        ({"columns": ("a", "a")}, "occurs twice"),
        ({"derived": (DerivedColumn(name="d", kind="ratio", left="a", right="z"),)}, "two numeric columns"),
        ({"derived": (DerivedColumn(name="a", kind="ratio", left="a", right="b"),)}, "occurs twice"),
        ({"regimes": regime_spec().regimes}, "regime"),
        ({"windows": 3}, "Extra inputs"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(change: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {"window_rows": 1, "columns": ("a", "b"), **change}
    with pytest.raises(ValidationError, match=said):
        FeatureSpec.model_validate(fields)


def six_regimes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Settings of six operating points, and one sensor that each moves to another level."""
    points = np.array([[0, 0], [10, 0.25], [20, 0.7], [25, 0.62], [35, 0.84], [42, 0.84]])
    regime = rng.integers(0, 6, n)
    settings = points[regime] + rng.normal(0, [0.01, 0.001], size=(n, 2))
    sensor = regime * 100.0 + rng.normal(0, 1 + regime, n)
    return np.column_stack([settings, sensor]).astype(np.float32), regime


def test_regimes_are_found_where_settings_cluster_and_take_the_level_out() -> None:
    values, regime = six_regimes(np.random.default_rng(5), 3000)
    spec = fit_features(
        values, ["alt", "mach", "t"], window_rows=2, statistics=["last"], settings=["alt", "mach"], seed=1
    )
    assert spec.regimes is not None
    assert len(spec.regimes.centres) == 6
    assert spec.regimes.sensors == ("t",)
    normal = compute_features(spec, np.repeat(values[:, None, :], 2, axis=1))[:, 2]
    for index in range(6):
        assert abs(normal[regime == index].mean()) < 1e-3
        assert normal[regime == index].std() == pytest.approx(1.0, abs=1e-3)
    again = fit_features(
        values, ["alt", "mach", "t"], window_rows=2, statistics=["last"], settings=["alt", "mach"], seed=1
    )
    assert again == spec


@pytest.mark.parametrize("kind", ["cloud", "sweep", "constant", "steps", "missing"])
def test_settings_that_do_not_cluster_form_no_regimes(kind: str) -> None:
    rng = np.random.default_rng(6)
    n = 2000
    setting = {
        "cloud": rng.normal(size=n),
        "sweep": np.linspace(0, 1, n),
        "constant": np.full(n, 3.0),
        "steps": np.round(rng.normal(0, 2.5, n)),
        "missing": np.full(n, np.nan),
    }[kind]
    values = np.column_stack([setting, rng.normal(size=n), rng.normal(size=n)]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = fit_features(
            values, ["s", "u", "a"], window_rows=3, statistics=["mean"], settings=["s", "u"][: 2 - (kind == "missing")]
        )
    assert spec.regimes is None


def test_settings_in_two_modes_are_two_regimes_and_a_still_sensor_stays_finite() -> None:
    rng = np.random.default_rng(7)
    mode = rng.integers(0, 2, 400)
    values = np.column_stack([mode, mode * 5.0 + 1.0, rng.normal(size=400)]).astype(np.float32)
    spec = fit_features(values, ["m", "still", "a"], window_rows=1, statistics=["mean"], settings=["m"])
    assert spec.statistics == ("last",)
    assert spec.regimes is not None
    assert len(spec.regimes.centres) == 2
    np.testing.assert_allclose(compute_features(spec, values[:, None, :])[:, 1], 0.0, atol=1e-6)


@pytest.mark.parametrize("statistics", [ALL, ("last",)])
def test_an_empty_batch_and_batches_of_any_size_are_answered_alike(statistics: tuple[str, ...]) -> None:
    spec = FeatureSpec(window_rows=8, columns=("a", "b", "c", "kind"), statistics=statistics, categorical=("kind",))
    windows = awkward_windows(np.random.default_rng(4), 60, 8, 4)
    session = open_session(feature_model(spec).SerializeToString())
    at_once = session.run(None, {"window": windows})[0]
    one_by_one = [session.run(None, {"window": windows[i : i + 1]})[0] for i in range(len(windows))]
    np.testing.assert_array_equal(at_once, np.concatenate(one_by_one))
    assert session.run(None, {"window": windows[:0]})[0].shape == (0, len(spec.feature_names))
