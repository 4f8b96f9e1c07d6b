"""Networks made narrower: whole channels and whole units go, so that every tensor that knew them gets smaller.

Scattered zeros would shrink nothing: a convolution multiplies by them as by any other number.

Source:
    Li et al., "Pruning filters for efficient ConvNets", arXiv 1608.08710, section 3; by L2 norm, what reads a channel
    counted too.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from nightshift.nets.lstm_ae import LstmAe
from nightshift.nets.tcn import Tcn

#: Kept channels are a multiple of this where there are more: kernels of 8-bit integers work in such blocks.
_BLOCK = 16
_GATES = 4


def kept_of(width: int, share: float) -> int:
    """Return how many of `width` channels stay when a share of them is to go."""
    kept = max(1, round(width * (1.0 - share)))
    return kept if kept <= _BLOCK else min(width, -(-kept // _BLOCK) * _BLOCK)


def prune_tcn(net: Tcn, share: float) -> Tcn:
    """Return a network without the weakest inner channels of each residual block; it must be trained a little more.

    A channel's strength is the norm of what makes it, in units of its batch's spread, times that of what reads it. The
    residual path keeps its width: all blocks share it.

    Args:
        net: trained; it is not changed.
        share: of each block's inner channels, which goes.
    """
    widths = tuple(kept_of(inner, share) for inner in net.shape.inner)
    shape = net.shape.model_copy(update={"inner": widths})
    narrow = Tcn(shape, net.dropout.p)
    state = copy.deepcopy(net.state_dict())
    for i, width in enumerate(widths):
        name = f"blocks.{i}"
        kept = _strongest(_strength(state, name), width)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.first_norm.{part}"] = state[f"{name}.first_norm.{part}"][kept]
        state[f"{name}.first.weight"] = state[f"{name}.first.weight"][kept]
        state[f"{name}.second.weight"] = state[f"{name}.second.weight"][:, kept]
    narrow.load_state_dict(state)
    return narrow


def prune_lstm_ae(net: LstmAe, share: float) -> LstmAe:
    """Return an autoencoder without the weakest units of encoder and decoder; it must be trained a little more.

    A unit's strength is the norm of what reads it: the next step's gates, and the layer behind.

    Args:
        net: trained; it is not changed.
        share: of the units, which goes.
    """
    width = kept_of(net.shape.hidden, share)
    narrow = LstmAe(net.shape.model_copy(update={"hidden": width}))
    state = copy.deepcopy(net.state_dict())
    for name, reader in (("encoder", "to_latent"), ("decoder", "to_rows")):
        read = torch.cat([state[f"{name}.weight_hh_l0"], state[f"{reader}.weight"]])
        kept = _strongest(read.norm(dim=0), width)
        gates = torch.cat([kept + gate * net.shape.hidden for gate in range(_GATES)])
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            state[f"{name}.{part}_l0"] = state[f"{name}.{part}_l0"][gates]
        state[f"{name}.weight_hh_l0"] = state[f"{name}.weight_hh_l0"][:, kept]
        state[f"{reader}.weight"] = state[f"{reader}.weight"][:, kept]
    narrow.load_state_dict(state)
    return narrow


def _strength(state: dict[str, Tensor], name: str) -> Tensor:
    spread = torch.sqrt(state[f"{name}.first_norm.running_var"] + 1e-5)
    gain = (state[f"{name}.first_norm.weight"] / spread).abs()
    made = state[f"{name}.first.weight"].flatten(1).norm(dim=1) * gain
    strength: Tensor = made * state[f"{name}.second.weight"].transpose(0, 1).flatten(1).norm(dim=1)
    return strength


def _strongest(strength: Tensor, count: int) -> Tensor:
    """Return the places of the strongest, in order."""
    return torch.sort(torch.topk(strength, count).indices).values
