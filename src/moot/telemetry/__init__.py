"""Telemetry: how a running system is watched.

It may import `messaging`, and changes nothing of what it sees. Read `observer` first.
"""

__all__: list[str] = []
