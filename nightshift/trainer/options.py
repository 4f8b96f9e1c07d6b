"""What `train_model` and `train_with_cv` are told: small records with defaults; nothing here imports what learns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Task = Literal["binary", "multiclass", "regression"]
Part = Literal["train", "validation", "test"]
Strategy = Literal["auto", "stratified", "random", "time", "grouped", "grouped_stratified", "leave_one_out"]
Method = Literal["none", "class_weight", "smote", "oversample", "undersample", "threshold"]
Format = Literal["skops", "native", "joblib"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Strict):
    """How rows are parted.

    Attributes:
        strategy: "auto" decides from the data and says why.
        test_size: share of all rows that is only ever scored, once.
        validation_size: share of all rows by which a fit is stopped, a threshold chosen and models compared.
        stratify: whether each part has the classes' shares; None: where that can be done.
        shuffle: whether rows are drawn; parts follow the rows' order otherwise.
        gap: left out between parts that follow each other in time, in the unit of `times` (seconds for dates).
    """

    strategy: Strategy = "auto"
    test_size: float = Field(default=0.2, ge=0, lt=1)
    validation_size: float = Field(default=0.1, ge=0, lt=1)
    stratify: bool | None = None
    shuffle: bool = True
    gap: float = Field(default=0.0, ge=0)


@dataclass(frozen=True)
class GivenFolds:
    """Folds that the caller has cut.

    Attributes:
        pairs: row numbers of the table, or flags for each row: trained on, and held out.
    """

    pairs: tuple[Any, ...]


class Balance(_Strict):
    """What is done about a rare class: to train rows alone, or to the threshold.

    Attributes:
        method: how.
        k_neighbors: of SMOTE.
        ratio: smallest class over largest afterwards, 0 to 1.
        metric: that a threshold is chosen by.
    """

    method: Method = "none"
    k_neighbors: int = Field(default=5, ge=1)
    ratio: float = Field(default=1.0, gt=0, le=1)
    metric: Literal["f1", "balanced_accuracy"] = "f1"


class EarlyStopping(_Strict):
    """When a fit that goes in rounds ends: after `patience` rounds without a better figure on validation.

    Attributes:
        patience: rounds (boosting rounds, epochs).
        min_delta: what counts as better.
        max_rounds: at most; None: as many as the estimator is set to.
    """

    patience: int = Field(default=20, ge=1)
    min_delta: float = Field(default=0.0, ge=0)
    max_rounds: int | None = Field(default=None, ge=1)


class Encode(_Strict):
    """How columns that are no numbers become numbers; learnt on train rows alone.

    Attributes:
        one_hot_up_to: different values up to which a category becomes a column per value.
        target_from: from so many on, the target's mean; ordinal numbers in between.
        always_impute: fills gaps even where train has none, so that a later gap can be answered.
    """

    one_hot_up_to: int = Field(default=10, ge=1)
    target_from: int = Field(default=50, ge=2)
    always_impute: bool = False


class Checks(_Strict):
    """What happens with findings.

    Attributes:
        action: a finding warns, is an error (those of the severity `warning`), or nothing is looked for.
        mute: codes that are not told.
        sample_rows: rows that are looked at where there are more.
    """

    action: Literal["warn", "error", "off"] = "warn"
    mute: tuple[str, ...] = ()
    sample_rows: int = Field(default=20_000, ge=100)


class Limits(_Strict):
    """What a training may use.

    Attributes:
        memory_mb: of this process; None: 80 % of what is free.
        threads: of one fit; None: the machine's cores, shared among processes.
        device: `cuda` is used where it is asked for, and refused where there is none.
        backend: what runs folds side by side.
        address: of a Dask scheduler or Ray cluster that runs already; "" starts one on this machine.
        beyond_memory: what happens with a set that does not fit: an error with the sample that would, that sample, or
            LightGBM or XGBoost on Dask.
        retries: new seeds for a fit that diverges.
    """

    memory_mb: float | None = Field(default=None, gt=0)
    threads: int | None = Field(default=None, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    backend: Literal["loky", "dask", "ray"] = "loky"
    address: str = ""
    beyond_memory: Literal["refuse", "sample", "dask"] = "refuse"
    retries: int = Field(default=2, ge=0)


class Track(_Strict):
    """Where a result is logged.

    Attributes:
        mlflow: the home's store, or that of MLFLOW_TRACKING_URI.
        experiment: there.
        wandb_project: "" logs nothing to Weights & Biases.
    """

    mlflow: bool = True
    experiment: str = Field(default="estimators", min_length=1)
    wandb_project: str = ""


class Settings(_Strict):
    """Everything a training is told beside model and data, resolved.

    Attributes:
        cv: folds; None: one split.
        scoring: names of scikit-learn's scorers, the first decides; empty: the task's usual ones.
        seeds: trainings that differ in their seed alone.
        scale: whether numbers are standardised; "auto": where the estimator wants it.
        learning_curve: whether folds are also fitted on parts of their rows.
        save_path: folder of saved models; "" is the home's.
    """

    split: Split = Split()
    balance: Balance = Balance()
    early_stopping: EarlyStopping | None = None
    encode: Encode | None = Encode()
    scale: Literal["auto", "yes", "no"] = "auto"
    seed: int = Field(default=42, ge=0, lt=2**32)
    seeds: int = Field(default=1, ge=1)
    checks: Checks = Checks()
    limits: Limits = Limits()
    cv: int | None = Field(default=None, ge=2)
    scoring: tuple[str, ...] = ()
    learning_curve: bool = False
    n_jobs: int = Field(default=1, ge=1)
    save_model: bool = False
    save_path: str = ""
    format: Format = "skops"
    verbose: bool = True

    def fingerprint(self) -> str:
        """Return the sha256 of what decides the outcome: not of what is shown, where it runs or where it is saved."""
        told = self.model_dump(
            mode="json", exclude={"n_jobs", "save_model", "save_path", "format", "verbose", "checks"}
        )
        told["limits"] = {"device": self.limits.device, "retries": self.limits.retries}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def described(settings: Settings) -> dict[str, Any]:
    """Return what differs from the defaults, for a report."""
    return settings.model_dump(mode="json", exclude_defaults=True)
