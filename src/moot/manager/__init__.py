"""The manager: the one object that a program holds, and the door for callers that are not agents.

It may import the runtime, and holds no logic of a turn. Read `manager` first, then `gateway`.
"""

__all__: list[str] = []
