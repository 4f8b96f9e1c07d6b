"""Keywords and YAML become one `Settings`: plain keywords and objects are both taken, but not both for one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from nightshift.errors import ConfigError, UnknownNameError, UsageError, nearest
from nightshift.files import read_yaml
from nightshift.trainer.options import (
    Balance,
    Checks,
    EarlyStopping,
    Encode,
    GivenFolds,
    Limits,
    Method,
    Settings,
    Split,
    Strategy,
    Track,
)
from nightshift.validation import validated

Option = TypeVar("Option", bound=BaseModel)

STRATEGIES: tuple[str, ...] = get_args(Strategy)
METHODS: tuple[str, ...] = get_args(Method)
_OF_SPLIT = ("test_size", "validation_size", "stratify", "shuffle")
#: Plain keywords that are fields of the settings as they are.
_FIELDS = ("seeds", "save_model", "save_path", "format", "verbose", "n_jobs", "learning_curve")
PLAIN = (*_OF_SPLIT, "random_state", "handle_imbalance", *_FIELDS)
#: YAML's key -> keyword.
_RENAMED = {"cross_validation": "cv", "imbalance_handling": "handle_imbalance"}
_SEED = 42
_FOLDS = 5
#: Characters that an error shows of a value.
_LONGEST = 80


@dataclass(frozen=True)
class Asked:
    """All that a call was told beside model and table: what can be written down, and objects that cannot.

    Attributes:
        splitter: of scikit-learn, or (train, validation, test) row numbers; None: the settings' split.
        folds: a splitter of scikit-learn, or `GivenFolds`; None: the settings' number of folds.
        scoring: as given.
        track: where the result is logged; a callable is handed the result.
        progress: "auto", whether there is any, or a sink.
        run_dir: folder of a training that can be gone on with.
        balance_as_fits: whether rows are drawn again where the estimator takes no weights.
    """

    settings: Settings
    splitter: Any = None
    folds: Any = None
    scoring: Any = None
    track: Track | Callable[[Any], None] | None = None
    progress: Any = "auto"
    run_dir: Path | None = None
    resume: bool = False
    balance_as_fits: bool = False

    def objects(self) -> dict[str, Any]:
        """Return what decides a training and is no setting, for its fingerprint."""
        return {
            "split": self.splitter,
            "folds": self.folds,
            "scoring": None if isinstance(self.scoring, str) else self.scoring,
        }


def settings_of(given: Mapping[str, Any], plain: Mapping[str, Any]) -> Settings:
    """Return the settings that keywords mean.

    Args:
        given: the named keywords of `train_model` and `train_with_cv`.
        plain: the others, such as `test_size` and `random_state`.

    Raises:
        UnknownNameError: for a keyword that is not known.
        UsageError: when one thing is told twice, or a value cannot be.
    """
    return asked_of(given, plain).settings


def asked_of(given: Mapping[str, Any], plain: Mapping[str, Any]) -> Asked:
    """Return the settings, and what is no part of them; see `settings_of`."""
    for name in plain:
        if name in ("sample_weight", "class_weight"):
            raise UsageError(
                f"{name}= is not taken: expected balance= for rare classes, got {name}=.",
                hint="Give balance='class_weight', or set the estimator's own class_weight.",
            )
        if name not in PLAIN:
            raise UnknownNameError("keyword", name, {*PLAIN, *given})
    # None is "not said", as scikit-learn has it.
    plain = {name: value for name, value in plain.items() if value is not None}
    split, splitter = _split(given.get("split", "auto"), given.get("strategy", "auto"), plain)
    cv = given.get("cv")
    folds = None if cv is None or isinstance(cv, bool | Integral) else _folds(cv)
    if isinstance(folds, GivenFolds) and isinstance(given.get("split", "auto"), str) and "test_size" not in plain:
        split = split.model_copy(update={"test_size": 0.0})  # the pairs say of each row what it is for
    scoring = given.get("scoring")
    values = {
        "split": split,
        "balance": _balance(given.get("balance"), plain),
        "early_stopping": _early_stopping(given.get("early_stopping")),
        "encode": _encode(given.get("encode", "auto")),
        "scale": _scale(given.get("scale", "auto")),
        "seed": _seed(given.get("seed", _SEED), plain),
        "checks": _checks(given.get("checks", "warn")),
        "limits": _option("limits", Limits, given.get("limits")),
        "cv": None if folds is not None else _count_of_folds(cv),
        "scoring": _names(scoring),
        **{name: plain[name] for name in _FIELDS if name in plain},
        "save_path": str(plain.get("save_path", "")),
        "n_jobs": _processes(given.get("n_jobs", plain.get("n_jobs", 1))),
        "learning_curve": given.get("learning_curve", plain.get("learning_curve", False)),
    }
    if given.get("resume") and given.get("run_dir") is None:
        raise UsageError("resume=True: expected the run_dir to go on from, got none.", hint="Give run_dir=.")
    return Asked(
        settings=_settings(values),
        splitter=splitter,
        folds=folds,
        scoring=scoring,
        track=_track(given.get("track")),
        progress=False if plain.get("verbose") is False else given.get("progress", "auto"),
        run_dir=Path(given["run_dir"]) if given.get("run_dir") is not None else None,
        resume=bool(given.get("resume", False)),
        balance_as_fits=plain.get("handle_imbalance") is True,
    )


def _settings(values: Mapping[str, Any]) -> Settings:
    try:
        return validated(Settings, values, "keywords")
    except ConfigError as error:
        raise UsageError(error.what, hint=error.hint) from None


def _both(first: str, second: str) -> UsageError:
    return UsageError(f"both {first}= and {second}= were given: expected one of them.", hint=f"Leave out {second}=.")


def _split(split: Any, strategy: str, plain: Mapping[str, Any]) -> tuple[Split, Any]:
    """Return the split, and a splitter or row numbers that take its place."""
    sizes = [name for name in _OF_SPLIT if name in plain]
    named = isinstance(split, str)
    if not named and sizes:
        raise _both("split", sizes[0])
    if strategy != "auto" and (not named or split != "auto"):
        raise _both("split", "strategy")
    if named:
        chosen = _name(
            "split" if strategy == "auto" else "strategy", split if strategy == "auto" else strategy, STRATEGIES
        )
        return _option("split", Split, {"strategy": chosen, **{name: plain[name] for name in sizes}}), None
    if isinstance(split, Split | Mapping):
        return _option("split", Split, split), None
    if isinstance(split, tuple | list) and len(split) in (2, 3):
        return Split(), tuple(split)
    return Split(), _a_splitter(split)


def _a_splitter(value: Any) -> Any:
    if not (hasattr(value, "split") and hasattr(value, "get_n_splits")):
        wanted = "a strategy, a Split, (train, validation, test) row numbers or a splitter of scikit-learn"
        raise UsageError(f"split: expected {wanted}, got {_short(value)}.")
    return value


def _folds(cv: Any) -> Any:
    """Return a splitter as it is, and pairs of row numbers as `GivenFolds`.

    Raises:
        UsageError: for what is neither.
    """
    if hasattr(cv, "split") and hasattr(cv, "get_n_splits"):
        return cv
    wrong = UsageError(
        f"cv: expected a number of folds, a splitter of scikit-learn, or (train, held out) pairs of row numbers, got "
        f"{_short(cv)}."
    )
    if isinstance(cv, str | bytes | Mapping) or not isinstance(cv, Iterable):
        raise wrong
    pairs = tuple(cv)
    if not pairs or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise wrong
    return GivenFolds(pairs)


def _short(value: Any) -> str:
    """Return what was given, in one line: an array's would fill a page."""
    told = " ".join(repr(value).split())
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"


