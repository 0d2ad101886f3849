"""Pictures of a flock in text: arrows on a grid, and the order over time as a line of bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from moot.patterns.swarm.flock import Flock

__all__ = ["arrows", "bars"]

_ARROWS = "→↗↑↖←↙↓↘"
_BARS = "▁▂▃▄▅▆▇█"


def arrows(flock: Flock, width: int = 64, height: int = 20) -> list[str]:
    """A line for each row of the grid: where boids are, an arrow says where most of them fly; elsewhere is a dot.

    The first axis goes to the right, the second up; a third is looked along.
    """
    sides = np.array(flock.box.sides[:2])
    cells = np.minimum((flock.positions[:, :2] / sides * (width, height)).astype(int), (width - 1, height - 1))
    sums = np.zeros((height, width, 2))
    np.add.at(sums, (cells[:, 1], cells[:, 0]), flock.velocities[:, :2])
    filled = np.zeros((height, width), bool)
    filled[cells[:, 1], cells[:, 0]] = True
    numbers = np.rint(np.arctan2(sums[:, :, 1], sums[:, :, 0]) / (math.pi / 4)).astype(int) % len(_ARROWS)
    return [
        "".join(_ARROWS[number] if is_filled else "·" for number, is_filled in zip(row, there, strict=True))
        for row, there in zip(numbers[::-1].tolist(), filled[::-1].tolist(), strict=True)
    ]


def bars(values: Sequence[float], width: int = 64) -> str:
    """Values from 0 to 1 as bars, at most ``width``: of more, evenly spaced ones, the last among them."""
    if len(values) > width:
        values = [values[round(place * (len(values) - 1) / (width - 1))] for place in range(width)]
    return "".join(_BARS[min(len(_BARS) - 1, max(0, int(value * len(_BARS))))] for value in values)
