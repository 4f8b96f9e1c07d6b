from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score, recall_score
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping as SkorchStopping
from skorch.callbacks import LRScheduler
from torch import Tensor, nn

from nightshift.errors import (
    BundleError,
    ConfigError,
    CorruptFileError,
    InterruptedTraining,
    NightshiftError,
    TrainingError,
    UsageError,
)
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import FitJob, FitReport, Values
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.kinds.skorch_kind import KIND
from nightshift.trainer.kinds.skorch_net import Batches
from nightshift.trainer.options import EarlyStopping
from nightshift.trainer.retry import DivergedError

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(361, 4))
ODD = np.where(X[:, 0] * X[:, 1] > 0, "odd", "even")


class Mlp(nn.Module):
    def __init__(self, hidden: int = 8, outputs: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.Tanh(), nn.Dropout(0.2), nn.Linear(hidden, outputs)
        )

    def forward(self, rows: Tensor) -> Tensor:
        answer: Tensor = self.layers(rows)
        return answer


class Narrow(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 2)


def skorch_net(**told: Any) -> NeuralNetClassifier:
    given: dict[str, Any] = {"optimizer": torch.optim.SGD, "lr": 0.2, "batch_size": 60, "max_epochs": 12}
    return NeuralNetClassifier(Mlp, iterator_train__shuffle=True, **{"criterion": nn.CrossEntropyLoss} | given | told)


def scheduled(policy: str, **told: Any) -> NeuralNetClassifier:
    return skorch_net(
        optimizer__momentum=0.9,
        callbacks=[
            ("falls", LRScheduler(policy=policy, **told)),
            ("stops", SkorchStopping(patience=11, load_best=False)),
        ],
    )


def falling() -> NeuralNetClassifier:
    return scheduled("ReduceLROnPlateau", monitor="valid_loss", patience=1, factor=0.3)


def cycling() -> NeuralNetClassifier:
    return scheduled("CyclicLR", base_lr=0.01, max_lr=0.3, step_size_up=4, step_every="batch")


def job(y: Values = ODD, **told: Any) -> FitJob:
    classes = tuple(np.unique(y)) if y.dtype.kind in "Uib" else ()
    task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    whole = FitJob(X[:257], y[:257], task, classes, X_val=X[257:], y_val=y[257:])  # type: ignore[arg-type]
    return replace(whole, **told)


def fit(model: Any, given: FitJob, seed: int = 3) -> FitReport:
    return KIND.fit(KIND.seeded(model, seed, 1, "cpu"), given)


def probabilities(report: FitReport) -> Values:
    return np.asarray(report.model.predict_proba(X))


STOPPING = EarlyStopping(patience=4, max_rounds=30)


