"""What can be tuned of adversarial imitation, fine-tuning and the recovery method; imports nothing that learns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AdversarySettings(BaseModel):
    """How the discriminator learns and pays.

    Attributes:
        hidden: units of its layers.
        learning_rate: of Adam.
        batch_size: rows of each side in one step.
        updates: steps after each rollout.
        penalty: of steep gradients.
        absorbing_steps: that an ended episode goes on for.
        gamma: discount of these.
        warm_up: share of all steps in which the learner's critic and the discriminator alone learn, where it begins
            from a policy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=512, ge=1)
    updates: int = Field(default=32, ge=1)
    penalty: float = Field(default=1.0, ge=0)
    absorbing_steps: int = Field(default=50, ge=1)
    gamma: float = Field(default=0.99, ge=0, lt=1)
    warm_up: float = Field(default=0.1, ge=0, lt=1)


class FinetuneSettings(BaseModel):
    """How imitation passes into reinforcement.

    Attributes:
        warm_up: share of all steps in which only the critic learns.
        critic_epochs: passes over a rollout while it does: what it has not learnt by then undoes what was cloned.
        anchor_weight_start, anchor_weight_end: of the squared distance between the policy's mean action and the
            clone's, in the states that the policy drives through, at the first step and at the last; a line between.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    warm_up: float = Field(default=0.2, ge=0, lt=1)
    critic_epochs: int = Field(default=10, ge=1)
    anchor_weight_start: float = Field(default=3.0, ge=0)
    anchor_weight_end: float = Field(default=0.3, ge=0)


class RecoverySettings(BaseModel):
    """How the critics learn.

    Attributes:
        gamma: discount of reward, of each step.
        gamma_safe: of risk, of each decision.
        hold_steps: that a decision is held on to while learning: what a single step of a fifth of a second is worth
            is lost in a critic's noise. Once learnt, it is decided anew at each step.
        tau, tau_safe: share of the way that the slow copies move at each update.
        learning_rate: of both critics.
        batch_size: decisions behind one update.
        capacity: decisions kept.
        offline_steps: driven by the mixture before anything is learnt.
        pretrain_updates: on these.
        steps_per_update: environment steps between updates.
        clip_norm: limit of a gradient's norm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float = Field(default=0.99, ge=0, lt=1)
    gamma_safe: float = Field(default=0.5, ge=0, lt=1)
    tau: float = Field(default=5e-3, gt=0, le=1)
    tau_safe: float = Field(default=2e-4, gt=0, le=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: int = Field(default=256, ge=1)
    hold_steps: int = Field(default=4, ge=1)
    capacity: int = Field(default=100_000, ge=1)
    offline_steps: int = Field(default=20_000, ge=1)
    pretrain_updates: int = Field(default=10_000, ge=0)
    steps_per_update: int = Field(default=16, ge=1)
    clip_norm: float = Field(default=10.0, gt=0)
