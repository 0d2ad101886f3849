"""Coordination patterns: how agents share out work, bargain, decide and talk.

Each pattern is a function of a turn's context, to be used in any handler, and an agent that does it for whoever asks.
A pattern is ordinary control flow in one turn, so the runtime enforces it: a turn that is run again, after a failure or
in another life of a durable system, finds the answers it was given and goes on behind them; an answer counts once,
however often it is given; deadlines are inherited, and whoever no longer waits cancels what it asked for. Who takes
part may be any agent that answers an ask.

Patterns need nothing of each other and nothing but the public names of `moot`. Import them from their modules:
``from moot.patterns.pipeline import pipeline``.
"""

__all__: list[str] = []
