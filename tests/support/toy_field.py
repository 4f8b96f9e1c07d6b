"""A toy to learn on in a second: cars on a line that are to stop at a mark, as a field of the learners."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from nightshift.driving.facts import ENDINGS, Ended
from nightshift.driving.learn.field import Advanced, Floats

LONGEST = 20


class ToyField(VecEnv):
    """`x` is to go to 0: the reward is 1 - |x|, an episode ends beyond 2, and is cut after `LONGEST` steps."""

    def __init__(self, num_envs: int = 8, width: int = 4, seed: int = 0) -> None:
        box = spaces.Box(-3.0, 3.0, (width,), np.float32)
        super().__init__(num_envs, box, spaces.Box(-1.0, 1.0, (2,), np.float32))
        self.width, self.rng = width, np.random.default_rng(seed)
        self.reset()

    def reset(self) -> Floats:
        self.x = self.rng.uniform(-1, 1, self.num_envs)
        self.returned, self.n = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        return self._seen()

    def _seen(self) -> Floats:
        seen = np.zeros((self.num_envs, self.width), np.float32)
        seen[:, 0] = self.x
        return seen

    def advance(self, action: Floats) -> Advanced:
        assert np.abs(action).max() <= 1.0
        self.x = self.x + 0.3 * action[:, 0].astype(np.float64)
        reward = 1.0 - np.abs(self.x)
        self.returned, self.n = self.returned + reward, self.n + 1
        terminated, truncated = np.abs(self.x) > 2, self.n >= LONGEST
        done, final = terminated | truncated, self._seen()
        ended = Ended(
            done=done,
            scenario=np.zeros(self.num_envs, np.int64),
            returned=self.returned.copy(),
            steps=self.n.copy(),
            ending=np.where(terminated, ENDINGS.index("collision"), ENDINGS.index("timed_out")),
            progress=np.clip(self.returned / LONGEST, 0, 1),
            collided=terminated.copy(),
        )
        fresh = self.rng.uniform(-1, 1, self.num_envs)
        self.x, self.returned, self.n = (
            np.where(done, a, b) for a, b in ((fresh, self.x), (0, self.returned), (0, self.n))
        )
        return Advanced(self._seen(), final, reward.astype(np.float32), terminated, truncated & ~terminated, ended)

    def state_dict(self) -> dict[str, Any]:
        inner = self.rng.bit_generator.state["state"]
        words = [str(inner["state"]), str(inner["inc"])]
        return {"x": self.x, "returned": self.returned, "n": self.n, "words": words}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.x, self.returned, self.n = state["x"], state["returned"], state["n"]
        whole = self.rng.bit_generator.state
        whole["state"] = {"state": int(state["words"][0]), "inc": int(state["words"][1])}
        self.rng.bit_generator.state = whole

    def step_async(self, actions: Floats) -> None:
        self._asked = actions

    def step_wait(self) -> Any:
        happened = self.advance(self._asked)
        done = happened.terminated | happened.truncated
        return happened.observation, happened.reward, done, [{} for _ in done]

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None if attr_name == "render_mode" else getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs
