"""Who asks, and what they may do: viewers read all, operators act on all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request

from nightshift.errors import NightshiftError

Role = Literal["viewer", "operator"]


class ForbiddenError(NightshiftError):
    """Somebody who may not do what was asked."""


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes:
        name: for the audit log.
    """

    name: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Whether they may start, cancel and promote."""
        return self.role == "operator"


def _viewer(request: Request) -> User:
    return User("local", "operator")


def _operator(user: Annotated[User, Depends(_viewer)]) -> User:
    if not user.may_act:
        raise ForbiddenError(f"{user.name} may look, not act.", hint="Ask somebody with the role operator.")
    return user


#: Parameters of routes: whoever may read, and whoever may act.
Viewer = Annotated[User, Depends(_viewer)]
Operator = Annotated[User, Depends(_operator)]
