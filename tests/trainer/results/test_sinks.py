"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from sklearn.datasets import make_classification

from nightshift.errors import TrainingError, UsageError
from nightshift.progress import ProgressEvent
from nightshift.trainer import train_model, train_with_cv
from nightshift.trainer.results.sinks import Bar, Lines, sink_for


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def job(step: int, total: int = 3) -> ProgressEvent:
    return ProgressEvent("", "train", step, total, {"f1": 0.5}, message=f"fold {step}: f1 0.5, 1 s")


def test_lines_are_few_but_what_is_spoken_and_the_end_are_told() -> None:
    stream = io.StringIO()
    sink = Lines(stream, interval_s=1_000)
    sink(ProgressEvent("", "train", message="Forest: why", line=True))
    for number in range(50):
        sink(ProgressEvent("", "fold 1/3", number, 50, {"loss": 0.25}))
    for step in (1, 2, 3):
        sink(job(step))
    assert stream.getvalue().splitlines() == ["Forest: why", "3/3 fold 3: f1 0.5, 1 s"]


def test_a_line_is_told_when_it_is_due() -> None:
    stream = io.StringIO()
    sink = Lines(stream, interval_s=0)
    sink(ProgressEvent("", "fold 1/3", 7, 50, {"loss": 0.25}))
    sink(ProgressEvent("", "fold 1/3", 8, 0))
    sink(job(1))
    assert stream.getvalue().splitlines() == ["fold 1/3 7/50 loss=0.25", "fold 1/3 8", "1/3 fold 1: f1 0.5, 1 s"]


def test_a_terminal_has_a_bar_and_all_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(sink_for("auto", Terminal()), Bar)
    assert isinstance(sink_for(True, io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(sink_for("auto", Terminal()), Lines)
    with pytest.raises(UsageError, match="progress: expected 'auto'"):
        sink_for("loud", io.StringIO())


def test_the_bar_counts_jobs_and_rounds_and_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    sink = Bar(stream)
    sink(ProgressEvent("", "train", message="Forest: [why]", line=True))
    sink(ProgressEvent("", "fold 1/3", 5, 50, {"loss": 0.25}))
    sink(job(3))
    sink.close()
    sink.close()
    sink(job(1))
    sink(ProgressEvent("", "train", message="saved", line=True))
    shown = stream.getvalue()
    assert "Forest: [why]" in shown
    assert "100%" in shown
    assert shown.rstrip().endswith("saved")
    hidden, back = "\x1b[?25l", "\x1b[?25h"
    assert shown.count(hidden) == shown.count(back) == 1


@pytest.mark.parametrize("ends", ["well", "by an error"])
def test_a_training_ends_its_bar_however_it_ends(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    X, y = make_classification(200, 4, random_state=0)
    told: dict[str, Any] = {"checks": "off"}
    if ends == "well":
        train_with_cv("decision_tree", X, y, cv=2, save_model=False, **told)
        assert "100%" in stream.getvalue()
    else:
        with pytest.raises(TrainingError):
            train_model(_Broken(), X, y, **told)
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


class _Broken:
    """An estimator that cannot be fitted."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self, **_: Any) -> _Broken:
        return self

    def fit(self, X: Any, y: Any) -> None:
        raise RuntimeError("broken")

    def predict(self, X: Any) -> Any:
        return X


def test_a_callers_own_sink_is_not_closed() -> None:
    class Own:
        closed = False
        told = 0

        def __call__(self, event: ProgressEvent) -> None:
            self.told += 1

        def close(self) -> None:
            self.closed = True

    own = Own()
    X, y = make_classification(200, 4, random_state=0)
    train_model("decision_tree", X, y, checks="off", progress=own)
    assert own.told
    assert not own.closed
