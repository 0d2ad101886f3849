"""Agents: what users write, and all that a handler can say and do.

It may import everything below but the backends; it reaches the runtime through `port` alone. Read `agent` first, then
`context`.
"""

__all__: list[str] = []
