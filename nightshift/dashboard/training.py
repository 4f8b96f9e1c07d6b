"""What somebody asks to be trained, checked against data, configs and limits, as the flow run that trains it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from nightshift import families
from nightshift.dashboard.fitting import families_for, families_of
from nightshift.dashboard.table_limits import check_family_settings, check_settings
from nightshift.dashboard.tables import check_table
from nightshift.data.groups import ESTIMATOR, SUBJECTS, TARGETS, group_of
from nightshift.data.schema import check_subject
from nightshift.data.store import current
from nightshift.data.tables import hold_table
from nightshift.errors import ConfigError, UnknownNameError, UsageError, nearest
from nightshift.family import PRESET_TIME_S
from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.plan.cell import Cell, sha256_json
from nightshift.plan.config import resolve, targets
from nightshift.plan.durations import LEAST_S, Durations
from nightshift.plan.fleet import ASKED_FOR, PI_POOL, pool_of
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.past import past_of
from nightshift.plan.state import TRAINED, make_cell, state
from nightshift.plan.table import TableOptions, subject_of
from nightshift.settings import Home
from nightshift.tracking.results import family_rank

BATCH, ESTIMATOR_KIND, ALL = "batch", "estimator", "all"
#: What can be asked for, for the API's description.
KINDS = (
    *("classification", "regression", "anomaly", "timeseries", BATCH),
    *(n for n in sorted(families.names(), key=family_rank) if n not in ("classification", "anomaly")),
    ESTIMATOR_KIND,
)
#: Config keys that say which members an ensemble or a vote has.
MEMBER_KEYS = ("model_types", "members")
_MAX_SETTINGS, _DEEPEST = 20_000, 20

Name = Annotated[str, StringConstraints(max_length=64)]


class TrainRequest(BaseModel):
    """What is to be trained. What is left out comes from the configs of family, target and machine."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"machine_id": "motor_siemens_1la7_001", "time_limit": 900, "quality_preset": "fast"},
                {"machine_id": "motor_siemens_1la7_001", "model_types": "all", "target": "pi"},
            ]
        },
    )

    machine_id: Name = Field(
        default="",
        description="Whose data; empty means the vehicle's or the driving scenarios' usual ones, where the family is "
        "theirs. Of a table (kind `estimator`): what the model is called.",
        examples=["motor_siemens_1la7_001"],
    )
    time_limit: float | None = Field(
        default=None, gt=0, le=604_800, description="Ceiling of the training time of one model, seconds."
    )
    quality_preset: Name | None = Field(
        default=None, description="`fast` (15 minutes), `standard` (30), `high` (60), or one of the library's own."
    )
    contamination_rate: float | None = Field(
        default=None, gt=0, lt=0.5, description="Expected share of anomalous rows (kind `anomaly`), 0.05 to 0.1."
    )
    forecast_hours: int | None = Field(
        default=None, gt=0, le=8_760, description="Hours that a forecast looks ahead (kind `timeseries`)."
    )
    model_types: Annotated[tuple[Name, ...], Field(max_length=40)] | Literal["all"] = Field(
        default=(),
        description="Kind `batch`: families, `all` (or none) for every one that fits the machine. Other kinds: members "
        "of the ensemble (GBM, RF, XGB, CAT, XT) or of the vote (iforest, ocsvm, lof, zscore, pca).",
        examples=["all", ["classification", "anomaly"], ["GBM", "RF"]],
    )
    target: Name = Field(
        default="", description="Device class it is built for; empty: `pi` for machines, `vehicle`, `server` (tables)."
    )
    excluded_model_types: Annotated[tuple[Name, ...], Field(max_length=40)] = Field(
        default=(), description="Left out of `model_types`, or of what the configs say: families or members."
    )
    num_bag_folds: int | None = Field(default=None, ge=0, le=20, description="Folds of the ensemble's bagging.")
    num_stack_levels: int | None = Field(default=None, ge=0, le=5, description="Levels of the ensemble's stacking.")
    cv_folds: int | None = Field(
        default=None,
        ge=2,
        le=20,
        description="Folds of the cross-validation: of an ensemble that of its bagging (`num_bag_folds`), of a table "
        "its scoring.",
    )
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1, description="Of everything random.")
    force: bool = Field(default=False, description="Train even what is up to date.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Any other key of the family's config; in a batch each family takes those that it knows.",
        examples=[{"reference_rows": 300}],
    )
    file: str = Field(
        default="",
        max_length=255,
        description="Kind `estimator`: CSV or Parquet, relative to the home.",
        examples=["data/tables/shop.csv"],
    )
    target_column: str = Field(default="", max_length=128, description="Kind `estimator`: the column to be answered.")
    model: str = Field(
        default="lightgbm",
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description="Kind `estimator`: the model's name.",
        examples=["lightgbm", "random_forest", "ridge"],
    )

    @field_validator("settings")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Refuse what Prefect would take for a template, what is no plain JSON, and what no config is as deep as."""
        if _is_deeper(value, _DEEPEST):
            raise ValueError(f"nested deeper than {_DEEPEST} levels")
        try:
            sha256_json(value)
        except ValueError as error:
            raise ValueError(f"no plain JSON: {error}") from None
        if len(repr(value)) > _MAX_SETTINGS:
            raise ValueError(f"longer than {_MAX_SETTINGS:,} characters")
        if _has_key(value, "__prefect"):
            raise ValueError("keys that begin with '__prefect' are Prefect's own")
        return value

    @property
    def types(self) -> tuple[str, ...]:
        """The model types asked for; () for all."""
        return () if self.model_types == ALL or ALL in self.model_types else tuple(self.model_types)

    def fingerprint(self, kind: str) -> str:
        """Return what tells this request from others: families by their own names, whatever they were called."""
        named = {"model_types": self.types, "excluded_model_types": self.excluded_model_types}
        own = {key: [families.ALIASES.get(name, name) for name in names] for key, names in named.items()}
        return sha256_json([families.ALIASES.get(kind, kind), self.model_dump(mode="json") | own])


@dataclass(frozen=True)
class Wanted:
    """A checked request: the flow run that answers it.

    Attributes:
        deployment: `<flow>/<deployment>`.
        parameters: of its flow, JSON values.
        name: of the run.
        estimated_s: expected duration.
        estimated_from: what that stands on.
    """

    deployment: str
    parameters: dict[str, Any]
    name: str
    estimated_s: float
    estimated_from: Literal["past_runs", "time_limit"]


def plan_training(home: Home, kind: str, request: TrainRequest) -> Wanted:
    """Check a request against what there is, and return the run that it means.

    Raises:
        UnknownNameError: for an unknown kind, machine, target, or family.
        ConfigError: for a setting that cannot be used, or one beyond what the target allows.
        UsageError: for a request that makes no sense.
    """
    if kind == ESTIMATOR_KIND:
        return _table(home, request)
    own = () if kind == BATCH else (_family(kind),)
    group = families.get(own[0]).group if own else ""
    subject = request.machine_id or SUBJECTS.get(group, "")
    if not subject:
        raise UsageError("machine_id is missing.", hint="`GET /api/machines` lists the machines.")
    fits = group_of(home, check_subject(subject), current(home, subject))
    if own and group != fits:
        raise UsageError(
            f"'{own[0]}' is for data of a {group}, and '{subject}' is those of a {fits}.",
            hint=f"Of use here: {', '.join(families_of(fits))}.",
        )
    chosen = own or _chosen(request, fits, families_for(home, subject, fits))
    target = request.target or TARGETS[fits]
    options = _options(home, subject, target, chosen, request, batch=kind == BATCH)
    cells = [make_cell(home, subject, family, target, params=settings_of(options, family, chosen)) for family in chosen]
    return _run_of(home, cells, options, request.force)


def _family(kind: str) -> str:
    try:
        return families.canonical(kind)
    except UnknownNameError:
        raise UnknownNameError("kind of training", kind, KINDS) from None


def _chosen(request: TrainRequest, group: str, fitting: tuple[str, ...]) -> tuple[str, ...]:
    """Return the families of a batch."""
    asked = tuple(dict.fromkeys(families.canonical(name) for name in request.types)) or fitting
    for family in asked:
        if family not in fitting:
            raise UsageError(
                f"'{family}' is not for data of a {group}.", hint=f"Of use for it: {', '.join(fitting)}, or all."
            )
    out = {families.ALIASES.get(name, name) for name in request.excluded_model_types}
    left = tuple(family for family in asked if family not in out)
    if not left:
        raise UsageError("every model type is excluded.", hint="Leave one in.")
    return left


def _options(
    home: Home, subject: str, target: str, chosen: Sequence[str], request: TrainRequest, *, batch: bool
) -> TrainOptions:
    """Return how the families are trained, as flows take it.

    Raises:
        ConfigError: for a setting that none of the families knows, and for members that the target does not allow.
    """
    folds = request.num_bag_folds if request.cv_folds is None else request.cv_folds
    if request.num_bag_folds not in (None, folds):
        raise UsageError(
            f"cv_folds is {request.cv_folds} and num_bag_folds {request.num_bag_folds}: of an ensemble they are one.",
            hint="Give one of the two.",
        )
    check_family_settings(request.settings)
    ensemble = {"num_bag_folds": folds, "num_stack_levels": request.num_stack_levels}
    options = TrainOptions(
        preset=request.quality_preset,
        time_limit_s=request.time_limit,
        contamination=request.contamination_rate,
        forecast_h=request.forecast_hours,
        seed=request.seed,
        settings={**{k: v for k, v in ensemble.items() if v is not None}, **request.settings},
    )
    types = () if batch else request.types
    excluded = tuple(n for n in request.excluded_model_types if not (batch and _is_family(n)))
    if not types and not excluded:
        return options
    members: dict[str, dict[str, Any]] = {}
    for family in chosen:
        # What a detector is called means nothing to an ensemble beside it.
        out = [n for n in excluded if n in _usual(family) or not any(n in _usual(other) for other in chosen)]
        if found := _members(home, subject, family, target, settings_of(options, family, chosen), types, out):
            members[family] = found
    if not members:
        raise ConfigError(
            f"{', '.join(chosen)} has no model types to choose from.", hint="Leave model_types and exclusions out."
        )
    return options.model_copy(update={"families": members})


def _is_family(name: str) -> bool:
    return families.ALIASES.get(name, name) in families.names()


def _usual(family: str) -> set[str]:
    """Return the members that a family's config has by itself."""
    fields = families.get(family).config.model_fields
    return {name for key in MEMBER_KEYS if key in fields for name in fields[key].default}


