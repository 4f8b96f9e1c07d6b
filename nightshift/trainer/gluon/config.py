"""What can be tuned in an AutoGluon ensemble, and what that means in AutoGluon's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from nightshift.errors import ConfigError, nearest
from nightshift.family import FamilyConfig, Limits

ModelType = Literal["GBM", "RF", "XGB", "CAT", "XT", "NN_TORCH"]

#: Presets of our own: (times as many rounds and trees at as small a learning rate, bag folds).
_OWN_PRESETS = {"fast": (1, 0), "standard": (2, 0), "high": (2, 5)}
#: What a target allows that names nothing: a network must be asked for by target and config.
TREES: tuple[ModelType, ...] = ("GBM", "RF", "XGB", "CAT", "XT")
#: Never trained, whatever a preset says: no converter, or too slow for one row at a time.
_EXCLUDED = ("FASTAI", "KNN")
#: Passes over the rows that a network takes at most, and without getting better; epochs bound it, not the clock.
_NET_EPOCHS, _NET_PATIENCE = 200, 20
#: AutoGluon's presets that bag do so with this many folds, as far as the target allows.
_AUTOGLUON_BAG_FOLDS = 8
#: AutoGluon's own presets and their other names, so that a misspelt one is refused without importing AutoGluon.
_AUTOGLUON_PRESETS = (
    *("best", "best_quality", "best_quality_v082", "best_quality_v140", "best_quality_v150", "best_v140", "best_v150"),
    *("bq", "eq", "experimental_quality_v120", "experimental_quality_v140", "extreme", "extreme_quality"),
    *("extreme_quality_v140", "extreme_quality_v150", "extreme_v140", "extreme_v150", "extreme_v160", "good"),
    *("good_quality", "good_quality_faster_inference_only_refit", "good_quality_v082", "gq", "high", "high_quality"),
    *("high_quality_fast_inference_only_refit", "high_quality_v082", "high_quality_v150", "high_v150", "hq"),
    *("ignore_text", "ignore_text_ngrams", "interpretable", "medium", "medium_quality", "medium_quality_faster_train"),
    *("mq", "noncommercial", "noncommercial_v160", "optimize_for_deployment", "tabarena"),
)


class TabularConfig(FamilyConfig):
    """What both AutoGluon families can tune.

    Attributes:
        model_types: members of the ensemble, by AutoGluon's keys; NN_TORCH only where the target names it.
        boost_rounds: most rounds of each boosted member; early stopping may take fewer.
        learning_rate: of the boosted members.
        max_leaves: leaves of a LightGBM tree.
        tree_depth: of XGBoost and CatBoost trees.
        min_leaf_rows: fewest rows in a leaf of LightGBM and the forests.
        forest_trees: trees of RandomForest and ExtraTrees.
        forest_leaf_nodes: most leaves of one of their trees; it bounds the bundle's size and the device's memory.
        boost_features: share of the features that one boosted tree may split on.
        forest_features: share of the features that one split of a forest looks at.
        num_bag_folds: folds of bagging, by whole runs; None = the preset's.
        num_stack_levels: layers of models on top of models; needs bagging.
        max_rows: more training rows than this are thinned by seed.
        hyperparameters: model type -> AutoGluon's own hyperparameters, merged over all of the above.
    """

    presets: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys((*FamilyConfig.presets, *_AUTOGLUON_PRESETS)))

    model_types: tuple[ModelType, ...] = Field(default=("GBM", "RF", "XGB", "CAT"), min_length=1)
    boost_rounds: int = Field(default=400, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    max_leaves: int = Field(default=31, ge=2)
    tree_depth: int = Field(default=6, ge=1, le=12)
    min_leaf_rows: int = Field(default=20, ge=1)
    forest_trees: int = Field(default=100, ge=1)
    forest_leaf_nodes: int = Field(default=500, ge=2)
    boost_features: float = Field(default=0.8, gt=0, le=1)
    forest_features: float = Field(default=0.5, gt=0, le=1)
    num_bag_folds: int | None = Field(default=None, ge=0, le=20)
    num_stack_levels: int = Field(default=0, ge=0, le=3)
    max_rows: int = Field(default=50_000, ge=50)
    hyperparameters: dict[ModelType, dict[str, int | float | str | bool]] = Field(default_factory=dict)


def member_hyperparameters(config: TabularConfig, scale: int = 1) -> dict[str, dict[str, Any]]:
    """Return AutoGluon's hyperparameters per model type.

    Args:
        config: the family's config.
        scale: so many times the rounds and trees, at a learning rate as many times smaller.
    """
    rounds, rate, seed = config.boost_rounds * scale, config.learning_rate / scale, config.seed
    forest = {
        "n_estimators": config.forest_trees * scale,
        "max_leaf_nodes": config.forest_leaf_nodes,
        "min_samples_leaf": max(1, config.min_leaf_rows // 5),
        "max_features": config.forest_features,
        "random_state": seed,
    }
    made: dict[str, dict[str, Any]] = {
        "GBM": {
            "num_boost_round": rounds,
            "learning_rate": rate,
            "num_leaves": config.max_leaves,
            "min_data_in_leaf": config.min_leaf_rows,
            "feature_fraction": config.boost_features,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": seed,
            # Histograms are summed in an order of their own without these.
            "deterministic": True,
            "force_col_wise": True,
        },
        "XGB": {
            "n_estimators": rounds,
            "learning_rate": rate,
            "max_depth": config.tree_depth,
            "min_child_weight": max(1, config.min_leaf_rows // 5),
            "subsample": 0.8,
            "colsample_bytree": config.boost_features,
            "seed": seed,
        },
        "CAT": {"iterations": rounds, "learning_rate": rate, "depth": config.tree_depth, "random_seed": seed},
        "RF": forest,
        "XT": dict(forest),
        "NN_TORCH": {"num_epochs": _NET_EPOCHS * scale, "epochs_wo_improve": _NET_PATIENCE, "seed_value": seed},
    }
    return {kind: made[kind] | config.hyperparameters.get(kind, {}) for kind in config.model_types}


@dataclass(frozen=True)
class Budget:
    """What a preset means on a target.

    Attributes:
        scale: times as many rounds and trees.
        bag_folds: 0 for no bagging.
        stack_levels: layers of models on top of models.
        autogluon_preset: AutoGluon's own preset to pass on, None for one of ours.
    """

    scale: int
    bag_folds: int
    stack_levels: int
    autogluon_preset: str | None

    @classmethod
    def of(cls, config: TabularConfig, limits: Limits) -> Budget:
        """Read it from a config.

        Raises:
            ConfigError: for a preset that is not known, or a model type or folds that cannot be.
        """
        allowed = limits.model_types or TREES
        forbidden = [kind for kind in config.model_types if kind not in allowed]
        if forbidden:
            raise ConfigError(
                f"model_types: '{forbidden[0]}' is not allowed on this target.",
                hint=f"Allowed: {', '.join(allowed)}.",
            )
        scale, folds, preset = cls._preset(config.preset)
        folds = min(folds, int(limits.ceilings.get("num_bag_folds", folds)))
        folds = folds if config.num_bag_folds is None else config.num_bag_folds
        if folds == 1 or (config.num_stack_levels and not folds):
            raise ConfigError(
                f"num_bag_folds is {folds}, with num_stack_levels {config.num_stack_levels}.",
                hint="Bagging takes 2 folds or more, and stacking needs bagging.",
            )
        return cls(scale, folds, config.num_stack_levels, preset)

    @staticmethod
    def _preset(name: str) -> tuple[int, int, str | None]:
        if name in _OWN_PRESETS:
            return (*_OWN_PRESETS[name], None)
        from autogluon.tabular.configs.presets_configs import tabular_presets_alias, tabular_presets_dict

        known = {*tabular_presets_dict, *tabular_presets_alias}
        if name not in known:
            raise ConfigError(f"unknown preset '{name}'.", hint=nearest(name, {*_OWN_PRESETS, *known}))
        settings = tabular_presets_dict[tabular_presets_alias.get(name, name)]
        bags = bool(settings.get("auto_stack") or settings.get("num_bag_folds"))
        return 1, _AUTOGLUON_BAG_FOLDS if bags else 0, name

    def fit_arguments(self, seed: int) -> dict[str, Any]:
        """Arguments that hold in any case: what a preset says to the contrary gives way."""
        arguments: dict[str, Any] = {
            "num_bag_folds": self.bag_folds,
            "num_stack_levels": self.stack_levels,
            "auto_stack": False,
            "excluded_model_types": list(_EXCLUDED),
            "dynamic_stacking": False,
            "calibrate": False,
            "calibrate_decision_threshold": False,
            # Drops the copy of the training rows that AutoGluon keeps beside its models.
            "save_space": True,
        }
        if self.bag_folds:
            arguments |= {
                "num_bag_sets": 1,
                "use_bag_holdout": True,
                # Folds one after the other in this process: Ray is not installed, and the cell has its threads.
                "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local", "model_random_seed": seed},
            }
        if self.autogluon_preset:
            arguments["presets"] = self.autogluon_preset
        return arguments
