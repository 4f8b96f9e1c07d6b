"""What is read back answers bit for bit as what was saved; what is no longer what was saved is not read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBClassifier

from nightshift import trainer
from nightshift.errors import BundleError, CorruptFileError, NewerFormatError, TableError, UntrustedError, UsageError
from nightshift.settings import Home
from nightshift.trainer.keep import manifest, trust
from nightshift.trainer.keep.save import save

pytestmark = pytest.mark.usefixtures("home")
ROWS = 200
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(ROWS, 4))
TWO = np.where(NUMBERS[:, 0] + RNG.normal(size=ROWS) / 2 > 0.9, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.digitize(NUMBERS[:, 1], [-0.5, 0.5])]
VALUES = 3 * NUMBERS[:, 0] + NUMBERS[:, 1]


def mixed() -> pd.DataFrame:
    frame = pd.DataFrame(NUMBERS, columns=list("abcd"))
    frame.loc[::9, "b"] = np.nan
    return frame.assign(
        few=np.where(NUMBERS[:, 2] > 0, "u", "v"),
        many=[f"m{i % 60}" for i in range(ROWS)],
        when=pd.date_range("2024-01-01", periods=ROWS, freq="7h"),
        whole=pd.array([None if i % 20 == 3 else i for i in range(ROWS)], dtype="Int64"),
    )


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    def forward(self, X: Any) -> Any:
        return self.layers(X)


@dataclass(frozen=True)
class Case:
    """A model, its table, and how it may be kept."""

    name: str
    make: Callable[[], Any]
    X: Any
    y: Any
    formats: tuple[str, ...]
    more: dict[str, Any]
    module: Any = None


def case(name: str, make: Callable[[], Any], X: Any, y: Any, formats: str, module: Any = None, **more: Any) -> Case:
    return Case(name, make, X, y, tuple(formats.split()), more, module)


ALL, OWN = "skops native joblib", "skops joblib"
CASES = [
    case("forest", lambda: RandomForestClassifier(8), NUMBERS, THREE, OWN),
    case("columns of all sorts", lambda: LogisticRegression(), mixed(), TWO, OWN),
    case("neighbours", lambda: KNeighborsClassifier(), NUMBERS, TWO, OWN),
    case("histograms", lambda: HistGradientBoostingRegressor(max_iter=5), mixed()[["a", "few"]], VALUES, OWN),
    case("ridge", lambda: Ridge(), NUMBERS, VALUES, OWN),
    case("lightgbm", lambda: LGBMClassifier(n_estimators=5, verbose=-1), mixed(), TWO, ALL, balance="threshold"),
    case("lightgbm numbers", lambda: LGBMRegressor(n_estimators=5, verbose=-1), NUMBERS, VALUES, ALL),
    case("xgboost", lambda: XGBClassifier(n_estimators=5), mixed(), THREE, ALL, early_stopping=3),
    case("catboost", lambda: CatBoostClassifier(iterations=5, verbose=0), NUMBERS, THREE, ALL),
    case("net", lambda: Net, NUMBERS, TWO, "skops native", Net),
    case(
        "booster in a Pipeline",
        lambda: make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=3, verbose=-1)),
        NUMBERS,
        TWO,
        ALL,
    ),
]


def trained(one: Case) -> Any:
    return trainer.train_model(one.make(), one.X, one.y, checks="off", progress=False, **one.more)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """Of each case, trained once."""
    return {}


def result_of(results: dict[str, Any], name: str) -> tuple[Case, Any]:
    one = next(each for each in CASES if each.name == name)
    if name not in results:
        results[name] = trained(one)
    return one, results[name]


@pytest.mark.parametrize(("name", "kept"), [(one.name, kept) for one in CASES for kept in one.formats])
def test_what_is_read_back_answers_bit_for_bit_alike(
    results: dict[str, Any], name: str, kept: str, tmp_path: Path
) -> None:
    one, result = result_of(results, name)
    place = result.save(tmp_path / "model", format=kept)
    found = trainer.load(place, trusted=kept == "joblib", module=one.module)
    assert np.array_equal(found.predict(one.X), result.predict(one.X))
    if hasattr(result.model, "predict_proba"):
        assert np.array_equal(found.predict_proba(one.X), result.predict_proba(one.X))
    told = found.manifest
    assert (told.saved_as, told.estimator, told.columns) == (kept, result.about.name, result.about.columns)
    assert told.threshold == result.fitted.threshold
    assert told.scores["test"][told.primary] == result.scores["test"][told.primary]
    assert found.findings == ()
    assert (place / "summary.txt").read_text().strip() == str(replace(result, saved=place).summary())
    assert told.holds_training_rows is (name == "neighbours")


def test_boosters_are_kept_in_their_own_format_and_never_by_skops(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "lightgbm")
    place = result.save(tmp_path / "model")
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert files > {"manifest.json", "summary.txt", "prepare.skops"}
    assert any(name.startswith("native/") for name in files)
    assert b"lightgbm" not in (place / "prepare.skops").read_bytes().lower()


def test_scikit_learn_has_no_native_format(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "forest")
    with pytest.raises(UsageError, match="no native format"):
        result.save(tmp_path / "kept" / "model", format="native")
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_usual_name_is_that_of_the_estimator_and_the_time(home: Home, tmp_path: Path) -> None:
    options = {"checks": "off", "progress": False}
    saved = trainer.train_model(DummyClassifier(), NUMBERS, TWO, save_model=True, **options).saved
    assert saved is not None
    assert saved.parent == home.root / "experiments" / "tables"
    assert re.fullmatch(r"DummyClassifier_\d{8}_\d{6}", saved.name)
    elsewhere = trainer.train_model(DummyClassifier(), NUMBERS, TWO, save_path=str(tmp_path), **options).saved
    assert elsewhere is not None
    assert elsewhere.parent == tmp_path


def test_a_name_that_is_taken_gets_a_number_and_nothing_is_overwritten(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "ridge")
    places = [result.save(tmp_path / "model") for _ in range(3)]
    assert [place.name for place in places] == ["model", "model_2", "model_3"]
    assert all(np.array_equal(trainer.load(place).predict(NUMBERS), result.predict(NUMBERS)) for place in places)


def test_a_save_that_fails_leaves_nothing(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = result_of(results, "ridge")

    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nightshift.trainer.keep.save.fsync", full)
    with pytest.raises(OSError, match="No space"):
        result.save(tmp_path / "kept" / "model")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_without_its_manifest_is_no_model(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    (place / manifest.NAME).unlink()
    with pytest.raises(BundleError, match="holds no saved model"):
        trainer.load(place)


@pytest.mark.parametrize("name", ["ridge", "lightgbm"])
def test_one_flipped_byte_in_any_file_is_seen(results: dict[str, Any], name: str, tmp_path: Path) -> None:
    _, result = result_of(results, name)
    place = result.save(tmp_path / "model")
    for path in [each for each in place.rglob("*") if each.is_file()]:
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(CorruptFileError):
                trainer.load(place)
        path.write_bytes(whole)
    trainer.load(place)


def test_a_manifest_that_was_edited_is_seen(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "lightgbm")
    place = result.save(tmp_path / "model")
    told = json.loads((place / manifest.NAME).read_text())
    (place / manifest.NAME).write_text(json.dumps({**told, "threshold": 0.01}))
    with pytest.raises(CorruptFileError, match="is not what was saved"):
        trainer.load(place)


def rewritten(place: Path, **changed: Any) -> None:
    told = manifest.read(place)
    (place / manifest.NAME).write_bytes(told.model_copy(update=changed).written())


@pytest.mark.parametrize(
    ("library", "then", "words"),
    [
        ("scikit-learn", "0.24.2", "was saved with scikit-learn 0.24.2; here is "),
        ("no-such-library", "1.2.3", "here is none. Expected 1.2"),
    ],
)
def test_other_versions_are_refused_before_the_model_is_read(
    results: dict[str, Any], tmp_path: Path, library: str, then: str, words: str
) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    told = manifest.read(place)
    rewritten(place, versions={**told.versions, library: then}, needs=(library,))
    (place / "model.skops").write_bytes(b"not even a file of skops")
    with pytest.raises(BundleError, match=re.escape(words)) as caught:
        trainer.load(place)
    assert f"pip install '{library}==" in caught.value.hint


def test_another_patch_is_told_and_read(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    here = manifest.read(place).versions["scikit-learn"]
    other = ".".join([*here.split(".")[:2], "99"])
    rewritten(place, versions={"scikit-learn": other})
    found = trainer.load(place).findings
    assert [each.code for each in found] == ["T036"]
    assert other in found[0].what


def test_a_newer_format_says_so(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    (place / manifest.NAME).write_text(json.dumps({"format": manifest.FORMAT + 1, "new": "key"}))
    with pytest.raises(NewerFormatError, match="Update"):
        trainer.load(place)


class Foreign(ClassifierMixin, BaseEstimator):
    """An estimator of the caller's own."""

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_a_type_that_is_not_listed_is_not_written(tmp_path: Path) -> None:
    result = trainer.train_model(Foreign(), NUMBERS, TWO, checks="off", progress=False)
    with pytest.raises(UsageError, match=r"holds .*Foreign, which the list"):
        result.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="the model was not saved"):
        trainer.train_model(Foreign(), NUMBERS, TWO, checks="off", progress=False, save_path=str(tmp_path))
    found = trainer.load(result.save(tmp_path / "model", format="joblib"), trusted=True)
    assert np.array_equal(found.predict(NUMBERS), result.predict(NUMBERS))