def _count_of_folds(cv: Any) -> int | None:
    if cv is None or cv is False:
        return None
    if cv is True:
        return _FOLDS
    if cv < 2:
        raise UsageError(f"cv: expected 2 folds or more, got {cv}.")
    return int(cv)


def _processes(n_jobs: Any) -> Any:
    """Return the number of processes; scikit-learn's -1 means every core, -2 all but one."""
    if n_jobs is None:
        return 1
    if not isinstance(n_jobs, Integral) or int(n_jobs) >= 0:
        return n_jobs
    from joblib import cpu_count

    return max(1, int(cpu_count()) + 1 + int(n_jobs))


def _balance(balance: Any, plain: Mapping[str, Any]) -> Balance:
    handled = plain.get("handle_imbalance")
    if balance is not None and "handle_imbalance" in plain:
        raise _both("balance", "handle_imbalance")
    balance = handled if balance is None else balance
    if balance is None or balance is False:
        return Balance()
    if balance is True:
        return Balance(method="class_weight")
    if isinstance(balance, str):
        return Balance.model_validate({"method": _name("balance", balance, METHODS)})
    return _option("balance", Balance, balance)


def _seed(seed: Any, plain: Mapping[str, Any]) -> Any:
    if "random_state" not in plain:
        return _SEED if seed is None else seed
    if seed != _SEED:
        raise _both("seed", "random_state")
    return plain["random_state"]


