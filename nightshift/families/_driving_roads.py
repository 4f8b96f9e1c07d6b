"""The world that a policy learns on, and where its episodes begin."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nightshift.families._driving import Begun, DrivingConfig
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.driving.starts import Starts
    from nightshift.driving.world import World

#: Places along the IDM driver's way through each scenario at which episodes begin, and environments in which it drives.
_PLACES, _WATCHED_ENVS = 4, 256


def roads_of(begun: Begun, config: DrivingConfig, ctx: RunContext, rows: int) -> World:
    """Return the world to learn on, whose episodes begin where the config says; `rows` there will be of the run."""
    from nightshift.driving.drivers import IdmDriver
    from nightshift.driving.learn.midway import along_the_way, kept_along
    from nightshift.driving.pack import Pack
    from nightshift.driving.world import World
    from nightshift.settings import home

    def told(what: str, done: int) -> None:
        ctx.step(0, rows, f"{what} {done:,} of {count:,} scenarios")

    kinds = config.kinds or None
    count = len(begun.bank.names("train", kinds))
    with begun.spent.during("making"):
        scenarios = begun.bank.scenarios("train", kinds, on_made=partial(told, "made"))
        pack, often = Pack.of(scenarios), [config.often.get(s.kind, 1.0) for s in scenarios]
        del scenarios
        world = World(pack, config.num_envs, seed=ctx.seed, traffic=begun.traffic, reward=config.reward)
        world.drive_often(often)
    # The first episodes begin there in any case: all of them would end by the clock in the same step else.
    with begun.spent.during("midway"):
        facts: dict[str, Any] = {
            "dataset": begun.file.dataset,
            "scenarios": list(pack.names),
            "layout": begun.facts.layout,
            "traffic": begun.traffic,
            "seed": ctx.seed,
            "envs": min(_WATCHED_ENVS, pack.scenarios),
        }

        def driven() -> Starts:
            watched = World(pack, facts["envs"], seed=ctx.seed, traffic=begun.traffic, order="once")
            tell = partial(told, "the IDM driver has driven")
            return along_the_way(watched, IdmDriver(), each=_PLACES, seed=ctx.seed, on_episodes=tell)

        starts = kept_along(home().machinery / "midway", facts, world.starts, _PLACES, driven)
    world.begin_along(starts, config.midway)
    return world
