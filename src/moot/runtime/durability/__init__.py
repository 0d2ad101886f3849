"""Durability: what a durable backend is told of each turn, and how a system goes on from it.

It may import `cell`, and the rooms below the runtime. Read `turn_journal` first.
"""

__all__: list[str] = []
