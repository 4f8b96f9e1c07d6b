"""Reinforcement on top of imitation: PPO from a cloned policy, its critic first, with an imitation term that fades.

A critic that knows nothing would undo in its first updates what was cloned; a wide spread would never drive it.

Source:
    BC-SAC (arXiv 2212.11419): imitation and reinforcement in one loss; critic first: Uchendu et al. (arXiv 2204.02372).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.driving.imitate.settings import FinetuneSettings
from nightshift.driving.learn.field import Field
from nightshift.driving.learn.ppo import ActorCritic, Hooks, PpoLearner, PpoSettings
from nightshift.nets.policy import Policy


def finetune_learner(
    field: Field,
    cloned: Policy,
    demonstrations: Demonstrations,
    settings: FinetuneSettings,
    ppo: PpoSettings,
    *,
    seed: int,
    device: str = "cpu",
) -> PpoLearner:
    """Return PPO that begins from a cloned Gaussian policy of its own shape.

    Everything random is drawn from torch's generator, whose state the checkpoint holds.

    Args:
        field: to drive on.
        cloned: to begin from; its spread is replaced by PPO's `log_std`.
        demonstrations: of the imitation term.
        settings: of imitation.
        ppo: of PPO.
        seed: of weights and actions.
        device: of the networks.
    """
    expert = tuple(torch.from_numpy(part).to(device) for part in (demonstrations.observation, demonstrations.action))

    def share() -> float:
        return learner.steps / max(ppo.total_steps, 1)

    def weight() -> float:
        return settings.weight * max(0.0, 1.0 - share() / settings.fades)

    def imitation(nets: ActorCritic, _observation: Tensor) -> Tensor:
        if weight() == 0.0:
            return torch.zeros((), device=device)
        rows = torch.randint(len(expert[0]), (settings.batch_size,)).to(device)
        # Of the mean alone: the likelihood's gradient grows without limit as the spread falls.
        return weight() * (nets.mean(expert[0][rows]) - expert[1][rows]).square().sum(dim=1).mean()

    hooks = Hooks(
        penalty=imitation,
        # `steps` counts the rollout that is being learnt from.
        actor_frozen=lambda: share() <= settings.warm_up,
        critic_epochs=settings.critic_epochs,
        figures=lambda: {"imitation_weight": weight(), "actor_frozen": float(share() <= settings.warm_up)},
    )
    with torch.no_grad():
        cloned.log_std.fill_(ppo.log_std)
    learner = PpoLearner(field, ppo, seed=seed, device=device, begin=cloned, hooks=hooks)
    return learner