def _members(
    home: Home,
    subject: str,
    family: str,
    target: str,
    params: Mapping[str, Any],
    types: Sequence[str],
    excluded: Sequence[str],
) -> dict[str, Any]:
    """Return the setting that names a family's members; nothing where it has none."""
    if not (key := next((k for k in MEMBER_KEYS if k in families.get(family).config.model_fields), "")):
        return {}
    resolved = resolve(home, subject, family, target, params=params)
    usual = tuple(getattr(resolved.config, key))
    allowed = resolved.limits.model_types if key == "model_types" else ()
    known = {name.lower(): name for name in (*allowed, *usual)}
    asked = [known.get(name.lower(), name) for name in types] or list(usual)
    for name in (*asked, *(n for n in excluded if n.lower() not in known)):
        if allowed and name not in allowed:
            raise ConfigError(
                f"model type '{name}' of {family} is beyond the limit of target '{target}': {', '.join(allowed)}.",
                hint=nearest(name, allowed),
            )
    left = [name for name in asked if name.lower() not in {n.lower() for n in excluded}]
    if not left:
        raise UsageError(f"every model type of {family} is excluded.", hint="Leave one in.")
    return {key: left}


def _run_of(home: Home, cells: Sequence[Cell], options: TrainOptions, force: bool) -> Wanted:
    pools = {pool_of(cell) for cell in cells}
    shown = options.model_dump(mode="json", exclude_defaults=True)
    first = cells[0]
    estimated_s, estimated_from = _estimate(home, cells, force)
    if len(cells) == 1:
        parameters = {"subject": first.subject, "family": first.family, "target": first.target, "force": force}
        # A worker with a GPU trains what is for a Pi just as well; one for a Pi alone has none.
        deployment = "train/local" if pools == {PI_POOL} else "train/gpu"
        return Wanted(deployment, {**parameters, "options": shown}, first.name, estimated_s, estimated_from)
    forced = ASKED_FOR if force else ""
    refs = [CellRef(subject=c.subject, family=c.family, target=c.target, forced=forced) for c in cells]
    asked = {"cells": [ref.model_dump() for ref in refs], "options": {"train": shown}}
    BatchOptions.model_validate(asked["options"])
    deployment = "train-batch/pi" if pools == {PI_POOL} else "train-batch/gpu"
    return Wanted(deployment, asked, f"{first.subject}.{first.target}", estimated_s, estimated_from)