def _early_stopping(value: Any) -> EarlyStopping | None:
    if value is None or value is False:
        return None
    if value is True:
        return EarlyStopping()
    if isinstance(value, Integral):
        return _option("early_stopping", EarlyStopping, {"patience": value})
    return _option("early_stopping", EarlyStopping, value)


def _encode(value: Any) -> Encode | None:
    if value is None or value is False or value == "none":
        return None
    if value is True or value == "auto":
        return Encode()
    return _option("encode", Encode, value)


def _checks(value: Any) -> Checks:
    if isinstance(value, str):
        return Checks.model_validate({"action": _name("checks", value, ("warn", "error", "off"))})
    if value is None or isinstance(value, bool):
        return Checks(action="warn" if value else "off")
    return _option("checks", Checks, value)


def _track(value: Any) -> Track | Callable[[Any], None] | None:
    if value is None or value is False:
        return None
    if value is True:
        return Track()
    if isinstance(value, Track | Mapping):
        return _option("track", Track, value)
    if callable(value):
        return value  # type: ignore[no-any-return]
    raise UsageError(f"track: expected True, a Track or a function of the result, got {value!r}.")


def _option(keyword: str, kind: type[Option], value: Any) -> Option:
    """Return an option given as such, or as a mapping of its fields; None is the default."""
    if isinstance(value, kind):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise UsageError(f"{keyword}: expected {kind.__name__}(…) or a mapping of its fields, got {_short(value)}.")
    try:
        return validated(kind, value or {}, keyword)
    except ConfigError as error:
        raise UsageError(error.what, hint=error.hint) from None


def _name(keyword: str, value: Any, valid: tuple[str, ...]) -> str:
    if value not in valid:
        raise UnknownNameError(keyword, str(value), valid)
    return str(value)


def _scale(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _name("scale", value, ("auto", "yes", "no"))


def _names(scoring: Any) -> tuple[str, ...]:
    """Return what can be written down of `scoring`: names, for a callable its own."""
    if scoring is None:
        return ()
    if isinstance(scoring, Mapping):
        return tuple(str(name) for name in scoring)
    several = sorted(scoring, key=str) if isinstance(scoring, set | frozenset) else scoring
    several = several if isinstance(several, list | tuple) else [several]
    return tuple(one if isinstance(one, str) else str(getattr(one, "__name__", type(one).__name__)) for one in several)


class _File(BaseModel):
    """Keys of a YAML file: the keywords under plain names; what a value may be is the keywords' to say."""

    model_config = {"frozen": True, "extra": "forbid"}

    model: Any = None
    params: dict[str, Any] = {}
    test_size: Any = None
    validation_size: Any = None
    stratify: Any = None
    shuffle: Any = None
    random_state: Any = None
    cross_validation: Any = None
    imbalance_handling: Any = None
    early_stopping: Any = None
    save_model: Any = None
    save_path: Path | None = None
    verbose: Any = None
    strategy: Any = None
    split: Any = None
    balance: Any = None
    scoring: Any = None
    encode: Any = None
    scale: Any = None
    seeds: Any = None
    checks: Any = None
    limits: Any = None
    learning_curve: Any = None
    n_jobs: Any = None
    format: Any = None
    track: Any = None


#: Keys of such a file.
KEYS: tuple[str, ...] = tuple(_File.model_fields)


def read_config(path: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that a YAML file, or a mapping of the same keys, means.

    Keys: test_size, validation_size, stratify, shuffle, random_state, cross_validation, imbalance_handling,
    early_stopping, save_model (true unless it says otherwise), save_path, verbose; also model, params, and the keywords
    that take no arrays. `cross_validation` is a number of folds, true, false, or a mapping of `folds` and `strategy`.

    Raises:
        ConfigError: for a file that cannot be read, or a key that is not known.
    """
    if not isinstance(path, Mapping | str | Path):
        raise ConfigError(f"config: expected a YAML file or a mapping of its keys, got {_short(path)}.")
    if isinstance(path, Mapping):
        values, where = dict(path), "config"
    else:
        values, where = read_yaml(Path(path)), Path(path).name
    known = validated(_File, values, where)
    told = {name: getattr(known, name) for name in values}
    folds = told.get("cross_validation")
    if isinstance(folds, Mapping):
        odd = sorted(set(folds) - {"folds", "strategy"})
        if odd:
            hint = nearest(odd[0], ("folds", "strategy"))
            raise ConfigError(f"{where}: unknown key 'cross_validation.{odd[0]}'.", hint=hint)
        told |= {"cross_validation": folds.get("folds", _FOLDS), "strategy": folds.get("strategy", "auto")}
    told = {_RENAMED.get(name, name): value for name, value in told.items()}
    return {"save_model": True, **told}
