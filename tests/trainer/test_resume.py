from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, make_scorer
from support.trainer_counted import counted_cv
from support.trainer_jobs import scored

from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.findings import finding
from nightshift.progress import ProgressEvent
from nightshift.trainer import train_model
from nightshift.trainer.contract import Done, Fitted, Round, Values
from nightshift.trainer.results.result import CVResult
from nightshift.trainer.resume import Run

FACTS = {"split": {"strategy": "auto", "test_size": 0.2}, "model": {"max_depth": 3}}


def opened(folder: Path, *, config: str = "c1", data: str = "d1", resume: bool = False, depth: int = 3) -> Run:
    return Run.open(folder, config, data, resume, FACTS | {"model": {"max_depth": depth}})


def done(values: Values, probability: Values | None = None) -> Done:
    found = finding("T031", "the fit with seed 7 diverged.")
    rounds = (Round(1, {"train_loss": 1 / 3}, 0.1), Round(2, {"train_loss": float("nan")}, 0.2))
    fitted = Fitted(object(), "skorch", 8, 1.5, rounds, 1, (7,), {"a": 5}, {"a": 9}, 0.3, (found,))
    return Done("fold-1", fitted, {"test": scored(values, probability)}, 2.0, 1, 8, (found,))


@pytest.mark.parametrize(
    "values",
    [
        np.array(["no", "yes", "no"]),
        np.array(["no", "yes", None, "no"], dtype=object),
        np.array([1, True, 1.0, "1"], dtype=object),
        np.array([0.1, -2.5e-300], dtype=np.float32),
        np.array([3, 1], dtype=np.int8),
        np.array([True, False]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_what_is_kept_comes_back_but_for_the_model(tmp_path: Path, values: Values) -> None:
    run = opened(tmp_path)
    assert run.done("fold-1") is None
    probability = np.random.default_rng(0).random((len(values), 2))
    run.keep(done(values, probability))
    back = opened(tmp_path, resume=True).done("fold-1")
    assert back is not None
    assert back.from_record
    got = back.scored["test"]
    assert got.prediction.dtype == values.dtype
    assert [(type(v), v) for v in got.prediction] == [(type(v), v) for v in values]
    assert np.array_equal(got.probability, probability)
    assert dict(got.metrics) == {"f1": 0.1 + 0.2, "auc": None}
    given = done(values)
    assert (back.seconds, back.best_round, back.seed, back.findings) == (2.0, 1, 8, given.findings)
    assert back.fitted is not None
    assert given.fitted is not None
    assert back.fitted.model is None
    assert repr(back.fitted).replace("None", "", 1) == repr(given.fitted).replace(repr(given.fitted.model), "", 1)


def test_nothing_that_is_kept_is_a_pickle(tmp_path: Path) -> None:
    run = opened(tmp_path)
    with pytest.raises(TrainingError, match="of type complex cannot be kept"):
        run.keep(done(np.array([1j, "a"], dtype=object)))
    run.keep(done(np.array(["a", 1], dtype=object)))
    with np.load(tmp_path / "jobs" / "fold-1" / "predictions.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} == {"i"}


def test_a_run_is_gone_on_with_only_when_asked(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(TrainingError, match=r"holds a run already.*resume=True"):
        opened(tmp_path)
    assert opened(tmp_path, resume=True).fingerprint == opened(tmp_path / "new", resume=True).fingerprint


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file' cannot hold a run: .*another run_dir"):
        opened(tmp_path / "file")


def test_another_run_s_folder_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(TrainingError, match=r"another run: max_depth is 3 there and 4 here\. "):
        opened(tmp_path, config="c2", resume=True, depth=4)
    with pytest.raises(TrainingError, match=r"the data differ \(fingerprint d1 there and d2 here\)\. "):
        opened(tmp_path, data="d2", resume=True)
    with pytest.raises(TrainingError, match=r"the settings or the model differ\. "):
        opened(tmp_path, config="c2", resume=True)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read as a run"):
        opened(tmp_path, resume=True)


def test_a_record_that_was_cut_off_counts_as_none(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.keep(done(np.array([1.0, 2.0])))
    folder = tmp_path / "jobs" / "fold-1"
    record, arrays = folder / "record.json", folder / "predictions.npz"
    whole = record.read_bytes(), arrays.read_bytes()
    for path, content in ((record, whole[0]), (arrays, whole[1])):
        for cut in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:cut])
            assert run.done("fold-1") is None
        path.unlink()
        assert run.done("fold-1") is None
        path.write_bytes(content)
    assert run.done("fold-1") is not None
    # The arrays of another call beside it: neither is of use.
    run.keep(done(np.array([1.0, 3.0])))
    record.write_bytes(whole[0])
    assert run.done("fold-1") is None


def test_a_checkpoint_goes_with_the_record_of_its_job(tmp_path: Path) -> None:
    run = opened(tmp_path)
    checkpoint = run.checkpoint("fold-1")
    checkpoint.parent.mkdir(parents=True)
    of_seed = checkpoint.with_name(f"{checkpoint.stem}-7{checkpoint.suffix}")
    for path in (checkpoint, of_seed):
        path.write_bytes(b"state")
    assert run.done("fold-1") is None
    run.keep(done(np.array([1])))
    assert not checkpoint.exists()
    assert not of_seed.exists()
    assert json.loads((tmp_path / "jobs" / "fold-1" / "record.json").read_text())["seconds"] == 2.0
    run.forget("fold-1")
    assert run.done("fold-1") is None


_KILLED = """
import sys
from pathlib import Path
from support.trainer_counted import counted_cv
counted_cv(Path(sys.argv[1]))
"""


def test_a_training_killed_after_two_of_four_folds_fits_the_other_two_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = tmp_path / "fits.txt"
    monkeypatch.setenv("FITS", str(fits))
    straight = counted_cv(tmp_path / "straight")
    all_fits = fits.read_text().splitlines()
    assert len(set(all_fits)) == 5
    fits.unlink()
    # The refit is the longest and begins first; its model is not kept, so that it is fitted again.
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    env = os.environ | {"PYTHONPATH": path, "DIES": "4"}
    assert subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "cut")], env=env).returncode == -signal.SIGKILL
    kept = sorted(path.parent.name for path in (tmp_path / "cut" / "jobs").glob("*/record.json"))
    assert kept == ["fold-1", "fold-2"]
    with pytest.raises(TrainingError, match=r"max_depth is 3 there and 4 here"):
        counted_cv(tmp_path / "cut", depth=4, resume=True)
    fits.unlink()
    resumed = counted_cv(tmp_path / "cut", resume=True)
    assert fits.read_text().splitlines() == [all_fits[0], *all_fits[3:]]
    assert [fold.scores for fold in resumed.folds] == [fold.scores for fold in straight.folds]
    assert resumed.predictions.value.tolist() == straight.predictions.value.tolist()
    assert resumed.scores["test"] == straight.scores["test"]


def test_nets_go_on_from_the_epoch_in_which_ctrl_c_came(tmp_path: Path) -> None:
    import torch

    from nightshift.trainer.api import train_with_cv

    class Net(torch.nn.Sequential):
        def __init__(self) -> None:
            super().__init__(
                torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2)
            )

    X = np.random.default_rng(0).normal(size=(240, 3))
    y = np.where(X[:, 0] > 0, "yes", "no")

    def trained(name: str, tell: Callable[[ProgressEvent], None], **told: Any) -> CVResult:
        settings = {"cv": 3, "early_stopping": {"patience": 8, "max_rounds": 8}, "checks": "off", "save_model": False}
        return train_with_cv(Net, X, y, run_dir=tmp_path / name, progress=tell, **settings, **told)

    def interrupt(event: ProgressEvent) -> None:
        if (event.stage, event.step) == ("fold 2/3", 5):
            signal.raise_signal(signal.SIGINT)

    straight = trained("straight", lambda _event: None)
    with pytest.raises(InterruptedTraining, match=r"1 of 4 jobs have ended and are kept\. The same call with resume"):
        trained("cut", interrupt)
    assert list((tmp_path / "cut").glob("jobs/fold-2/epoch*.pt"))
    told: list[ProgressEvent] = []
    resumed = trained("cut", told.append, resume=True)
    assert {event.stage for event in told if event.epoch or event.total > 4} == {"fold 2/3", "fold 3/3", "refit"}
    assert min(event.step for event in told if event.stage == "fold 2/3") > 1
    assert np.array_equal(resumed.predictions.probability, straight.predictions.probability)
    assert np.array_equal(resumed.model.predict_proba(X), straight.model.predict_proba(X))
    assert not list((tmp_path / "cut").glob("jobs/fold-*/epoch*.pt"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"scoring": {"own": lambda *_: 1.0}}, {"scoring": {"own": lambda *_: 2.0}}),
        ({"scoring": make_scorer(fbeta_score, beta=2)}, {"scoring": make_scorer(fbeta_score, beta=3)}),
        ({"scoring": {"f1": "f1"}}, {"scoring": {"f1": "recall"}}),
        ({"split": (range(50), range(50, 90))}, {"split": (range(60), range(60, 90))}),
    ],
    ids=["lambda", "scorer", "mapping", "rows"],
)
def test_another_scorer_or_other_rows_are_another_training(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
    X = np.random.default_rng(0).normal(size=(90, 3))
    y = (X[:, 0] > 0).astype(int)
    told: dict[str, Any] = {"run_dir": tmp_path / "run", "checks": "off", "progress": False}
    train_model("decision_tree", X, y, **before, **told)
    with pytest.raises(TrainingError, match="holds another run"):
        train_model("decision_tree", X, y, resume=True, **now, **told)
    assert train_model("decision_tree", X, y, resume=True, **before, **told).scores["test"]
