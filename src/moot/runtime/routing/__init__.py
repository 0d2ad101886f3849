"""Routing: who receives a message, and the way it takes.

It may import `durability` and `cell`. Read `delivery` first.
"""

__all__: list[str] = []
