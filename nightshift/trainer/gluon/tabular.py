"""AutoGluon-Tabular on a table of float32 features: a small ensemble with fixed rounds.

The budget is rounds and trees; the time limit is only a ceiling, because a model that depends on how busy the machine
was cannot be reproduced. Validation rows come from the caller, never from a random holdout, which would put
neighbouring rows of one run on both sides.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nightshift.errors import DataError, InterruptedTraining, TrainingError
from nightshift.family import Limits, RunContext
from nightshift.findings import cost_remedy, finding
from nightshift.problems.evaluation import Member
from nightshift.trainer.gluon.config import Budget, TabularConfig, member_hyperparameters
from nightshift.trainer.gluon.forest_cost import with_cost
from nightshift.trainer.gluon.forest_size import Grown, Plan, leaves_grown, planned
from nightshift.trainer.gluon.process import keep_in_memory, list_packages_once
from nightshift.trainer.samples import varies
from nightshift.trainer.tree_cost import room_nodes

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]

_TARGET = "__target__"
_FOLD = "__fold__"
#: A member that took this share of the time it was given was stopped by it, not by its rounds.
_TIME_IS_UP = 0.8
_MODEL_NAMES = {
    "GBM": "LightGBM",
    "RF": "RandomForest",
    "XGB": "XGBoost",
    "CAT": "CatBoost",
    "XT": "ExtraTrees",
    "NN_TORCH": "NeuralNetTorch",
}


@dataclass(frozen=True)
class TrainingTable:
    """Features and truth for one fit.

    Attributes:
        columns: names of the features.
        train: `(n, n_features)`; `target` `(n,)`; `group` `(n,)`, the run of each row, kept together in bagging.
        tuning: `(m, n_features)` rows for early stopping and ensemble weights; `tuning_target` `(m,)`.
    """

    columns: tuple[str, ...]
    train: Floats
    target: NDArray[Any]
    group: NDArray[np.int64]
    tuning: Floats
    tuning_target: NDArray[Any]


class TabularNotes(BaseModel):
    """What training chose, kept beside AutoGluon's files.

    Attributes:
        columns: names of the features, in the order of the feature graph.
        members: ranked, best first.
        best: name of the model that answers.
        train_rows: rows it was fitted on.
        bag_folds: folds that were used.
        most_nodes: nodes of all trees, as many as there can be; what is known before the trees are counted.
        remarks: what the target's size and memory changed, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...]
    members: tuple[Member, ...]
    best: str
    train_rows: int
    bag_folds: int
    most_nodes: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TabularModel:
    """A fitted predictor and its notes."""

    predictor: Any
    notes: TabularNotes

    def answer(self, features: Floats) -> Floats:
        """Return `(n, n_classes)` probabilities, or `(n,)` predictions, float32.

        Args:
            features: `(n, n_features)`, columns as in `notes.columns`.
        """
        table = _frame(features, self.notes.columns)
        classes = self.predictor.class_labels
        if not len(table):
            return np.empty((0, len(classes)) if classes else (0,), dtype=np.float32)
        with quiet():
            told = self.predictor.predict_proba(table) if classes else self.predictor.predict(table)
        return np.asarray(told, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write AutoGluon's folder and the notes."""
        shutil.copytree(self.predictor.path, folder / "autogluon")
        (folder / "tabular.json").write_text(self.notes.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TabularModel:
        """Read what `save` wrote; AutoGluon's files are pickles, so only from our own work folder."""
        from autogluon.tabular import TabularPredictor

        list_packages_once()
        with quiet():
            predictor = TabularPredictor.load(str(folder / "autogluon"), verbosity=0)
            keep_in_memory(predictor)
        return cls(predictor, TabularNotes.model_validate_json((folder / "tabular.json").read_bytes()))


def fit_tabular(
    table: TrainingTable, config: TabularConfig, ctx: RunContext, *, problem: Literal["binary", "regression"]
) -> TabularModel:
    """Fit the configured members and weigh them on the tuning rows.

    Raises:
        ConfigError: for a model type or preset that is not allowed or not known.
        DataError: when no feature varies.
        InterruptedTraining: when asked to stop.
        TrainingError: when no member could be fitted.
    """
    budget = Budget.of(config, ctx.limits)
    table = _thinned(table, config, ctx)
    configured, classes = member_hyperparameters(config, budget.scale), problem == "binary"
    plan = _within_target(table, configured, budget, ctx, classes)
    members = plan.members
    if not varies(table.train):
        raise DataError("no feature varies in the training rows.", hint="Check the sensors: all are constant or empty.")
    watch = _watch(ctx, len(members) + 1)
    predictor = _predictor(ctx.work / "autogluon", problem, grouped=budget.bag_folds > 0)
    frame = _training_frame(table, budget.bag_folds, config.seed)
    tuning = tuning_frame(table).assign(**{_TARGET: table.tuning_target})
    start = time.perf_counter()
    with quiet():
        try:
            predictor.fit(
                frame,
                tuning_data=tuning,
                hyperparameters=members,
                callbacks=[watch],
                time_limit=ctx.time_limit_s,
                num_cpus=ctx.threads,
                num_gpus=0,
                **budget.fit_arguments(config.seed),
            )
        except RuntimeError as error:
            if ctx.should_stop():
                raise _stopped() from error
            raise TrainingError(
                f"AutoGluon fitted no member: {error}", hint="Raise time_limit or free memory."
            ) from error
    if ctx.should_stop():
        raise _stopped()
    took_s = time.perf_counter() - start
    remedy = _time_remedy(config, members, watch.seconds, ctx)
    _note_cut(predictor, members, watch.cut, ctx, remedy)
    _note_late(took_s, ctx, remedy)
    plan = with_cost(plan, configured, table, ctx, classes=classes, left_s=ctx.time_limit_s - took_s)
    return _finished(predictor, table, budget.bag_folds, plan)


def room_of(limits: Limits) -> int:
    """Return how many nodes of trees the target has room for."""
    return room_nodes(limits.size_mb, limits.memory_mb)


def _within_target(
    table: TrainingTable, members: Mapping[str, Mapping[str, Any]], budget: Budget, ctx: RunContext, classes: bool
) -> Plan:
    """Return the members with forests that the target has room for."""
    copies = max(1, budget.bag_folds) * (1 + budget.stack_levels)
    grown = Grown(len(table.train), len(table.columns), copies)

    def trial(kind: str, settings: Mapping[str, Any]) -> int:
        return leaves_grown(kind, settings, table.train, table.target, classes=classes)

    return planned(members, grown, room_of(ctx.limits), trial)


def tuning_frame(table: TrainingTable) -> pd.DataFrame:
    """Return the features of the tuning rows as AutoGluon takes them."""
    return _frame(table.tuning, table.columns)


def _predictor(path: Path, problem: str, *, grouped: bool) -> Any:
    from autogluon.tabular import TabularPredictor

    list_packages_once()
    shutil.rmtree(path, ignore_errors=True)
    return TabularPredictor(
        label=_TARGET,
        problem_type=problem,
        # Log loss keeps probabilities usable as such; the decision threshold is chosen later, on other rows.
        eval_metric="log_loss" if problem == "binary" else "root_mean_squared_error",
        path=str(path),
        groups=_FOLD if grouped else None,
        verbosity=0,
    )


def _training_frame(table: TrainingTable, bag_folds: int, seed: int) -> pd.DataFrame:
    frame = _frame(table.train, table.columns).assign(**{_TARGET: table.target})
    return frame.assign(**{_FOLD: run_folds(table.group, bag_folds, seed)}) if bag_folds else frame


def run_folds(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return each row's fold, `(n,)`; a run is in one fold, and folds hold nearly as many runs each.

    Raises:
        DataError: when there are fewer runs than folds.
    """
    runs, member = np.unique(group, return_inverse=True)
    if len(runs) < folds:
        raise DataError(f"{len(runs)} training runs make no {folds} folds.", hint="Lower num_bag_folds.")
    place = np.random.default_rng(seed).permutation(len(runs)) % folds
    return np.asarray(place[member], dtype=np.int64)


def _frame(features: Floats, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(np.asarray(features, dtype=np.float32), columns=list(columns))


def _thinned(table: TrainingTable, config: TabularConfig, ctx: RunContext) -> TrainingTable:
    n_rows = len(table.train)
    if n_rows <= config.max_rows:
        return table
    ctx.note(finding("T008", f"{config.max_rows} of {n_rows} training rows were used."))
    rows = np.sort(np.random.default_rng(config.seed).permutation(n_rows)[: config.max_rows])
    return TrainingTable(
        table.columns, table.train[rows], table.target[rows], table.group[rows], table.tuning, table.tuning_target
    )


def _stopped() -> InterruptedTraining:
    return InterruptedTraining("training was stopped.", hint="AutoGluon keeps no checkpoint: it starts anew next time.")


def _watch(ctx: RunContext, total: int) -> Any:
    """Return AutoGluon's callback: reports each member, and ends the fit between members when asked to stop."""
    from autogluon.core.callbacks import AbstractCallback

    class Watch(AbstractCallback):  # type: ignore[misc]
        done = 0
        began: tuple[str, float, float] = ("", 0.0, 0.0)
        cut: tuple[str, ...] = ()
        seconds: Mapping[str, float] = MappingProxyType({})

        def _before_model_fit(self, *, model: Any, time_limit: float | None, **_: Any) -> tuple[bool, bool]:
            ctx.step(self.done, max(total, self.done + 1), model.name)
            self.began = (model.name, time.perf_counter(), time_limit or np.inf)
            return ctx.should_stop(), False

        def _after_model_fit(self, **_: Any) -> bool:
            self.done += 1
            name, start, limit_s = self.began
            took_s = time.perf_counter() - start
            self.seconds = {**self.seconds, name: took_s}
            if took_s > _TIME_IS_UP * limit_s:
                self.cut = (*self.cut, name)
            return ctx.should_stop()

        def __reduce__(self) -> tuple[Any, tuple[()]]:
            # AutoGluon pickles its trainer after each member, its callbacks with it; this one is of this run alone.
            return _no_watch, ()

    return Watch()


def _no_watch() -> None:
    """What a kept trainer holds in place of the callback."""


def _time_remedy(
    config: TabularConfig, members: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float], ctx: RunContext
) -> str:
    """Name the keys that cost time here with their values, and the member that took longest."""
    boosted, forests = members.keys() & {"GBM", "XGB", "CAT"}, members.keys() & {"RF", "XT"}
    keys = {"boost_rounds": config.boost_rounds} if boosted else {}
    keys |= {"forest_trees": config.forest_trees} if forests else {}
    keys |= {"num_bag_folds": config.num_bag_folds} if config.num_bag_folds else {}
    advice = cost_remedy({**keys, "max_rows": config.max_rows}, seconds, "s to fit")
    types = ", ".join(config.model_types)
    return f"Raise time_limit_s={ctx.time_limit_s:g}, or shorten model_types=[{types}]. {advice}"


def _note_late(seconds: float, ctx: RunContext, remedy: str) -> None:
    if seconds > ctx.time_limit_s:
        what = f"Training took {seconds:.1f} s, the time limit is {ctx.time_limit_s:g} s."
        ctx.note(finding("T013", what, remedy=remedy))


def _note_cut(
    predictor: Any, members: Mapping[str, Mapping[str, Any]], cut: Sequence[str], ctx: RunContext, remedy: str
) -> None:
    """Say which configured members are missing, or smaller than configured."""
    fitted = predictor.model_names()
    missing = [_MODEL_NAMES[kind] for kind in members if not any(n.startswith(_MODEL_NAMES[kind]) for n in fitted)]
    smaller = [*cut, *_smaller_forests(predictor, members)]
    if not missing and not smaller:
        return
    parts = [
        f"{what}: {', '.join(dict.fromkeys(names))}"
        for what, names in (("left out", missing), ("cut short", smaller))
        if names
    ]
    ctx.note(
        finding(
            "T004",
            f"{ctx.time_limit_s:.0f} s and the memory there is were too little; {'; '.join(parts)}.",
            remedy=remedy,
        )
    )


def _smaller_forests(predictor: Any, members: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield forests that AutoGluon gave fewer trees than configured, which it does to keep the time."""
    for kind in ("RF", "XT"):
        if kind in members and _MODEL_NAMES[kind] in predictor.model_names():
            forest = predictor._trainer.load_model(_MODEL_NAMES[kind]).model
            if forest.n_estimators < members[kind]["n_estimators"]:
                yield f"{_MODEL_NAMES[kind]} ({forest.n_estimators} of {members[kind]['n_estimators']} trees)"


def _finished(predictor: Any, table: TrainingTable, bag_folds: int, plan: Plan) -> TabularModel:
    with quiet():
        notes = TabularNotes(
            columns=table.columns,
            members=tuple(ranked(predictor)),
            best=predictor.model_best,
            train_rows=len(table.train),
            bag_folds=bag_folds,
            most_nodes=plan.most_nodes,
            remarks=(plan.said,) if plan.said else (),
        )
        keep_in_memory(predictor)
    return TabularModel(predictor, notes)


def ranked(predictor: Any) -> Iterator[Member]:
    """Yield the leaderboard; scores are losses, so that smaller is better."""
    best = predictor._trainer.load_model(predictor.model_best)
    weights = best._get_model_weights() if hasattr(best, "_get_model_weights") else {best.name: 1.0}
    models = Path(predictor.path) / "models"
    for line in predictor.leaderboard().to_dict("records"):
        files = [f.stat().st_size for f in (models / line["model"]).rglob("*") if f.is_file()]
        score = line["score_val"]
        yield Member(
            name=line["model"],
            score=None if score is None or np.isnan(score) else abs(float(score)),
            fit_s=float(line["fit_time_marginal"]),
            predict_s=_number(line["pred_time_val_marginal"]),
            size_mb=sum(files) / 1e6,
            weight=float(weights.get(line["model"], 0.0)) if line["model"] != best.name else None,
        )


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' deprecation notes, which nobody here can act on, from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
