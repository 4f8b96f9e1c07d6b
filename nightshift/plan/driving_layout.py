"""The layout in which reinforcement learners write a training's config, read as settings of a family.

    algorithm: ppo
    environment: {name: ADPlanning-v0, num_envs: 8}
    ppo: {learning_rate: 3e-4, gamma: 0.99, batch_size: 2048}
    training: {total_steps: 10_000_000}

Every key is a setting of the family by its own name, or one of `ALSO`; the blocks only put them in order. What is not
known is refused with the nearest name, and never left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nightshift import families
from nightshift.errors import ConfigError, nearest

ALGORITHM, ENVIRONMENT, TRAINING = "algorithm", "environment", "training"
GROUP, ENVIRONMENT_NAME = "driving", "ADPlanning-v0"
#: The families of that group; none need be imported for their names.
ALGORITHMS = ("bc", "cimrl", "gail", "ppo", "sac")
#: What other projects call a setting -> its name here.
ALSO = {
    "lr": "learning_rate",
    "n_envs": "num_envs",
    "total_timesteps": "total_steps",
    "eval_freq": "eval_every_steps",
    "entropy_coef": "ent_coef",
    "value_coef": "vf_coef",
}


def is_layout(content: Mapping[str, Any]) -> bool:
    """Whether a file is written so: whatever is not of the shape `families: …`, so that nothing in it is overlooked."""
    return bool({ALGORITHM, ENVIRONMENT, TRAINING} & set(content)) or bool(content and "families" not in content)


def settings_from(content: Mapping[str, Any], family: str, name: str) -> dict[str, Any]:
    """Return a family's settings from a file of this layout.

    Args:
        content: of the file.
        family: that is trained, by its own name.
        name: of the file, for errors.

    Raises:
        ConfigError: for a key, block or environment that is not known, a setting given twice, or a file of another
            algorithm.
    """
    able = set(ALGORITHMS)
    _hold_blocks(content, able, name)
    said = content.get(ALGORITHM)
    if said is not None and _own(said, able, name) != family:
        raise ConfigError(
            f"{name} is for algorithm '{said}', '{family}' is trained.", hint=f"`nightshift train {said} --config …`."
        )
    known = set(families.get(family).config.model_fields)
    found: dict[str, Any] = {}
    for place, key, value in _settings(content, family, able, name):
        own = key if key in known else ALSO.get(key, key)
        if own not in known:
            raise ConfigError(f"{name}: unknown key '{place}.{key}'.", hint=nearest(key, known))
        if own in found:
            raise ConfigError(f"{name}: '{own}' is given twice, the second time as '{place}.{key}'.")
        found[own] = value
    return found


def _hold_blocks(content: Mapping[str, Any], able: set[str], name: str) -> None:
    if "families" in content:
        raise ConfigError(f"{name} has 'families' and blocks of one algorithm.", hint="Write it in one of the two.")
    known = {ALGORITHM, ENVIRONMENT, TRAINING, *able, *(a for a, own in families.ALIASES.items() if own in able)}
    for key in content:
        if key not in known:
            raise ConfigError(f"{name}: unknown block '{key}'.", hint=nearest(str(key), known))


def _own(said: object, able: set[str], name: str) -> str:
    text = str(said)
    own = families.ALIASES.get(text, text)
    if own not in able:
        raise ConfigError(f"{name}: unknown algorithm '{text}'.", hint=nearest(text, able))
    return own


def _settings(content: Mapping[str, Any], family: str, able: set[str], name: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (block, key, value); blocks of other algorithms are theirs."""
    for block, values in content.items():
        if block == ALGORITHM or (block in {*able, *families.ALIASES} and families.ALIASES.get(block, block) != family):
            continue
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name}: '{block}' must be a mapping of settings, got {type(values).__name__}.")
        for key, value in values.items():
            if (block, key) == (ENVIRONMENT, "name"):
                if value != ENVIRONMENT_NAME:
                    hint = f"There is one: {ENVIRONMENT_NAME}; other Unity environments: `nightshift train mlagents`."
                    raise ConfigError(f"{name}: unknown environment '{value}'.", hint=hint)
                continue
            yield str(block), str(key), value
