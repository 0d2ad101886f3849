"""A flight as a PNG picture, by matplotlib: the boids as they fly, and the order over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moot.patterns.swarm.flock import Flock

__all__ = ["save_png"]


def save_png(path: Path, flock: Flock, orders: Sequence[tuple[int, float]], title: str) -> None:
    """Draw a flock, and its order by tick, and write it. In 3 dimensions, its first two are drawn.

    Raises:
        ModuleNotFoundError: matplotlib is not installed. OSError: it cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModuleNotFoundError(
            "a picture as PNG needs matplotlib; install it with: python -m pip install 'moot[plot]', or write .html"
        ) from error
    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)  # draws into memory: no window, no global state
    figure.suptitle(title.replace("$", r"\$"))
    flight, order = figure.subplots(1, 2)
    x, v = flock.positions, flock.velocities
    flight.quiver(x[:, 0], x[:, 1], v[:, 0], v[:, 1], angles="xy")
    flight.set(xlim=(0, flock.box.sides[0]), ylim=(0, flock.box.sides[1]), aspect="equal", title=f"tick {flock.tick}")
    order.plot([tick for tick, _ in orders], [value for _, value in orders])
    order.set(ylim=(0, 1.02), xlabel="tick", ylabel="polar order", title="order")
    figure.savefig(path, format="png", dpi=120)