def test_a_file_with_a_type_that_is_not_listed_is_not_read(results: dict[str, Any], tmp_path: Path) -> None:
    from skops.io import dumps

    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    harm = tmp_path / "harm"
    data = dumps(make_pipeline(FunctionTransformer(func=shutil.rmtree), Ridge()))
    (place / "model.skops").write_bytes(data)
    rewritten(place, files={**manifest.read(place).files, "model.skops": manifest.hashlib.sha256(data).hexdigest()})
    harm.mkdir()
    with pytest.raises(UntrustedError, match=r"shutil\.rmtree"):
        trainer.load(place)


def test_files_outside_of_the_folder_are_not_read(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model")
    rewritten(place, files={"../other": "0" * 64})
    with pytest.raises(CorruptFileError, match="names no file"):
        trainer.load(place)


def test_joblib_is_read_only_with_the_callers_word_and_in_the_home_that_wrote_it(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model", format="joblib")
    with pytest.raises(UntrustedError, match="runs code"):
        trainer.load(place)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "another"))
    with pytest.raises(UntrustedError, match="not saved in this project"):
        trainer.load(place, trusted=True)


def test_a_joblib_file_that_was_put_there_is_not_read(results: dict[str, Any], tmp_path: Path) -> None:
    import joblib

    _, result = result_of(results, "ridge")
    place = result.save(tmp_path / "model", format="joblib")
    joblib.dump(Ridge(), place / "model.joblib")
    data = (place / "model.joblib").read_bytes()
    rewritten(place, files={**manifest.read(place).files, "model.joblib": manifest.hashlib.sha256(data).hexdigest()})
    with pytest.raises(UntrustedError, match="not saved in this project"):
        trainer.load(place, trusted=True)


