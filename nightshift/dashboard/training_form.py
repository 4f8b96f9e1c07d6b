"""The form of the training page: what it offers for a machine, and what was filled in, as a request."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.datastructures import FormData, QueryParams

from nightshift import families
from nightshift.dashboard.fitting import families_for
from nightshift.dashboard.runs import BATCH as BATCH_FLOW
from nightshift.dashboard.runs import TABLE, Run, refs_of
from nightshift.dashboard.tables import file_named
from nightshift.dashboard.training import BATCH, ESTIMATOR_KIND, MEMBER_KEYS, TrainRequest
from nightshift.data.groups import DRIVING, ESTIMATOR, MACHINE, TARGETS, group_of
from nightshift.data.store import current, subjects
from nightshift.errors import NightshiftError, UnknownNameError
from nightshift.family import FamilyConfig, Limits
from nightshift.plan.config import resolve, targets
from nightshift.plan.options import TrainOptions
from nightshift.plan.table import TableOptions
from nightshift.settings import Home

#: What a family answers, as people ask it.
QUESTIONS = {
    "classification": "Will it fail soon?",
    "rul": "When will it fail?",
    "anomaly": "Is it behaving oddly?",
    "forecast": "What will the sensors read?",
    "tcn": "How much fuel does it use?",
    "lstm_ae": "Is it driven dangerously, or is its CAN bus attacked?",
    "behaviour": "How is the car driven?",
    "carbon": "How much CO₂ does it emit?",
    "ppo": "Drive: reinforcement learning",
    "sac": "Drive: reinforcement learning, off-policy",
    "bc": "Drive as the experts do",
    "gail": "Drive so that nobody could tell it from the experts",
    "cimrl": "Drive: imitation, then reinforcement",
    "classifier": "Which class is a row of?",
    "regressor": "Which number belongs to a row?",
}
DEFAULT_MINUTES = "15"

#: Field of the form -> field of the request, where text becomes a value as it stands.
_PLAIN = {
    "preset": "quality_preset",
    "contamination": "contamination_rate",
    "forecast_hours": "forecast_hours",
    "bag_folds": "num_bag_folds",
    "stack_levels": "num_stack_levels",
    "cv_folds": "cv_folds",
    "seed": "seed",
    "target": "target",
}
#: The same for a table's file.
_OF_TABLE = {
    "called": "machine_id",
    "column": "target_column",
    "model": "model",
    "cv_folds": "cv_folds",
    "seed": "seed",
    "target": "target",
}
#: Field of the form -> key of a family's config.
_SETTINGS = {"steps": "total_steps", "model": "model"}
#: What an error names -> the field of the form that it stands beside.
_NAMED = {
    **{request: form for form, request in _PLAIN.items()},
    **{"machine_id": "machine", "time_limit": "minutes", "time_limit_s": "minutes", "preset": "preset"},
    **{"model_types": "families", "excluded_model_types": "excluded", "model type": "excluded"},
    **{"contamination": "contamination", "forecast_h": "forecast_hours", "machine": "machine", "subject": "machine"},
    "total_steps": "steps",
}
_NAMED_OF_TABLE = {
    **{request: form for form, request in _OF_TABLE.items()},
    **{"column": "column", "the name": "called", "machine id": "called", "file": "machine"},
}


@dataclass(frozen=True)
class Offer:
    """A family that is for the chosen data.

    Attributes:
        members: of its ensemble or vote, which can be left out.
        limits: of the chosen target; None where it is not known.
    """

    name: str
    question: str
    presets: tuple[str, ...]
    members: tuple[str, ...]
    keys: frozenset[str]
    limits: Limits | None


@dataclass
class Filled:
    """The form as it was filled in.

    Attributes:
        values: field -> text.
        families: ticked ones.
        whole: whether all that fit are wanted.
        excluded: members that are left out.
        errors: field -> what is wrong with it; "" for the form as a whole.
    """

    values: dict[str, str]
    families: tuple[str, ...] = ()
    whole: bool = True
    excluded: tuple[str, ...] = ()
    force: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def machine(self) -> str:
        """The machine's id, or the name of a table's file; "" while none is chosen."""
        return self.values.get("machine", "")

    @property
    def in_details(self) -> bool:
        """Whether something was filled in, or is wrong, among the advanced options."""
        hidden = {"bag_folds", "stack_levels", "cv_folds", "contamination", "forecast_hours", "seed", "steps", "called"}
        return bool(self.excluded or self.force or any(self.values.get(k) or k in self.errors for k in hidden))


def new_key() -> str:
    """Return a key under which a request starts one run, however often it is sent."""
    return secrets.token_urlsafe(16)


def filled(given: FormData | QueryParams, *, sent: bool = False) -> Filled:
    """Read the form: as somebody sent it, or filled in by an address, where no family means all."""
    texts = ("of", "machine", "key", *_PLAIN, *_OF_TABLE, *_SETTINGS)
    values = {key: str(given.get(key) or "").strip() for key in texts}
    values["minutes"] = str(given.get("minutes", "" if sent else DEFAULT_MINUTES)).strip()
    values["key"] = values["key"] or new_key()
    named = [*given.getlist("families"), *given.getlist("family")]
    chosen = tuple(dict.fromkeys(str(name) for name in named))
    excluded = tuple(dict.fromkeys(str(name) for name in given.getlist("excluded")))
    whole = bool(given.get("all")) or not (chosen or sent)
    return Filled(values, chosen, whole, excluded, bool(given.get("force")))


def request_of(home: Home, form: Filled) -> tuple[str, TrainRequest] | None:
    """Return the kind of training and the request that a form means; None with `errors` where it means none."""
    file = file_named(home, form.machine)
    if not file and form.values["of"] == ESTIMATOR and form.machine and not group_named(home, form.machine):
        form.errors["machine"] = f"There is no table “{form.machine[:80]}”. Choose one of the list."
        return None
    kind, given = (ESTIMATOR_KIND, _of_file(form, file)) if file else _of_families(form)
    named = _NAMED_OF_TABLE if file else _NAMED
    try:
        request = TrainRequest.model_validate(given)
    except ValidationError as error:
        for one in error.errors():
            name = named.get(str(one["loc"][0]), "") if one["loc"] else ""
            form.errors.setdefault(name, f"{one['msg']}; got “{str(one['input'])[:40]}”.")
        return None
    return None if form.errors else (kind, request)


def _of_file(form: Filled, file: str) -> dict[str, Any]:
    if not form.values["column"]:
        form.errors["column"] = "Choose the column to be answered."
    return {"file": file} | {to: form.values[name] for name, to in _OF_TABLE.items() if form.values[name]}


def _of_families(form: Filled) -> tuple[str, dict[str, Any]]:
    given: dict[str, Any] = {to: form.values[name] for name, to in _PLAIN.items() if form.values[name]}
    given |= {"machine_id": form.machine, "excluded_model_types": form.excluded, "force": form.force}
    if not form.machine:
        form.errors["machine"] = "Choose one."
    if not form.whole and not form.families:
        form.errors["families"] = "Choose at least one."
    if form.values["minutes"]:
        try:
            given["time_limit"] = 60.0 * float(form.values["minutes"].replace(",", "."))
        except ValueError:
            form.errors["minutes"] = f"Expected minutes, such as 15; got “{form.values['minutes'][:40]}”."
    settings: dict[str, Any] = {"model": form.values["model"]} if form.values["model"] else {}
    if form.values["steps"]:
        try:
            settings["total_steps"] = int(form.values["steps"])
        except ValueError:
            form.errors["steps"] = f"Expected a whole number; got “{form.values['steps'][:40]}”."
    given["settings"] = settings
    kind = form.families[0] if len(form.families) == 1 and not form.whole else BATCH
    if kind == BATCH:
        given["model_types"] = "all" if form.whole else form.families
    return kind, given


def refuse(home: Home, form: Filled, error: NightshiftError) -> None:
    """Note what a request was refused for, beside the field that the refusal is about."""
    said = f"{error.what} {error.hint}".strip()
    if isinstance(error, UnknownNameError) and f"'{form.machine}'" in error.what:
        form.errors["machine"] = said
        return
    of_table = bool(file_named(home, form.machine))
    named = _NAMED_OF_TABLE if of_table else _NAMED | ({"model": "model"} if form.values["model"] else {})
    # The longest name first: `preset` is a part of `quality_preset`.
    for name in sorted(named, key=len, reverse=True):
        if re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", error.what):
            form.errors[named[name]] = said
            return
    form.errors[""] = said


def by_group(home: Home) -> dict[str, list[str]]:
    """Return the ids of what has data, by group."""
    found: dict[str, list[str]] = {}
    for subject in subjects(home):
        found.setdefault(_group(home, subject), []).append(subject)
    return found


def offers(home: Home, subject: str, target: str = "") -> tuple[str, tuple[Offer, ...]]:
    """Return the target that is meant, and the families that fit a subject; none for one that is not there."""
    group = group_named(home, subject)
    chosen = target if target in targets(home) else TARGETS[group or MACHINE]
    if not group or file_named(home, subject):
        return chosen, ()
    return chosen, tuple(_offer(home, subject, name, chosen) for name in families_for(home, subject, group))


def group_named(home: Home, subject: str) -> str:
    """Return the group of what has data, or of a table's file; "" for anything else."""
    if subject in subjects(home):
        return _group(home, subject)
    return ESTIMATOR if file_named(home, subject) else ""


