"""A trained estimator becomes a family's model: its table is landed, and the chain runs on what was trained."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import BlockedError, DataError, NightshiftError, ServiceError, first_line
from nightshift.plan.cell import Cell
from nightshift.plan.config import target_device
from nightshift.plan.records import StageRecord
from nightshift.plan.state import TRAINED, make_cell, state
from nightshift.plan.table import TableJob
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_chain
from nightshift.stages.estimator_rows import Rows, rows_of

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.data.dataset import Dataset
    from nightshift.trainer.results.result import CVResult, TrainResult

    Result = TrainResult | CVResult

logger = logging.getLogger("nightshift")

#: Keys of a training file that say how a model is fitted; the others part the rows, save or show.
_FIT_KEYS = ("balance", "imbalance_handling", "early_stopping", "encode", "scale", "scoring", "limits", "checks")
_KEEPS = "It is kept as it is with --no-register."
#: Share of the rows to train on that are set aside where no validation was, for the checks of a bundle.
_VAL_SHARE = 0.1


@dataclass(frozen=True)
class Registration:
    """What came of it.

    Attributes:
        cell: of the chain, as far as it began.
        version: in the registry, 0 without one.
        gate: what the gate said.
        ending: `trained`, or `up to date` where the same had been registered before.
        faults: why it is not registered.
    """

    cell: Cell | None = None
    version: int = 0
    gate: str = ""
    ending: str = "trained"
    faults: tuple[NightshiftError, ...] = ()


def stamp_of(file: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, bytes and time of change in ns of a file, or of those in a folder; () when it is not there."""
    files = sorted(one for one in file.rglob("*") if one.is_file()) if file.is_dir() else [file] * file.is_file()
    return tuple((one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files)


def register_table(
    home: Home,
    job: TableJob,
    file: Path,
    as_read: tuple[tuple[str, int, int], ...],
    result: Result,
    best: Mapping[str, Any],
) -> Registration:
    """Land a job's table in the parts that the training made, and run the chain on the trained model.

    Args:
        home: where everything is kept.
        job: that was trained.
        file: of the job.
        as_read: its `stamp_of` before the training read it.
        result: of the training.
        best: parameters that a search has found.
    """
    cell: Cell | None = None
    try:
        data = _landed(home, job, file, as_read, result)
        family = "classifier" if result.about.classes else "regressor"
        flags = _config_of(job, result, best)
        cell = make_cell(home, data.subject, family, job.device_class, dataset=data.fingerprint, flags=flags)
        ending = "up to date" if state(home, cell).state in TRAINED else "trained"
        done = _ended(cell, run_chain(cell, StageContext(home, fit=_fit_of(result, family))))
        return replace(done, ending=ending)
    except NightshiftError as error:
        return Registration(cell, faults=(_not_registered(error),))
    except Exception as error:  # the trained model is kept, whatever comes
        logger.exception("%s was not registered", job.called)
        told = DataError(f"{type(error).__name__}: {first_line(error)}.", hint="The log has the traceback.")
        return Registration(cell, faults=(_not_registered(told),))


def hold(home: Home, job: TableJob) -> None:
    """Refuse before anything is trained what could not be registered under its name.

    Raises:
        UsageError: for an id that is none, or under which other data lie.
        UnknownNameError: for a device class that is not known.
    """
    from nightshift.data.tables import hold_table

    target_device(home, job.device_class)
    hold_table(home, job.called, job.target)


def _not_registered(error: NightshiftError) -> NightshiftError:
    told = copy.copy(error)
    told.what, told.hint = f"the model was not registered: {error.what}", f"{error.hint} {_KEEPS}".strip()
    return told


def _ended(cell: Cell, records: list[StageRecord]) -> Registration:
    by_name = {record.stage: record for record in records}
    last, register = records[-1], by_name.get("register")
    if last.status in ("blocked", "not_applicable"):
        error: NightshiftError = BlockedError(f"{last.stage}: {last.error}", hint=last.hint)
        return Registration(cell, faults=(_not_registered(error),))
    if register is None or register.status == "pending":
        waits = register or last
        return Registration(cell, faults=(_not_registered(ServiceError(waits.error, hint=waits.hint)),))
    return Registration(cell, int(str(register.summary["version"])), str(register.summary.get("gate", "")))


def _fit_of(result: Result, family: str) -> Any:
    """Return what takes the place of the family's training: the model is there."""

    def fit(data: Dataset, _config: Any, given: Any) -> Any:
        from nightshift.families._estimator import model_of

        given.note(*result.findings)
        return model_of(result, data, "class" if family == "classifier" else "value")

    return fit


def _config_of(job: TableJob, result: Result, best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the family's config by which the same model would be trained."""
    told = dict(job.settings)
    return {
        "model": str(told.get("model")),
        "params": {**(told.get("params") or {}), **best},
        "settings": {key: told[key] for key in _FIT_KEYS if told.get(key) is not None},
        "refit": _is_joined(result),
        "seed": result.settings.seed,
        "device": result.settings.limits.device,
    }


def _is_joined(result: Result) -> bool:
    """Whether the model was fitted on the rows of validation too, or there were none."""
    from nightshift.trainer.results.result import CVResult

    return isinstance(result, CVResult) or not len(result.split.validation)


def _landed(
    home: Home, job: TableJob, file: Path, as_read: tuple[tuple[str, int, int], ...], result: Result
) -> Dataset:
    from nightshift.data.tables import land_table

    rows = rows_of(file, job, result.settings.limits)
    if len(rows.y) != result.about.n_rows:
        raise DataError(
            f"{file.name} has {len(rows.y):,} rows, the model was trained on {result.about.n_rows:,}.",
            hint="Train on a file that stays as it is, and that fits into memory.",
        )
    if stamp_of(file) != as_read:
        raise DataError(f"{file.name} has changed since the model was trained.", hint="Give the command again.")
    groups = _groups(result, rows)
    parts = _parts(result, rows, groups)
    return land_table(
        home,
        job.called,
        rows.X,
        rows.y,
        parts,
        classes=tuple(str(name) for name in result.about.classes),
        groups=groups,
        source=file.name,
        details={"parted": result.split.why, "joined": _is_joined(result)},
    )


def _groups(result: Result, rows: Rows) -> pd.Series[Any] | None:
    """Return what holds rows together: as it was given, else as the split found it."""
    import pandas as pd

    given = rows.beside.get("groups")
    return pd.Series(result.split.groups) if given is None and result.split.groups is not None else given


def _parts(result: Result, rows: Rows, groups: pd.Series[Any] | None) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each part; where none were for validation, some of those trained on stand in for them.

    Raises:
        DataError: when no rows were left to judge a model by.
    """
    cut = result.split
    if not len(cut.test):
        raise DataError("no rows were left out to judge it by.", hint="Give a test_size above 0.")
    train, val = cut.train, cut.validation
    if not len(val):
        val, train = _set_aside(train, groups, result.settings.seed)
    return {"train": train, "val": val, "test": cut.test}


def _set_aside(
    train: NDArray[np.int64], groups: pd.Series[Any] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part a share of the rows from the others, what belongs together as a whole."""
    import pandas as pd

    unit = train if groups is None else pd.factorize(groups.iloc[train], use_na_sentinel=False)[0]
    units = np.random.default_rng(seed).permutation(np.unique(unit))
    chosen = np.isin(unit, units[: max(1, round(_VAL_SHARE * len(units)))])
    return train[chosen], train[~chosen]
