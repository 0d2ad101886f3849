"""The engine that needs numba: a cell list, compiled.

Boids are sorted into cells no smaller than ``r``, so that neighbours are in the same cell or in one beside it. The one
kernel serves 2 and 3 dimensions: with 2, the third is one cell high and every boid lies at 0 in it.
The compiled kernel is kept where numba keeps such things (``NUMBA_CACHE_DIR``, the package's own folder or the user's
cache folder); where none of them can be written it is compiled in each process, which takes a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from moot.patterns.swarm.rules import Box, Rules
from moot.patterns.swarm.sums import Floats, Sums

__all__ = ["by_cells", "load"]

_WIDER = 1 + 1e-9
"""How much larger than ``r`` a cell is at least, so that rounding puts no neighbour two cells away."""

Kernel = Callable[..., tuple[Floats, Floats, Floats]]


def by_cells(positions: Floats, headings: Floats, rules: Rules, box: Box) -> Sums:
    """As the definition says, in time that grows with N."""
    n, dim = positions.shape
    sides = np.ones(3)
    sides[:dim] = box.sides
    cells = np.ones(3, np.int64)
    most = max(1, int((2 * n) ** (1 / dim)))  # a large box with few boids is not filled with empty cells
    cells[:dim] = np.clip((sides[:dim] / (rules.r * _WIDER)).astype(np.int64), 1, most)
    x, u = np.zeros((n, 3)), np.zeros((n, 3))
    x[:, :dim], u[:, :dim] = positions, headings
    counts, seen, pulls = load()(
        x, u, sides, cells, box.is_periodic, rules.r, rules.cohesion / rules.r, rules.separation * rules.r
    )
    return Sums(counts, seen[:, :dim], pulls[:, :dim])


@cache
def load() -> Kernel:
    """The compiled kernel.

    Raises:
        ModuleNotFoundError: numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise ModuleNotFoundError(
            "the engine 'numba' needs numba; install it with: python -m pip install 'moot[swarm,numba]'"
        ) from error

    def compiled(function: Callable[..., Any], **options: Any) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # nowhere to keep it
            return numba.njit(nogil=True, **options)(function)

    kernel: Kernel = compiled(_kernel)
    return kernel


def _kernel(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop nest, compiled as a whole
    x: Any, u: Any, sides: Any, cells: Any, is_periodic: Any, r: Any, cohesion: Any, separation: Any
) -> Any:
    n = x.shape[0]
    nx, ny, nz = cells[0], cells[1], cells[2]
    cell_of = np.empty(n, np.int64)
    begins = np.zeros(nx * ny * nz + 1, np.int64)
    for i in range(n):
        cx = min(int(x[i, 0] / sides[0] * nx), nx - 1)
        cy = min(int(x[i, 1] / sides[1] * ny), ny - 1)
        cz = min(int(x[i, 2] / sides[2] * nz), nz - 1)
        cell_of[i] = (cx * ny + cy) * nz + cz
        begins[cell_of[i] + 1] += 1
    for cell in range(nx * ny * nz):
        begins[cell + 1] += begins[cell]
    nexts = begins[:-1].copy()
    order = np.empty(n, np.int64)
    xs, us = np.empty((n, 3)), np.empty((n, 3))
    for i in range(n):
        place = nexts[cell_of[i]]
        nexts[cell_of[i]] += 1
        order[place] = i
        for axis in range(3):
            xs[place, axis], us[place, axis] = x[i, axis], u[i, axis]
    # Each pair is met once: cells are compared with those of a higher number, and what is found counts for both.
    counts, seen, pulls = np.zeros(n), np.zeros((n, 3)), np.zeros((n, 3))
    around = np.empty(27, np.int64)
    half_x, half_y, half_z = sides[0] / 2, sides[1] / 2, sides[2] / 2
    for cell in range(nx * ny * nz):
        if begins[cell] == begins[cell + 1]:
            continue
        cx, cy, cz = cell // (ny * nz), cell // nz % ny, cell % nz
        found = 0
        for ox in range(-1 if nx > 2 else 0, 2 if nx > 1 else 1):
            for oy in range(-1 if ny > 2 else 0, 2 if ny > 1 else 1):
                for oz in range(-1 if nz > 2 else 0, 2 if nz > 1 else 1):
                    ax, ay, az = cx + ox, cy + oy, cz + oz
                    # (of two cells in a row each is beside the other at either side, and is visited once)
                    if is_periodic or (
                        (nx <= 2 or 0 <= ax < nx) and (ny <= 2 or 0 <= ay < ny) and (nz <= 2 or 0 <= az < nz)
                    ):
                        other_cell = ((ax % nx) * ny + ay % ny) * nz + az % nz
                        if other_cell >= cell:
                            around[found] = other_cell
                            found += 1
        for place in range(begins[cell], begins[cell + 1]):
            x0, x1, x2 = xs[place, 0], xs[place, 1], xs[place, 2]
            v0, v1, v2 = us[place, 0], us[place, 1], us[place, 2]
            count = 0
            u0 = u1 = u2 = p0 = p1 = p2 = 0.0
            for k in range(found):
                first = place + 1 if around[k] == cell else begins[around[k]]
                for other in range(first, begins[around[k] + 1]):
                    d0, d1, d2 = xs[other, 0] - x0, xs[other, 1] - x1, xs[other, 2] - x2
                    if is_periodic:
                        if d0 > half_x:
                            d0 -= sides[0]
                        elif d0 < -half_x:
                            d0 += sides[0]
                        if d1 > half_y:
                            d1 -= sides[1]
                        elif d1 < -half_y:
                            d1 += sides[1]
                        if d2 > half_z:
                            d2 -= sides[2]
                        elif d2 < -half_z:
                            d2 += sides[2]
                    square = d0 * d0 + d1 * d1 + d2 * d2
                    if square <= r * r:
                        pull = cohesion - separation / square if square > 0.0 else 0.0
                        d0, d1, d2 = pull * d0, pull * d1, pull * d2
                        count += 1
                        u0 += us[other, 0]
                        u1 += us[other, 1]
                        u2 += us[other, 2]
                        p0 += d0
                        p1 += d1
                        p2 += d2
                        counts[other] += 1
                        seen[other, 0] += v0
                        seen[other, 1] += v1
                        seen[other, 2] += v2
                        pulls[other, 0] -= d0
                        pulls[other, 1] -= d1
                        pulls[other, 2] -= d2
            counts[place] += count
            seen[place, 0] += u0
            seen[place, 1] += u1
            seen[place, 2] += u2
            pulls[place, 0] += p0
            pulls[place, 1] += p1
            pulls[place, 2] += p2
    result = np.empty(n), np.empty((n, 3)), np.empty((n, 3))
    for place in range(n):
        i = order[place]
        result[0][i] = counts[place]
        for axis in range(3):
            result[1][i, axis], result[2][i, axis] = seen[place, axis], pulls[place, axis]
    return result