def usual_families(group: str, offered: tuple[Offer, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the families that the form begins with, and whether that is all: of policies one takes hours as it is."""
    return ((offered[0].name,), False) if group == DRIVING and offered else ((), True)


def usual(group: str) -> dict[str, str]:
    """Return the time limit and the preset that the form begins with: a first look should not take hours."""
    return {"minutes": DEFAULT_MINUTES if group == MACHINE else "", "preset": "quick" if group == DRIVING else ""}


def _offer(home: Home, subject: str, name: str, target: str) -> Offer:
    kind = families.get(name).config
    members: tuple[str, ...] = ()
    limits = None
    try:
        found = resolve(home, subject, name, target)
    except NightshiftError:
        # What is wrong with its config is told when it is asked for.
        pass
    else:
        limits = found.limits
        members = next((tuple(getattr(found.config, k)) for k in MEMBER_KEYS if k in kind.model_fields), ())
    return Offer(name, QUESTIONS.get(name, ""), kind.presets, members, frozenset(kind.model_fields), limits)


def presets(offered: tuple[Offer, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the presets of some families: those that every family has anyway, and the libraries' own."""
    every = tuple(dict.fromkeys(p for offer in offered for p in offer.presets))
    usual = tuple(p for p in every if p in {"quick", *FamilyConfig.presets})
    return usual, tuple(p for p in every if p not in usual)


def _group(home: Home, subject: str) -> str:
    try:
        return _group_of(home.root, subject, current(home, subject))
    except NightshiftError:
        return MACHINE


@lru_cache(maxsize=20_000)
def _group_of(root: Path, subject: str, fingerprint: str) -> str:
    """Return a dataset's group: it is what it is called by."""
    return group_of(Home(root), subject, fingerprint)


def again(home: Home, run: Run) -> str:
    """Return the address of the page, filled in as a run was asked for; "" for one that the page cannot ask for."""
    if run.flow == TABLE:
        return _table_again(home, run)
    refs = refs_of(run)
    if not refs or len({(ref.subject, ref.target) for ref in refs}) != 1:
        return ""
    options = run.parameters.get("options") or {}
    try:
        asked = TrainOptions.model_validate(options.get("train") or {} if run.flow == BATCH_FLOW else options)
    except (ValidationError, AttributeError):
        return ""
    first = refs[0]
    _, offered = offers(home, first.subject, first.target)
    values = {
        "machine": first.subject,
        "target": first.target,
        "families": [ref.family for ref in refs],
        "all": "1" if {ref.family for ref in refs} == {one.name for one in offered} else "",
        "minutes": f"{asked.time_limit_s / 60:g}" if asked.time_limit_s else "",
        "preset": asked.preset or "",
        "contamination": asked.contamination,
        "forecast_hours": asked.forecast_h,
        "seed": asked.seed,
        "bag_folds": asked.settings.get("num_bag_folds"),
        "stack_levels": asked.settings.get("num_stack_levels"),
        **{name: asked.settings.get(key) for name, key in _SETTINGS.items()},
        "excluded": _left_out(offered, asked),
        "force": "1" if run.parameters.get("force") or any(ref.forced for ref in refs) else "",
    }
    kept = {name: value for name, value in values.items() if value not in (None, "") or name in ("minutes", "preset")}
    return f"/train?{urlencode(kept, doseq=True)}"


def _table_again(home: Home, run: Run) -> str:
    """Return the address for a table's file, where the page offers it and has fields for all that was asked for."""
    given = run.parameters
    name = PurePosixPath(str(given.get("file"))).name
    try:
        asked = TableOptions.model_validate(given.get("options") or {})
    except ValidationError:
        return ""
    told = {"cv_folds": asked.settings.get("cross_validation"), "seed": asked.settings.get("random_state")}
    bare = asked.model_copy(update={"settings": {}, "subject": "", "device_class": TARGETS[ESTIMATOR]})
    offered = file_named(home, name) == given.get("file")
    if not offered or bare != TableOptions() or not asked.settings.keys() <= {"cross_validation", "random_state"}:
        return ""
    values = {"machine": name, "column": given.get("target"), "model": given.get("model"), "called": asked.subject}
    values |= {"target": asked.device_class, **told}
    return f"/train?{urlencode({key: value for key, value in values.items() if value not in (None, '')})}"


def _left_out(offered: tuple[Offer, ...], asked: TrainOptions) -> list[str]:
    """Return the members that a run was to do without."""
    kept = {name: tuple(own[key]) for name, own in asked.families.items() for key in MEMBER_KEYS if key in own}
    return [member for one in offered for member in one.members if one.name in kept and member not in kept[one.name]]
