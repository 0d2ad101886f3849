"""`moot demo swarm`: boids that nobody leads come to fly in one direction; as text, live, or as a picture in a file."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moot import AgentManager
from moot.cli.app import UsageError
from moot.cli.demos import SEED
from moot.testing import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moot.patterns.swarm import Flock

__all__ = ["swarm"]

FRAMES = 80
"""How often the order is looked at, in a run that is shown when it is over."""
FRAME_SECONDS = 1 / 20
MAX_AGENTS = 1_000


def swarm(
    boids: Annotated[int, typer.Option(min=1, max=20_000, help="How many there are.")] = 240,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="How many ticks they fly.")] = 400,
    dim: Annotated[int, typer.Option(min=2, max=3, help="In a plane, or in space.")] = 2,
    noise: Annotated[float, typer.Option(min=0.0, max=6.3, help="Width of a random turn at each tick, radians.")] = 0.0,
    vicsek: Annotated[bool, typer.Option("--vicsek", help="Vicsek's model instead of Reynolds' boids.")] = False,
    agents: Annotated[bool, typer.Option("--agents", help="Each boid is an agent (up to 1,000).")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show it as it happens.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture: FILE.png or FILE.html.")] = None,
    seed: SEED = 1,
) -> None:
    """Let boids fly, and show how order comes about."""
    _check(boids, plot, agents=agents)
    from moot.patterns.swarm import Boids, Box, Flock, Vicsek

    rules = Vicsek(noise=noise) if vicsek else Boids(noise=noise)
    flock = Flock(boids, rules, box=Box.around(boids, dim, r=rules.r), seed=seed, engine="kdtree")
    title = f"{boids} boids in {dim} dimensions, {'Vicsek' if vicsek else 'Reynolds'}, noise {noise:g}, seed {seed}"
    if live:
        orders = asyncio.run(show(flock, steps, title, agents=agents))
    else:
        orders = run(tell(flock, steps, title, agents=agents))
    if plot is not None:
        write(plot, flock, orders, title)


def _check(boids: int, plot: Path | None, *, agents: bool) -> None:
    missing = [name for name in ("numpy", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the swarm needs {' and '.join(missing)}; install: python -m pip install 'moot[swarm]'")
    if agents and boids > MAX_AGENTS:
        raise UsageError(f"at most {MAX_AGENTS} boids can be agents; leave --agents out for {boids}")
    if plot is None:
        return
    if plot.suffix not in (".png", ".html"):
        raise UsageError(f"--plot writes FILE.png or FILE.html, not {plot.name!r}")
    if plot.suffix == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("a PNG needs matplotlib; install: python -m pip install 'moot[plot]', or write FILE.html")
    if not plot.parent.is_dir():
        raise UsageError(f"--plot: there is no folder {plot.parent}")


async def flown(flock: Flock, steps: int, every: int, *, agents: bool) -> AsyncIterator[Flock]:
    """The flock itself, brought up to date every so many ticks from the agents that fly it."""
    from moot.patterns.swarm import AdvanceTo, FlockAgent, Fly, GetFlock, GetPositions, swarm_of

    async with AgentManager(seed=flock.seed) as manager:
        if agents:
            for agent in swarm_of(flock, patience=60.0):
                await manager.register(agent)
        else:
            await manager.register(
                FlockAgent("flock", len(flock), flock.rules, box=flock.box, seed=flock.seed, engine="kdtree")
            )
        for tick in [*range(every, steps, every), steps]:
            if agents:
                await manager.ask("swarm", Fly(tick), timeout=3600)
                heard = await manager.ask("swarm", GetPositions())
                places = [heard[f"swarm_{number}"] for number in range(len(flock))]
                flock.put([place.position for place in places], [place.velocity for place in places])
            else:
                await manager.ask("flock", AdvanceTo(tick), timeout=3600)
                kept = type(flock).restore(await manager.ask("flock", GetFlock()), engine="kdtree")
                flock.put(kept.positions, kept.velocities)
            flock.tick = tick
            yield flock


async def tell(flock: Flock, steps: int, title: str, *, agents: bool) -> list[tuple[int, float]]:
    """Print the flock before and after, and its order over time, which is returned."""
    from moot.patterns.swarm.picture import arrows, bars

    orders = [(0, flock.order())]
    print(f"{title}\n\nat first:\n")
    print("\n".join(arrows(flock)))
    every = max(1, steps // FRAMES)
    orders += [(now.tick, now.order()) async for now in flown(flock, steps, every, agents=agents)]
    print(f"\nafter {steps} ticks:\n")
    print("\n".join(arrows(flock)))
    sizes = [int((flock.clusters() == number).sum()) for number in range(int(flock.clusters().max()) + 1)]
    print(f"\norder {bars([order for _, order in orders])}")
    print(f"from {orders[0][1]:.3f} to {orders[-1][1]:.3f}; {len(sizes)} clusters, the largest of {sizes[0]} boids")
    return orders


async def show(flock: Flock, steps: int, title: str, *, agents: bool) -> list[tuple[int, float]]:
    """The same in real time, in place, frame by frame."""
    from rich.live import Live
    from rich.text import Text

    from moot.patterns.swarm.picture import arrows, bars

    orders = [(0, flock.order())]

    def frame() -> Text:
        last = f"tick {flock.tick}, order {orders[-1][1]:.3f}"
        lines = [title, "", *arrows(flock), "", bars([order for _, order in orders]), last]
        return Text("\n".join(lines), no_wrap=True)

    with Live(frame(), auto_refresh=False) as screen:
        async for now in flown(flock, steps, 2, agents=agents):
            orders.append((now.tick, now.order()))
            screen.update(frame(), refresh=True)
            await asyncio.sleep(FRAME_SECONDS)
    return orders


def write(path: Path, flock: Flock, orders: list[tuple[int, float]], title: str) -> None:
    """Write the picture that the suffix asks for."""
    try:
        if path.suffix == ".png":
            from moot.patterns.swarm.plot import save_png

            save_png(path, flock, orders, title)
        else:
            from moot.patterns.swarm.page import html_of

            path.write_text(html_of(flock, orders, title), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--plot: cannot write {path}: {error.strerror}") from error
    print(f"\nwritten: {path}")
