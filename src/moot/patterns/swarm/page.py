"""A flight as a web page of its own: inline SVG, no script, nothing fetched."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from moot.patterns.swarm.flock import Flock

__all__ = ["html_of"]

_SIZE = 480
_MARGIN = 40
_STYLE = (
    "body{font:16px sans-serif;margin:2em}figure{display:inline-block;margin:1em}"
    "svg{border:1px solid #ccc}path,polyline{fill:none;stroke:#246;stroke-width:1.5}"
)


def html_of(flock: Flock, orders: Sequence[tuple[int, float]], title: str) -> str:
    """A page with a flock as it flies, and its order by tick. In 3 dimensions, its first two are drawn."""
    name = html.escape(title)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{name}</title>',
            f"<style>{_STYLE}</style></head>",
            f"<body><h1>{name}</h1>",
            _figure(f"Positions and headings at tick {flock.tick}", _flight(flock)),
            _figure("Polar order over time (0 to 1)", _order(orders)),
            "</body></html>",
            "",
        ]
    )


def _figure(caption: str, drawing: str) -> str:
    return (
        f'<figure><svg role="img" aria-label="{caption}" width="{_SIZE}" height="{_SIZE}" '
        f'viewBox="0 0 {_SIZE} {_SIZE}">{drawing}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _flight(flock: Flock) -> str:
    """A boid is a stroke with a barb at either side of its head."""
    scale = _SIZE / max(flock.box.sides[:2])
    strokes = []
    for (x, y, *_), (u, v, *_) in zip(flock.positions.tolist(), flock.velocities.tolist(), strict=True):
        across, down = x * scale, _SIZE - y * scale
        angle = math.atan2(-v, u)
        tail = [(across - 9 * math.cos(angle), down - 9 * math.sin(angle))]
        barbs = [(across - 4 * math.cos(angle + turn), down - 4 * math.sin(angle + turn)) for turn in (-0.6, 0.6)]
        strokes.append("".join(f"M{across:.1f} {down:.1f}L{a:.1f} {b:.1f}" for a, b in tail + barbs))
    return f'<path d="{"".join(strokes)}"/>'


def _order(orders: Sequence[tuple[int, float]]) -> str:
    room = _SIZE - 2 * _MARGIN
    first, last = orders[0][0], max(orders[-1][0], orders[0][0] + 1)
    points = " ".join(
        f"{_MARGIN + room * (tick - first) / (last - first):.1f},{_MARGIN + room * (1 - order):.1f}"
        for tick, order in orders
    )
    end = _MARGIN + room
    return (
        f'<path style="stroke:#999" d="M{_MARGIN} {_MARGIN}V{end}H{end}"/>'
        f'<text x="8" y="{_MARGIN + 5}">1</text><text x="8" y="{end + 5}">0</text>'
        f'<text x="{_MARGIN}" y="{end + 24}">{first}</text>'
        f'<text x="{end}" y="{end + 24}" text-anchor="end">tick {last}</text>'
        f'<polyline points="{points}"/>'
    )