@pytest.mark.parametrize("cut_at", [1, 5, 40])
@pytest.mark.parametrize("model", [Mlp, falling, cycling], ids=lambda model: model.__name__)
def test_a_fit_that_was_cut_off_ends_as_if_it_had_not_been(
    model: Any, cut_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.trainer.kinds.skorch_net.LEARNING_RATE", 0.3)
    made = model if model is Mlp else model()
    straight = fit(made, job(stopping=STOPPING))
    last = min(cut_at, len(straight.rounds))
    kept = job(stopping=STOPPING, checkpoint=tmp_path / "epoch.pt", fingerprint="this")
    told: list[ProgressEvent] = []
    with pytest.raises(InterruptedTraining, match="resume=True"):
        fit(made, replace(kept, should_stop=lambda: len(told) == last, tell=told.append))
    assert len(told) == last
    torch.manual_seed(99)
    resumed = fit(made, kept)
    assert np.array_equal(probabilities(resumed), probabilities(straight))
    assert [dict(each.metrics) for each in resumed.rounds] == [dict(each.metrics) for each in straight.rounds]
    assert resumed.best_round == straight.best_round
    assert len(straight.rounds) > 5
    if model is Mlp:
        assert len(straight.rounds) < 30
    with pytest.raises(TrainingError, match=r"training is .*this.* there and .*other.* here"):
        fit(made, replace(kept, fingerprint="other"))


def test_it_is_stopped_by_validation_and_answers_by_its_best_epoch() -> None:
    shuffled = np.random.default_rng(1).permutation(ODD)
    report = fit(skorch_net(), job(shuffled, stopping=EarlyStopping(patience=3)))
    losses = [each.metrics["validation_loss"] for each in report.rounds]
    assert report.best_round == int(np.argmin(losses)) + 1
    assert len(losses) == min(12, report.best_round + 3)
    answered = probabilities(report)[257:][np.arange(104), (shuffled[257:] == "odd").astype(int)]
    assert -np.log(answered).mean() == pytest.approx(min(losses), rel=1e-4)
    assert report.model.net.train_split is None
    assert fit(skorch_net(train_split=None), job(rounds=2, stopping=STOPPING)).best_round == 2


def test_its_answers_are_in_the_caller_s_labels_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.trainer.kinds.skorch_net.LEARNING_RATE", 0.02)
    report = fit(Mlp, job(rounds=20))
    assert (report.model.predict(X) == ODD).mean() > 0.75
    assert list(report.model.classes_) == ["even", "odd"]
    assert KIND.diverged(Mlp, job(), report) == ""
    price = 2e6 + 1e5 * X[:, 0]
    layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    for module in (layers, nn.Sequential(layers, nn.Flatten(0))):
        numbers = fit(module, job(price, rounds=10)).model.predict(X)
        assert numbers.shape == (361,)
        assert r2_score(price, numbers) > 0.9


@pytest.mark.parametrize("kind", [NeuralNetClassifier, NeuralNetBinaryClassifier, NeuralNetRegressor])
def test_a_net_of_the_caller_s_own_is_fitted_by_its_own_rules(kind: Any) -> None:
    regression = kind is NeuralNetRegressor
    outputs = 2 if kind is NeuralNetClassifier else 1
    criterion = {"criterion": nn.CrossEntropyLoss} if kind is NeuralNetClassifier else {}
    net = kind(Mlp, module__outputs=outputs, module__hidden=5, max_epochs=3, lr=0.05, **criterion)
    report = fit(net, job(X[:, 0] if regression else ODD))
    assert [set(each.metrics) >= {"train_loss", "validation_loss"} for each in report.rounds] == [True] * 3
    assert report.model.predict(X.astype(np.float32)).shape == (361,)
    assert not net.initialized_
    assert report.model.net.get_params()["module__hidden"] == 5


def test_a_rare_class_weighs_as_much_as_the_others() -> None:
    rare = np.where(X[:, 0] + _RNG.normal(size=361) > 1.8, 1, 0)
    criterion = {}
    for weighs in (False, True):
        report = fit(skorch_net(), job(rare, class_weight=weighs))
        criterion[weighs] = recall_score(rare, report.model.predict(X))
        if weighs:
            counts = np.bincount(rare[:257])
            assert np.allclose(report.model.net.criterion_.weight, 257 / (2 * counts))
    assert criterion[True] > criterion[False] + 0.2
    binary = fit(NeuralNetBinaryClassifier(Mlp, module__outputs=1, max_epochs=1), job(rare, class_weight=True))
    assert float(binary.model.net.criterion_.pos_weight) == pytest.approx(counts[0] / counts[1])
    with pytest.raises(UsageError, match="L1Loss knows no weights of classes"):
        fit(skorch_net(criterion=nn.L1Loss), job(class_weight=True))


def test_a_seed_decides_and_the_caller_s_own_stays_as_it_was() -> None:
    torch.manual_seed(5)
    module = Mlp()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    random = torch.get_rng_state()
    one, same, other = (probabilities(fit(module, job(rounds=2), seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert "drawn where it was made" in KIND.nondeterministic(module)
    assert KIND.nondeterministic(Mlp) == KIND.nondeterministic(skorch_net()) == ""
    assert "GPU" in KIND.nondeterministic(skorch_net(device="cuda"))


def test_a_loss_that_is_no_number_ends_the_fit_at_once(tmp_path: Path) -> None:
    told: list[ProgressEvent] = []
    given = job(X[:, 0], tell=told.append, checkpoint=tmp_path / "epoch.pt", fingerprint="f")
    net = NeuralNetRegressor(Mlp, module__outputs=1, lr=1e30, max_epochs=20, batch_size=60)
    with pytest.raises(DivergedError, match="loss of Mlp became NaN or infinite in epoch"):
        fit(net, given)
    assert len(told) < 10
    # The next seed has a state of its own.
    assert len(fit(net.set_params(lr=0.01, max_epochs=2), given, seed=8).rounds) == 2


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (Narrow, job(), r"Narrow cannot be made without width: .*Give Narrow\(…\)"),
        (nn.Linear(3, 2), job(), r"Linear cannot take rows of 4 columns: .*first layer have 4 inputs"),
        (nn.Linear(4, 1), job(), r"Linear answers 1 numbers for a row: expected 2, one for each class"),
        (nn.Linear(4, 2), job(X[:, 0]), r"Linear answers 2 numbers for a row: expected 1"),
        (Mlp, job(weight=np.ones(257)), r"takes no weight for each row.*oversample"),
        (skorch_net(optimizer__colour=1), job(), r"NeuralNetClassifier could not be fitted: .*colour"),
    ],
)
def test_what_cannot_be_fitted_is_told_in_one_line(model: Any, given: FitJob, said: str) -> None:
    with pytest.raises(NightshiftError, match=said) as caught:
        fit(model, given)
    assert "\n" not in str(caught.value)


def test_a_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"limits\.device='cuda': torch .* sees no GPU here"):
        KIND.seeded(Mlp, 0, 1, "cuda")
    assert KIND.fit(KIND.seeded(Mlp, 0, 1, "cpu"), job(rounds=1)).model.net.device == "cpu"


def test_ctrl_c_is_not_taken_for_the_end_of_a_fit() -> None:
    def pressed() -> bool:
        signal.raise_signal(signal.SIGINT)
        return False

    with pytest.raises(KeyboardInterrupt):
        fit(Mlp, job(should_stop=pressed))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_fitted_net_holds_none_of_its_rows_nor_what_told_of_it(tmp_path: Path) -> None:
    import joblib

    planted = X.copy()
    planted[:, 3] = 123.456
    given = job(X_val=planted[257:], stopping=STOPPING, rounds=None, tell=lambda _event: None)
    report = fit(skorch_net(max_epochs=2), replace(given, X=planted[:257]))
    joblib.dump(report.model, tmp_path / "net.joblib")
    content = (tmp_path / "net.joblib").read_bytes()
    assert np.float32(123.456).tobytes() not in content
    assert b"Epochs" not in content
    assert np.array_equal(joblib.load(tmp_path / "net.joblib").predict(X), report.model.predict(X))


@pytest.mark.parametrize("y", [ODD, X[:, 0] * 1e4], ids=["classes", "numbers"])
@pytest.mark.parametrize("own", [False, True], ids=["module", "net"])
def test_a_net_comes_back_from_its_own_format_with_its_code(y: Values, own: bool, tmp_path: Path) -> None:
    classifies = y is ODD
    module: Any = Mlp if classifies else nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    if own:
        module = skorch_net() if classifies else NeuralNetRegressor(module, max_epochs=2, lr=1e-9)
    report = fit(module, job(y, rounds=2))
    kind = kind_of(report.model)
    kind.save_native(report.model, tmp_path)
    back = kind.load_native(tmp_path, module)
    assert type(back) is type(report.model)
    assert back.predict(X).dtype == report.model.predict(X).dtype
    answers: Callable[[Any], Any] = lambda m: m.predict_proba(X) if classifies else m.predict(X)  # noqa: E731
    assert np.array_equal(answers(back), answers(report.model))
    with pytest.raises(BundleError, match=r"a net is saved without its code: expected .*got none.*module=…"):
        kind.load_native(tmp_path)
    other = (
        skorch_net(module__hidden=9) if own else nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 2 if classifies else 1))
    )
    with pytest.raises(BundleError, match=r"is not the net that was saved|is saved without"):
        kind.load_native(tmp_path, other)
    if own:
        with pytest.raises(BundleError, match="expected the unfitted NeuralNet"):
            kind.load_native(tmp_path, Mlp)
    (tmp_path / "net.pt").write_bytes((tmp_path / "net.pt").read_bytes()[:-200])
    with pytest.raises(CorruptFileError, match=r"net\.pt cannot be read"):
        kind.load_native(tmp_path, module)
    with pytest.raises(BundleError, match="holds no net"):
        kind.load_native(tmp_path / "none", module)


@pytest.mark.parametrize(("rows", "sizes"), [(257, [128, 129]), (258, [128, 128, 2]), (1, [1]), (128, [128])])
def test_batches_hold_each_row_once_and_none_is_alone(rows: int, sizes: list[int]) -> None:
    from skorch.dataset import Dataset

    data = np.arange(rows, dtype=np.float32).reshape(-1, 1)
    batches = [x for x, _ in Batches(Dataset(data, data), shuffle=True)]
    assert [len(x) for x in batches] == sizes
    assert sorted(torch.cat(batches).ravel().tolist()) == list(range(rows))


def test_only_a_large_net_is_given_more_than_one_thread() -> None:
    used: list[int] = []
    before = torch.get_num_threads()

    def fitted(hidden: int) -> None:
        net = skorch_net(module__hidden=hidden, max_epochs=1, batch_size=256)
        kind_of(net).fit(
            KIND.seeded(net, 0, before + 1, "cpu"), job(tell=lambda _: used.append(torch.get_num_threads()))
        )

    fitted(8)
    fitted(10_000)
    assert used == [1, before + 1]
    assert torch.get_num_threads() == before