def test_no_sampler_and_no_training_row_is_in_what_is_saved(tmp_path: Path) -> None:
    X, planted = NUMBERS.copy(), 12345.678901
    X[7, 3] = planted
    for model in (LogisticRegression(), RandomForestClassifier(5)):
        result = trainer.train_model(model, X, TWO, balance="smote", scale=False, checks="off", progress=False)
        assert result.fitted.counts_after["yes"] > result.fitted.counts_before["yes"]
        place = save(result, tmp_path / "model")
        kept = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
        assert b"imblearn" not in kept
        assert b"SMOTE" not in (place / "model.skops").read_bytes()
        assert np.float64(planted).tobytes() not in kept


def test_a_net_is_not_read_without_its_code(results: dict[str, Any], tmp_path: Path) -> None:
    _, result = result_of(results, "net")
    place = result.save(tmp_path / "model")
    with pytest.raises(BundleError, match="saved without its code"):
        trainer.load(place)


def test_columns_are_found_by_their_names(results: dict[str, Any], tmp_path: Path) -> None:
    one, result = result_of(results, "lightgbm")
    found = trainer.load(result.save(tmp_path / "model"))
    assert np.array_equal(found.predict(one.X[list(one.X.columns)[::-1]]), result.predict(one.X))
    with pytest.raises(TableError, match="'few'"):
        found.predict(one.X.drop(columns="few"))


def test_every_trusted_name_is_there_under_that_name() -> None:
    import importlib

    for name in trust.TRUSTED:
        module, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(module), last), name
