"""Is it driven dangerously, or is its CAN bus attacked? An LSTM autoencoder that has learned to draw normal windows.

What it cannot draw well is odd. It learns from windows without an odd row; the threshold is a percentile of the scores
of normal windows of validation's second half, so that the rate of false alarms is chosen, not found. A window counts
as odd when any of its rows is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from nightshift.data.schema import PARTS
from nightshift.edge.manifest import Column, Interface, Output
from nightshift.families._consumption import note_left_out
from nightshift.families._odd import (
    Floats,
    OddWindows,
    distance_from_mean,
    normal_ones,
    normal_threshold,
    odd_windows,
)
from nightshift.families._sequence import (
    Held,
    SequenceConfig,
    SequenceModel,
    hard_windows,
    load_sequence,
    more_training,
    plan_of,
    raw_train,
    save_sequence,
    train_net,
)
from nightshift.families._vehicle import early_half, inputs_of, matrix_of, summary_of, window_ends
from nightshift.family import Arrays, GraphVariant, RunContext
from nightshift.findings import Finding, finding
from nightshift.problems import anomaly_judge as judge
from nightshift.problems.anomaly import PROBLEM
from nightshift.problems.evaluation import Evaluation, ScoreRow
from nightshift.problems.problem import Samples
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

    from nightshift.data.dataset import Dataset
    from nightshift.graphs.build import Graph
    from nightshift.nets.lstm_ae import LstmAe
    from nightshift.nets.scaling import Scaling

_MEMBER = "lstm_ae"
_PARITY_WINDOWS = 500
#: Windows that the errors of each input are weighed by, at most.
_WEIGHED = 20_000
#: Least spread of a number within one class of the key, as a share of its spread over all rows.
_LEAST_SPREAD = 0.02
#: Least mean squared error that an input is weighed by: what is drawn without fault would outweigh all others.
_LEAST_ERROR = 0.01


class LstmAeConfig(SequenceConfig):
    """What can be tuned.

    Attributes:
        latent: numbers that a window is squeezed into.
        hidden: units of encoder and decoder.
        span_rows: a window is as odd as its worst stretch of so many rows; None counts all its rows alike.
        threshold_percentile: of the scores of normal windows, above which a window is odd, 50 or more; a number below 1
            is a share: 0.95 is the 95th percentile.
        false_alarm_budget: windows an hour of normal running that may be called odd; takes the percentile's place.
        prune: share of the units of encoder and decoder that the pruned form does without; 0 makes none.
        prune_epochs: that it is trained for, at a tenth of the rate.
    """

    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=32, ge=1)
    latent: int = Field(default=32, ge=1)
    hidden: int = Field(default=64, ge=1, le=1_024)
    span_rows: int | None = Field(default=None, ge=1)
    threshold_percentile: float = Field(default=95.0, ge=50, lt=100, json_schema_extra={"flag": "--threshold"})
    false_alarm_budget: float | None = Field(default=None, gt=0)
    prune: float = Field(default=0.25, ge=0, lt=1)
    prune_epochs: int = Field(default=5, ge=1)

    @field_validator("threshold_percentile", mode="before")
    @classmethod
    def _share_is_percentile(cls, value: object) -> object:
        # No percentile below 50 is taken: a number below 1 is a share, and is one only once.
        return round(value * 100.0, 9) if isinstance(value, float) and 0 < value < 1 else value


class LstmAeFamily:
    """The family; see the module."""

    name = "lstm_ae"
    config = LstmAeConfig
    problem = "anomaly"
    group = "vehicle"
    needs: frozenset[str] = frozenset({"odd", "runs"})
    libraries = ("numpy", "onnx", "torch")
    checkpoints = True

    def train(self, data: Dataset, config: LstmAeConfig, ctx: RunContext) -> SequenceModel:
        """Fit on normal windows of train, stop early by those of val's first half, take the threshold from the rest.

        Raises:
            DataError: when no trip is long enough, a part has no normal window, or every input is missing.
            ConfigError: for a column that the data do not have.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
        from nightshift.nets.scaling import fit_scaling
        from nightshift.nets.tcn import parameters_of

        columns = inputs_of(data, config)
        note_left_out(data, "train", "odd", ctx)
        values = raw_train(data, columns)
        plan = plan_of(columns, keyed=True)
        usual = data.truth("train", "odd") == 0
        # Where nothing is normal that is said below.
        scaling = fit_scaling(plan, values[usual] if usual.any() else values, least=_LEAST_SPREAD)
        normal = _normal(data, config, columns, scaling, values, ctx)
        span = min(config.span_rows or config.window_rows, config.window_rows)
        shape = LstmAeShape(plan=plan, hidden=config.hidden, latent=config.latent, span_rows=span)

        def make() -> LstmAe:
            net = LstmAe(shape)
            net.scaling.load_state_dict(scaling.state_dict())
            return net

        net, chose = train_net(make, _loss, (normal.train, normal.stops), config, ctx, data)
        threshold = _settled(net, normal, config)
        n_windows = len(normal.train.ends)
        settings = summary_of(
            config, **chose, parameters=parameters_of(net), train_windows=n_windows, threshold=threshold
        )
        return SequenceModel(_interface(data, config, threshold), net, settings)

    def predict(self, fitted: SequenceModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Score and vote with torch; `score` float32 `(n, 1)`, `vote` int64 `(n,)`."""
        score = fitted.answer(inputs["window"])
        return {"score": score, "vote": _vote(fitted, score)}

    def evaluate(self, fitted: SequenceModel, data: Dataset, config: LstmAeConfig, ctx: RunContext) -> Evaluation:
        """Judge the vote and baselines on all parts, with recall by kind."""
        rows: list[ScoreRow] = []
        rule_threshold = _rule_threshold(fitted, data, config)
        for step, part in enumerate(PARTS):
            seen = odd_windows(data, part, config)
            score = fitted.answer_rows(data, part, seen.ends)
            rule = _rule(fitted, data, config, part, seen) - rule_threshold
            strength = score[:, 0].astype(np.float64) - fitted.interface.thresholds[_MEMBER]
            answers = [
                judge.Answers(judge.VOTE, "model", _vote(fitted, score), strength),
                judge.Answers("distance from the mean", "baseline", (rule > 0).astype(np.int64), rule),
                judge.constant(len(seen.ends)),
            ]
            rows += judge.score_rows(part, seen.timeline, answers, seen.kind, seen.onsets)
            ctx.step(step + 1, len(PARTS), f"{part} judged")
        judged = judge.evaluation(rows)
        samples = Samples({}, {"label": seen.timeline.label}, data.units("test")[seen.ends], seen.timeline.time_s)
        column = data.metadata.truth("odd")
        source = f"labels '{column.name}'" if column else "labels"
        return judged.model_copy(
            update={
                "figures": judge.figures(seen.timeline, answers, seen.kind, kinds=f"Kinds of {source}"),
                "findings": _findings(judged, config, source, seen, fitted),
                "statistics": PROBLEM.statistics({"vote": answers[0].vote}, samples),
                "notes": _notes(judged, config),
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return windows that overlap by half, and whether a row of each is odd."""
        rows = interface.window_rows
        own = LstmAeConfig(window_rows=rows, stride_rows=max(1, rows // 2))
        seen = odd_windows(data, part, own)
        truth = {"label": seen.timeline.label, "run": seen.timeline.run}
        return window_samples(data, part, interface, seen.ends, truth)

    def save(self, fitted: SequenceModel, folder: Path) -> None:
        """Write weights, shape, interface and settings."""
        save_sequence(fitted, folder)

    def load(self, folder: Path) -> SequenceModel:
        """Read what `save` wrote, from our own work folder."""
        from nightshift.nets.lstm_ae import LstmAe, LstmAeShape

        return load_sequence(folder, lambda shape: LstmAe(LstmAeShape.model_validate(shape)))

    def export(self, fitted: SequenceModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, scaling, network, score, threshold."""
        from nightshift.graphs.sequences import lstm_ae_graph, weights_of

        interface, net = fitted.interface, fitted.net
        weights, threshold = weights_of(net.state_dict()), interface.thresholds[_MEMBER]
        return lstm_ae_graph(net.shape, weights, interface.window_rows, len(interface.columns), threshold).build()

    def variants(
        self, fitted: SequenceModel, data: Dataset, config: LstmAeConfig, ctx: RunContext
    ) -> Iterator[GraphVariant]:
        """Yield it quantised, and for a DSP."""
        from nightshift.families._optimised import forms_of, lstm_variants, trained_more
        from nightshift.graphs.sequences import lstm_ae_graph, weights_of
        from nightshift.nets.prune import prune_lstm_ae

        face, net = fitted.interface, fitted.net

        def graph(net: LstmAe, batch: int | str) -> Graph:
            weights, threshold = weights_of(net.state_dict()), face.thresholds[_MEMBER]
            return lstm_ae_graph(net.shape, weights, face.window_rows, len(face.columns), threshold, batch=batch)

        def narrow() -> LstmAe | None:
            if not config.prune:
                return None
            normal = _normal(data, config, face.columns, net.scaling, matrix_of(data, "train", face.columns))
            held = (normal.train, normal.stops)
            pruned: LstmAe = trained_more(
                prune_lstm_ae(net, config.prune), _loss, held, config, config.prune_epochs, data, ctx
            )
            # Its scores in units of the model's, whose threshold the bundle tells.
            own = _settled(pruned, normal, config)
            pruned.weight.mul_((face.thresholds[_MEMBER] / own) ** 2)
            return pruned

        yield from lstm_variants(forms_of(fitted, data, graph), net, narrow)

    def parity_inputs(self, fitted: SequenceModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val, and the same with readings missing, infinite or extreme."""
        rows = fitted.interface.window_rows
        ends = window_ends(data, "val", window_rows=rows, stride_rows=max(1, rows // 2))
        return hard_windows(data, fitted.interface, ends, _PARITY_WINDOWS)

    def tolerances(self, fitted: SequenceModel) -> Mapping[str, float]:
        """Errors of a few hundred steps in float32, beside scores of up to some hundred spreads."""
        return {"score": 1e-3}


FAMILY = LstmAeFamily()


@dataclass(frozen=True)
class _Normal:
    """Normal windows: to learn from, to stop by, and to take the threshold from, with when those were."""

    train: Held
    stops: Held
    chooses: Held
    seen: OddWindows


def _normal(
    data: Dataset,
    config: LstmAeConfig,
    columns: tuple[Column, ...],
    scaling: Scaling,
    train: NDArray[np.float32],
    ctx: RunContext | None = None,
) -> _Normal:
    """Gather the normal windows of train and of both halves of val, scaled."""
    normal = normal_ones(odd_windows(data, "train", config), data, "train")
    held_back = normal_ones(odd_windows(data, "val", config), data, "val")
    first, second = (early_half(data, held_back.ends, config, later=later, ctx=ctx) for later in (False, True))
    table = scaling.table(matrix_of(data, "val", columns))
    return _Normal(
        Held(scaling.table(train), normal.ends),
        Held(table, held_back.ends[first]),
        Held(table, held_back.ends[second]),
        held_back.at(second),
    )


def _settled(net: LstmAe, normal: _Normal, config: LstmAeConfig) -> float:
    """Weigh a trained network's errors, and return the threshold of its scores."""
    import torch

    few = normal.train.ends[:: max(1, len(normal.train.ends) // _WEIGHED)]
    _weigh(net, Held(normal.train.table, few), config.window_rows)
    with torch.no_grad():
        windows = normal.chooses.windows(config.window_rows, torch.device("cpu"))
        scores = torch.cat([net.score(x) for x, _ in windows.batches(1_000, shuffle=False)])[:, 0].numpy()
    return normal_threshold(scores, normal.seen, config.threshold_percentile, config.false_alarm_budget)


def _loss(net: LstmAe, windows: Tensor, _same: Tensor) -> Tensor:
    return net.errors(windows).mean()


def _weigh(net: LstmAe, train: Held, window_rows: int) -> None:
    """Set the weight of each input by its mean squared error on normal windows."""
    import torch

    total, n = torch.zeros_like(net.weight, dtype=torch.float64), 0
    with torch.no_grad():
        for x, _ in train.windows(window_rows, torch.device("cpu")).batches(1_000, shuffle=False):
            total += net.errors(x).mean(dim=1).sum(dim=0)
            n += len(x)
        net.weight.copy_(1.0 / torch.clamp(total / n, min=_LEAST_ERROR))


def _vote(fitted: SequenceModel, score: NDArray[np.float32]) -> NDArray[np.int64]:
    return (score[:, 0] > np.float32(fitted.interface.thresholds[_MEMBER])).astype(np.int64)


def _rule(fitted: SequenceModel, data: Dataset, config: LstmAeConfig, part: str, seen: OddWindows) -> Floats:
    """Return the scores of windows without a network."""
    table = fitted.net.scaling.table(matrix_of(data, part, fitted.interface.columns))
    return distance_from_mean(table, seen.ends, config.window_rows, fitted.net.shape.span_rows)


def _rule_threshold(fitted: SequenceModel, data: Dataset, config: LstmAeConfig) -> float:
    """Choose it as the model's was."""
    normal = normal_ones(odd_windows(data, "val", config), data, "val")
    normal = normal.at(early_half(data, normal.ends, config, later=True))
    scores = _rule(fitted, data, config, "val", normal)
    return normal_threshold(scores, normal, config.threshold_percentile, config.false_alarm_budget)


def _interface(data: Dataset, config: LstmAeConfig, threshold: float) -> Interface:
    return Interface(
        columns=inputs_of(data, config),
        window_rows=config.window_rows,
        outputs=(
            Output(name="score", dtype="float32", shape=("batch", 1), meaning="larger is odder"),
            Output(name="vote", dtype="int64", shape=("batch",), meaning="1 = odd, 0 = normal"),
        ),
        members=(_MEMBER,),
        thresholds={_MEMBER: threshold},
    )


def _findings(
    judged: Evaluation, config: LstmAeConfig, source: str, seen: OddWindows, fitted: SequenceModel
) -> list[Finding]:
    """Return what is remarkable, each missed target with the command to try next."""
    said = _ceiling(judged, config) or _try_next(config, fitted)
    found = judge.findings(judged, config.max_gap, config.wanted, source, seen.kind, injected=False, try_next=said)
    return [finding(f.code, f.what, remedy=said) if f.code == "T007" else f for f in found]


def _ceiling(judged: Evaluation, config: LstmAeConfig) -> str:
    """Say what a lower rate of false alarms would do, where F1 could not be reached even if nothing odd were missed."""
    share, fpr = (judged.score("test", name) for name in ("anomaly_share", "fpr"))
    wanted = config.wanted.get("f1")
    if not share or fpr is None or wanted is None:
        return ""
    best = 2.0 * share / (2.0 * share + fpr * (1.0 - share))
    if best >= wanted:
        return ""
    # A budget takes the percentile's place.
    stricter = f"--threshold {(100.0 + config.threshold_percentile) / 200.0:g}"
    if config.false_alarm_budget is not None:
        stricter = f"--false-alarm-budget {config.false_alarm_budget / 2:g}"
    return (
        f"With {share:.1%} of the windows odd and {fpr:.1%} of the normal ones above the threshold F1 cannot pass "
        f"{best:.2f}: try `nightshift train lstm_ae {stricter}`."
    )


def _try_next(config: LstmAeConfig, fitted: SequenceModel) -> str:
    """Say the next command to try."""
    more = more_training(config, fitted.settings)
    other = "--threshold" if config.false_alarm_budget is None else "--false-alarm-budget"
    return f"Try `nightshift train lstm_ae {more}`, or another {other}; read PR-AUC and the share of odd windows."


def _notes(judged: Evaluation, config: LstmAeConfig) -> list[str]:
    share, fpr = (judged.score("test", name) for name in ("anomaly_share", "fpr"))
    shown = ["undefined" if v is None else f"{v:.1%}" for v in (share, fpr)]
    chosen = (
        f"the {config.threshold_percentile:g}th percentile"
        if config.false_alarm_budget is None
        else f"{config.false_alarm_budget:g} false alarms an hour"
    )
    return [
        f"A window of {config.window_rows} rows counts as odd when any of its rows is: {shown[0]} of the test windows.",
        f"The threshold was set to {chosen} on normal windows of validation; {shown[1]} of the normal test windows are "
        "above it.",
        "detection_delay counts from an event's first odd row to the end of the first window above the threshold; "
        f"windows end every {config.stride_rows} rows here, so up to that many rows of it are the grid's.",
        "Scores are not point-adjusted. The baseline scores windows by their distance from the train mean.",
    ]
