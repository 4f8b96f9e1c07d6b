"""Random numbers by counter: what an environment draws depends on its own key alone, never on how many there are.

All of it is 64-bit integer arithmetic that wraps, the same in NumPy and torch.

Source: Steele, Lea & Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64).
"""

from __future__ import annotations

from typing import Any

#: 2^64 divided by the golden ratio, and the multipliers of SplitMix64's finaliser, as signed numbers.
_STEP = -7046029254386353131
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def mixed(key: Any) -> Any:
    """Return well mixed numbers of int64 `key`, any shape."""
    # An arithmetic shift keeps the sign; the mask makes it the logical one.
    key = (key ^ ((key >> 30) & 0x3FFFFFFFF)) * _FIRST
    key = (key ^ ((key >> 27) & 0x1FFFFFFFFF)) * _SECOND
    return key ^ ((key >> 31) & 0x1FFFFFFFF)


def joined(key: Any, number: Any) -> Any:
    """Return the key of `number` under `key`: int64 arrays that broadcast; `number` may be an int."""
    if isinstance(number, int):
        # An int of Python does not wrap by itself.
        return mixed(key + (((number + 1) * _STEP + 2**63) % 2**64 - 2**63))
    return mixed(key + steps(number))


def steps(number: Any) -> Any:
    """Return what the numbers of a sequence add to its key; int64, as an array wraps by itself."""
    return (number + 1) * _STEP


def uniform(xp: Any, key: Any) -> Any:
    """Return float64 numbers in [0, 1) of int64 keys, any shape."""
    return xp.astype((mixed(key) >> 11) & 0x1FFFFFFFFFFFFF, xp.float64) * 2.0**-53
