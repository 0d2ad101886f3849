"""Runtime: the machinery that runs agents. It is private: only the manager and what tests it import it.

It may import all rooms below. Read `system` first, then `dispatch.dispatcher`.
"""

__all__: list[str] = []
