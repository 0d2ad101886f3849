"""Liveness: that the system gets on. Circles of waiting, agents without progress, a blocked loop.

It may import `dispatch` and what is below that. Read `progress` first.
"""

__all__: list[str] = []
