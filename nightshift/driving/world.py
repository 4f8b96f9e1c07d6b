"""The world: any number of environments that step at once, on arrays of NumPy or torch.

What an environment does depends on its scenario, its actions and its own random stream alone: nothing is multiplied as
a matrix, and nothing is summed over environments, so that it is bit for bit the same in a batch of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from nightshift.driving import bicycle, streams
from nightshift.driving.action import route_steer
from nightshift.driving.facts import ENDINGS, Ended, Facts
from nightshift.driving.memory import keep_freed
from nightshift.driving.observe import N_OBS, Observer
from nightshift.driving.pack import Pack
from nightshift.driving.reward import Marks, RewardSettings, reward
from nightshift.driving.scenario import STEP_S
from nightshift.driving.sight import Eyes, Sight
from nightshift.driving.starts import Starts, put, put_anew, put_ego, taken
from nightshift.driving.traffic import Model, make
from nightshift.errors import UsageError

Order = Literal["random", "once"]
#: Numbers under an episode's key: the draw of its scenario, and of its start. Steps, from 0, are those of its
#: traffic's noise.
_SCENARIO, _PLACE = -1, -2
#: Under a seed: episodes that are drawn. Scenarios, from 0, are those that are driven once, such as to judge: a policy
#: that learnt with that seed has not met their noise.
_DRAWN = -1


@dataclass
class Count:
    """What each environment keeps of its episode, `(envs,)` each.

    Attributes:
        key: int64, of its random stream in this episode.
        episode, step: int64, episodes before this one, and steps in it.
        running: bool; False once there is nothing more to drive (`order="once"`).
        s_m, start_m, begun_m, farthest_m: on the route: now, where the scenario starts, where this episode began, and
            as far as it came.
        returned: sum of the rewards.
        collided: bool, so far.
    """

    key: Any
    episode: Any
    step: Any
    running: Any
    s_m: Any
    start_m: Any
    begun_m: Any
    farthest_m: Any
    returned: Any
    collided: Any


class World:
    """Environments of `ADPlanning-v0`.

    Attributes:
        pack: scenarios that are driven.
        n_envs: environments.
        starts: where episodes begin.
        ride: what their episodes are about; `ride.scenario` tells the numbers.
        ego, cars, count, marks: their state.
        traffic: the model.
        sight: what the egos see now, after a reset what they see at the start.
        now: facts of the last step, None before it.
        facts: of the episodes that ended in it.
        final_obs: `(envs, N_OBS)` last observation of those; without meaning elsewhere.
    """

    def __init__(
        self,
        pack: Pack,
        n_envs: int,
        *,
        seed: int = 0,
        traffic: str | Model = "idm",
        reward: RewardSettings | None = None,
        order: Order = "random",
        xp: Any = np,
        device: Any = None,
    ) -> None:
        """Make the environments; `reset` begins.

        Args:
            pack: scenarios.
            n_envs: environments, at least 1.
            seed: of the scenarios' order and of the traffic's noise.
            traffic: a model's name, or a model.
            reward: what steps are worth.
            order: `random`: an environment draws its next scenario for ever; `once`: environment i drives the
                scenarios i, i + n_envs, ... once each, then stands.
            xp: NumPy, or `array_api_compat.torch`.
            device: of torch.

        Raises:
            UsageError: there is no environment, or no such traffic model.
        """
        if n_envs < 1:
            raise UsageError(f"{n_envs} environments cannot be driven.", hint="Take at least 1.")
        keep_freed()
        self.pack, self.n_envs, self.seed, self.order = pack.to(xp, device), n_envs, seed, order
        self.settings = RewardSettings() if reward is None else reward
        self._xp, self._device = xp, device
        self.traffic = make(traffic, xp, self.pack) if isinstance(traffic, str) else traffic
        self._eyes, self._observer = Eyes(self.pack, xp, device), Observer(xp, device)
        self._numbers = self._whole(range(n_envs))
        self._columns = streams.steps(self._whole(range(1, self.pack.columns)))
        self.starts = Starts.of(self.pack, self._eyes, self._observer, xp)
        every, starts = self._numbers * 0, self.starts
        self.ride, self.ego, self.cars = (taken(part, every) for part in (starts.ride, starts.ego, starts.cars))
        self.sight: Sight = taken(starts.sight, every)
        self.count = self._counts(every, every, every, every >= 0)
        self.marks = Marks(every > 0, every > 0)
        self.now: Facts | None = None
        self.facts: Ended
        self._midway = 0.0
        self._often: Any = None
        self.final_obs = xp.zeros((n_envs, N_OBS), dtype=xp.float32, device=device)

    def begin_along(self, starts: Starts, share: float) -> None:
        """Begin episodes, from the next reset on, in other places too than where their scenarios start.

        The first episodes all begin there: else most environments would end theirs by the clock in the same step.

        Args:
            starts: the world's, and behind them as many places of every scenario (see `learn.midway.along_the_way`).
            share: of the episodes after the first ones, 0 to 1.
        """
        self.starts, self._midway = starts, share

    def drive_often(self, weights: Sequence[float]) -> None:
        """Draw scenarios, from the next reset on, as often as they weigh.

        Args:
            weights: one a scenario, none of them negative, together more than 0.

        Raises:
            UsageError: they are of another number, or nothing would be drawn.
        """
        each = np.asarray(weights, np.float64)
        if each.shape != (self.pack.scenarios,) or not (each >= 0.0).all() or not each.sum() > 0.0:
            raise UsageError(
                f"{self.pack.scenarios} scenarios cannot be drawn by these weights: {each[:5].tolist()} …",
                hint="Give one for each, 0 or more, not all of them 0.",
            )
        self._often = self._xp.asarray(np.cumsum(each) / each.sum(), device=self._device)

    @property
    def running(self) -> Any:
        """`(envs,)` bool; False where all scenarios of an environment are driven."""
        return self.count.running

    def along(self) -> Any:
        """Return the steering that follows the route from here, `(envs,)` rad."""
        return route_steer(self._xp, self.sight.way_x, self.sight.way_y, self.ego.speed)

    def reset(self, seed: int | None = None, scenario: Sequence[int] | None = None) -> Any:
        """Begin anew and return the first observations, `(envs, N_OBS)` float32.

        Args:
            seed: from now on; as it is for None.
            scenario: `(envs,)` numbers to begin with; drawn by `order` for None.
        """
        self.seed = self.seed if seed is None else seed
        given = None if scenario is None else self._whole(scenario)
        self.now = None
        return self._begin(self._numbers, self._numbers * 0, given)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Ended]:
        """Drive one step; environments that end begin their next episode.

        Args:
            action: `(envs, 2)` acceleration in m/s2 and steering in rad.

        Returns:
            observations `(envs, N_OBS)` float32, of the next episode where one ended (the last of the ended one:
            `final_obs`), reward `(envs,)` float32, terminated and truncated `(envs,)` bool, and the facts of the
            episodes that ended.
        """
        gained, terminated, truncated = self.advance(action)
        return self.renew(), gained, terminated, truncated, self.facts

    def advance(self, action: Any) -> tuple[Any, Any, Any]:
        """Drive one step without beginning new episodes; `renew` must follow. Returns reward, terminated, truncated.

        Raises:
            UsageError: actions of another shape, or ones that are no numbers.
        """
        xp, count, ego = self._xp, self.count, self.ego
        self._check(action)
        noise = streams.uniform(xp, streams.joined(count.key, count.step)[:, None] + self._columns)
        action = xp.where(count.running[:, None], action, 0.0)
        self.traffic.step(self.cars, STEP_S, noise, self.ride.scenario, count.step + 1)
        metres = bicycle.drive(xp, ego, action[:, 0], action[:, 1], self.ride.wheelbase_m, STEP_S)
        guess = count.s_m + metres * xp.cos(self.sight.heading_rad)
        self.sight = self._eyes.look(self.ride, ego, self.cars, guess)
        put_ego(self.cars, self.ride, ego, self.sight, count.running)
        count.step = count.step + 1
        self.now = self._tell(count.farthest_m)
        count.s_m, count.farthest_m = self.now.s_m, xp.maximum(count.farthest_m, self.now.s_m)
        gained, infraction = reward(xp, self.now, self.marks, self.settings)
        gained = xp.where(count.running, gained, 0.0)
        count.returned, count.collided = count.returned + gained, count.collided | self.now.collided
        terminated = (infraction | self.now.arrived) & count.running
        truncated = self.now.timed_out & count.running & ~terminated
        self.facts = self._sum_up(self.now, infraction, terminated | truncated)
        return xp.astype(gained, xp.float32), terminated, truncated

    def renew(self) -> Any:
        """Begin the next episode where one has ended, and return the observations to act on."""
        seen = self._observer(self.ride, self.ego, self.sight)
        rows = self._xp.nonzero(self.facts.done)[0]
        if len(rows):
            self.final_obs[rows] = seen[rows]
            seen[rows] = self._begin(rows, self.count.episode[rows] + 1, None)
        return seen

    def abandon(self) -> Any:
        """Begin the next episode everywhere, and return the observations to act on."""
        return self._begin(self._numbers, self.count.episode + 1, None)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that the next steps depend on, as NumPy arrays by name, and the seed."""
        found: dict[str, Any] = {"seed": self.seed}
        for name, part in self._parts().items():
            found |= {f"{name}.{f.name}": _numpy(getattr(part, f.name)) for f in fields(part)}
        return found

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Go on from where `state_dict` was taken; returns the observations to act on.

        Raises:
            UsageError: it is of another number of environments or cars.
        """
        self.seed = int(state["seed"])
        for name, part in self._parts().items():
            for field in fields(part):
                old, new = getattr(part, field.name), state.get(f"{name}.{field.name}")
                if new is None or tuple(new.shape) != tuple(old.shape):
                    found = "nothing" if new is None else f"shape {tuple(new.shape)}"
                    raise UsageError(
                        f"the state of the world holds {found} for {name}.{field.name}, not {tuple(old.shape)}.",
                        hint="Take it up with the scenarios and environments that it was saved with.",
                    )
                setattr(part, field.name, self._xp.asarray(new.copy(), device=self._device))
        return self._observer(self.ride, self.ego, self.sight)

    def _parts(self) -> dict[str, Any]:
        names = ("ride", "ego", "cars", "count", "marks", "sight")
        return {name: getattr(self, name) for name in names}

    def _check(self, action: Any) -> None:
        if tuple(action.shape) != (self.n_envs, 2):
            raise UsageError(f"actions of shape {tuple(action.shape)} are no ({self.n_envs}, 2).")
        if not self._xp.all(self._xp.isfinite(action)):
            row = int(np.flatnonzero(~np.isfinite(_numpy(action)).all(axis=1))[0])
            steps = int(self.count.step[row])
            raise UsageError(
                f"the action of environment {row} holds a value that is no number after {steps} steps.",
                hint="Look at the policy: its loss may have diverged.",
            )

    def _begin(self, rows: Any, episode: Any, given: Any) -> Any:
        """Set the state of `rows` to the start of their episode of that number; returns what is observed there."""
        xp, scenarios = self._xp, self.pack.scenarios
        if self.order == "once":
            # What happens in a scenario depends on the scenario, not on who drives it when.
            wanted = self._numbers[rows] + episode * self.n_envs if given is None else given
            running = wanted < scenarios
            scenario = xp.where(running, wanted, scenarios - 1)
            key = streams.joined(streams.joined(self._whole([self.seed]), scenario), 0)
        else:
            running = episode >= 0
            seed = streams.joined(self._whole([self.seed]), _DRAWN)
            key = streams.joined(streams.joined(seed, self._numbers[rows]), episode)
            scenario = self._draw(streams.uniform(xp, streams.joined(key, _SCENARIO))) if given is None else given
        starts, begun = self.starts, self._place(scenario, key, episode)
        for part, start in ((self.ride, starts.ride), (self.ego, starts.ego), (self.sight, starts.sight)):
            put_anew(xp, part, rows, taken(start, begun))
        put_anew(xp, self.count, rows, self._counts(begun, scenario, episode, running, key))
        put_anew(xp, self.marks, rows, Marks(episode < 0, episode < 0))
        put(self.cars, rows, taken(starts.cars, begun))
        self.cars.there[rows, 0] = running
        return starts.observation[begun]

    def _draw(self, chance: Any) -> Any:
        """Return the numbers of scenarios, drawn by `(rows,)` uniform numbers."""
        xp, scenarios = self._xp, self.pack.scenarios
        if self._often is None:
            return xp.astype(chance * scenarios, xp.int64)
        drawn = xp.searchsorted(self._often, chance, side="right")
        return xp.minimum(xp.astype(drawn, xp.int64), scenarios - 1)

    def _place(self, scenario: Any, key: Any, episode: Any) -> Any:
        """Return the numbers of the starts at which episodes begin."""
        xp, scenarios = self._xp, self.pack.scenarios
        places = len(self.starts.step) // scenarios - 1
        if places == 0:
            return scenario
        share = xp.where(episode == 0, 1.0, self._midway)
        place = xp.astype(streams.uniform(xp, streams.joined(key, _PLACE)) * places / xp.maximum(share, 1e-6), xp.int64)
        return xp.where(place < places, scenario + scenarios * (1 + place), scenario)

    def _counts(self, begun: Any, scenario: Any, episode: Any, running: Any, key: Any = None) -> Count:
        start = self.starts.sight.s_m[begun]
        return Count(
            key=episode * 0 if key is None else key,
            episode=episode + 0,
            step=self.starts.step[begun] + 0,
            running=running,
            s_m=start + 0.0,
            start_m=self.starts.sight.s_m[scenario] + 0.0,
            begun_m=start + 0.0,
            farthest_m=start + 0.0,
            returned=start * 0.0,
            collided=running & False,
        )

    def _tell(self, farthest_m: Any) -> Facts:
        xp, ego, ride, sight, count = self._xp, self.ego, self.ride, self.sight, self.count
        beyond = (sight.flow_left_m < 0.0) | (sight.flow_right_m < 0.0)
        backwards = xp.abs(sight.heading_rad) > 0.5 * np.pi
        return Facts(
            step=count.step,
            progress_m=xp.maximum(sight.s_m - farthest_m, 0.0),
            s_m=sight.s_m,
            start_m=count.start_m,
            expert_m=self.pack.expert_m[ride.scenario],
            speed_mps=ego.speed,
            limit_mps=sight.limit_mps,
            accel_mps2=ego.accel,
            lateral_mps2=ego.speed * ego.yaw_rate,
            jerk_mps3=ego.jerk,
            yaw_rate_radps=ego.yaw_rate,
            yaw_accel_radps2=ego.yaw_accel,
            ttc_s=sight.ttc_s,
            collided=sight.collided,
            at_fault=sight.at_fault,
            off_road=sight.off_road,
            wrong_way=beyond | backwards,
            straddles=sight.straddles,
            arrived=sight.s_m >= ride.route_m,
            timed_out=count.step >= self.pack.steps[ride.scenario],
        )

    def _sum_up(self, now: Facts, infraction: Any, done: Any) -> Ended:
        xp, count = self._xp, self.count
        ending = xp.where(now.arrived, ENDINGS.index("arrived"), ENDINGS.index("timed_out"))
        ending = xp.where(infraction & now.off_road, ENDINGS.index("off_road"), ending)
        ending = xp.where(infraction & now.collided, ENDINGS.index("collision"), ending)
        left = xp.maximum(now.expert_m - (count.begun_m - count.start_m), 1.0)
        share = (count.farthest_m - count.begun_m) / left
        return Ended(
            done=done,
            scenario=self.ride.scenario,
            returned=count.returned,
            steps=count.step,
            ending=xp.where(done, ending, -1),
            progress=xp.minimum(xp.maximum(share, 0.0), 1.0),
            collided=count.collided,
        )

    def _whole(self, numbers: Any) -> Any:
        return self._xp.asarray(np.asarray(numbers, np.int64), device=self._device)


def _numpy(array: Any) -> Any:
    return array.copy() if isinstance(array, np.ndarray) else array.detach().cpu().numpy().copy()
