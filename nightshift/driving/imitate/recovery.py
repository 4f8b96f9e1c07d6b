"""Learning the recovery method's critics: offline for the risk first, then both while driving.

The task critic learns of what was proposed, so that it is not taught by its own overseer; the risk critic of what was
driven. Risk: `c + ongoing * gamma_safe * max(Q1', Q2')`.

Source:
    Recovery RL (arXiv 2010.15920), algorithm 1 and its published defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nightshift.driving.facts import ENDINGS
from nightshift.driving.imitate.critics import Twin
from nightshift.driving.imitate.decider import Decider, DecidingPolicy, taken
from nightshift.driving.imitate.memory import Experience, Memory
from nightshift.driving.imitate.settings import RecoverySettings
from nightshift.driving.learn.checkpointing import LearnerState, to_arrays, to_tensors
from nightshift.driving.learn.field import Advanced, Field, Flags, Tally
from nightshift.nets.policy import Policy

#: Updates before driving on that one `advance` makes at most: it can be stopped between two alone, a few seconds apart.
_PRETRAINED_AT_A_TIME = 200
#: Softmax of the mixture's log weights while driving for offline data: above 1, so that rare candidates are seen.
_OFFLINE_TEMPERATURE = 3.0


@dataclass(frozen=True)
class Chosen:
    """Candidates, and which one is proposed and driven.

    Attributes:
        action: `(b, k, 2)` squashed.
        risk: `(b, k)`.
        asked, driven: `(b,)` numbers of candidates.
    """

    action: Tensor
    risk: Tensor
    asked: Tensor
    driven: Tensor


class Held:
    """Decisions under way, `(b,)` each, on the CPU.

    Attributes:
        index: of the candidate that is driven: a mode and a departure, whose action follows what is seen.
        age: steps so far.
        begun: `(b, inputs)` what was seen when it was decided.
        proposed, executed: `(b, 2)` the actions then.
        gained, cost, factor: discounted reward, whether it failed, and the discount of what follows.
    """

    _NAMES = ("index", "age", "begun", "proposed", "executed", "gained", "cost", "factor")

    def __init__(self, n: int, inputs: int) -> None:
        self.index, self.age = torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long)
        self.begun, self.proposed, self.executed = torch.zeros(n, inputs), torch.zeros(n, 2), torch.zeros(n, 2)
        self.gained, self.cost, self.factor = torch.zeros(n), torch.zeros(n), torch.ones(n)

    def begin(self, anew: Tensor, seen: Tensor, chosen: Chosen) -> None:
        """Decide anew where that is due."""
        actions = chosen.action.cpu()
        self.index = torch.where(anew, chosen.driven, self.index)
        self.begun = torch.where(anew[:, None], seen, self.begun)
        self.proposed = torch.where(anew[:, None], taken(actions, chosen.asked), self.proposed)
        self.executed = torch.where(anew[:, None], taken(actions, chosen.driven), self.executed)
        for name, first in (("age", 0), ("gained", 0.0), ("cost", 0.0), ("factor", 1.0)):
            setattr(self, name, getattr(self, name).masked_fill(anew, first))

    def state_dict(self) -> dict[str, Tensor]:
        """Return all of it."""
        return {name: getattr(self, name).clone() for name in self._NAMES}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        for name in self._NAMES:
            setattr(self, name, state[name].clone())


class RecoveryLearner:
    """Decider, memory, optimisers, random numbers and the field (`learn.loop.Learner`).

    Attributes:
        begun: it begins from the mixture, which is judged before the first step.
        decider: as it is now.
        steps: environment steps driven, offline ones among them.
        updates: of both critics.
        pretrained: updates before these, on offline data.
    """

    begun = True

    def __init__(
        self, decider: Decider, field: Field, settings: RecoverySettings, seed: int, at_a_time: int = 1
    ) -> None:
        """Begin the field.

        Args:
            decider: with its imitative policy in it.
            field: to drive on.
            settings: of the critics.
            seed: of what is drawn.
            at_a_time: decisions of every environment in one `advance`.
        """
        self.decider, self.field, self.settings, self._at_a_time = decider, field, settings, at_a_time
        self.device = next(decider.parameters()).device
        # Drawn on the CPU wherever the networks are: the same numbers.
        self.random = torch.Generator().manual_seed(seed)
        inputs = decider.shape.policy.observation
        self.memory = Memory(settings.capacity, inputs, self.device)
        self.task_steps = torch.optim.Adam(decider.task.critics.parameters(), lr=settings.learning_rate)
        self.risk_steps = torch.optim.Adam(decider.risk.critics.parameters(), lr=settings.learning_rate)
        self.steps = self.updates = self.pretrained = 0
        self.tally, self._told = Tally(), dict[str, float]()
        self.observation = field.reset().copy()
        self.held = Held(field.num_envs, inputs)

    def advance(self) -> None:
        """Drive some decisions; learn from the offline ones once they are all there, then as it is due.

        Nothing is driven in the calls that what is learnt from the offline ones takes beyond the first.
        """
        offline = self.settings.offline_steps
        if self.steps < offline or not self._left_to_pretrain():
            for _ in range(self._at_a_time):
                self._drive()
        if self.steps < offline:
            return
        for _ in range(min(self._left_to_pretrain(), _PRETRAINED_AT_A_TIME)):
            batch = self.memory.draw(self.settings.batch_size, self.random)
            self._learn(batch)
            self.pretrained += 1
        if self._left_to_pretrain():
            return
        while self.updates < (self.steps - offline) // self.settings.steps_per_update:
            batch = self.memory.draw(self.settings.batch_size, self.random)
            self._learn(batch)
            self.updates += 1

    def _left_to_pretrain(self) -> int:
        return max(0, self.settings.pretrain_updates - self.pretrained)

    def _learn(self, batch: Experience) -> None:
        acts, risk, task = self._following(batch)
        self._learn_risk(batch, acts, risk)
        self._learn_task(batch, acts, task)

    def figures(self) -> dict[str, float]:
        """Return the figures of episodes since the last call, and of the last update."""
        return {**self.tally.take(), **self._told}

    def policy(self) -> Policy:
        """Return the imitative policy, which stays as it is, driving as the decider does now."""
        return DecidingPolicy(self.decider)

    def state_dict(self) -> LearnerState:
        """Return everything that the next step follows from."""
        more = {
            "memory": self.memory.state_dict(),
            "random": self.random.get_state(),
            "env": self.field.state_dict(),
            "observation": self.observation,
            "held": self.held.state_dict(),
            "counts": [self.steps, self.updates, self.pretrained],
            "tally": self.tally.state_dict(),
            "told": dict(self._told),
        }
        optimisers = {"task": self.task_steps.state_dict(), "risk": self.risk_steps.state_dict()}
        return LearnerState(self.decider.state_dict(), optimisers, to_tensors(more))

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there."""
        more = state.more
        self.decider.load_state_dict(state.networks)
        self.task_steps.load_state_dict(state.optimisers["task"])
        self.risk_steps.load_state_dict(state.optimisers["risk"])
        self.memory.load_state_dict(more["memory"])
        self.random.set_state(more["random"])
        self.field.load_state_dict(to_arrays(more["env"]))
        self.observation = to_arrays(more["observation"])
        self.held.load_state_dict(more["held"])
        self.steps, self.updates, self.pretrained = more["counts"]
        self.tally.load_state_dict(more["tally"])
        self._told = dict(more["told"])

    def _drive(self) -> None:
        """Drive one step of every environment; what was decided is held on to for `hold_steps`, if it stays safe."""
        seen = torch.from_numpy(self.observation).to(self.device)
        chosen = self._wandering(seen) if self.steps < self.settings.offline_steps else self._choosing(seen)
        held, rows = self.held, torch.arange(len(seen))
        broken = (held.age > 0) & (chosen.risk[rows, held.index].cpu() > self.decider.shape.risk_limit)
        self._remember(broken, seen, torch.ones(len(seen)))
        anew = broken | (held.age == 0)
        held.begin(anew, seen.cpu(), chosen)
        happened = self.field.advance(taken(chosen.action.cpu(), held.index).numpy())
        done = torch.from_numpy(happened.terminated | happened.truncated)
        held.gained += held.factor * torch.from_numpy(happened.reward)
        held.cost = torch.maximum(held.cost, torch.from_numpy(failed(happened)).float())
        held.factor *= self.settings.gamma
        held.age += 1
        following = np.where(done.numpy()[:, None], happened.final, happened.observation)
        self._remember(
            done | (held.age >= self.settings.hold_steps),
            torch.from_numpy(following),
            1.0 - torch.from_numpy(happened.terminated).float(),
        )
        self.tally.add(happened.ended)
        self.observation = happened.observation.copy()
        self.steps += self.field.num_envs

    def _remember(self, which: Tensor, following: Tensor, ongoing: Tensor) -> None:
        """Keep the decisions that end here."""
        held, at = self.held, which.nonzero()[:, 0]
        if not len(at):
            return
        parts = (
            held.begun,
            following.cpu(),
            held.gained,
            held.cost,
            ongoing,
            held.factor,
            held.proposed,
            held.executed,
        )
        self.memory.add(Experience(*(part[at].to(self.device) for part in parts)))
        held.age[at] = 0

    def _wandering(self, seen: Tensor) -> Chosen:
        """Draw candidates by the flattened mixture."""
        proposed = self.decider.candidates.propose(seen)
        drawn = self._draw(torch.softmax(proposed.log_weight / _OFFLINE_TEMPERATURE, dim=1))
        return Chosen(proposed.action, torch.zeros_like(proposed.log_weight), drawn, drawn)

    def _choosing(self, seen: Tensor) -> Chosen:
        """Draw what the task policy proposes; where that is unsafe, draw again among the safe ones, or recover."""
        weighed = self.decider.weigh(seen)
        asked = self._draw(torch.softmax(weighed.score, dim=1))
        allowed = self._draw(self.decider.composite(weighed.score, weighed.risk))
        fine = weighed.risk.cpu().gather(1, asked[:, None])[:, 0] <= self.decider.shape.risk_limit
        self._told["overruled"] = float((~fine).float().mean())
        return Chosen(weighed.proposed.action, weighed.risk, asked, torch.where(fine, asked, allowed))

    def _draw(self, probability: Tensor) -> Tensor:
        return torch.multinomial(probability.cpu(), 1, generator=self.random)[:, 0]

    def _following(self, batch: Experience) -> tuple[Tensor, Tensor, Tensor]:
        """Return how the method will act next, and the slow critics' risks and tasks of these candidates, `(n, k)`."""
        proposed = self.decider.candidates.propose(batch.following)
        with torch.no_grad():
            task = self.decider.task.target(batch.following, proposed.plan).amin(0)
            risk = self.decider.risk.target(batch.following, proposed.plan).amax(0)
            acts = self.decider.composite(self.decider.score(task, proposed), risk)
        return acts, risk, task

    def _learn_risk(self, batch: Experience, acts: Tensor, risk: Tensor) -> None:
        target = (batch.cost + batch.ongoing * self.settings.gamma_safe * (acts * risk).sum(1)).clamp(0.0, 1.0)
        said = self._said(self.decider.risk, batch, batch.executed)
        # Of a probability: the same answer at the least as the squared error's, reached sooner from near 0.
        loss = nn.functional.binary_cross_entropy(said, target.expand_as(said))
        self._told["risk_loss"] = self._take(self.risk_steps, loss)
        self.decider.risk.follow(self.settings.tau_safe)

    def _learn_task(self, batch: Experience, acts: Tensor, task: Tensor) -> None:
        target = batch.reward + batch.ongoing * batch.factor * (acts * task).sum(1)
        loss = (self._said(self.decider.task, batch, batch.proposed) - target).square().mean()
        self._told["loss"] = self._take(self.task_steps, loss)
        self._told["value"] = float(target.mean())
        self.decider.task.follow(self.settings.tau)

    def _said(self, twin: Twin, batch: Experience, action: Tensor) -> Tensor:
        """Return both critics' answers for the actions `(n, 2)` of a batch, `(2, n)`."""
        plan = self.decider.candidates.plan(batch.observation, action[:, None])
        answers: Tensor = twin(batch.observation, plan)[..., 0]
        return answers

    def _take(self, steps: torch.optim.Optimizer, loss: Tensor) -> float:
        steps.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for g in steps.param_groups for p in g["params"]], self.settings.clip_norm)
        steps.step()
        return float(loss.detach())


def failed(happened: Advanced) -> Flags:
    """Return which environments came to what a risk is of, `(b,)`: an end that is neither the goal nor the clock."""
    out: Flags = happened.terminated & (np.asarray(happened.ended.ending) != ENDINGS.index("arrived"))
    return out