def _estimate(home: Home, cells: Sequence[Cell], force: bool) -> tuple[float, Literal["past_runs", "time_limit"]]:
    """Return how long the cells will take, side by side on this machine's cores, and what that stands on."""
    durations = Durations(home)
    known = [_known_s(home, cell, durations, force) for cell in cells]
    each = [_limit_s(cell) if s is None else s for cell, s in zip(cells, known, strict=True)]
    whole = max(*each, sum(each) / (os.cpu_count() or 1)) if len(each) > 1 else each[0]
    return round(whole, 1), "time_limit" if None in known else "past_runs"


def _known_s(home: Home, cell: Cell, durations: Durations, force: bool) -> float | None:
    if not force and state(home, cell).state in TRAINED:
        return LEAST_S
    own = past_of(home, cell.subject, cell.family, cell.target).median_s
    return durations.known_of_family(cell.family) if own is None else own


def _limit_s(cell: Cell) -> float:
    config = cell.config["config"]
    return float(config.get("time_limit_s") or PRESET_TIME_S.get(str(config.get("preset")), PRESET_TIME_S["standard"]))


def _table(home: Home, request: TrainRequest) -> Wanted:
    """Return the run that trains on a table."""
    file = check_table(home, request.file, request.target_column, request.model)
    _hold_to_tables(request)
    device_class = request.target or TARGETS[ESTIMATOR]
    if device_class not in targets(home):
        raise UnknownNameError("target", device_class, targets(home))
    check_settings(request.settings)
    settings = dict(request.settings)
    if request.cv_folds is not None:
        settings["cross_validation"] = request.cv_folds
    if request.seed is not None:
        settings["random_state"] = request.seed
    subject = check_subject(request.machine_id) if request.machine_id else subject_of(file)
    try:
        hold_table(home, subject, request.target_column)
    except UsageError as error:
        raise UsageError(f"the name '{subject}' cannot be: {error.what}", hint="Give another name.") from None
    options = TableOptions(subject=subject, settings=settings, device_class=device_class)
    parameters = {
        "file": request.file,
        "target": request.target_column,
        "model": request.model,
        "options": options.model_dump(mode="json", exclude_defaults=True),
    }
    return Wanted(
        "train-estimator/local", parameters, f"{subject}.{request.model}", PRESET_TIME_S["fast"], "time_limit"
    )


def _hold_to_tables(request: TrainRequest) -> None:
    """Refuse what a training on a table does not know."""
    foreign = ("time_limit", "quality_preset", "contamination_rate", "forecast_hours", "num_bag_folds")
    given = [n for n in (*foreign, "num_stack_levels") if getattr(request, n) is not None]
    given += [n for n in ("model_types", "excluded_model_types") if getattr(request, n) not in ((), ALL)]
    if given:
        raise UsageError(f"a training on a table takes no {given[0]}.", hint="Its settings are in docs/trainer.md.")


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and mappings lie in each other on more levels than these."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(v, levels - 1) for v in inner)


def _has_key(value: object, prefix: str) -> bool:
    if isinstance(value, dict):
        return any(str(k).startswith(prefix) or _has_key(v, prefix) for k, v in value.items())
    return isinstance(value, list) and any(_has_key(v, prefix) for v in value)
